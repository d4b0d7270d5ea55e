//! Contents of a pool's lock.

use std::{sync::Arc, task::Waker};

use tokio::time::Instant;

use super::{
    LeaseError, PoolPhase, PoolSettings, Welcome,
    member::{Member, Tenant},
    queue::Queue,
    slots::{Occupancy, Slots},
    trouble::Trouble,
    waiter::Seat,
};
use crate::telemetry::labels::CloseReason;

/// Contents of a pool's lock.
pub(super) struct State {
    pub(super) settings: Arc<PoolSettings>,
    pub(super) phase: PoolPhase,
    pub(super) slots: Slots<Member, Tenant>,
    pub(super) queue: Queue<Arc<Seat>>,
    /// Time of the last tick: exact enough for minutes, without a clock read.
    pub(super) now: Instant,
    /// Backends of earlier epochs are closed on return.
    pub(super) epoch: u64,
    pub(super) welcome: Option<Arc<Welcome>>,
    pub(super) trouble: Option<Trouble>,
    /// Time of the last returned or logged-in backend, by [`State::now`].
    pub(super) answered: Option<Instant>,
    /// End of the pause in making idle backends.
    pub(super) idle_pause_until: Option<Instant>,
    /// Backends made ahead of demand: the pool is a successor.
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
pub(super) struct Afterwards {
    /// The usual case: a single waker.
    pub(super) wake: Option<Waker>,
    pub(super) wake_too: Vec<Waker>,
    pub(super) gone: Vec<Gone>,
    /// The pool may want to dial.
    pub(super) grow: bool,
    /// The last lease of a paused pool was returned.
    pub(super) quiet: bool,
}

/// A backend that the pool no longer has.
pub(super) struct Gone {
    /// `None` if the session has closed the connection.
    pub(super) member: Option<Member>,
    /// Record of the backend, with the permit.
    pub(super) tenant: Option<Tenant>,
    pub(super) reason: CloseReason,
}

/// Reason for another backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A session waits.
    Waiters,
    /// Fewer than `min_idle` are idle.
    Idle,
}

// === impl State ===

impl State {
    /// Reason to dial another backend now, if any.
    pub(super) fn needs(&self, now: Instant, at_once: usize) -> Option<Need> {
        let dialing = self.slots.count(Occupancy::Dialing);
        if self.phase != PoolPhase::Open
            || self.slots.used() >= self.settings.size
            || dialing >= at_once
            || self.trouble.as_ref().is_some_and(|trouble| dialing > 0 || now < trouble.retry_at)
        {
            return None;
        }
        if self.queue.len() > dialing {
            return Some(Need::Waiters);
        }
        // A settling backend is idle soon.
        let idle = self.slots.count(Occupancy::Idle) + self.slots.count(Occupancy::Settling) + dialing;
        let pauses = self.idle_pause_until.is_some_and(|until| now < until);
        (self.queue.is_empty() && !pauses && idle < self.settings.min_idle.max(self.prepared))
            .then_some(Need::Idle)
    }

    /// Immediate error for a new waiter, if any.
    pub(super) fn refusal(&self, now: Instant) -> Option<LeaseError> {
        match self.phase {
            PoolPhase::Withdrawn => return Some(LeaseError::Withdrawn),
            PoolPhase::Closed => return Some(LeaseError::Closed),
            PoolPhase::Open | PoolPhase::Paused | PoolPhase::Draining => {}
        }
        let trouble = self.trouble.as_ref()?;
        let told = now < trouble.retry_at && trouble.is_hopeless(self.slots.live(), self.answered);
        told.then(|| LeaseError::Down(Arc::clone(&trouble.error)))
    }

    /// Fails all waiters.
    pub(super) fn fail_waiters(&mut self, error: &LeaseError, after: &mut Afterwards) {
        for entry in self.queue.drain() {
            after.wake(entry.who.fail(error.clone()));
        }
    }

    /// Reason to close the backend instead of reuse, if any.
    pub(super) fn unfit(&self, tenant: &Tenant) -> Option<CloseReason> {
        match self.phase {
            PoolPhase::Withdrawn | PoolPhase::Closed | PoolPhase::Draining => {
                return Some(CloseReason::Withdrawn);
            }
            PoolPhase::Open | PoolPhase::Paused => {}
        }
        if tenant.epoch != self.epoch {
            Some(CloseReason::Withdrawn)
        } else if tenant.expires.is_some_and(|expires| expires <= self.now) {
            Some(CloseReason::Lifetime)
        } else if self.slots.used() > self.settings.size {
            Some(CloseReason::Resized)
        } else {
            None
        }
    }
}

// === impl Afterwards ===

impl Afterwards {
    /// Adds a waker.
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if self.wake.is_some() => self.wake_too.push(waker),
            Some(waker) => self.wake = Some(waker),
            None => {}
        }
    }

    /// A backend is to be closed.
    pub(super) fn close(&mut self, member: Option<Member>, tenant: Option<Tenant>, reason: CloseReason) {
        self.gone.push(Gone { member, tenant, reason });
    }
}
