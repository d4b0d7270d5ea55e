//! The client's unnamed prepared statement.

use crate::{
    session::{database_state::DatabaseState, shared_statement::text_of},
    sql::{self, Effects},
};

/// The client's unnamed prepared statement, or none.
pub(in crate::session) struct UnnamedStatement {
    /// Unique among all sessions of one [`DatabaseState`]; 0 without a statement.
    number: u64,
    last: u64,
    /// Body of the Parse behind the name.
    definition: Vec<u8>,
    effects: Effects,
    /// Catalog edition of `effects`.
    edition: u32,
    /// The statement may list prepared statements.
    lists_prepared: bool,
}

/// Bytes of capacity kept for the next definition.
const DEFINITION_CAPACITY: usize = 64 << 10;

// === impl UnnamedStatement ===

impl UnnamedStatement {
    /// Creates the state of a session without a statement. The numbers of the session's statements follow `first`.
    pub(super) const fn new(first: u64) -> Self {
        Self {
            number: 0,
            last: first,
            definition: Vec::new(),
            effects: Effects::NONE,
            edition: 0,
            lists_prepared: false,
        }
    }

    /// Number of the statement; 0 without a statement.
    pub(in crate::session) const fn number(&self) -> u64 {
        self.number
    }

    /// True if the client has an unnamed statement.
    pub(in crate::session) const fn exists(&self) -> bool {
        self.number != 0
    }

    /// Body of the statement's Parse behind the name.
    pub(in crate::session) fn definition(&self) -> &[u8] {
        &self.definition
    }

    /// Text of the statement.
    pub(in crate::session) fn text(&self) -> &[u8] {
        text_of(&self.definition)
    }

    /// True if the statement may list prepared statements.
    pub(in crate::session) const fn lists_prepared(&self) -> bool {
        self.lists_prepared
    }

    /// Forgets the statement.
    pub(in crate::session) fn forget(&mut self) {
        self.number = 0;
    }

    /// Removes the statement, and returns the statement with the definition; `None` without a statement.
    pub(in crate::session) fn put_away(&mut self) -> Option<Box<Self>> {
        let number = std::mem::take(&mut self.number);
        let definition = if number == 0 { return None } else { std::mem::take(&mut self.definition) };
        let Self { last, effects, edition, lists_prepared, .. } = *self;
        Some(Box::new(Self { number, last, definition, effects, edition, lists_prepared }))
    }

    /// Restores the result of [`Self::put_away`]; numbers are not used twice.
    pub(in crate::session) fn bring_back(&mut self, before: Option<Box<Self>>) {
        match before {
            Some(before) => *self = Self { last: self.last, ..*before },
            None => self.number = 0,
        }
    }

    /// Defines a new statement; returns the number.
    pub(in crate::session) fn define(
        &mut self,
        definition: &[u8],
        effects: Effects,
        edition: u32,
        lists_prepared: bool,
    ) -> u64 {
        self.last += 1;
        self.number = self.last;
        self.definition.clear();
        self.definition.shrink_to(DEFINITION_CAPACITY);
        self.definition.extend_from_slice(definition);
        (self.effects, self.edition, self.lists_prepared) = (effects, edition, lists_prepared);
        self.number
    }

    /// Effects of `definition` by the catalog of `edition`, and whether the text may list prepared statements; `None` unless
    /// the last statement, perhaps forgotten since, had the same definition. Drivers send one text again and again.
    pub(in crate::session) fn known_analysis(
        &self,
        definition: &[u8],
        edition: u32,
    ) -> Option<(Effects, bool)> {
        // Before the database was looked at, the catalog changes within the edition 0.
        let is_known = edition != 0 && self.edition == edition && self.definition == definition;
        is_known.then_some((self.effects, self.lists_prepared))
    }

    /// Takes the definition for use while other state changes; [`Self::put_definition`] must follow.
    pub(in crate::session) fn take_definition(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.definition)
    }

    /// Puts the result of [`Self::take_definition`] back.
    pub(in crate::session) fn put_definition(&mut self, definition: Vec<u8>) {
        self.definition = definition;
    }

    /// Possible side effects of the statement, by the current catalog.
    pub(in crate::session) fn effects(&mut self, database: &DatabaseState) -> Effects {
        let edition = database.edition();
        if self.edition != edition {
            let text = text_of(&self.definition);
            self.effects = database.with_catalogue(|catalogue| sql::effects(text, catalogue));
            self.edition = edition;
        }
        self.effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_is_known_for_its_text_and_edition() {
        let mut unnamed = UnnamedStatement::new(0);
        unnamed.define(b"SELECT f()\0\0\0", Effects::FUNCTION, 3, true);
        unnamed.forget();
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", 3), Some((Effects::FUNCTION, true)));
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", 4), None, "another catalog");
        assert_eq!(unnamed.known_analysis(b"SELECT g()\0\0\0", 3), None, "another text");
        unnamed.define(b"SELECT f()\0\0\0", Effects::NONE, 0, false);
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", 0), None, "the catalog is not known yet");
    }

    #[test]
    fn a_statement_put_away_comes_back() {
        let mut unnamed = UnnamedStatement::new(7 << 32);
        assert!(!unnamed.exists() && unnamed.put_away().is_none());
        let first = unnamed.define(b"SELECT 1\0\0\0", Effects::NONE, 0, false);
        let kept = unnamed.put_away();
        assert!(!unnamed.exists());
        let second = unnamed.define(b"SELECT 2\0\0\0", Effects::NONE, 0, false);
        assert_ne!(first, second);
        unnamed.bring_back(kept);
        assert_eq!((unnamed.number(), unnamed.text()), (first, &b"SELECT 1"[..]));
        assert_ne!(unnamed.define(b"", Effects::NONE, 0, false), second, "a number has one meaning");
        unnamed.bring_back(None);
        assert!(!unnamed.exists());
    }
}
