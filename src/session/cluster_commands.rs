//! Client statements about databases and logins, with effects on backends of all sessions.
//!
//! Promises: a statement naming a database is noted when sent, a login change when the transaction ends.
//! Refuses to know: the owners of the backends. Changes within a function or `DO` are not seen.

use crate::{sql, wire::TransactionStatus};

/// Statements about databases and logins since the last poll.
#[derive(Debug, Default)]
pub(super) struct ClusterCommands {
    /// The open transaction may change the outcome of a login.
    may_change_logins: bool,
    /// Events not reported to the driver yet, each once.
    events: Vec<ClusterEvent>,
}

/// Client statement with an effect on backends of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A statement names a database. PostgreSQL refuses some while any session is connected to the database, and idle
    /// backends are.
    DatabaseNamed,
    /// A transaction with a possible change of login permissions or login settings is over: server responses to earlier
    /// backend logins are out of date.
    LoginsChanged,
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
            self.may_change_logins = true;
            self.push(ClusterEvent::DatabaseNamed);
        }
    }

    /// Notes the command tag of an executed statement.
    pub(super) fn note_command(&mut self, command: &[u8]) {
        if matches!(command.first(), Some(b'A' | b'D' | b'G' | b'R')) {
            self.may_change_logins |= LOGIN_COMMANDS.contains(&command);
        }
    }

    /// Notes a ReadyForQuery with `status`.
    pub(super) fn note_ready(&mut self, status: TransactionStatus) {
        if self.may_change_logins && status == TransactionStatus::Idle {
            self.may_change_logins = false;
            self.push(ClusterEvent::LoginsChanged);
        }
    }

    /// Next event not reported to the driver.
    pub(super) fn poll_event(&mut self) -> Option<ClusterEvent> {
        self.events.pop()
    }

    fn push(&mut self, event: ClusterEvent) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }
}
