//! Errors of a sandbox.

use std::{io, path::PathBuf, time::Duration};

/// Reason of a sandbox failure.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No PostgreSQL server found.
    #[error(
        "no PostgreSQL server {wanted}found; looked in {}. Install one (Debian: `apt-get install postgresql`) or set \
         GATEKEEPER_PG_BIN to the folder of `postgres` and `initdb`",
        list(.looked)
    )]
    NoServer {
        /// Requested major version with a trailing space, or empty.
        wanted: String,
        /// The folders that were tried.
        looked: Vec<PathBuf>,
    },
    /// PostgreSQL does not run as root, and no other account exists.
    #[error(
        "PostgreSQL servers refuse to run as root and there is no user `postgres`: add one or run as another user"
    )]
    NoAccount,
    /// No block of loopback addresses is free.
    #[error("no block of loopback addresses is free")]
    NoAddress,
    /// An error of the operating system.
    #[error("{what}: {source}")]
    Io {
        /// Failed operation.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A command that failed.
    #[error("{what} failed: {output}")]
    Command {
        /// Purpose of the command.
        what: String,
        /// Standard error of the command.
        output: String,
    },
    /// A certificate that could not be made.
    #[error("making a certificate")]
    Certificate(#[source] rcgen::Error),
    /// A server that ended instead of starting.
    #[error("server `{node}` ended while starting; its log ends with:\n{log}")]
    Ended {
        /// The node.
        node: String,
        /// Last lines of the log.
        log: String,
    },
    /// A condition was not met in time.
    #[error("{what} did not happen within {limit:?}; last seen: {seen}")]
    Timeout {
        /// Awaited condition.
        what: String,
        /// How long.
        limit: Duration,
        /// Last observed state.
        seen: String,
    },
    /// A switchover that would lose transactions.
    #[error(
        "switchover would lose transactions: the old writer ended at {old}, the new one has replayed up to {new}"
    )]
    Diverged {
        /// The old writer's last position.
        old: String,
        /// The new writer's replay position.
        new: String,
    },
}

impl SandboxError {
    /// For `map_err`: names the failed operation.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { what: what.into(), source }
    }
}

impl From<rcgen::Error> for SandboxError {
    fn from(source: rcgen::Error) -> Self {
        Self::Certificate(source)
    }
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
