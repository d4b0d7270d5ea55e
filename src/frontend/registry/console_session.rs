//! Registry entry of a console client: without endpoint and statements; ended like a session.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::{Notify, watch};

use super::{entry::SessionCommand, sessions::SessionRegistry};
use crate::{audit::record, wire::BackendKey};

/// Registry entry of a console client.
pub struct ConsoleSessionEntry {
    /// Identity and address of the client.
    pub facts: Arc<record::Session>,
    /// Cancel key of the client.
    pub key: BackendKey,
    /// Wall-clock time of the login.
    pub started_at: SystemTime,
    commands: watch::Sender<Option<SessionCommand>>,
    cancel: Notify,
}

/// Registration of a console client; dropping the guard removes the entry.
pub struct ConsoleSessionGuard {
    /// Registry that holds the entry.
    pub(crate) sessions: Arc<SessionRegistry>,
    /// The registered entry.
    pub(crate) entry: Arc<ConsoleSessionEntry>,
}

// === impl ConsoleSessionEntry ===

impl ConsoleSessionEntry {
    /// An entry for a client that has just logged in.
    pub(crate) fn new(facts: Arc<record::Session>, key: BackendKey) -> Self {
        Self {
            facts,
            key,
            started_at: SystemTime::now(),
            commands: watch::Sender::new(None),
            cancel: Notify::new(),
        }
    }

    /// Sends a command; every command ends the session.
    pub fn send_command(&self, command: SessionCommand) {
        self.commands.send_replace(Some(command));
    }

    /// Waits for a command.
    ///
    /// Cancel safe.
    pub async fn wait_for_command(&self) -> SessionCommand {
        let mut commands = self.commands.subscribe();
        let command = commands.wait_for(Option::is_some).await.ok().and_then(|command| *command);
        command.unwrap_or(SessionCommand::Stop)
    }

    /// Cancels the running command, if cancelable.
    pub(crate) fn cancel(&self) {
        self.cancel.notify_waiters();
    }

    /// Returns when the running command must be canceled.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }
}

// === impl ConsoleSessionGuard ===

impl std::ops::Deref for ConsoleSessionGuard {
    type Target = Arc<ConsoleSessionEntry>;

    fn deref(&self) -> &Self::Target {
        &self.entry
    }
}

impl Drop for ConsoleSessionGuard {
    fn drop(&mut self) {
        self.sessions.leave(&self.entry);
    }
}
