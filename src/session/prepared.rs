//! Which prepared statements a backend has.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// The statements that one backend has, and when each was used last.
#[derive(Default)]
pub(super) struct Prepared {
    held: HashMap<u64, Held, RandomState>,
    clock: u64,
}

struct Held {
    name: Box<[u8]>,
    used: u64,
    /// The server refuses its plan since the tables changed.
    stale: bool,
}

/// Statements a backend keeps; beyond, the one unused for longest is closed.
const HELD_MAX: usize = 500;

// === impl Prepared ===

impl Prepared {
    /// Whether the backend has the statement `id`, fit for use; counts as a use.
    #[inline]
    pub(super) fn uses(&mut self, id: u64) -> bool {
        self.clock += 1;
        match self.held.get_mut(&id) {
            Some(held) if !held.stale => {
                held.used = self.clock;
                true
            }
            _ => false,
        }
    }

    /// Whether it has the statement `id`, fit for use or not.
    pub(super) fn has(&self, id: u64) -> bool {
        self.held.contains_key(&id)
    }

    /// It is given the statement `id`. Answers the name of one that has to be closed for it.
    pub(super) fn insert(&mut self, id: u64, name: &[u8]) -> Option<Box<[u8]>> {
        self.clock += 1;
        let held = Held { name: name.into(), used: self.clock, stale: false };
        self.held.insert(id, held);
        if self.held.len() <= HELD_MAX {
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, held)| held.used).map(|(id, _)| *id)?;
        self.held.remove(&oldest).map(|held| held.name)
    }

    /// It has lost `id`, or never got it.
    pub(super) fn remove(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// The server refuses the plan of `id`.
    pub(super) fn spoil(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.stale = true;
        }
    }

    /// It has lost them all. Answers their names.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Box<[u8]>> {
        self.held.drain().map(|(_, held)| held.name)
    }
}
