//! Prepared statements of a backend.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    result_shape::ResultShape,
    statement_name::{NameStem, StatementName},
};

/// Statements prepared on one backend, with the order of their last uses.
pub(super) struct BackendStatements {
    held: HashMap<u64, Held, RandomState>,
    clock: u64,
    /// Common beginning of the statement names on the backend.
    stem: NameStem,
}

struct Held {
    used: u64,
    /// Number of the last Parse of any client at the time of sending.
    parsed: u64,
    state: State,
    /// Described result, if any.
    shape: Option<ResultShape>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The Parse was sent in this batch. If the Parse fails, the server skips the rest of the same batch.
    Sent(u32),
    /// The server has the statement.
    Parsed,
    /// The server may have the statement or not, or refuses its plan since tables changed: close and parse again.
    Unsure,
}

/// Statements a backend keeps; beyond, the one unused for longest is closed.
const HELD_MAX: usize = 500;

// === impl BackendStatements ===

impl BackendStatements {
    /// Creates the state of a backend without statements. `key` is random.
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { held: HashMap::default(), clock: 0, stem: NameStem::new(key) }
    }

    /// Name of the statement `id` on the backend.
    #[inline]
    pub(super) fn name(&self, id: u64) -> StatementName {
        self.stem.name(id)
    }

    /// Stem of the statement names on the backend.
    pub(super) const fn stem(&self) -> &NameStem {
        &self.stem
    }

    /// Known result of the statement `id`. `None` unless the backend has a usable copy, made since the Parse `since`,
    /// for later messages in `batch`. Counts as a use.
    #[inline]
    pub(super) fn uses(&mut self, id: u64, batch: u32, since: u64) -> Option<Option<ResultShape>> {
        self.clock += 1;
        match self.held.get_mut(&id) {
            Some(held)
                if held.parsed >= since
                    && (held.state == State::Parsed || held.state == State::Sent(batch)) =>
            {
                held.used = self.clock;
                Some(held.shape)
            }
            _ => None,
        }
    }

    /// Notes the described result of the statement `id`.
    pub(super) fn described(&mut self, id: u64, shape: ResultShape) {
        if let Some(held) = self.held.get_mut(&id) {
            held.shape = Some(shape);
        }
    }

    /// True if the backend may have the statement `id`, fit for use or not.
    pub(super) fn may_have(&self, id: u64) -> bool {
        self.held.contains_key(&id)
    }

    /// Notes the statement `id` as sent in `batch`, after the Parse `parsed`. Returns an evicted statement to close.
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

    /// Notes the successful Parse of the statement `id`.
    pub(super) fn made(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id)
            && matches!(held.state, State::Sent(_))
        {
            held.state = State::Parsed;
        }
    }

    /// Notes a failed Close of the statement `id`.
    pub(super) fn kept(&mut self, id: u64) {
        let held = Held { used: self.clock, parsed: 0, state: State::Unsure, shape: None };
        self.held.entry(id).or_insert(held).state = State::Unsure;
    }

    /// Notes the Close of the statement `id`.
    pub(super) fn closed(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// Notes that the statement `id` may be missing, or is of no use any more.
    pub(super) fn doubt(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = State::Unsure;
        }
    }

    /// Removes all statements, lost by the backend. Returns the ids and names.
    pub(super) fn clear(&mut self) -> Vec<(u64, StatementName)> {
        let Self { held, stem, .. } = self;
        held.drain().map(|(id, _)| (id, stem.name(id))).collect()
    }
}
