//! A session that waits for a backend.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{Disposition, Lease, LeaseError, Pool, Want};

/// A session that may wait for a backend: made once, used for all its waits, of which only the first one allocates.
///
/// Dropping it leaves the queue; a backend that was handed over and not taken yet goes back.
#[derive(Default)]
pub struct Waiter {
    /// Most sessions never wait.
    seat: Option<Arc<Seat>>,
    queued: Option<Queued>,
}

/// What came of waiting.
pub enum Waited {
    /// A backend; the wait is over.
    Lease(Lease),
    /// The wait is as long as [`super::PoolSettings::wait_notice`] says, and goes on. Comes once for each wait.
    Notice(Duration),
    /// There is none; the wait is over.
    Failed(LeaseError),
}

/// Where and since when somebody waits.
pub(super) struct Queued {
    pub(super) pool: Arc<Pool>,
    pub(super) want: Want,
    /// `None` when the wait was over before it began.
    pub(super) ticket: Option<u64>,
    pub(super) since: Instant,
}

/// Where the pool leaves what the waiter takes up. Locked behind the pool's lock, never before it.
#[derive(Default)]
pub(super) struct Seat {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Outcome,
    notice: Option<Duration>,
    waker: Option<Waker>,
}

#[derive(Default)]
enum Outcome {
    /// Nothing yet, or taken up already.
    #[default]
    None,
    Lease(Lease),
    Failed(LeaseError),
}

// === impl Waiter ===

impl Waiter {
    /// One that does not wait.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it waits, or has not taken up what came of it.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.queued.is_some()
    }

    /// What came of the wait. Pending for ever when there is none.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Waited> {
        loop {
            let (Some(_), Some(seat)) = (&self.queued, &self.seat) else { return Poll::Pending };
            let mut seat = seat.lock();
            let outcome = mem::take(&mut seat.outcome);
            if let Outcome::None = outcome {
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
            let Some(Queued { pool, want, since, .. }) = self.queued.take() else { return Poll::Pending };
            let lease = match outcome {
                Outcome::Lease(lease) => lease.moved_to(want.worker),
                Outcome::Failed(error) => return Poll::Ready(Waited::Failed(error)),
                Outcome::None => None,
            };
            if let Some(lease) = lease {
                pool.waited(want.worker, since.elapsed());
                return Poll::Ready(Waited::Lease(lease));
            }
            // The backend could not be used: back into the queue.
            pool.wait(self, &want);
        }
    }

    /// Waits no longer: the statement was cancelled, or nobody is there any more.
    pub fn leave(&mut self) {
        let Some(Queued { pool, want, ticket, .. }) = self.queued.take() else { return };
        if let Some(ticket) = ticket {
            pool.left(want.worker, ticket);
        }
        let Some(seat) = &self.seat else { return };
        let mut seat = seat.lock();
        let outcome = mem::take(&mut seat.outcome);
        seat.clear();
        drop(seat);
        if let Outcome::Lease(lease) = outcome {
            // Nobody has used it since it was handed over.
            lease.release(Disposition::Clean);
        }
    }

    pub(super) fn seat(&mut self) -> &Arc<Seat> {
        self.seat.get_or_insert_default()
    }

    /// It begins to wait.
    pub(super) fn sit(&mut self, queued: Queued) {
        debug_assert!(self.queued.is_none(), "one wait at a time");
        self.queued = Some(queued);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

// === impl Seat ===

impl Seat {
    /// The wait is over: a backend. Whom to wake.
    pub(super) fn grant(&self, lease: Lease) -> Option<Waker> {
        let mut state = self.lock();
        state.outcome = Outcome::Lease(lease);
        state.waker.take()
    }

    /// The wait is over: none. Whom to wake.
    pub(super) fn fail(&self, error: LeaseError) -> Option<Waker> {
        let mut state = self.lock();
        state.outcome = Outcome::Failed(error);
        state.waker.take()
    }

    /// The wait is long. Whom to wake.
    pub(super) fn tell(&self, waited: Duration) -> Option<Waker> {
        let mut state = self.lock();
        state.notice = Some(waited);
        state.waker.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        (self.notice, self.waker) = (None, None);
    }
}
