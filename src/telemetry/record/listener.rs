//! Metrics of a listener's clients.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{ClientPresence, Each, RouteCounts, Scope, clients::Clients, routes::Routes, unix_seconds};
use crate::{
    session::{CommitOutcome, Fate},
    telemetry::{
        catalog::{self, Label},
        labels::{AuthFailure, ClientState, HoldOutcome, Outcome, RefusalReason, SessionOutcome},
        registry::{Counter, Gauge, Histogram, Level},
    },
};

/// Metrics of one listener.
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
    held: Level,
    hold_duration: Histogram,
    holds: Each<HoldOutcome, Counter>,
    interrupted: Each<Fate, Counter>,
    commits_in_doubt: Each<CommitOutcome, Counter>,
}

/// A client on hold, counted until [`HoldPresence::end`] or drop.
pub struct HoldPresence {
    listener: Arc<ListenerMetrics>,
    since: Instant,
    outcome: HoldOutcome,
}

// === impl ListenerMetrics ===

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
            held: scope.level(&catalog::HELD_CLIENTS),
            hold_duration: scope.histogram(&catalog::HOLD_DURATION),
            holds: scope.each(Label::Outcome, |scope| scope.counter(&catalog::HOLDS)),
            interrupted: scope.each(Label::Fate, |scope| scope.counter(&catalog::INTERRUPTED_TRANSACTIONS)),
            commits_in_doubt: scope.each(Label::Outcome, |scope| scope.counter(&catalog::COMMITS_IN_DOUBT)),
        }
    }

    /// Records an accepted connection, whose client is in [`ClientState::Login`].
    #[must_use]
    pub fn record_accept(self: &Arc<Self>) -> ClientPresence {
        self.connections.increment();
        ClientPresence::enter_first(self, ClientState::Login)
    }

    /// Records a client on hold, counted until the returned value is dropped.
    #[must_use]
    pub fn hold_client(self: &Arc<Self>) -> HoldPresence {
        self.held.increment();
        HoldPresence { listener: Arc::clone(self), since: Instant::now(), outcome: HoldOutcome::Left }
    }

    /// The shard for route decisions on `worker`. Takes a short lock: call once per session.
    #[must_use]
    pub fn routes(&self, worker: usize) -> Arc<RouteCounts> {
        self.routes.shards.of(worker)
    }

    /// Sets the maximum number of clients.
    #[expect(clippy::cast_precision_loss, reason = "nobody accepts 2^53 clients")]
    pub fn limit(&self, clients: usize) {
        self.limit.set(clients as f64);
    }

    /// Records a client rejected before its session began.
    pub fn record_rejection(&self, reason: RefusalReason) {
        self.refusals.of(reason).increment();
    }

    /// Records a failed authentication.
    pub fn authentication_failed(&self, reason: AuthFailure) {
        self.authentication.of(reason).increment();
    }

    /// Records the end of a session.
    pub fn session_ended(&self, outcome: SessionOutcome) {
        self.sessions.of(outcome).increment();
    }

    /// Records a transaction whose backend was lost.
    pub fn transaction_interrupted(&self, fate: Fate) {
        self.interrupted.of(fate).increment();
    }

    /// Records the outcome of a COMMIT in doubt.
    pub fn commit_resolved(&self, outcome: CommitOutcome) {
        self.commits_in_doubt.of(outcome).increment();
    }

    /// A cancel request came in; with an unknown key it is an error.
    pub fn cancel_request(&self, outcome: Outcome) {
        self.cancels.of(outcome).increment();
    }

    /// `accept()` failed.
    pub fn accept_failed(&self) {
        self.accept_errors.increment();
    }

    /// Sets the expiry of the certificate presented to clients.
    pub fn certificate_ends(&self, moment: SystemTime) {
        self.certificate.set(unix_seconds(moment));
    }

    /// Moves the counts of all workers to the exporter.
    pub(super) fn flush(&self) {
        self.clients.flush();
        self.routes.flush();
    }

    /// Ends the series of a listener that a reload has removed: limit 0, certificate without expiry. Counters keep
    /// their value.
    pub fn removed(&self) {
        self.limit.set(0.0);
        self.certificate.set(f64::NAN);
    }
}

// === impl HoldPresence ===

impl HoldPresence {
    /// Ends the hold with `outcome`. A hold that is dropped was left by its client.
    pub fn end(mut self, outcome: HoldOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for HoldPresence {
    fn drop(&mut self) {
        self.listener.held.decrement();
        self.listener.hold_duration.record(self.since.elapsed());
        self.listener.holds.of(self.outcome).increment();
    }
}
