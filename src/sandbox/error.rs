//! Why a sandbox cannot do what was asked of it.

use std::{io, path::PathBuf, time::Duration};

/// Why a sandbox cannot do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No PostgreSQL server is installed where it was looked for.
    #[error(
        "no PostgreSQL server {wanted}found; looked in {}. Install one (Debian: `apt-get install postgresql`) or set \
         GATEKEEPER_PG_BIN to the folder of `postgres` and `initdb`",
        list(.looked)
    )]
    NoServer {
        /// The major version asked for with a space behind it, or nothing.
        wanted: String,
        /// The folders that were tried.
        looked: Vec<PathBuf>,
    },
    /// PostgreSQL refuses to run as root and there is nobody else to run it as.
    #[error(
        "PostgreSQL servers refuse to run as root and there is no user `postgres`: add one or run as another user"
    )]
    NoAccount,
    /// No block of loopback addresses is free.
    #[error("no block of loopback addresses is free")]
    NoAddress,
    /// Something that the operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A command that failed.
    #[error("{what} failed: {output}")]
    Command {
        /// What it was for.
        what: String,
        /// What it said on standard error.
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
        /// The last lines of its log.
        log: String,
    },
    /// Something that did not come true in time.
    #[error("{what} did not happen within {limit:?}; last seen: {seen}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What was seen last.
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
    /// For `map_err`: names what was tried.
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
