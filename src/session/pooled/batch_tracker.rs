//! The client's open batch, as far as it decides the fate of an interrupted transaction.
//!
//! Promises: the facts of a batch cover each statement that the batch may execute, bound in it or before it. Refuses to
//! know: texts and responses.

use crate::{
    session::batch_facts::BatchFacts,
    sql::{self, TransactionCommands},
};

/// Facts about the client's open batch.
#[derive(Default)]
pub(in crate::session) struct BatchTracker {
    open: BatchFacts,
    /// Commands of the statements bound to portals with a name: a later batch may execute them.
    named_portals: TransactionCommands,
    row_changes: RowChanges,
    /// Transaction begun by the running unit.
    begin: UnitBegin,
}

/// Statements of the open batch that change rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum RowChanges {
    /// Texts are not read.
    #[default]
    Unread,
    None,
    /// A statement is bound that changes rows.
    Bound,
}

/// Transaction begun by a unit, by the server's responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum UnitBegin {
    #[default]
    None,
    /// The server has begun a transaction.
    Begun,
}

// === impl BatchTracker ===

impl BatchTracker {
    /// A tracker; `reads_texts`: it notes which batches change rows.
    pub(in crate::session) fn new(reads_texts: bool) -> Self {
        let row_changes = if reads_texts { RowChanges::None } else { RowChanges::Unread };
        Self { row_changes, ..Self::default() }
    }

    /// Notes a Bind of the statement `text` with `commands`.
    pub(in crate::session) fn on_bind(&mut self, portal: &[u8], text: &[u8], commands: TransactionCommands) {
        if self.row_changes == RowChanges::None && sql::begins_with_row_change(text) {
            self.row_changes = RowChanges::Bound;
        }
        self.open.add_bind(commands);
        if !portal.is_empty() {
            self.named_portals |= commands;
        }
    }

    /// Notes an Execute.
    pub(in crate::session) fn on_execute(&mut self, portal: &[u8]) {
        self.open.add_execute();
        if !portal.is_empty() {
            self.open.add_commands(self.named_portals);
        }
    }

    /// True if the open batch executes statements, and one changes rows.
    pub(in crate::session) fn changes_rows(&self) -> bool {
        self.row_changes == RowChanges::Bound && self.open.executes() > 0
    }

    /// Ends the batch with a Sync, or a Query. Returns its facts.
    pub(in crate::session) fn end(&mut self) -> BatchFacts {
        if self.row_changes == RowChanges::Bound {
            self.row_changes = RowChanges::None;
        }
        std::mem::take(&mut self.open)
    }

    /// Notes the command tag of a CommandComplete.
    pub(in crate::session) fn on_command_complete(&mut self, command: &[u8]) {
        match command {
            b"BEGIN\0" | b"START TRANSACTION\0" => self.begin = UnitBegin::Begun,
            b"COMMIT\0" | b"ROLLBACK\0" => self.begin = UnitBegin::None,
            _ => {}
        }
    }

    /// Notes a ReadyForQuery, which tells the status of the transaction.
    pub(in crate::session) const fn on_ready(&mut self) {
        self.begin = UnitBegin::None;
    }

    /// True if the running unit has begun a transaction.
    pub(in crate::session) fn has_begun(&self) -> bool {
        self.begin == UnitBegin::Begun
    }

    /// Forgets the portals: the backend is returned, or lost.
    pub(in crate::session) fn forget_portals(&mut self) {
        self.named_portals = TransactionCommands::NONE;
        self.begin = UnitBegin::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: TransactionCommands = TransactionCommands::COMMIT;

    #[test]
    fn a_batch_has_the_commands_that_it_binds() {
        let mut tracker = BatchTracker::default();
        tracker.on_bind(b"", b"", COMMIT);
        tracker.on_execute(b"");
        let facts = tracker.end();
        assert_eq!((facts.commands(), facts.executes()), (COMMIT, 1));
        tracker.on_execute(b"");
        assert_eq!(tracker.end().commands(), TransactionCommands::NONE);
    }

    #[test]
    fn a_named_portal_is_executed_later() {
        let mut tracker = BatchTracker::default();
        tracker.on_bind(b"p", b"", COMMIT);
        tracker.end();
        tracker.on_execute(b"p");
        assert_eq!(tracker.end().commands(), COMMIT);
        tracker.forget_portals();
        tracker.on_execute(b"p");
        assert_eq!(tracker.end().commands(), TransactionCommands::NONE);
    }

    #[test]
    fn a_unit_has_begun_until_its_end() {
        let mut tracker = BatchTracker::default();
        for begin in [&b"BEGIN\0"[..], b"START TRANSACTION\0"] {
            tracker.on_command_complete(b"SELECT 1\0");
            assert!(!tracker.has_begun());
            tracker.on_command_complete(begin);
            assert!(tracker.has_begun());
            tracker.on_command_complete(b"ROLLBACK\0");
            assert!(!tracker.has_begun());
        }
        tracker.on_command_complete(b"BEGIN\0");
        tracker.on_ready();
        assert!(!tracker.has_begun());
    }

    #[test]
    fn a_batch_with_a_changing_statement_changes_rows() {
        let mut tracker = BatchTracker::new(true);
        tracker.on_bind(b"", b"INSERT INTO t VALUES (1)", TransactionCommands::NONE);
        assert!(!tracker.changes_rows(), "nothing is executed");
        tracker.on_execute(b"");
        assert!(tracker.changes_rows());
        tracker.end();
        tracker.on_bind(b"", b"SELECT 1", TransactionCommands::NONE);
        tracker.on_execute(b"");
        assert!(!tracker.changes_rows());
    }
}
