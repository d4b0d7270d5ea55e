//! Client statements about databases and logins, with effects on backends of all sessions.
//!
//! Promises: a statement naming a database is noted when sent, a login change when the transaction ends.
//! Refuses to know: the owners of the backends. Changes within a function or `DO` are not seen.

use crate::{sql, wire::TransactionStatus};

/// Statements about databases and logins since the last poll.
#[derive(Debug, Default)]
pub(super) struct ClusterCommands {
    /// A statement named a database: idle backends connected to the database may block the statement.
    database: bool,
    /// The open transaction may change the outcome of a login.
    uncommitted: bool,
    /// A transaction with a possible login change is over.
    committed: bool,
}

/// SessionStatement tags of statements able to make a login fail, or begin with different settings. `GRANT` and `REVOKE` on a
/// database are noted by text.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-COMMANDCOMPLETE>
const LOGIN_COMMANDS: [&[u8]; 6] =
    [b"ALTER ROLE", b"ALTER DATABASE", b"DROP ROLE", b"DROP DATABASE", b"GRANT ROLE", b"REVOKE ROLE"];

impl ClusterCommands {
    /// Notes a `statement` sent by the client.
    pub(super) fn note_statement(&mut self, statement: &[u8]) {
        if sql::names_database(statement) {
            (self.database, self.uncommitted) = (true, true);
        }
    }

    /// Notes the command tag of an executed statement.
    pub(super) fn note_command(&mut self, command: &[u8]) {
        if matches!(command.first(), Some(b'A' | b'D' | b'G' | b'R')) {
            self.uncommitted |= LOGIN_COMMANDS.contains(&command);
        }
    }

    /// Notes a ReadyForQuery with `status`.
    pub(super) fn note_ready(&mut self, status: TransactionStatus) {
        if self.uncommitted && status == TransactionStatus::Idle {
            (self.uncommitted, self.committed) = (false, true);
        }
    }

    /// True once per statement naming a database.
    pub(super) fn take_database(&mut self) -> bool {
        std::mem::take(&mut self.database)
    }

    /// True once per transaction with a possible login change.
    pub(super) fn take_committed(&mut self) -> bool {
        std::mem::take(&mut self.committed)
    }
}
