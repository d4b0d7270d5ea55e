//! Reports the events of a session to metrics, audit log and registry.

use super::{backend_side::BackendSide, leasing::Leasing, turn::Turn};
use crate::{
    frontend::{
        observe::recorder::Recorder,
        registry::{
            entry::{Activity, SessionWait},
            sessions::Registered,
        },
    },
    route::RouteReason,
    session::{ClusterEvent, Session},
    wire::TransactionStatus,
};

/// Reports the events that the session has queued.
pub(super) fn report_events(session: &mut Session, backend: &BackendSide, recorder: &mut Recorder) {
    if let Some(reason) = session.poll_rerun() {
        recorder.record_rerun(reason);
        if let (RouteReason::Rerun(cause), Some(lease)) = (reason, backend.lease()) {
            lease.running().endpoint().metrics().record_rerun(cause);
        }
    }
    if let Some(fate) = session.poll_fate() {
        recorder.record_fate(fate);
    }
    if let Some(resolved) = session.poll_resolved_commit() {
        recorder.record_resolved_commit(resolved);
    }
    while let Some(report) = session.poll_report() {
        recorder.record_statement(report);
    }
    while let Some(event) = session.poll_cluster_event() {
        match event {
            ClusterEvent::DatabaseNamed => recorder.clear_databases(),
            ClusterEvent::LoginsChanged => recorder.logins_changed(),
        }
    }
    for _ in 0..session.poll_state_checks() {
        recorder.path().state_check();
    }
    while let Some(pin) = session.poll_pin() {
        recorder.record_pin(pin);
    }
}

/// Stores the activity of a session in its registry entry after changes.
#[derive(Default)]
pub(super) struct ActivityReport {
    stored: Activity,
    /// Number of ended transactions while a transaction is open; `None` otherwise.
    transaction: Option<u64>,
}

// === impl ActivityReport ===

impl ActivityReport {
    /// Stores the activity of `session` in its entry.
    pub(super) fn update(
        &mut self,
        session: &Session,
        leasing: Option<&Leasing>,
        turn: &mut Turn,
        registered: &Registered,
        recorder: &mut Recorder,
    ) {
        // The client's message may wait for the server.
        let is_pinging = leasing.is_some_and(Leasing::is_pinging);
        let waits = session.wants_backend();
        let activity = Activity {
            begun: session.statements_started(),
            busy: !session.is_settled() || waits || is_pinging,
            wait: leasing.map_or(SessionWait::Nothing, Leasing::wait),
            status: session.status(),
        };
        if activity != self.stored {
            self.stored = activity;
            registered.set_activity(activity, turn.now());
        }
        let is_open = !waits && (activity.busy || activity.status != TransactionStatus::Idle);
        let transaction = is_open.then(|| session.transactions());
        if transaction != self.transaction {
            self.transaction = transaction;
            registered.set_transaction(transaction.map(|_| turn.now()));
        }
        let pins = session.pins();
        if pins != registered.pins() {
            registered.set_pins(pins);
        }
        recorder.set_active(!session.is_idle() || waits);
    }
}
