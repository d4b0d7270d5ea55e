//! Helpers to run a command, and to wait for a condition.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::SandboxError;

/// Runs `command` and returns the standard output.
///
/// Cancel safety: a dropped future kills the command.
pub(super) async fn run(what: &str, mut command: Command) -> Result<String, SandboxError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output().await.map_err(SandboxError::io(what))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error_text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let output = if error_text.is_empty() { output.status.to_string() } else { error_text };
    Err(SandboxError::Command { what: what.to_owned(), output })
}

/// Interval of checks for an effect of another process.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Repeats `look` until the result is `Ok`, for at most `limit`; `Err` carries the observed state.
pub(super) async fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Result<T, String>, SandboxError>,
) -> Result<T, SandboxError> {
    let end = Instant::now() + limit;
    loop {
        match look().await? {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= end => {
                return Err(SandboxError::Timeout { what: what.to_owned(), limit, seen });
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}
