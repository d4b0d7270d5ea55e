//! Log lines about clients: who received which error, and why.
//!
//! Promises: each error in Gatekeeper's name is logged or counted in a line, with one line per subject and reason in ten
//! seconds. Values are not escaped here; the log escapes control characters. Refuses to know: secrets.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::pool_load::PoolLoad;
use crate::{
    audit::record,
    client_error::ClientError,
    names::{EndpointName, ListenerName},
    session::Fate,
    telemetry::{LogLimiter, UnloggedCount},
};

/// Logs an event of a session: the fields that identify its client, then the other fields and the message.
macro_rules! log_client {
    ($level:ident, $client:expr, $($rest:tt)+) => {
        tracing::$level!(
            listener = %$client.listener,
            session = $client.id,
            user = $client.user.as_ref().map(|user| user.as_str()),
            database = $client.database.as_ref().map(|database| database.as_str()),
            client = $client.client.map(tracing::field::display),
            application = $client.application.as_deref(),
            $($rest)+
        )
    };
}

/// Log lines about clients.
#[derive(Debug, Default)]
pub struct ClientLog {
    limiter: Mutex<LogLimiter>,
    logs_connections: bool,
}

// === impl ClientLog ===

impl ClientLog {
    /// With `logs_connections`, each login and each end of a session is logged, as with PostgreSQL's `log_connections` and
    /// `log_disconnections`.
    #[must_use]
    pub fn new(logs_connections: bool) -> Self {
        Self { limiter: Mutex::default(), logs_connections }
    }

    /// A statement was refused for want of a backend of `pool`. `load` is computed for a logged line only.
    pub(crate) fn statement_refused(
        &self,
        client: &record::Session,
        error: &ClientError,
        pool: Option<&str>,
        load: impl FnOnce() -> Option<PoolLoad>,
    ) {
        let reason = error.reason.as_str();
        let subject = pool.unwrap_or_else(|| client.listener.as_str());
        let Some(more) = self.admit(subject, reason) else { return };
        let load = load();
        let load = load.as_ref();
        let oldest = load.and_then(|load| load.oldest.as_ref());
        log_client!(
            warn, client,
            pool,
            reason,
            sqlstate = error.sqlstate.as_str(),
            error = %error.message,
            waiting = load.map(|load| load.waiting),
            longest_wait_seconds = load.map(|load| load.longest_wait.as_secs()),
            held = load.map(|load| load.held),
            oldest_session = oldest.map(|oldest| oldest.session),
            oldest_user = oldest.and_then(|oldest| oldest.user.as_deref()),
            oldest_application = oldest.and_then(|oldest| oldest.application.as_deref()),
            oldest_state = oldest.map(|oldest| oldest.state),
            oldest_held_seconds = oldest.map(|oldest| oldest.held_for.as_secs()),
            more,
            "statement refused"
        );
    }

    /// A client was rejected before its session began. `cause` says more than the client may know.
    pub(crate) fn client_rejected(
        &self,
        client: &record::Session,
        (reason, cause): (&'static str, Option<&'static str>),
        sqlstate: Option<&str>,
        message: &str,
    ) {
        let Some(more) = self.admit(client.listener.as_str(), reason) else { return };
        log_client!(warn, client, reason, cause, sqlstate, error = message, more, "client rejected");
    }

    /// A client was turned away before its first byte was read.
    pub(crate) fn client_turned_away(
        &self,
        listener: &ListenerName,
        address: Option<SocketAddr>,
        error: &ClientError,
    ) {
        let reason = error.reason.as_str();
        let Some(more) = self.admit(listener.as_str(), reason) else { return };
        tracing::warn!(
            listener = %listener,
            reason,
            sqlstate = error.sqlstate.as_str(),
            error = %error.message,
            client = address.map(tracing::field::display),
            more,
            "client rejected"
        );
    }

    /// The process has no descriptor left for a client.
    pub(crate) fn out_of_descriptors(&self, listener: &ListenerName) {
        if let Some(more) = self.admit(listener.as_str(), "out_of_descriptors") {
            tracing::error!(listener = %listener, more, "out of file descriptors: raise the limit on open files");
        }
    }

    /// A client's TLS handshake failed. Each error has lines of its own.
    pub(crate) fn tls_handshake_failed(&self, client: &record::Session, error: &str) {
        let Some(more) = self.admit(&format!("{}: {error}", client.listener), "tls") else { return };
        tracing::warn!(
            listener = %client.listener,
            error,
            session = client.id,
            client = client.client.map(tracing::field::display),
            more,
            "client TLS handshake failed"
        );
    }

    /// A session ended with an error in Gatekeeper's name.
    pub(crate) fn session_failed(&self, client: &record::Session, reason: &'static str, error: &ClientError) {
        let Some(more) = self.admit(client.listener.as_str(), reason) else { return };
        log_client!(
            warn, client,
            reason,
            sqlstate = error.sqlstate.as_str(),
            error = %error.message,
            more,
            "session ended with an error"
        );
    }

    /// A transaction lost its backend.
    pub(crate) fn transaction_interrupted(
        &self,
        client: &record::Session,
        endpoint: Option<&EndpointName>,
        fate: Fate,
    ) {
        let subject = endpoint.map_or_else(|| client.listener.as_str(), EndpointName::as_str);
        let Some(more) = self.admit(subject, fate.as_str()) else { return };
        log_client!(
            warn,
            client,
            endpoint = endpoint.map(EndpointName::as_str),
            fate = fate.as_str(),
            sqlstate = fate.sqlstate().as_ref().map(crate::wire::SqlState::as_str),
            more,
            "transaction interrupted"
        );
    }

    /// A client has logged in.
    pub(crate) fn session_opened(&self, client: &record::Session) {
        if self.logs_connections {
            log_client!(info, client, tls = client.tls, "session opened");
        }
    }

    /// A session has ended, for `reason`.
    pub(crate) fn session_closed(&self, client: &record::Session, reason: &'static str, arrived: Instant) {
        if self.logs_connections {
            log_client!(info, client, reason, seconds = arrived.elapsed().as_secs_f64(), "session closed");
        }
    }

    /// Logs the numbers of the errors that no line has reported. Call each second.
    pub fn report_unlogged(&self) {
        let unlogged = self.lock().take_unlogged(Instant::now());
        for UnloggedCount { subject, reason, count } in unlogged {
            tracing::warn!(subject = %subject, reason, more = count, "further errors of clients");
        }
    }

    fn admit(&self, subject: &str, reason: &'static str) -> Option<u64> {
        self.lock().admit(subject, reason, Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, LogLimiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
