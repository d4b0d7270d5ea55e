//! Limit on the backends of all pools of an endpoint.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Backends of an endpoint, shared by the endpoint's pools.
///
/// The reserve for probes and cancel requests is already subtracted from the limit.
#[derive(Default)]
pub(super) struct Budget {
    books: Mutex<Books>,
    /// Pools with waiters that found no permit.
    hungry: AtomicUsize,
    /// Pools among them without any backend.
    starving: AtomicUsize,
}

#[derive(Default)]
struct Books {
    /// Configured limit; `None`: the server's own limit decides.
    configured: Option<usize>,
    /// Budget left by the server's own limit, once read by a login.
    derived: Option<usize>,
    /// Start of the last reading of the server's limit.
    asked: Option<Instant>,
    /// Room left on the server at the last refused login.
    observed: Option<ObservedRoom>,
    used: usize,
}

/// Room on a server that refused a login: foreign clients use connections, too.
struct ObservedRoom {
    /// Backends held by the pools at the refusal.
    held: usize,
    /// Equal to `held`, or one more while a login tests for more room.
    limit: usize,
    /// Time of the last test, or of the refusal.
    tried: Instant,
}

/// Interval between readings of a server's limit, which changes only at a server restart.
const LIMIT_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Interval between logins that test a full server for room.
const FULL_SERVER_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Right to a backend, returned when dropped.
pub(super) struct Permit {
    budget: Arc<Budget>,
}

/// Pressure of a pool on the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BudgetPressure {
    /// No pressure.
    None,
    /// The pool has waiters and could use another backend.
    Waiters,
    /// The pool has waiters and no backend.
    NoBackends,
}

// === impl Budget ===

impl Budget {
    /// Changes the limit; pools keep existing backends.
    pub(super) fn set_limit(&self, limit: Option<usize>) {
        self.lock().configured = limit;
    }

    /// Records the server's own limit without reserved connections; effective while no limit is configured.
    pub(super) fn set_derived_limit(&self, limit: usize) {
        self.lock().derived = Some(limit);
    }

    /// True for a single login per [`LIMIT_REFRESH_INTERVAL`] while no limit is configured. The login then reads
    /// the server's limit.
    pub(super) fn is_limit_due(&self, now: Instant) -> bool {
        let mut books = self.lock();
        let due = books.configured.is_none()
            && books.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= LIMIT_REFRESH_INTERVAL);
        if due {
            books.asked = Some(now);
        }
        due
    }

    /// A permit for another backend, if any is left.
    pub(super) fn take(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut books = self.lock();
        let used = books.used;
        if let Some(room) = &mut books.observed
            && used >= room.limit
            && now.saturating_duration_since(room.tried) >= FULL_SERVER_RETRY_INTERVAL
        {
            (room.limit, room.tried) = (used + 1, now);
        }
        if books.current_limit().is_some_and(|limit| books.used >= limit) {
            return None;
        }
        books.used += 1;
        Some(Permit { budget: Arc::clone(self) })
    }

    /// Records that the server has no room for one permit's backend. False if the pools hold no further backend to
    /// evict.
    pub(super) fn note_full(&self, now: Instant) -> bool {
        let mut books = self.lock();
        let held = books.used.saturating_sub(1);
        books.observed = (held > 0).then_some(ObservedRoom { held, limit: held, tried: now });
        held > 0
    }

    /// Records a login. A server with more backends than at the last refusal is no longer full.
    pub(super) fn note_room(&self) {
        let mut books = self.lock();
        if books.observed.as_ref().is_some_and(|room| books.used > room.held) {
            books.observed = None;
        }
    }

    /// True if the server has rejected a login for lack of room, and no login has succeeded beyond since.
    pub(super) fn is_full(&self) -> bool {
        self.lock().observed.is_some()
    }

    /// How many are taken, and how many there are.
    pub(super) fn taken_and_limit(&self) -> (usize, Option<usize>) {
        let books = self.lock();
        (books.used, books.current_limit())
    }

    /// True if a pool waits for a permit.
    pub(super) fn is_wanted(&self) -> bool {
        self.hungry.load(Relaxed) > 0
    }

    /// True if a pool with waiters has no backend: busy pools give way, so that the waiters make progress.
    pub(super) fn is_wanted_badly(&self) -> bool {
        self.starving.load(Relaxed) > 0
    }

    /// A pool's pressure changed.
    pub(super) fn update_pressure(&self, before: BudgetPressure, now: BudgetPressure) {
        let count = |counter: &AtomicUsize, before: bool, now: bool| match (before, now) {
            (false, true) => drop(counter.fetch_add(1, Relaxed)),
            (true, false) => drop(counter.fetch_sub(1, Relaxed)),
            _ => {}
        };
        count(&self.hungry, before != BudgetPressure::None, now != BudgetPressure::None);
        count(&self.starving, before == BudgetPressure::NoBackends, now == BudgetPressure::NoBackends);
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn current_limit(&self) -> Option<usize> {
        let observed = self.observed.as_ref().map(|room| room.limit);
        let limit = self.configured.or(self.derived);
        limit.map_or(observed, |limit| Some(observed.map_or(limit, |observed| observed.min(limit))))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().used -= 1;
    }
}
