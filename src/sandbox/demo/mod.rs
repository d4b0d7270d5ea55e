//! `gatekeeper demo`: the sandbox with Gatekeeper in front, and a guided tour of real traffic.
//!
//! Promises: printed results are real; an unexpected result ends the tour with an error. Refuses to know: the rest of
//! the program, which runs as a process and is used like by any client.

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
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Gatekeeper ended.
    #[error("gatekeeper ended; its log ends with:\n{0}")]
    Ended(String),
    /// An unexpected result.
    #[error("{what} was expected, and this came: {came}")]
    Unexpected {
        /// Expected result.
        what: String,
        /// Actual result.
        came: String,
    },
    /// Standard output is closed, or the operating system failed.
    #[error("{what}")]
    Io {
        /// Failed operation.
        what: &'static str,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}

/// How long Gatekeeper may take to serve or to end, on a machine that is busy.
const PROCESS_WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Runs the demo. With `once`, ends after the tour, otherwise at Ctrl-C; with `iam`, tokens come from a metadata
/// server.
///
/// # Errors
/// [`DemoError`] for an unexpected result.
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
            // Drop stops all processes of the tour at any point.
            ended = tour::take_tour(once, iam, out) => ended,
            interrupted = interrupted => interrupted,
        }
    })
}

fn expect(holds: bool, what: &str, came: impl FnOnce() -> String) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::Unexpected { what: what.to_owned(), came: came() }) }
}
