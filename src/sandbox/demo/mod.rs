//! `gatekeeper demo`: the sandbox with Gatekeeper in front of it, and a guided tour of real traffic.
//!
//! Promises: what is printed has happened; when something happens that should not, the tour ends with an error. Refuses
//! to know: the rest of the program, which it starts as a process and speaks to as its users do.

mod process;
mod psql;
mod tour;

use std::{
    io::{self, Write},
    time::Duration,
};

use super::SandboxError;

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The sandbox could not do its part.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Gatekeeper ended.
    #[error("gatekeeper ended; its log ends with:\n{0}")]
    Ended(String),
    /// Something happened that should not have.
    #[error("{what} was expected, and this came: {came}")]
    Unexpected {
        /// What was expected.
        what: String,
        /// What came.
        came: String,
    },
    /// Standard output is gone, or the operating system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}

/// How long Gatekeeper may take to serve or to end, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the demo. With `once`, ends after the tour, otherwise at Ctrl-C; with `iam`, tokens come from a metadata
/// server.
///
/// # Errors
/// [`DemoError`] says what did not go as it should.
pub fn demo(once: bool, iam: bool, out: &mut impl Write) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| DemoError::Io { what: "starting", source })?;
    runtime.block_on(async {
        let interrupted = async {
            tokio::signal::ctrl_c()
                .await
                .map_err(|source| DemoError::Io { what: "waiting for Ctrl-C", source })
        };
        tokio::select! {
            // Dropping the tour stops everything, wherever it is.
            ended = tour::take(once, iam, out) => ended,
            interrupted = interrupted => interrupted,
        }
    })
}

fn expect(holds: bool, what: &str, came: impl FnOnce() -> String) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::Unexpected { what: what.to_owned(), came: came() }) }
}
