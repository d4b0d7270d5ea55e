//! What a client's statements change about databases and logins: backends of other sessions are concerned, too.
//!
//! Promises: a statement that names a database is noted when it is sent, a change of logins when its transaction ends.
//! Refuses to know: whose backends they are. A change within a function or `DO` is not seen.

use crate::{sql, wire::TransactionStatus};

/// Statements about databases and logins since they were last asked for.
#[derive(Debug, Default)]
pub(super) struct ClusterCommands {
    /// A statement names a database: idle backends that are connected to it may be in its way.
    database: bool,
    /// The open transaction may change what a login leads to.
    uncommitted: bool,
    /// A transaction that may have done so is over.
    committed: bool,
}

/// Command tags of statements after which a login may fail, or begin with other settings. `GRANT` and `REVOKE` on a database
/// are noted by their text.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-COMMANDCOMPLETE>
const LOGIN_COMMANDS: [&[u8]; 6] =
    [b"ALTER ROLE", b"ALTER DATABASE", b"DROP ROLE", b"DROP DATABASE", b"GRANT ROLE", b"REVOKE ROLE"];

impl ClusterCommands {
    /// The client sends `statement`.
    pub(super) fn note_statement(&mut self, statement: &[u8]) {
        if sql::names_database(statement) {
            (self.database, self.uncommitted) = (true, true);
        }
    }

    /// The server has executed a statement with that command tag.
    pub(super) fn note_command(&mut self, command: &[u8]) {
        if matches!(command.first(), Some(b'A' | b'D' | b'G' | b'R')) {
            self.uncommitted |= LOGIN_COMMANDS.contains(&command);
        }
    }

    /// The server is ready for the next request.
    pub(super) fn note_ready(&mut self, status: TransactionStatus) {
        if self.uncommitted && status == TransactionStatus::Idle {
            (self.uncommitted, self.committed) = (false, true);
        }
    }

    /// True once per statement that names a database.
    pub(super) fn take_database(&mut self) -> bool {
        std::mem::take(&mut self.database)
    }

    /// True once per transaction that may have changed logins.
    pub(super) fn take_committed(&mut self) -> bool {
        std::mem::take(&mut self.committed)
    }
}
