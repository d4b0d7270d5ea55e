//! Source of a session's backends, as determined by the login.

use std::sync::Arc;

use super::initial_parameter_status::InitialParameterStatus;
use crate::{
    frontend::{acquire::PooledAcquirer, context::ListenerContext, relay::backend_side::SessionBackend},
    pool::Lease,
    route::RoutePolicy,
    session::{DatabaseState, RouteOptions, Session, SessionOptions, SessionTag},
    sql::StatefulNames,
    tls::Stream,
    wire::TransactionStatus,
};

/// Source of the backends of a session.
pub(crate) enum BackendSource {
    /// A dedicated backend.
    Own {
        stream: Stream,
        /// Bytes of the server after its first ReadyForQuery.
        unread: Vec<u8>,
        status: TransactionStatus,
    },
    /// A backend leased until the end of the session.
    Leased(Lease),
    /// Leases per transaction.
    Shared {
        acquirer: Box<PooledAcquirer>,
        database: Arc<DatabaseState>,
        /// ParameterStatus messages for the client.
        initial_status: Arc<InitialParameterStatus>,
        /// Identifies the session in `application_name`.
        tag: Option<SessionTag>,
        route_options: RouteOptions,
    },
}

/// A new session with its parts.
pub(crate) struct SessionStart {
    pub(crate) backend: SessionBackend,
    /// `None` for a dedicated session.
    pub(crate) acquirer: Option<Box<PooledAcquirer>>,
    pub(crate) session: Session,
    /// Bytes of the server behind its first ReadyForQuery.
    pub(crate) unread: Vec<u8>,
}

// === impl BackendSource ===

impl BackendSource {
    /// Starts the session. `pid` is the process id of the client's cancel key.
    pub(crate) fn into_session(
        self,
        context: &ListenerContext,
        pid: i32,
        options: SessionOptions,
    ) -> SessionStart {
        match self {
            Self::Own { stream, unread, status } => SessionStart {
                backend: SessionBackend::Own(stream),
                acquirer: None,
                session: Session::new(status, options),
                unread,
            },
            Self::Leased(lease) => {
                let functions = &context.settings.pool.pin_on_functions;
                let spoiling = (!functions.is_empty()).then(|| {
                    let mut spoiling = StatefulNames::default();
                    functions.iter().for_each(|function| spoiling.insert(function));
                    Arc::new(spoiling)
                });
                let session = Session::returning(spoiling, options);
                let backend = SessionBackend::Leased(lease);
                SessionStart { backend, acquirer: None, session, unread: Vec::new() }
            }
            Self::Shared { acquirer, database, initial_status, tag, route_options } => {
                let known = initial_status.known.clone();
                let mut session = Session::shared(database, known, initial_status.settings.clone(), options);
                session.set_client_pid(pid);
                if let Some(tag) = tag {
                    session.set_tag(tag);
                }
                if let RoutePolicy::Split(split) = &context.settings.route {
                    session.split(Arc::clone(split), route_options);
                }
                let backend = SessionBackend::None;
                SessionStart { backend, acquirer: Some(acquirer), session, unread: Vec::new() }
            }
        }
    }
}
