//! What a client may rely on of the statements that it has parsed.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// When the client parsed each shared statement last, as [`super::common::Common::next_parse`] counts.
///
/// A backend may have had the statement before, made for definitions that were changed since by somebody whom nobody here
/// has seen. What the client parses is to be made anew there, as it is on a backend of its own.
#[derive(Default)]
pub(super) struct Parsed {
    by_id: HashMap<u64, u64, RandomState>,
    /// Some statement has more than one name of the client's.
    has_synonyms: bool,
}

// === impl Parsed ===

impl Parsed {
    /// The client has parsed the statement `id` at `when`.
    pub(super) fn note(&mut self, id: u64, when: u64) {
        self.has_synonyms |= self.by_id.insert(id, when).is_some();
    }

    /// True if the client may have more than one name for a statement: only a request tells then which one is meant.
    pub(super) fn has_synonyms(&self) -> bool {
        self.has_synonyms
    }

    /// When the client parsed the statement `id` last; 0 when that does not matter.
    pub(super) fn when(&self, id: u64) -> u64 {
        self.by_id.get(&id).copied().unwrap_or(0)
    }

    /// The client has closed a name of the statement `id`.
    pub(super) fn forget(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// The client has no statements any more.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}
