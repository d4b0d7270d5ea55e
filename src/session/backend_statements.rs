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
    /// Close messages without a response.
    pending_closes: u32,
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
    /// Its Close is on its way: the server skips the Close if the batch has failed.
    Closing,
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
        let pending_closes = self.held.get(&id).map_or(0, |held| held.pending_closes);
        let held = Held { used: self.clock, parsed, state: State::Sent(batch), pending_closes, shape: None };
        self.held.insert(id, held);
        if self.held.len() <= HELD_MAX {
            return None;
        }
        let kept = || self.held.iter().filter(|(_, held)| held.state != State::Closing);
        if kept().count() <= HELD_MAX {
            return None;
        }
        let oldest = kept().min_by_key(|(_, held)| held.used).map(|(id, _)| *id)?;
        self.closing(oldest);
        Some(oldest)
    }

    /// Notes the successful Parse of the statement `id`.
    pub(super) fn made(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id)
            && matches!(held.state, State::Sent(_))
        {
            held.state = State::Parsed;
        }
    }

    /// Notes a Close of the statement `id` as sent: until its response the server may have the statement.
    pub(super) fn closing(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.close();
        }
    }

    /// The server has skipped a Close of the statement `id`.
    pub(super) fn kept(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.pending_closes = held.pending_closes.saturating_sub(1);
            held.state = State::Unsure;
        }
    }

    /// CloseComplete for the statement `id`, unless parsed again since the Close: another Close may be on its way.
    pub(super) fn closed(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.pending_closes = held.pending_closes.saturating_sub(1);
            if held.state == State::Closing && held.pending_closes == 0 {
                self.held.remove(&id);
            }
        }
    }

    /// Notes that the statement `id` may be missing, or is of no use any more.
    pub(super) fn doubt(&mut self, id: u64) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = State::Unsure;
        }
    }

    /// Notes a Close of every statement as sent within a batch. Returns the ids and names.
    pub(super) fn close_all(&mut self) -> Vec<(u64, StatementName)> {
        let Self { held, stem, .. } = self;
        let close = |(id, held): (&u64, &mut Held)| {
            held.close();
            (*id, stem.name(*id))
        };
        held.iter_mut().map(close).collect()
    }

    /// Removes all statements, lost by the backend. Returns the ids and names.
    pub(super) fn clear(&mut self) -> Vec<(u64, StatementName)> {
        let Self { held, stem, .. } = self;
        held.drain().map(|(id, _)| (id, stem.name(id))).collect()
    }
}

// === impl Held ===

impl Held {
    fn close(&mut self) {
        self.state = State::Closing;
        self.pending_closes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_close_behind_another_keeps_the_statement() {
        let mut prepared = BackendStatements::new([0; 16]);
        prepared.sent(7, 1, 1);
        prepared.closing(7);
        prepared.sent(7, 1, 1);
        prepared.closing(7);
        // Of the first Close.
        prepared.closed(7);
        prepared.kept(7);
        assert!(prepared.may_have(7));
        prepared.closing(7);
        prepared.closed(7);
        assert!(!prepared.may_have(7));
    }

    #[test]
    fn a_statement_being_closed_is_parsed_anew() {
        let mut prepared = BackendStatements::new([0; 16]);
        prepared.sent(7, 1, 1);
        prepared.made(7);
        prepared.closing(7);
        assert!(prepared.may_have(7) && prepared.uses(7, 1, 0).is_none());
        prepared.closed(7);
        assert!(!prepared.may_have(7));
    }

    #[test]
    fn a_parse_behind_a_close_outlives_its_response() {
        let mut prepared = BackendStatements::new([0; 16]);
        prepared.sent(7, 1, 1);
        prepared.closing(7);
        prepared.sent(7, 1, 1);
        prepared.closed(7);
        assert!(prepared.may_have(7));
    }

    #[test]
    fn evicted_statements_do_not_count_while_being_closed() {
        let mut prepared = BackendStatements::new([0; 16]);
        let evicted: Vec<_> = (0..=HELD_MAX as u64 + 1).filter_map(|id| prepared.sent(id, 1, 1)).collect();
        assert_eq!(evicted, [0, 1]);
    }
}
