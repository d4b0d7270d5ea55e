//! Client expectations about parsed statements.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::result_shape::ResultShape;

/// Number of the client's last Parse of each shared statement, by [`super::DatabaseState::next_parse`], and the result
/// described to the client.
///
/// A backend may hold an earlier copy of the statement, made before a definition change unseen by Gatekeeper. A
/// statement parsed by the client must be prepared again there, as on a dedicated backend.
#[derive(Default)]
pub(super) struct Parsed {
    by_id: HashMap<u64, ParsedStatement, RandomState>,
    /// Some statement has several client names.
    has_synonyms: bool,
}

/// Client expectations about a statement.
#[derive(Clone, Copy, Default)]
pub(super) struct ParsedStatement {
    /// Number of the client's last Parse; 0 if irrelevant.
    when: u64,
    /// Result described to the client, if any.
    described: Option<ResultShape>,
    /// Count of the client's names for the statement.
    names: u32,
}

// === impl ParsedStatement ===

impl ParsedStatement {
    /// Number of the client's last Parse; 0 if irrelevant.
    pub(super) const fn parse_number(&self) -> u64 {
        self.when
    }

    /// Result described to the client, if any.
    pub(super) const fn described_result(&self) -> Option<ResultShape> {
        self.described
    }
}

// === impl Parsed ===

impl Parsed {
    /// Notes the client's Parse of the statement `id`, with the number `when`.
    pub(super) fn note(&mut self, id: u64, when: u64) {
        let statement = self.by_id.entry(id).or_default();
        self.has_synonyms |= statement.names > 0;
        *statement = ParsedStatement { when, described: None, names: statement.names + 1 };
    }

    /// True if the client may have several names for a statement: only a request tells the intended name.
    pub(super) fn has_synonyms(&self) -> bool {
        self.has_synonyms
    }

    /// Client expectations about the statement `id`.
    pub(super) fn of(&self, id: u64) -> ParsedStatement {
        self.by_id.get(&id).copied().unwrap_or_default()
    }

    /// Notes the result of the statement `id` as described to the client.
    pub(super) fn tell(&mut self, id: u64, described: ResultShape) {
        if let Some(statement) = self.by_id.get_mut(&id) {
            statement.described = Some(described);
        }
    }

    /// Replaces the client's statement `old` by `new`, under the same name.
    pub(super) fn replace(&mut self, old: u64, new: u64) {
        let ParsedStatement { when, described, .. } = self.of(old);
        self.forget(old);
        let statement = self.by_id.entry(new).or_default();
        self.has_synonyms |= statement.names > 0;
        *statement = ParsedStatement { when, described, names: statement.names + 1 };
    }

    /// Notes a closed client name of the statement `id`. Returns the expectations, for [`Self::restore`].
    pub(super) fn forget(&mut self, id: u64) -> ParsedStatement {
        let before = self.of(id);
        if before.names > 1
            && let Some(statement) = self.by_id.get_mut(&id)
        {
            statement.names -= 1;
        } else {
            self.by_id.remove(&id);
        }
        before
    }

    /// Restores a client name of the statement `id`, not closed after all. `before` holds the expectations from before
    /// the Close; a later Parse has replaced them.
    pub(super) fn restore(&mut self, id: u64, before: ParsedStatement) {
        let statement = self.by_id.entry(id).or_default();
        self.has_synonyms |= statement.names > 0;
        let names = statement.names + 1;
        let latest = if statement.when > before.when { *statement } else { before };
        *statement = ParsedStatement { names, ..latest };
    }

    /// Removes all statements of the client.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}
