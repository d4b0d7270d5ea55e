//! A listener's clients.

use std::{sync::Arc, time::SystemTime};

use super::{ClientPresence, Each, RouteCounts, Scope, clients::Clients, routes::Routes, timestamp};
use crate::telemetry::{
    catalog::{self, Label},
    labels::{AuthFailure, ClientState, Outcome, RefusalReason, SessionOutcome},
    registry::{Counter, Gauge},
};

/// The handles of one listener.
pub struct ListenerMetrics {
    pub(super) clients: Clients,
    routes: Routes,
    limit: Gauge,
    connections: Counter,
    refusals: Each<RefusalReason, Counter>,
    authentication: Each<AuthFailure, Counter>,
    sessions: Each<SessionOutcome, Counter>,
    cancels: Each<Outcome, Counter>,
    accept_errors: Counter,
    certificate: Gauge,
}

impl ListenerMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            clients: Clients::new(scope),
            routes: Routes::new(scope),
            limit: scope.gauge(&catalog::CLIENTS_LIMIT),
            connections: scope.counter(&catalog::CLIENT_CONNECTIONS),
            refusals: scope.each(Label::Reason, |scope| scope.counter(&catalog::CLIENT_REFUSALS)),
            authentication: scope
                .each(Label::Reason, |scope| scope.counter(&catalog::AUTHENTICATION_FAILURES)),
            sessions: scope.each(Label::Outcome, |scope| scope.counter(&catalog::SESSIONS)),
            cancels: scope.each(Label::Outcome, |scope| scope.counter(&catalog::CANCEL_REQUESTS)),
            accept_errors: scope.counter(&catalog::ACCEPT_ERRORS),
            certificate: scope.unknown(&catalog::LISTENER_CERTIFICATE_EXPIRY),
        }
    }

    /// A connection was accepted: its client is in [`ClientState::Login`].
    #[must_use]
    pub fn accepted(self: &Arc<Self>) -> ClientPresence {
        self.connections.increment();
        ClientPresence::enter_first(self, ClientState::Login)
    }

    /// Where worker `worker` counts its decisions. Takes a short lock: a session asks once.
    #[must_use]
    pub fn routes(&self, worker: usize) -> Arc<RouteCounts> {
        self.routes.shards.of(worker)
    }

    /// So many clients are accepted at one time.
    #[expect(clippy::cast_precision_loss, reason = "nobody accepts 2^53 clients")]
    pub fn limit(&self, clients: usize) {
        self.limit.set(clients as f64);
    }

    /// A client was turned away before its session began.
    pub fn refused(&self, reason: RefusalReason) {
        self.refusals.of(reason).increment();
    }

    /// A client did not get past authentication.
    pub fn authentication_failed(&self, reason: AuthFailure) {
        self.authentication.of(reason).increment();
    }

    /// A session ended.
    pub fn session_ended(&self, outcome: SessionOutcome) {
        self.sessions.of(outcome).increment();
    }

    /// A cancel request came in; with an unknown key it is an error.
    pub fn cancel_request(&self, outcome: Outcome) {
        self.cancels.of(outcome).increment();
    }

    /// `accept()` failed.
    pub fn accept_failed(&self) {
        self.accept_errors.increment();
    }

    /// The certificate shown to clients ends then.
    pub fn certificate_ends(&self, moment: SystemTime) {
        self.certificate.set(timestamp(moment));
    }

    /// Moves what all workers counted to where it is shown.
    pub(super) fn flush(&self) {
        self.clients.flush();
        self.routes.flush();
    }

    /// The configuration no longer has the listener: its limit is 0, its certificate never ends. Its counters stand
    /// still.
    pub fn removed(&self) {
        self.limit.set(0.0);
        self.certificate.set(f64::NAN);
    }
}
