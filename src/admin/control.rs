//! Commands from the admin API to the running program. Refuses to know: how the program executes a command.

use std::fmt;

use tokio::sync::{mpsc, oneshot};

/// Sender of commands. Cheap to clone.
#[derive(Clone)]
pub struct ProgramControl {
    commands: mpsc::Sender<ControlCommand>,
}

/// A command to the program.
pub enum ControlCommand {
    /// Reload the configuration and all files.
    Reload {
        /// Trigger: `signal`, `admin`.
        trigger: &'static str,
        /// Receiver of the result.
        answer: oneshot::Sender<Result<ReloadReport, ReloadFailure>>,
    },
    /// Replace the filter of the log.
    SetLogFilter {
        /// The filter.
        filter: String,
        /// Receiver of the result; the error describes the mistake.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Start another process that takes over the listeners.
    Restart {
        /// Receiver of the process id.
        answer: oneshot::Sender<Result<u32, RestartError>>,
    },
    /// Drain and stop.
    Stop,
}

/// Reason why no other process was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// Other processes cannot take over.
    #[error("`runtime.handover` is not in use, so no other process can take over the listeners")]
    NotConfigured,
    /// A successor would not hold its clients.
    #[error("the writer is being moved: wait for the end of the move, or cancel it")]
    WriterMoves,
    /// The system's error.
    #[error("the program cannot be started again: {0}")]
    Start(String),
}

/// Result of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct ReloadReport {
    /// Changes now in use, one sentence each.
    pub changed: Vec<String>,
    /// The settings whose values differ from those in use before.
    pub settings: Vec<SettingChange>,
    /// Changes that take effect at the next start, one sentence each.
    pub needs_restart: Vec<String>,
    /// Reloaded files that are invalid; the previous ones stay in use.
    pub warnings: Vec<String>,
}

/// A setting with a new value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct SettingChange {
    /// Path of the key, such as `listener.app.max_clients`.
    pub key: String,
    /// Value before, never a secret; `null` if not set.
    pub from: Option<String>,
    /// Value after, never a secret, and equal to `from` if only a secret differs; `null` if not set.
    pub to: Option<String>,
    /// True if the value takes effect at the next start.
    pub needs_restart: bool,
}

/// Reason for a reload without effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadFailure {
    /// The configuration has mistakes, a line each.
    #[error("the configuration has mistakes")]
    Config(Vec<String>),
    /// The configuration is valid but cannot be applied, one line for each reason: an invalid certificate, an address
    /// in use.
    #[error("the configuration cannot be applied")]
    Unusable(Vec<String>),
    /// The program is shutting down.
    #[error("the program is shutting down")]
    Ending,
}

/// Capacity of the command queue.
const COMMAND_QUEUE_CAPACITY: usize = 16;

/// Sender and receiver of commands.
#[must_use]
pub fn control() -> (ProgramControl, mpsc::Receiver<ControlCommand>) {
    let (commands, receiver) = mpsc::channel(COMMAND_QUEUE_CAPACITY);
    (ProgramControl { commands }, receiver)
}

// === impl ProgramControl ===

impl ProgramControl {
    /// Reloads the configuration.
    ///
    /// Cancel safety: the reload continues if the future is dropped.
    ///
    /// # Errors
    /// [`ReloadFailure`]: the reload had no effect.
    pub async fn reload(&self, trigger: &'static str) -> Result<ReloadReport, ReloadFailure> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(ControlCommand::Reload { trigger, answer }).await;
        sent.map_err(|_| ReloadFailure::Ending)?;
        answered.await.unwrap_or(Err(ReloadFailure::Ending))
    }

    /// Replaces the filter of the log. `None` while the program is shutting down.
    ///
    /// Cancel safety: the filter may be replaced if the future is dropped.
    pub async fn set_log_filter(&self, filter: String) -> Option<Result<(), String>> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(ControlCommand::SetLogFilter { filter, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Starts another process that takes over the listeners. `None` while the program is shutting down.
    ///
    /// Cancel safety: the process may be started if the future is dropped.
    pub async fn restart(&self) -> Option<Result<u32, RestartError>> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(ControlCommand::Restart { answer }).await.ok()?;
        answered.await.ok()
    }

    /// Drains and stops the program, like SIGTERM.
    pub async fn stop(&self) {
        self.commands.send(ControlCommand::Stop).await.ok();
    }
}

// === impl ReloadReport ===

impl ReloadReport {
    /// One line for each change, in use or not.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.changed.iter().cloned().chain(self.settings.iter().map(ToString::to_string))
    }
}

// === impl SettingChange ===

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.as_deref().unwrap_or("unset"), self.to.as_deref().unwrap_or("unset"));
        if from == to {
            write!(f, "{}: another value of {to}", self.key)?;
        } else {
            write!(f, "{}: {from} → {to}", self.key)?;
        }
        f.write_str(if self.needs_restart { ", at the next start" } else { "" })
    }
}

// === impl ReloadFailure ===

impl ReloadFailure {
    /// The mistakes, one line each.
    #[must_use]
    pub fn detail_lines(&self) -> Vec<String> {
        match self {
            Self::Config(lines) | Self::Unusable(lines) => lines.clone(),
            Self::Ending => Vec::new(),
        }
    }
}
