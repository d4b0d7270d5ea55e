//! Absence of an endpoint: no backend of the pool can serve, because the server or the path to it is gone.
//!
//! Promises: a waiter that holds keeps its place in the queue during an absence; the time of an absence does not count
//! for `query_wait_timeout`. Refuses to know: the limit of a hold, which the session keeps.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Filter, LeaseError, Pool, Pools,
    state::{DeferredActions, PoolState},
};
use crate::names::EndpointName;

/// Absence of the endpoint, as known to a pool.
pub(super) struct AbsenceState {
    /// The probe reports the endpoint down.
    probed: Option<ProbedDown>,
    /// The endpoint was absent at the last look.
    is_absent: bool,
    /// End of the last absence. For a new pool the creation: a wait may have begun at an absent predecessor.
    ended: Instant,
}

/// The probe's report.
struct ProbedDown {
    since: Instant,
    reason: Arc<str>,
}

// === impl AbsenceState ===

impl AbsenceState {
    /// State of a pool created at `now`.
    pub(super) const fn new(now: Instant) -> Self {
        Self { probed: None, is_absent: false, ended: now }
    }

    /// True if a wait that began at `then` counts from its start: no absence has ended since.
    pub(super) fn counts_since(&self, then: Instant) -> bool {
        self.ended <= then
    }
}

// === impl PoolState ===

impl PoolState {
    /// Reason why no backend can serve, if the endpoint is absent. A backend returned since then contradicts the probe.
    pub(super) fn absence(&self) -> Option<LeaseError> {
        if let Some(backoff) = &self.login_backoff
            && backoff.is_silence()
            && backoff.is_hopeless(self.slots.live_count(), self.answered)
        {
            return Some(LeaseError::Down(Arc::clone(&backoff.error)));
        }
        let probed = self.absence.probed.as_ref()?;
        let has_answered = self.answered.is_some_and(|answered| answered > probed.since);
        (!has_answered).then(|| LeaseError::ProbedDown(Arc::clone(&probed.reason)))
    }

    /// The endpoint is absent: waiters that hold learn the reason, all others fail with the reason.
    pub(super) fn begin_absence(&mut self, reason: &LeaseError, after: &mut DeferredActions) {
        for entry in self.queue.drain_impatient() {
            after.add_waker(entry.who.fail_wait(reason.clone()));
        }
        self.note_absence(reason, after);
    }

    /// The endpoint is absent: waiters that hold learn the reason, once per absence.
    pub(super) fn note_absence(&mut self, reason: &LeaseError, after: &mut DeferredActions) {
        if std::mem::replace(&mut self.absence.is_absent, true) {
            return;
        }
        for entry in self.queue.iter().filter(|entry| entry.holds) {
            after.add_waker(entry.who.notify_absence(reason.clone()));
        }
    }

    /// Notes the begin or end of an absence; true if the endpoint is present.
    pub(super) fn update_absence(&mut self, now: Instant, after: &mut DeferredActions) -> bool {
        if let Some(reason) = self.absence() {
            self.note_absence(&reason, after);
            return false;
        }
        if std::mem::take(&mut self.absence.is_absent) {
            self.absence.ended = now;
            self.restart_estimate(now);
        }
        true
    }
}

// === impl Pool ===

impl Pool {
    /// Reason why no backend of the endpoint can serve now, if so.
    pub(super) fn absence(&self) -> Option<LeaseError> {
        self.lock().absence()
    }

    /// The probe reports the endpoint down for `reason`.
    fn note_probed_down(self: &Arc<Self>, reason: &Arc<str>, worker: usize) {
        let mut after = DeferredActions::default();
        let mut guard = self.lock();
        let state: &mut PoolState = &mut guard;
        state.absence.probed =
            Some(ProbedDown { since: state.now.max(Instant::now()), reason: Arc::clone(reason) });
        if let Some(reason) = state.absence() {
            state.begin_absence(&reason, &mut after);
        }
        drop(guard);
        self.run_deferred(worker, after);
    }

    /// The probe has reached the endpoint: the next login need not wait. After failed probes (`has_returned`), logins
    /// under way begin again, since the connections of an earlier server may stay silent.
    fn note_probed_up(self: &Arc<Self>, has_returned: bool, worker: usize) {
        let now = Instant::now();
        let mut guard = self.lock();
        let state: &mut PoolState = &mut guard;
        state.absence.probed = None;
        let pauses = state.login_backoff.as_mut().filter(|backoff| backoff.is_silence());
        let grow = pauses.is_some() || has_returned;
        if let Some(backoff) = pauses {
            backoff.end_pause(now);
        }
        drop(guard);
        if has_returned {
            self.redial.notify_waiters();
        }
        if grow {
            self.dial_needed(worker);
        }
    }
}

// === impl Pools ===

impl Pools {
    /// The probe reports `endpoint` down for `reason`: waiters that do not hold fail, the others are on hold.
    pub fn note_probed_down(&self, endpoint: &EndpointName, reason: &Arc<str>) {
        for pool in self.matching_pools(&Filter::endpoint(endpoint.clone())) {
            pool.note_probed_down(reason, crate::tasks::current_worker());
        }
    }

    /// The probe has reached `endpoint`, for the first time after a failure if `has_returned`: pools log in at once.
    pub fn note_probed_up(&self, endpoint: &EndpointName, has_returned: bool) {
        for pool in self.matching_pools(&Filter::endpoint(endpoint.clone())) {
            pool.note_probed_up(has_returned, crate::tasks::current_worker());
        }
    }
}
