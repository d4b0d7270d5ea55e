//! What the admin API may ask of the running program. The program is told; how it obeys is not known here.

use tokio::sync::{mpsc, oneshot};

/// The asking end. Cheap to clone.
#[derive(Clone)]
pub struct ProgramControl {
    commands: mpsc::Sender<ControlCommand>,
}

/// Something asked of the program.
pub enum ControlCommand {
    /// Read the configuration and all files again.
    Reload {
        /// Who asks: `signal`, `admin`.
        trigger: &'static str,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<ReloadReport, ReloadFailure>>,
    },
    /// Drain and end.
    Stop,
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct ReloadReport {
    /// What is in use now and was not before, a sentence each.
    pub changed: Vec<String>,
    /// What was read and takes effect only at the next start, a sentence each.
    pub needs_restart: Vec<String>,
    /// Files that were read again and cannot be used; the old ones stay in use.
    pub warnings: Vec<String>,
}

/// Why a reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadFailure {
    /// The configuration has mistakes, a line each.
    #[error("the configuration has mistakes")]
    Config(Vec<String>),
    /// It is sound and cannot be had, a line each: a certificate that does not load, an address that is taken.
    #[error("the configuration cannot be applied")]
    Unusable(Vec<String>),
    /// The program is ending.
    #[error("the program is shutting down")]
    Ending,
}

/// Commands that may wait.
const WAITING: usize = 16;

/// Both ends.
#[must_use]
pub fn control() -> (ProgramControl, mpsc::Receiver<ControlCommand>) {
    let (commands, receiver) = mpsc::channel(WAITING);
    (ProgramControl { commands }, receiver)
}

// === impl ProgramControl ===

impl ProgramControl {
    /// Has the configuration read again and put to use.
    ///
    /// Cancel safety: when dropped, the reload happens all the same.
    ///
    /// # Errors
    /// [`ReloadFailure`]: nothing changed.
    pub async fn reload(&self, trigger: &'static str) -> Result<ReloadReport, ReloadFailure> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(ControlCommand::Reload { trigger, answer }).await;
        sent.map_err(|_| ReloadFailure::Ending)?;
        answered.await.unwrap_or(Err(ReloadFailure::Ending))
    }

    /// Has the program drain and end, as SIGTERM does.
    pub async fn stop(&self) {
        self.commands.send(ControlCommand::Stop).await.ok();
    }
}

// === impl ReloadFailure ===

impl ReloadFailure {
    /// The mistakes, a line each.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Config(lines) | Self::Unusable(lines) => lines.clone(),
            Self::Ending => Vec::new(),
        }
    }
}
