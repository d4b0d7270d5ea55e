//! A session that waits for a backend.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{AcquireOptions, Disposition, Lease, LeaseError, Pool};

/// A session's place in queues for backends: created once and reused; only the first wait allocates.
///
/// Drop leaves the queue and returns a granted backend that was not taken.
#[derive(Default)]
pub struct Waiter {
    /// Most sessions never wait.
    seat: Option<Arc<WaitCell>>,
    queued: Option<Queued>,
}

/// Result of waiting.
pub enum Waited {
    /// A backend; the wait is over.
    Lease(Lease),
    /// The wait exceeds [`super::PoolSettings::wait_notice`] and continues. Once per wait.
    Notice(Duration),
    /// The endpoint is absent, for the given reason, and the wait continues. Once per absence, and only for waiters
    /// with [`super::WaitTerms::holds`]: the session bounds the wait.
    Held(LeaseError),
    /// No backend; the wait is over.
    Failed(LeaseError),
}

/// Queue and start of a wait.
pub(super) struct Queued {
    pub(super) pool: Arc<Pool>,
    /// With the times of this wait.
    pub(super) want: AcquireOptions,
    /// `None` if the wait ended before the start.
    pub(super) ticket: Option<u64>,
}

/// Result cell between pool and waiter. Locked behind the pool's lock, never before.
#[derive(Default)]
pub(super) struct WaitCell {
    state: Mutex<WaitState>,
}

#[derive(Default)]
struct WaitState {
    outcome: WaitOutcome,
    notice: Option<Duration>,
    held: Option<LeaseError>,
    waker: Option<Waker>,
}

#[derive(Default)]
enum WaitOutcome {
    /// No result yet, or already taken.
    #[default]
    None,
    Lease(Lease),
    Failed(LeaseError),
}

// === impl Waiter ===

impl Waiter {
    /// A waiter outside of queues.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True while waiting, or with a result not yet taken.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.queued.is_some()
    }

    /// Result of the wait. Pending forever without a wait.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Waited> {
        loop {
            let (Some(_), Some(seat)) = (&self.queued, &self.seat) else { return Poll::Pending };
            let mut seat = seat.lock();
            let outcome = mem::take(&mut seat.outcome);
            if let WaitOutcome::None = outcome {
                if let Some(reason) = seat.held.take() {
                    return Poll::Ready(Waited::Held(reason));
                }
                if let Some(waited) = seat.notice.take() {
                    return Poll::Ready(Waited::Notice(waited));
                }
                match &mut seat.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            seat.clear();
            drop(seat);
            let Some(Queued { pool, want, .. }) = self.queued.take() else { return Poll::Pending };
            let lease = match outcome {
                WaitOutcome::Lease(lease) => lease.moved_to(want.worker),
                WaitOutcome::Failed(error) => return Poll::Ready(Waited::Failed(error)),
                WaitOutcome::None => None,
            };
            if let Some(lease) = lease {
                pool.count_wait(
                    want.worker,
                    want.terms.since.map_or(Duration::ZERO, |since| since.elapsed()),
                );
                return Poll::Ready(Waited::Lease(lease));
            }
            // The backend could not be used: back into the queue.
            pool.wait(self, &want);
        }
    }

    /// Leaves the queue: the statement was canceled, or the client is gone.
    pub fn leave(&mut self) {
        let Some(Queued { pool, want, ticket }) = self.queued.take() else { return };
        if let (Some(ticket), Some(rank)) = (ticket, want.terms.unserved_since) {
            pool.remove_waiter(want.worker, rank, ticket);
        }
        let Some(seat) = &self.seat else { return };
        let mut seat = seat.lock();
        let outcome = mem::take(&mut seat.outcome);
        seat.clear();
        drop(seat);
        if let WaitOutcome::Lease(lease) = outcome {
            // Not used since the grant.
            lease.release(Disposition::Clean);
        }
    }

    /// Reason why no backend of the endpoint can serve now, if so.
    #[must_use]
    pub fn absence(&self) -> Option<LeaseError> {
        self.queued.as_ref()?.pool.absence()
    }

    pub(super) fn wait_cell(&mut self) -> &Arc<WaitCell> {
        self.seat.get_or_insert_default()
    }

    /// Begins a wait.
    pub(super) fn enqueue(&mut self, queued: Queued) {
        debug_assert!(self.queued.is_none(), "one wait at a time");
        self.queued = Some(queued);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl WaitCell ===

impl WaitCell {
    /// Ends the wait with a backend; returns the waker.
    pub(super) fn grant_lease(&self, lease: Lease) -> Option<Waker> {
        let mut state = self.lock();
        state.outcome = WaitOutcome::Lease(lease);
        state.waker.take()
    }

    /// Ends the wait with an error; returns the waker.
    pub(super) fn fail_wait(&self, error: LeaseError) -> Option<Waker> {
        let mut state = self.lock();
        state.outcome = WaitOutcome::Failed(error);
        state.waker.take()
    }

    /// Reports a long wait; returns the waker.
    pub(super) fn notify_long_wait(&self, waited: Duration) -> Option<Waker> {
        let mut state = self.lock();
        state.notice = Some(waited);
        state.waker.take()
    }

    /// Reports the endpoint's absence; returns the waker.
    pub(super) fn notify_absence(&self, reason: LeaseError) -> Option<Waker> {
        let mut state = self.lock();
        state.held = Some(reason);
        state.waker.take()
    }

    fn lock(&self) -> MutexGuard<'_, WaitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitState {
    fn clear(&mut self) {
        (self.notice, self.held, self.waker) = (None, None, None);
    }
}
