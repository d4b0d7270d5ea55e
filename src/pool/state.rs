//! Contents of a pool's lock.

use std::{sync::Arc, task::Waker};

use tokio::time::Instant;

use super::{
    LeaseError, PoolPhase, PoolSettings, QueueEstimate, StartupResponse,
    absence::AbsenceState,
    login_backoff::LoginBackoff,
    overload::{OverloadDetector, QueueLoad},
    pooled_backend::{BackendRecord, PooledBackend},
    queue::Queue,
    slots::{Occupancy, Slots},
    waiter::WaitCell,
};
use crate::telemetry::labels::CloseReason;

/// Contents of a pool's lock.
pub(super) struct PoolState {
    pub(super) settings: Arc<PoolSettings>,
    pub(super) phase: PoolPhase,
    pub(super) slots: Slots<PooledBackend, BackendRecord>,
    pub(super) queue: Queue<Arc<WaitCell>>,
    pub(super) overload: OverloadDetector,
    /// Time of the last tick: exact enough for minutes, without a clock read.
    pub(super) now: Instant,
    /// Backends of earlier epochs are closed on return.
    pub(super) epoch: u64,
    pub(super) startup_response: Option<Arc<StartupResponse>>,
    pub(super) login_backoff: Option<LoginBackoff>,
    /// Absence of the endpoint.
    pub(super) absence: AbsenceState,
    /// Time of the last returned or logged-in backend, by [`PoolState::now`].
    pub(super) answered: Option<Instant>,
    /// End of the pause in making idle backends.
    pub(super) idle_pause_until: Option<Instant>,
    /// Backends made ahead of demand: the pool is a replacement.
    pub(super) prepared: usize,
    /// Leases since the pool was made.
    pub(super) leases: u64,
    /// Start of the time without backends and waiters.
    pub(super) empty_since: Option<Instant>,
}

/// Actions deferred until the lock is released: wakers, sockets and locks of other pools are not touched under the
/// lock.
#[derive(Default)]
#[must_use = "somebody has to be woken"]
pub(super) struct DeferredActions {
    /// The usual case: a single waker.
    pub(super) wake: Option<Waker>,
    pub(super) wake_too: Vec<Waker>,
    pub(super) closed: Vec<ClosedBackend>,
    /// The pool may want to dial.
    pub(super) grow: bool,
    /// The last lease of a paused pool was returned.
    pub(super) quiet: bool,
}

/// A backend that the pool no longer has.
pub(super) struct ClosedBackend {
    /// `None` if the session has closed the connection.
    pub(super) member: Option<PooledBackend>,
    /// Record of the backend, with the permit.
    pub(super) record: Option<BackendRecord>,
    pub(super) reason: CloseReason,
}

/// Reason for another backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrowthReason {
    /// A session waits.
    Waiters,
    /// Fewer than `min_idle` are idle.
    Idle,
}

// === impl PoolState ===

impl PoolState {
    /// Reason to dial another backend now, if any.
    pub(super) fn growth_reason(&self, now: Instant, at_once: usize) -> Option<GrowthReason> {
        let dialing = self.slots.count(Occupancy::Dialing);
        if self.phase != PoolPhase::Open
            || self.slots.used_count() >= self.settings.size
            || dialing >= at_once
            || self
                .login_backoff
                .as_ref()
                .is_some_and(|login_backoff| dialing > 0 || now < login_backoff.retry_at)
        {
            return None;
        }
        if self.queue.len() > dialing {
            return Some(GrowthReason::Waiters);
        }
        // A settling backend is idle soon.
        let idle = self.slots.count(Occupancy::Idle) + self.slots.count(Occupancy::Settling) + dialing;
        let pauses = self.idle_pause_until.is_some_and(|until| now < until);
        (self.queue.is_empty() && !pauses && idle < self.settings.min_idle.max(self.prepared))
            .then_some(GrowthReason::Idle)
    }

    /// Error of a pool that no longer serves sessions.
    pub(super) const fn end_error(&self) -> Option<LeaseError> {
        match self.phase {
            PoolPhase::Withdrawn => Some(LeaseError::Withdrawn),
            PoolPhase::Closed => Some(LeaseError::Closed),
            PoolPhase::Open | PoolPhase::Paused | PoolPhase::Draining => None,
        }
    }

    /// Error of the last login, for a waiter that does not hold, while no login can help.
    pub(super) fn login_error(&self, now: Instant) -> Option<LeaseError> {
        let login_backoff = self.login_backoff.as_ref()?;
        let is_down =
            now < login_backoff.retry_at && login_backoff.is_hopeless(self.slots.live_count(), self.answered);
        is_down.then(|| LeaseError::Down(Arc::clone(&login_backoff.error)))
    }

    /// Fails all waiters.
    pub(super) fn fail_waiters(&mut self, error: &LeaseError, after: &mut DeferredActions) {
        for entry in self.queue.drain() {
            after.add_waker(entry.who.fail_wait(error.clone()));
        }
    }

    /// The estimate for a waiter of `rank` that would wait longer than `query_wait_timeout`, if the estimate is sure.
    pub(super) fn wait_estimate(&mut self, now: Instant, rank: Instant) -> Option<QueueEstimate> {
        let limit = self.settings.query_wait_timeout;
        if limit.is_zero() || self.phase != PoolPhase::Open || self.absence().is_some() {
            return None;
        }
        let load = QueueLoad {
            rank,
            waiting: self.queue.len() + 1,
            ahead: self.queue.count_ahead(rank),
            backends: self.slots.used_count(),
        };
        self.overload.refusal(now, limit, load)
    }

    /// Begins to measure the service rate. Called when the first session waits, or the pool serves again.
    pub(super) fn restart_estimate(&mut self, now: Instant) {
        self.overload.restart(now, self.settings.query_wait_timeout);
    }

    /// Reason to close the backend instead of reuse, if any.
    pub(super) fn close_reason(&self, record: &BackendRecord) -> Option<CloseReason> {
        match self.phase {
            PoolPhase::Withdrawn | PoolPhase::Closed | PoolPhase::Draining => {
                return Some(CloseReason::Withdrawn);
            }
            PoolPhase::Open | PoolPhase::Paused => {}
        }
        if record.epoch != self.epoch {
            Some(CloseReason::Withdrawn)
        } else if record.expires.is_some_and(|expires| expires <= self.now) {
            Some(CloseReason::Lifetime)
        } else if self.slots.used_count() > self.settings.size {
            Some(CloseReason::Resized)
        } else {
            None
        }
    }
}

// === impl DeferredActions ===

impl DeferredActions {
    /// Adds a waker.
    pub(super) fn add_waker(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if self.wake.is_some() => self.wake_too.push(waker),
            Some(waker) => self.wake = Some(waker),
            None => {}
        }
    }

    /// A backend is to be closed.
    pub(super) fn add_closed(
        &mut self,
        member: Option<PooledBackend>,
        record: Option<BackendRecord>,
        reason: CloseReason,
    ) {
        self.closed.push(ClosedBackend { member, record, reason });
    }
}
