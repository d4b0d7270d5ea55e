//! Exclusive use of a backend, and the wish for it.

use std::{sync::Arc, time::Duration};

use super::{
    Pool, Running, Welcome,
    member::Member,
    slots::{Place, Sought},
};
use crate::{
    backend::ConnectError, session::TrackedBackendState, telemetry::labels::CloseReason, tls::Stream,
    topology::NodeId,
};

/// Exclusive use of a backend for as long as a session needs it.
///
/// Dropped without [`Lease::release`], the backend is closed: forgetting is safe.
pub struct Lease {
    /// The connection, registered with the worker that asked for the lease. Between two leases the server has said all that
    /// it owed.
    pub stream: Stream,
    /// What the backend is known to hold. Whoever uses the backend takes it out, keeps it true, and puts it back: without it
    /// the backend cannot be given back.
    pub tracked_state: Option<Box<TrackedBackendState>>,
    running: Arc<Running>,
    login: Arc<Welcome>,
    worker: usize,
    hold: Hold,
}

/// The backend's place in its pool, given up when dropped.
struct Hold {
    pool: Option<Arc<Pool>>,
    place: Place,
}

/// What a session wants.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// The worker that it lives on, which this is said on.
    pub worker: usize,
    /// The [`TrackedBackendState::settings_mark`] of a backend that needs no settings changed.
    pub settings: u64,
    /// The backend it used last in this pool: preferred while nobody else has used it since.
    pub last: Option<Trace>,
}

/// A backend, and one use of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(Place);

/// What is known of a backend when it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Outside of a transaction, nothing owed, nothing left behind that its tracked state does not show.
    Clean,
    /// Nothing owed, but a transaction may be open and anything be left behind: `ROLLBACK` and `DISCARD ALL` make it good, in
    /// the background.
    Reset,
    /// Of no more use.
    Discard,
}

/// Why there is no backend.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// None became free in time.
    #[error("no backend became free within {} s", waited.as_secs_f64())]
    Timeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The endpoint takes no logins now; this is what the last one failed with.
    #[error("the endpoint is down")]
    Down(#[source] Arc<ConnectError>),
    /// The pool is no longer in use: the endpoint has other settings by now, or lost its role. Decide again, and ask
    /// [`super::Pools::pool`] again.
    #[error("the pool was withdrawn")]
    Withdrawn,
    /// The process ends.
    #[error("the process ends")]
    Closed,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, place: Place, member: Member) -> Self {
        let Member { stream, tracked_state, running, login, worker } = member;
        let tracked_state = Some(tracked_state);
        Self { stream, tracked_state, running, login, worker, hold: Hold { pool: Some(pool), place } }
    }

    /// The backend, for whoever has to find it while this session uses it.
    #[must_use]
    pub const fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// The node it is a connection to; `None` where nobody asked, or the server would not say. Backends of endpoints that serve
    /// reads know theirs, where a listener splits.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.running.node()
    }

    /// What the server said when it let this backend in.
    #[must_use]
    pub const fn login(&self) -> &Arc<Welcome> {
        &self.login
    }

    /// For [`Want::last`], the next time.
    #[must_use]
    pub const fn trace(&self) -> Trace {
        Trace(self.hold.place)
    }

    /// Whether this is the backend of that earlier use, and nobody has used it since.
    #[must_use]
    pub fn follows(&self, trace: &Trace) -> bool {
        self.hold.place.index == trace.0.index && self.hold.place.before == trace.0.use_number
    }

    /// True if a session waits for a backend of this pool, or another pool of the endpoint for a place in the budget.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.hold.pool.as_ref().is_some_and(|pool| pool.is_wanted())
    }

    /// Gives the backend back. Wakes whoever is next.
    pub fn release(self, disposition: Disposition) {
        if let Some((pool, place, member)) = self.into_parts() {
            pool.give_back(place, member, disposition);
        }
    }

    /// Makes the backend's socket one of `worker`, which this is called on; `None`, and the backend closed, if the system
    /// does not let it.
    pub(super) fn moved_to(self, worker: usize) -> Option<Self> {
        if self.worker == worker {
            return Some(self);
        }
        let (pool, place, mut member) = self.into_parts()?;
        if let Err(error) = member.move_to(worker) {
            tracing::warn!(endpoint = %pool.endpoint().name(), %error, "cannot move a backend to another worker");
            drop(member);
            pool.lost(place, CloseReason::Broken);
            return None;
        }
        Some(Self::new(pool, place, member))
    }

    /// `None`, and the backend discarded, when its tracked state was not put back.
    fn into_parts(self) -> Option<(Arc<Pool>, Place, Member)> {
        let Self { stream, tracked_state, running, login, worker, mut hold } = self;
        let member = Member { stream, tracked_state: tracked_state?, running, login, worker };
        Some((hold.pool.take()?, hold.place, member))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.lost(self.place, CloseReason::Discarded);
        }
    }
}

// === impl Want ===

impl Want {
    pub(super) fn sought(&self) -> Sought {
        Sought { worker: self.worker, mark: self.settings, last: self.last.map(|trace| trace.0) }
    }
}
