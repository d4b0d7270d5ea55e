//! Which prepared statements a backend has.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    result_shape::ResultShape,
    statement_name::{NameStem, StatementName},
};

/// The statements that one backend has, and when each was used last.
pub(super) struct Prepared {
    held: HashMap<u64, Held, RandomState>,
    clock: u64,
    /// What their names begin with there.
    stem: NameStem,
}

struct Held {
    used: u64,
    /// The last Parse of any client when it was sent.
    parsed: u64,
    state: State,
    /// What its result was described to be, if it was.
    shape: Option<ResultShape>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its Parse is on its way in this batch: what follows in the same batch is skipped if it fails.
    Sent(u32),
    /// The server has it.
    Made,
    /// The server may have it or not, or refuses its plan since tables changed: to be closed and parsed anew.
    Unsure,
}

/// Statements a backend keeps; beyond, the one unused for longest is closed.
const HELD_MAX: usize = 500;

// === impl Prepared ===

impl Prepared {
    /// Of a backend that has none yet. `key` is random.
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { held: HashMap::default(), clock: 0, stem: NameStem::new(key) }
    }

    /// The name that the statement `id` has there.
    #[inline]
    pub(super) fn name(&self, id: u64) -> StatementName {
        self.stem.name(id)
    }

    /// The names there.
    pub(super) const fn stem(&self) -> &NameStem {
        &self.stem
    }

    /// The result, if it is known, of the statement `id`; `None` unless the backend has that, made since the Parse `since` and
    /// fit for use, when it comes to what follows in `batch`. Counts as a use.
    #[inline]
    pub(super) fn uses(&mut self, id: u64, batch: u32, since: u64) -> Option<Option<ResultShape>> {
        self.clock += 1;
        match self.held.get_mut(&id) {
            Some(held)
                if held.parsed >= since
                    && (held.state == State::Made || held.state == State::Sent(batch)) =>
            {
                held.used = self.clock;
                Some(held.shape)
            }
            _ => None,
        }
    }

    /// Its statement `id` was described.
    pub(super) fn described(&mut self, id: u64, shape: ResultShape) {
        if let Some(held) = self.held.get_mut(&id) {
            held.shape = Some(shape);
        }
    }

    /// Whether it may have the statement `id`, fit for use or not.
    pub(super) fn may_have(&self, id: u64) -> bool {
        self.held.contains_key(&id)
    }

    /// It is sent the statement `id` in `batch`, behind the Parse `parsed`. Answers one that has to be closed for it.
    pub(super) fn sent(&mut self, id: u64, batch: u32, parsed: u64) -> Option<u64> {
        self.clock += 1;
        let held = Held { used: self.clock, parsed, state: State::Sent(batch), shape: None };
        self.held.insert(id, held);
        if self.held.len() <= HELD_MAX {
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, held)| held.used).map(|(id, _)| *id)?;
        self.held.remove(&oldest).map(|_| oldest)
    }

    /// It has the statement `id` now.
    pub(super) fn made(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id)
            && matches!(held.state, State::Sent(_))
        {
            held.state = State::Made;
        }
    }

    /// It was to close the statement `id`, and did not.
    pub(super) fn kept(&mut self, id: u64) {
        let held = Held { used: self.clock, parsed: 0, state: State::Unsure, shape: None };
        self.held.entry(id).or_insert(held).state = State::Unsure;
    }

    /// It has closed the statement `id`.
    pub(super) fn closed(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// Nobody knows whether it has the statement `id`, or it is of no use any more.
    pub(super) fn doubt(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = State::Unsure;
        }
    }

    /// It has lost them all. Answers them with their names.
    pub(super) fn clear(&mut self) -> Vec<(u64, StatementName)> {
        let Self { held, stem, .. } = self;
        held.drain().map(|(id, _)| (id, stem.name(id))).collect()
    }
}
