//! What a client may rely on of the statements that it has parsed.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::result_shape::ResultShape;

/// When the client parsed each shared statement last, as [`super::common::Common::next_parse`] counts, and what it was told
/// of the result.
///
/// A backend may have had the statement before, made for definitions that were changed since by somebody whom nobody here
/// has seen. What the client parses is to be made anew there, as it is on a backend of its own.
#[derive(Default)]
pub(super) struct Parsed {
    by_id: HashMap<u64, ParsedStatement, RandomState>,
    /// Some statement has more than one name of the client's.
    has_synonyms: bool,
}

/// What the client may rely on of one statement.
#[derive(Clone, Copy, Default)]
pub(super) struct ParsedStatement {
    /// When the client parsed it last; 0 when that does not matter.
    pub(super) when: u64,
    /// The result that it was described to have, if it was.
    pub(super) told: Option<ResultShape>,
    /// The client's names for it.
    names: u32,
}

// === impl Parsed ===

impl Parsed {
    /// The client has parsed the statement `id` at `when`.
    pub(super) fn note(&mut self, id: u64, when: u64) {
        let statement = self.by_id.entry(id).or_default();
        self.has_synonyms |= statement.names > 0;
        *statement = ParsedStatement { when, told: None, names: statement.names + 1 };
    }

    /// True if the client may have more than one name for a statement: only a request tells then which one is meant.
    pub(super) fn has_synonyms(&self) -> bool {
        self.has_synonyms
    }

    /// What the client may rely on of the statement `id`.
    pub(super) fn of(&self, id: u64) -> ParsedStatement {
        self.by_id.get(&id).copied().unwrap_or_default()
    }

    /// The client was told the result of the statement `id`.
    pub(super) fn tell(&mut self, id: u64, told: ResultShape) {
        if let Some(statement) = self.by_id.get_mut(&id) {
            statement.told = Some(told);
        }
    }

    /// The client has the statement `new` instead of `old`, by the same name.
    pub(super) fn replace(&mut self, old: u64, new: u64) {
        let ParsedStatement { when, told, .. } = self.of(old);
        self.forget(old);
        let statement = self.by_id.entry(new).or_default();
        self.has_synonyms |= statement.names > 0;
        *statement = ParsedStatement { when, told, names: statement.names + 1 };
    }

    /// The client has closed a name of the statement `id`.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(statement) = self.by_id.get_mut(&id) {
            statement.names -= 1;
            if statement.names == 0 {
                self.by_id.remove(&id);
            }
        }
    }

    /// The client has no statements any more.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}
