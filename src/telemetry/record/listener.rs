//! A listener's clients.

use std::{sync::Arc, time::SystemTime};

use super::{Each, Scope, timestamp};
use crate::telemetry::{
    catalog::{self, Label},
    labels::{AuthFailure, ClientState, Outcome, RefusalReason, SessionOutcome},
    registry::{Counter, Gauge, Level},
};

/// The handles of one listener.
pub struct ListenerMetrics {
    clients: Each<ClientState, Level>,
    limit: Gauge,
    connections: Counter,
    refusals: Each<RefusalReason, Counter>,
    authentication: Each<AuthFailure, Counter>,
    sessions: Each<SessionOutcome, Counter>,
    cancels: Each<Outcome, Counter>,
    accept_errors: Counter,
    certificate: Gauge,
}

/// A client that is counted under what it is doing, for as long as this lives.
pub struct ClientPresence {
    metrics: Arc<ListenerMetrics>,
    state: ClientState,
}

// === impl ListenerMetrics ===

impl ListenerMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            clients: scope.each(Label::State, |scope| scope.level(&catalog::CLIENTS)),
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
        self.clients.of(ClientState::Login).increment();
        ClientPresence { metrics: Arc::clone(self), state: ClientState::Login }
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

    /// The configuration no longer has the listener: its limit is 0, its certificate never ends. Its counters stand
    /// still.
    pub fn removed(&self) {
        self.limit.set(0.0);
        self.certificate.set(f64::NAN);
    }
}

// === impl ClientPresence ===

impl ClientPresence {
    /// The client does something else now.
    pub fn enter(&mut self, state: ClientState) {
        if state != self.state {
            self.metrics.clients.of(state).increment();
            self.metrics.clients.of(self.state).decrement();
            self.state = state;
        }
    }

    /// The listener's handles.
    #[must_use]
    pub fn listener(&self) -> &Arc<ListenerMetrics> {
        &self.metrics
    }
}

impl Drop for ClientPresence {
    fn drop(&mut self) {
        self.metrics.clients.of(self.state).decrement();
    }
}
