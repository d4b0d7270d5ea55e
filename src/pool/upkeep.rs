//! Checks that depend on time: long waits, old backends, and unnoticed dead backends.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    LeaseError, Pool, PoolPhase,
    slots::Occupancy,
    state::{DeferredActions, PoolState},
};
use crate::{telemetry::labels::CloseReason, tls::Quiet};

impl Pool {
    /// Maintains the waiters and idle backends of the current worker `worker`.
    pub(super) fn tick(self: &Arc<Self>, worker: usize, now: Instant) {
        let mut after = DeferredActions::default();
        let mut guard = self.lock();
        let state = &mut *guard;
        state.now = state.now.max(now);
        let settings = Arc::clone(&state.settings);
        if state.update_absence(now, &mut after)
            && !settings.query_wait_timeout.is_zero()
            && let Some(then) = now.checked_sub(settings.query_wait_timeout)
            && state.absence.counts_since(then)
        {
            for entry in state.queue.take_expired(worker, then) {
                self.metrics.pool_wait_timed_out();
                let waited = now - entry.times.since;
                after.add_waker(entry.who.fail_wait(LeaseError::Timeout { waited }));
            }
        }
        if !settings.wait_notice.is_zero()
            && let Some(then) = now.checked_sub(settings.wait_notice)
        {
            state.queue.notify_long_waits(worker, then, |entry| {
                after.add_waker(entry.who.notify_long_wait(now - entry.times.since))
            });
        }
        state.overload.expire_refused(now, settings.query_wait_timeout);
        sort_out(state, worker, now, &mut after);
        after.grow |= state.growth_reason(now, usize::MAX).is_some() || self.is_under_pressure();
        let empty = state.slots.used_count() == 0 && state.queue.is_empty();
        state.empty_since = if empty { state.empty_since.or(Some(now)) } else { None };
        drop(guard);
        self.run_deferred(worker, after);
    }

    /// Closes unusable idle backends of all workers.
    pub(super) fn sort_out_all(&self, state: &mut PoolState, after: &mut DeferredActions) {
        let now = state.now;
        for worker in 0..state.slots.workers() {
            sort_out(state, worker, now, after);
        }
    }

    /// True if no backend is leased or about to be leased.
    pub(super) fn is_quiet(&self) -> bool {
        let slots = &self.lock().slots;
        slots.live_count() == slots.count(Occupancy::Idle) && slots.count(Occupancy::Dialing) == 0
    }
}

/// Takes the idle backends of `worker` out that are of no more use.
fn sort_out(state: &mut PoolState, worker: usize, now: Instant, after: &mut DeferredActions) {
    let mut at = 0;
    while let Some((member, record, since)) = state.slots.idle_at(worker, at) {
        let settings = &state.settings;
        let rests_too_long = !settings.idle_timeout.is_zero()
            && now.saturating_duration_since(since) >= settings.idle_timeout
            && state.slots.count(Occupancy::Idle) > settings.min_idle;
        let quiet = member.quiet();
        let reason = match quiet {
            Quiet::Yes => {
                state.close_reason(record).or_else(|| rests_too_long.then_some(CloseReason::IdleTimeout))
            }
            Quiet::Spoke | Quiet::Ended => Some(CloseReason::Broken),
        };
        let Some(reason) = reason else {
            at += 1;
            continue;
        };
        if quiet == Quiet::Spoke {
            // The message may be a changed setting, which the next login shows.
            state.startup_response = None;
        }
        if let Some((place, member)) = state.slots.take_idle_at(worker, at, now) {
            let record = state.slots.free_slot(place, now).flatten();
            after.add_closed(Some(member), record, reason);
        }
    }
    after.quiet |= state.phase != PoolPhase::Open;
}
