//! Exclusive use of a backend, and requests for a lease.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    BackendHandle, Pool, QueueEstimate, StartupResponse,
    pooled_backend::PooledBackend,
    slots::{SlotKey, Sought},
};
use crate::{
    backend::ConnectError, session::TrackedBackendState, telemetry::labels::CloseReason, tls::Stream,
    topology::NodeId,
};

/// Exclusive use of a backend by a session.
///
/// Dropped without [`Lease::release`], the backend is closed: forgetting is safe.
pub struct Lease {
    /// The connection, registered with the requesting worker. Between leases the server has no response outstanding.
    pub stream: Stream,
    /// Tracked state of the backend. The session takes the state, updates the state, and puts it back: a backend
    /// without state is discarded.
    pub tracked_state: Option<Box<TrackedBackendState>>,
    running: Arc<BackendHandle>,
    login: Arc<StartupResponse>,
    worker: usize,
    hold: Hold,
}

/// The slot of the backend, freed when dropped.
struct Hold {
    pool: Option<Arc<Pool>>,
    place: SlotKey,
}

/// Request of a session for a backend.
#[derive(Debug, Clone, Copy)]
pub struct AcquireOptions {
    /// Worker of the session, which is the current worker.
    pub worker: usize,
    /// The [`TrackedBackendState::settings_mark`] of a backend that needs no settings changed.
    pub settings: u64,
    /// The last backend used in the pool: preferred if no other session has used the backend since.
    pub last: Option<Trace>,
    /// Place and patience in the queue.
    pub terms: WaitTerms,
}

/// Terms of a wait in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitTerms {
    /// Start of the wait, if the session has waited elsewhere before: keeps its place among the waiters.
    pub since: Option<Instant>,
    /// Start of the session's first wait since it was served last, if that wait failed: the next wait takes its place in
    /// the queue from there.
    pub unserved_since: Option<Instant>,
    /// The waiter stays in the queue while the endpoint is absent; see [`super::Waited::Held`].
    pub holds: bool,
    /// The wait is refused at once if it would exceed `query_wait_timeout`.
    pub is_refusable: bool,
}

/// A backend, with the generation of a single use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(SlotKey);

/// State of a returned backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Idle outside of a transaction, no response outstanding, and no state beyond the tracked state.
    Clean,
    /// No response outstanding, but possibly an open transaction and leftover state: `ROLLBACK` and `DISCARD ALL`
    /// follow in the background.
    Reset,
    /// Of no more use.
    Discard,
}

/// Why there is no backend.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// No backend became free in time.
    #[error("no backend became free within {} s", waited.as_secs_f64())]
    Timeout {
        /// Time spent waiting.
        waited: Duration,
    },
    /// The wait would exceed `query_wait_timeout`.
    #[error("{} sessions wait already; the estimated wait is {:.1} s", estimate.position - 1, estimate.wait.as_secs_f64())]
    Overloaded {
        /// Estimate at the time of the refusal.
        estimate: QueueEstimate,
        /// `query_wait_timeout` of the pool.
        limit: Duration,
    },
    /// The endpoint rejects logins; carries the last error.
    #[error("the endpoint is down")]
    Down(#[source] Arc<ConnectError>),
    /// The probe reports the endpoint down, and no backend was returned since.
    #[error("the endpoint is down: {0}")]
    ProbedDown(Arc<str>),
    /// The pool is no longer in use: the endpoint has new settings or another role. Decide again and call
    /// [`super::Pools::pool`] again.
    #[error("the pool was withdrawn")]
    Withdrawn,
    /// The process ends.
    #[error("Gatekeeper is shutting down")]
    Closed,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, place: SlotKey, member: PooledBackend) -> Self {
        let PooledBackend { stream, tracked_state, running, login, worker } = member;
        let tracked_state = Some(tracked_state);
        Self { stream, tracked_state, running, login, worker, hold: Hold { pool: Some(pool), place } }
    }

    /// Handle of the backend, for lookups during the lease.
    #[must_use]
    pub const fn running(&self) -> &Arc<BackendHandle> {
        &self.running
    }

    /// Node of the connection; `None` if unknown. Known for backends that serve reads of a splitting listener, if the
    /// server reports the identity.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.running.node()
    }

    /// Reports of the server at the backend's login.
    #[must_use]
    pub const fn login(&self) -> &Arc<StartupResponse> {
        &self.login
    }

    /// For [`AcquireOptions::last`], the next time.
    #[must_use]
    pub const fn trace(&self) -> Trace {
        Trace(self.hold.place)
    }

    /// True if the lease has the backend of the earlier use, and no other use came in between.
    #[must_use]
    pub fn is_same_use_as(&self, trace: &Trace) -> bool {
        self.hold.place.index == trace.0.index && self.hold.place.before == trace.0.generation
    }

    /// True if a session waits for a backend of the pool, or another pool of the endpoint waits for the budget.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.hold.pool.as_ref().is_some_and(|pool| pool.is_wanted())
    }

    /// Returns the backend and wakes the next waiter.
    pub fn release(self, disposition: Disposition) {
        if let Some((pool, place, member)) = self.into_parts() {
            pool.give_back(place, member, disposition);
        }
    }

    /// Registers the backend's socket with the current worker `worker`; `None` if the system fails, with the backend
    /// closed.
    pub(super) fn moved_to(self, worker: usize) -> Option<Self> {
        if self.worker == worker {
            return Some(self);
        }
        let (pool, place, mut member) = self.into_parts()?;
        if let Err(error) = member.move_to(worker) {
            tracing::warn!(endpoint = %pool.endpoint().name(), %error, "a backend cannot change workers");
            drop(member);
            pool.discard_lost(place, CloseReason::Broken);
            return None;
        }
        Some(Self::new(pool, place, member))
    }

    /// `None` without tracked state; the backend is then discarded.
    fn into_parts(self) -> Option<(Arc<Pool>, SlotKey, PooledBackend)> {
        let Self { stream, tracked_state, running, login, worker, mut hold } = self;
        let member = PooledBackend { stream, tracked_state: tracked_state?, running, login, worker };
        Some((hold.pool.take()?, hold.place, member))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.discard_lost(self.place, CloseReason::Discarded);
        }
    }
}

// === impl AcquireOptions ===

impl AcquireOptions {
    pub(super) fn preferences(&self) -> Sought {
        Sought { worker: self.worker, mark: self.settings, last: self.last.map(|trace| trace.0) }
    }
}
