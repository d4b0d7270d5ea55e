//! Facts about a unit of the client that decide its fate, should the backend be lost.

use crate::sql::TransactionCommands;

/// Statements of a unit (a Query, or a batch up to its Sync), and the client's knowledge of the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BatchFacts {
    commands: TransactionCommands,
    /// Count of statements, up to the maximum.
    executes: u8,
    /// Count of Binds, up to the maximum; a Query counts as one.
    binds: u8,
    progress: UnitProgress,
}

/// The client's knowledge of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum UnitProgress {
    #[default]
    Running,
    /// The server takes COPY data, and the client has not sent the end.
    TakesData,
    /// The client has received rows, or a part of them.
    SendsRows,
    /// The client has received the error of the server, which skips the rest.
    Failed,
}

// === impl BatchFacts ===

impl BatchFacts {
    /// Facts about a Query or FunctionCall with these commands.
    pub(super) const fn whole(commands: TransactionCommands) -> Self {
        Self { commands, executes: 1, binds: 1, progress: UnitProgress::Running }
    }

    /// Commands that begin or end a transaction.
    pub(super) const fn commands(self) -> TransactionCommands {
        self.commands
    }

    /// Count of statements that the unit executes, up to 255.
    pub(super) const fn executes(self) -> u8 {
        self.executes
    }

    /// Count of Binds, up to 255; a Query counts as one.
    pub(super) const fn binds(self) -> u8 {
        self.binds
    }

    /// True if the commands are those of the unit's only statement.
    pub(super) const fn has_one_statement(self) -> bool {
        self.executes <= 1 && self.binds == 1
    }

    /// True if the client has received the server's error.
    pub(super) fn has_failed(self) -> bool {
        self.progress == UnitProgress::Failed
    }

    /// True if the server takes COPY data.
    pub(super) fn takes_data(self) -> bool {
        self.progress == UnitProgress::TakesData
    }

    /// True if the client has received rows, or a part of them.
    pub(super) fn has_sent_rows(self) -> bool {
        self.progress == UnitProgress::SendsRows
    }

    /// Facts about the unit, with the statements of `other`.
    pub(super) fn and(self, other: Self) -> Self {
        let commands = self.commands | other.commands;
        let executes = self.executes.saturating_add(other.executes);
        Self { commands, executes, binds: self.binds.saturating_add(other.binds), ..self }
    }

    /// Adds commands of statements bound before the unit.
    pub(super) fn add_commands(&mut self, commands: TransactionCommands) {
        self.commands |= commands;
    }

    /// Adds a Bind of a statement with `commands`.
    pub(super) fn add_bind(&mut self, commands: TransactionCommands) {
        self.commands |= commands;
        self.binds = self.binds.saturating_add(1);
    }

    /// Counts an Execute.
    pub(super) const fn add_execute(&mut self) {
        self.executes = self.executes.saturating_add(1);
    }

    /// The client has received the server's error.
    pub(super) const fn failed(self) -> Self {
        Self { progress: UnitProgress::Failed, ..self }
    }

    /// The client has received rows, or a part of them.
    pub(super) fn sending_rows(self) -> Self {
        if self.has_failed() { self } else { Self { progress: UnitProgress::SendsRows, ..self } }
    }

    /// The server takes COPY data, and the client has not sent the end.
    pub(super) const fn taking_data(self) -> Self {
        Self { progress: UnitProgress::TakesData, ..self }
    }
}
