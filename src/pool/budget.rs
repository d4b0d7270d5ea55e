//! How many backends all pools of one endpoint may hold together.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The backends of one endpoint, shared by its pools.
///
/// What probes and cancel requests need is not in it: the reserve is taken off the limit before.
#[derive(Default)]
pub(super) struct Budget {
    books: Mutex<Books>,
    /// Pools that have waiters and found nothing left.
    hungry: AtomicUsize,
    /// Those among them that have no backend at all.
    starving: AtomicUsize,
}

#[derive(Default)]
struct Books {
    /// `None`: the server's own limit decides.
    limit: Option<usize>,
    used: usize,
}

/// The right to one backend, given back when dropped.
pub(super) struct Permit {
    budget: Arc<Budget>,
}

/// Whether a pool lacks what the budget does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hunger {
    /// It does not.
    None,
    /// It has waiters, and could use one more.
    Hungry,
    /// It has waiters and no backend at all.
    Starving,
}

// === impl Budget ===

impl Budget {
    /// From now on the limit is another one; who has a backend keeps it.
    pub(super) fn set_limit(&self, limit: Option<usize>) {
        self.lock().limit = limit;
    }

    /// The right to one more backend, if there is one left.
    pub(super) fn take(self: &Arc<Self>) -> Option<Permit> {
        let mut books = self.lock();
        if books.limit.is_some_and(|limit| books.used >= limit) {
            return None;
        }
        books.used += 1;
        Some(Permit { budget: Arc::clone(self) })
    }

    /// How many are taken, and how many there are.
    pub(super) fn taken(&self) -> (usize, Option<usize>) {
        let books = self.lock();
        (books.used, books.limit)
    }

    /// Whether some pool waits for a backend that the budget does not have.
    pub(super) fn is_wanted(&self) -> bool {
        self.hungry.load(Relaxed) > 0
    }

    /// Whether some pool has nothing at all: even busy ones give way, so that nobody waits for ever.
    pub(super) fn is_wanted_badly(&self) -> bool {
        self.starving.load(Relaxed) > 0
    }

    /// A pool's hunger changed.
    pub(super) fn hunger(&self, before: Hunger, now: Hunger) {
        let count = |counter: &AtomicUsize, before: bool, now: bool| match (before, now) {
            (false, true) => drop(counter.fetch_add(1, Relaxed)),
            (true, false) => drop(counter.fetch_sub(1, Relaxed)),
            _ => {}
        };
        count(&self.hungry, before != Hunger::None, now != Hunger::None);
        count(&self.starving, before == Hunger::Starving, now == Hunger::Starving);
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().used -= 1;
    }
}
