//! Analyses of the client's texts.
//!
//! Promises: a text is analyzed once, however often its message is looked at: ahead of the backend, while the message waits,
//! and when it is sent. Refuses to know: what follows from an analysis.

use std::cell::Cell;

use super::{client_message::ClientMessage, unnamed_statement::UnnamedStatement};
use crate::{
    session::database_state::DatabaseState,
    sql::{Analysis, AnalysisInputs, LexicalSettings, TransactionCommands},
};

/// Analyses of the texts in the client's next messages.
#[derive(Default)]
pub(super) struct AnalyzedTexts {
    /// Reading of the client's texts on a split route: then an analysis contains the effect on the database.
    lexical: Option<LexicalSettings>,
    /// Count of bytes taken from the client before the current call.
    position: u64,
    /// Analyses of the last texts, by the position of the message.
    last: [Cell<Option<AnalyzedText>>; TEXTS],
    /// Index of the next entry to replace.
    next: Cell<usize>,
}

#[derive(Clone, Copy)]
struct AnalyzedText {
    position: u64,
    inputs: AnalysisInputs,
    analysis: Analysis,
}

/// Count of texts remembered: a batch, which is looked at as a whole, seldom has more. They are kept for each idle client.
const TEXTS: usize = 4;

// === impl AnalyzedTexts ===

impl AnalyzedTexts {
    /// Changes the reading of the client's texts; from now on an analysis contains the effect on the database.
    pub(super) const fn set_lexical(&mut self, lexical: LexicalSettings) {
        self.lexical = Some(lexical);
    }

    /// Reading of the client's texts on a split route.
    pub(super) const fn lexical(&self) -> Option<LexicalSettings> {
        self.lexical
    }

    /// Position of the client's next byte.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Notes `count` bytes taken from the client.
    pub(super) const fn take(&mut self, count: usize) {
        self.position += count as u64;
    }

    /// Analysis of the text of a Query or Parse. Of a text not known whole, only the effects on the session.
    pub(super) fn analyze(&self, message: &ClientMessage<'_>, database: &DatabaseState) -> Analysis {
        let text = message.text();
        if message.is_cut() {
            let beginning = database.analyze(text, None);
            return Analysis { transaction_commands: TransactionCommands::UNKNOWN, ..beginning };
        }
        let inputs = database.analysis_inputs(self.lexical);
        match (message.position(), inputs) {
            (Some(position), Some(inputs)) => self.known(position, inputs).unwrap_or_else(|| {
                let analysis = database.analyze(text, self.lexical.as_ref());
                self.remember(AnalyzedText { position, inputs, analysis });
                analysis
            }),
            _ => database.analyze(text, self.lexical.as_ref()),
        }
    }

    /// Analysis of the text at `position` by `inputs`, if made before.
    fn known(&self, position: u64, inputs: AnalysisInputs) -> Option<Analysis> {
        let mut known = self.last.iter().filter_map(Cell::get);
        let same = known.find(|known| known.position == position && known.inputs == inputs);
        same.map(|known| known.analysis)
    }

    /// Analysis of the unnamed statement.
    pub(super) fn analyze_unnamed(&self, unnamed: &UnnamedStatement, database: &DatabaseState) -> Analysis {
        let inputs = database.analysis_inputs(self.lexical);
        let known = inputs.and_then(|inputs| unnamed.analysis(inputs));
        known.unwrap_or_else(|| database.analyze(unnamed.text(), self.lexical.as_ref()))
    }

    fn remember(&self, text: AnalyzedText) {
        let next = self.next.get();
        if let Some(entry) = self.last.get(next) {
            entry.set(Some(text));
        }
        self.next.set((next + 1) % TEXTS);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        sql::{StatefulNames, StatefulNamesBuilder, passes},
        wire::tag::frontend as f,
    };

    /// Database whose catalog was read.
    fn database() -> DatabaseState {
        let database = DatabaseState::new(StatefulNames::default());
        database.set_catalogue(StatefulNamesBuilder::new(), b"1", database.instant());
        database
    }

    /// Count of analyses made by `analyze`.
    fn analyses<T>(analyze: impl FnOnce() -> T) -> usize {
        passes::take();
        analyze();
        passes::take().effects
    }

    fn query(body: &[u8], position: u64) -> ClientMessage<'_> {
        ClientMessage::whole(f::QUERY, body).at(Some(position))
    }

    #[test]
    fn a_text_is_analyzed_once() {
        let (database, texts) = (database(), AnalyzedTexts::default());
        let (first, second) = (query(b"SELECT 1\0", 0), query(b"LISTEN a\0", 14));
        let look = || {
            for message in [&first, &second, &first] {
                texts.analyze(message, &database);
            }
        };
        assert_eq!((analyses(look), analyses(look)), (2, 0));
        assert_eq!(texts.analyze(&second, &database).effects, database.text_effects(b"LISTEN a"));
    }

    #[test]
    fn the_oldest_of_many_texts_is_forgotten() {
        let (database, texts) = (database(), AnalyzedTexts::default());
        for position in 0..=TEXTS as u64 {
            texts.analyze(&query(b"SELECT 1\0", position), &database);
        }
        let known = || {
            for position in 1..=TEXTS as u64 {
                texts.analyze(&query(b"SELECT 1\0", position), &database);
            }
        };
        assert_eq!(analyses(known), 0);
        assert_eq!(analyses(|| texts.analyze(&query(b"SELECT 1\0", 0), &database)), 1);
    }

    #[test]
    fn an_analysis_ends_with_what_it_depends_on() {
        let (database, mut texts) = (Arc::new(database()), AnalyzedTexts::default());
        let message = query(b"SELECT a FROM t\0", 0);
        let before = texts.analyze(&message, &database);
        database.learn(b"DO $$BEGIN PERFORM 1; END$$; CREATE TEMP TABLE t (a int)");
        let learned = texts.analyze(&message, &database);
        assert_ne!(before.effects, learned.effects, "another catalog");
        texts.set_lexical(LexicalSettings::default());
        assert!(texts.analyze(&message, &database).classification.is_some(), "another route");
        assert_eq!(analyses(|| database.learn_write(b"SELECT a FROM t", &LexicalSettings::default())), 0);
        assert_eq!(analyses(|| texts.analyze(&message, &database)), 1, "a write was learned");
    }

    #[test]
    fn a_message_without_a_position_is_analyzed_anew() {
        let (database, texts) = (database(), AnalyzedTexts::default());
        let again = ClientMessage::whole(f::QUERY, b"SELECT 1\0");
        let twice = || {
            texts.analyze(&again, &database);
            texts.analyze(&again, &database);
        };
        assert_eq!(analyses(twice), 2);
    }

    #[test]
    fn a_text_not_known_whole_may_end_the_transaction() {
        let (database, mut texts) = (database(), AnalyzedTexts::default());
        texts.set_lexical(LexicalSettings::default());
        let cut = ClientMessage::beginning(f::QUERY, b"SELECT 1", 99);
        let analysis = texts.analyze(&cut, &database);
        assert_eq!(analysis.transaction_commands, TransactionCommands::UNKNOWN);
        assert_eq!(analysis.classification, None);
    }
}
