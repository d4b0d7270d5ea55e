//! All that one text tells.

use memchr::memmem::Finder;

use super::{
    Classification, Effects, LexicalSettings, StatefulNames, TransactionCommands, effects,
    transaction_commands,
};

/// All that one text tells, by what is known of the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Analysis {
    /// Possible effects on session state.
    pub effects: Effects,
    /// Commands that begin or end a transaction.
    pub transaction_commands: TransactionCommands,
    /// The text may list prepared statements.
    pub lists_prepared: bool,
    /// Effect on the database, in a session with a split route.
    pub classification: Option<Classification>,
}

/// All that an [`Analysis`] depends on, besides the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnalysisInputs {
    /// Edition of the catalog and of the schema; another number after each change.
    pub edition: u64,
    /// Reading of the text, if its effect on the database is wanted.
    pub lexical: Option<LexicalSettings>,
}

/// Analyzes texts.
pub struct TextAnalyzer {
    /// Finds the view and the function that list prepared statements.
    prepared_list: Finder<'static>,
}

// === impl Analysis ===

impl Analysis {
    /// Analysis of an empty text.
    pub const EMPTY: Self = Self {
        effects: Effects::NONE,
        transaction_commands: TransactionCommands::NONE,
        lists_prepared: false,
        classification: None,
    };
}

// === impl TextAnalyzer ===

impl Default for TextAnalyzer {
    fn default() -> Self {
        Self { prepared_list: Finder::new("pg_prepared_statement") }
    }
}

impl TextAnalyzer {
    /// Analyzes `text`, by the names of `catalogue`; without the effect on the database.
    #[must_use]
    pub fn analyze(&self, text: &[u8], catalogue: &StatefulNames) -> Analysis {
        Analysis {
            effects: effects(text, catalogue),
            transaction_commands: transaction_commands(text),
            lists_prepared: self.prepared_list.find(text).is_some(),
            classification: None,
        }
    }
}

/// Count of passes over texts on the current thread, for tests: an analysis is one of each kind.
#[cfg(test)]
pub mod passes {
    use std::cell::Cell;

    /// Passes of each kind.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
    pub struct Passes {
        pub effects: usize,
        pub transaction_commands: usize,
        pub classifications: usize,
    }

    thread_local! {
        static PASSES: Cell<Passes> = const { Cell::new(Passes { effects: 0, transaction_commands: 0, classifications: 0 }) };
    }

    /// Counts a pass.
    pub(in crate::sql) fn count(add: impl FnOnce(&mut Passes)) {
        PASSES.with(|passes| {
            let mut now = passes.get();
            add(&mut now);
            passes.set(now);
        });
    }

    /// Passes since the last call.
    pub fn take() -> Passes {
        PASSES.take()
    }
}
