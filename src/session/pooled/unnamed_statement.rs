//! The client's unnamed prepared statement.

use crate::{
    session::{database_state::DatabaseState, shared_statement::text_of},
    sql::{Analysis, AnalysisInputs, LexicalSettings, TransactionCommands},
};

/// The client's unnamed prepared statement, or none.
pub(in crate::session) struct UnnamedStatement {
    /// Unique among all sessions of one [`DatabaseState`]; 0 without a statement.
    number: u64,
    last: u64,
    /// Body of the Parse behind the name.
    definition: Vec<u8>,
    analysis: Analysis,
    /// Inputs of the analysis; `None` if the analysis must be made again.
    inputs: Option<AnalysisInputs>,
}

/// Bytes of capacity kept for the next definition.
const DEFINITION_CAPACITY: usize = 64 << 10;

// === impl UnnamedStatement ===

impl UnnamedStatement {
    /// Creates the state of a session without a statement. The numbers of the session's statements follow `first`.
    pub(super) const fn new(first: u64) -> Self {
        Self { number: 0, last: first, definition: Vec::new(), analysis: Analysis::EMPTY, inputs: None }
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
        self.analysis.lists_prepared
    }

    /// Commands of the statement that begin or end a transaction.
    pub(in crate::session) const fn transaction_commands(&self) -> TransactionCommands {
        if self.exists() { self.analysis.transaction_commands } else { TransactionCommands::NONE }
    }

    /// Forgets the statement.
    pub(in crate::session) fn forget(&mut self) {
        self.number = 0;
    }

    /// Removes the statement, and returns the statement with the definition; `None` without a statement.
    pub(in crate::session) fn put_away(&mut self) -> Option<Box<Self>> {
        let number = std::mem::take(&mut self.number);
        let definition = if number == 0 { return None } else { std::mem::take(&mut self.definition) };
        let Self { last, analysis, inputs, .. } = *self;
        Some(Box::new(Self { number, last, definition, analysis, inputs }))
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
        analysis: Analysis,
        inputs: Option<AnalysisInputs>,
    ) -> u64 {
        self.last += 1;
        self.number = self.last;
        self.definition.clear();
        self.definition.shrink_to(DEFINITION_CAPACITY);
        self.definition.extend_from_slice(definition);
        (self.analysis, self.inputs) = (analysis, inputs);
        self.number
    }

    /// Analysis of `definition` by `inputs`, if the last statement, perhaps forgotten since, had the same definition. Drivers
    /// send one text again and again.
    pub(in crate::session) fn known_analysis(
        &self,
        definition: &[u8],
        inputs: Option<AnalysisInputs>,
    ) -> Option<Analysis> {
        let is_known = inputs.is_some() && self.inputs == inputs && self.definition == definition;
        is_known.then_some(self.analysis)
    }

    /// Analysis of the statement by `inputs`, if made before.
    pub(in crate::session) fn analysis(&self, inputs: AnalysisInputs) -> Option<Analysis> {
        (self.inputs == Some(inputs)).then_some(self.analysis)
    }

    /// Takes the definition for use while other state changes; [`Self::put_definition`] must follow.
    pub(in crate::session) fn take_definition(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.definition)
    }

    /// Puts the result of [`Self::take_definition`] back.
    pub(in crate::session) fn put_definition(&mut self, definition: Vec<u8>) {
        self.definition = definition;
    }

    /// Analysis of the statement, by what is known of the database now. `lexical`: reading of the text, if its effect on the
    /// database is wanted.
    pub(in crate::session) fn analyze(
        &mut self,
        database: &DatabaseState,
        lexical: Option<&LexicalSettings>,
    ) -> Analysis {
        let inputs = database.analysis_inputs(lexical.copied());
        if inputs.is_none() || self.inputs != inputs {
            self.analysis = database.analyze(text_of(&self.definition), lexical);
            self.inputs = inputs;
        }
        self.analysis
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Effects, StatefulNames, StatefulNamesBuilder};

    #[test]
    fn an_analysis_is_known_for_its_text_and_inputs() {
        let inputs = |edition| Some(AnalysisInputs { edition, lexical: None });
        let analysis = Analysis { effects: Effects::FUNCTION, lists_prepared: true, ..Analysis::EMPTY };
        let mut unnamed = UnnamedStatement::new(0);
        unnamed.define(b"SELECT f()\0\0\0", analysis, inputs(3));
        unnamed.forget();
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", inputs(3)), Some(analysis));
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", inputs(4)), None, "another catalog");
        assert_eq!(unnamed.known_analysis(b"SELECT g()\0\0\0", inputs(3)), None, "another text");
        let split =
            inputs(3).map(|inputs| AnalysisInputs { lexical: Some(LexicalSettings::default()), ..inputs });
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", split), None, "another route");
        unnamed.define(b"SELECT f()\0\0\0", Analysis::EMPTY, None);
        assert_eq!(unnamed.known_analysis(b"SELECT f()\0\0\0", None), None, "the catalog is not known yet");
    }

    #[test]
    fn an_analysis_follows_the_catalog() {
        let database = DatabaseState::new(StatefulNames::default());
        let mut unnamed = UnnamedStatement::new(0);
        unnamed.define(b"SELECT a FROM t\0\0\0", Analysis::EMPTY, None);
        assert_eq!(unnamed.analyze(&database, None).effects, database.text_effects(b"SELECT a FROM t"));
        database.set_catalogue(StatefulNamesBuilder::new(), b"", database.instant());
        let before = unnamed.analyze(&database, None);
        assert_eq!(unnamed.analysis(database.analysis_inputs(None).unwrap()), Some(before));
        database.learn(b"DO $$BEGIN PERFORM 1; END$$; CREATE TEMP TABLE t (a int)");
        assert_eq!(unnamed.analysis(database.analysis_inputs(None).unwrap()), None);
        assert!(unnamed.analyze(&database, None).effects.contains(Effects::FUNCTION));
    }

    #[test]
    fn a_statement_put_away_comes_back() {
        let mut unnamed = UnnamedStatement::new(7 << 32);
        assert!(!unnamed.exists() && unnamed.put_away().is_none());
        let first = unnamed.define(b"SELECT 1\0\0\0", Analysis::EMPTY, None);
        let kept = unnamed.put_away();
        assert!(!unnamed.exists());
        let second = unnamed.define(b"SELECT 2\0\0\0", Analysis::EMPTY, None);
        assert_ne!(first, second);
        unnamed.bring_back(kept);
        assert_eq!((unnamed.number(), unnamed.text()), (first, &b"SELECT 1"[..]));
        assert_ne!(unnamed.define(b"", Analysis::EMPTY, None), second, "a number has one meaning");
        unnamed.bring_back(None);
        assert!(!unnamed.exists());
    }
}
