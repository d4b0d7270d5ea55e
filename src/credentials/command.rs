//! Runs the command that prints a token.

use std::{
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{Secret, TokenCommand, TokenError, exchange::MintedToken, printed_token, redact};
use crate::{
    names::UserName,
    topology::{Address, Endpoint},
};

/// Bytes that a token may have.
const MAX_TOKEN_OUTPUT_BYTES: usize = 64 << 10;
/// Bytes kept of standard error; what follows is read and thrown away, so that nobody blocks on it.
const MAX_STDERR_BYTES: usize = 4 << 10;
/// What a shell answers when it does not find a command.
const COMMAND_NOT_FOUND_STATUS: i32 = 127;

/// A command to run once.
pub(super) struct CommandRun {
    /// Program and arguments; never empty.
    pub(super) words: Vec<String>,
    /// Variables added to the environment of the process.
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) limit: Duration,
}

/// Mints tokens for one endpoint by running a command.
pub(super) struct Minter {
    command: TokenCommand,
    limit: Duration,
    endpoint: String,
    host: String,
}

/// A process group that is killed when dropped, unless its leader has been waited for.
struct Group(Option<Pid>);

/// What a command has printed so far.
struct Printed {
    stdout: Zeroizing<Vec<u8>>,
    stderr: Vec<u8>,
}

// === impl Minter ===

impl Minter {
    pub(super) fn new(command: &TokenCommand, limit: Duration, endpoint: &Endpoint) -> Self {
        let host = match &endpoint.address {
            Address::Tcp { host, .. } => host.clone(),
            Address::Unix(path) => path.display().to_string(),
        };
        Self { command: command.clone(), limit, endpoint: endpoint.name.to_string(), host }
    }

    /// Runs the command once for `user`.
    ///
    /// Cancel safe: the command and all it has started are killed.
    pub(super) async fn mint(&self, user: &UserName) -> Result<MintedToken, TokenError> {
        let words = match &self.command {
            TokenCommand::Shell(line) => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
            TokenCommand::Words(words) => words.clone(),
        };
        let variables = vec![
            ("GATEKEEPER_ENDPOINT", self.endpoint.clone()),
            ("GATEKEEPER_BACKEND_HOST", self.host.clone()),
            ("GATEKEEPER_BACKEND_USER", user.as_str().to_owned()),
        ];
        let printed = run_printing(&CommandRun { words, variables, limit: self.limit }).await?;
        printed.token()
    }
}

/// Runs a command to completion and returns its standard output.
///
/// Cancel safe: the command and all its descendants are killed.
///
/// # Errors
/// [`TokenError`] when the command fails or exceeds the time limit.
pub(super) async fn run_command(run: &CommandRun) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    run_printing(run).await.map(|printed| printed.stdout)
}

async fn run_printing(run: &CommandRun) -> Result<Printed, TokenError> {
    let (mut child, mut group) = start(run)?;
    let mut printed = Printed::new();
    let finished = timeout(run.limit, printed.read_until_exit(&mut child)).await;
    let status = finished
        .map_err(|_| TokenError::TimedOut { limit: run.limit, stderr: printed.error_line() })?
        .map_err(|error| match error {
            Interrupted::TooLong => TokenError::TooLong,
            Interrupted::Io(error) => TokenError::Run(Arc::new(error)),
        })?;
    // The leader was reaped: the kernel may have reassigned its process ID.
    group.disarm();
    printed.check(status)?;
    Ok(printed)
}

fn start(run: &CommandRun) -> Result<(Child, Group), TokenError> {
    let (program, arguments) = run.words.split_first().ok_or(TokenError::NotFound(String::new()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(run.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TokenError::NotFound(program.clone()),
        _ => TokenError::Run(Arc::new(error)),
    })?;
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    Ok((child, Group(leader)))
}

/// Why a command was not read to its end.
enum Interrupted {
    TooLong,
    Io(io::Error),
}

// === impl Printed ===

impl Printed {
    fn new() -> Self {
        // With its full size from the start: growing would leave copies of a token behind.
        Self { stdout: Zeroizing::new(Vec::with_capacity(MAX_TOKEN_OUTPUT_BYTES)), stderr: Vec::new() }
    }

    /// Reads until the command itself has ended. A process it left behind may hold the pipes open for longer, and is not
    /// waited for.
    async fn read_until_exit(&mut self, child: &mut Child) -> Result<ExitStatus, Interrupted> {
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let mut from_stdout = Zeroizing::new([0; 4096]);
        let mut from_stderr = [0; 1024];
        loop {
            tokio::select! {
                read = read_some(&mut stdout, &mut *from_stdout), if stdout.is_some() => {
                    match read.map_err(Interrupted::Io)? {
                        0 => stdout = None,
                        count => self.on_stdout(&from_stdout[..count])?,
                    }
                }
                read = read_some(&mut stderr, &mut from_stderr), if stderr.is_some() => {
                    match read.map_err(Interrupted::Io)? {
                        0 => stderr = None,
                        count => self.on_stderr(&from_stderr[..count]),
                    }
                }
                status = child.wait() => {
                    let status = status.map_err(Interrupted::Io)?;
                    self.drain(stdout.as_ref(), stderr.as_ref())?;
                    return Ok(status);
                }
            }
        }
    }

    /// Reads what an ended command has left in its pipes, without waiting for more.
    fn drain(
        &mut self,
        stdout: Option<&ChildStdout>,
        stderr: Option<&ChildStderr>,
    ) -> Result<(), Interrupted> {
        let mut chunk = Zeroizing::new([0; 4096]);
        if let Some(pipe) = stdout {
            while let Some(count) = read_now(pipe, &mut *chunk) {
                self.on_stdout(&chunk[..count])?;
            }
        }
        if let Some(pipe) = stderr {
            while self.stderr.len() < MAX_STDERR_BYTES
                && let Some(count) = read_now(pipe, &mut *chunk)
            {
                self.on_stderr(&chunk[..count]);
            }
        }
        Ok(())
    }

    fn on_stdout(&mut self, bytes: &[u8]) -> Result<(), Interrupted> {
        if bytes.len() > MAX_TOKEN_OUTPUT_BYTES - self.stdout.len() {
            return Err(Interrupted::TooLong);
        }
        self.stdout.extend_from_slice(bytes);
        Ok(())
    }

    fn on_stderr(&mut self, bytes: &[u8]) {
        let room = MAX_STDERR_BYTES - self.stderr.len();
        self.stderr.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn error_line(&self) -> String {
        redact::first_line(&self.stderr, &self.stdout)
    }

    fn check(&self, status: ExitStatus) -> Result<(), TokenError> {
        if let Some(signal) = status.signal() {
            return Err(TokenError::Killed { signal, stderr: self.error_line() });
        }
        match status.code() {
            Some(0) => Ok(()),
            Some(COMMAND_NOT_FOUND_STATUS) => Err(TokenError::NotFound(self.error_line())),
            code => Err(TokenError::Failed { status: code.unwrap_or(-1), stderr: self.error_line() }),
        }
    }

    fn token(&self) -> Result<MintedToken, TokenError> {
        let text = str::from_utf8(&self.stdout).map_err(|_| TokenError::NoText)?.trim_end();
        if text.is_empty() {
            return Err(TokenError::Empty(self.error_line()));
        }
        let is_one_word = |text: &str| !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if text.trim_start().starts_with('{') {
            let minted = printed_token::read_json(text, Timestamp::now()).ok_or(TokenError::NotJsonToken)?;
            let token = minted.secret.reveal();
            let usable = !token.is_empty() && is_one_word(token);
            return if usable { Ok(minted) } else { Err(TokenError::NotJsonToken) };
        }
        // A warning or a progress bar next to the token would be sent as the password, and replace a valid token.
        if !is_one_word(text) {
            return Err(TokenError::NotOneWord);
        }
        Ok(MintedToken { secret: Secret::new(text.to_owned()), lifetime: None })
    }
}

/// Reads from a pipe that is still open.
async fn read_some<R: tokio::io::AsyncRead + Unpin>(
    pipe: &mut Option<R>,
    into: &mut [u8],
) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(into).await,
        None => Ok(0),
    }
}

/// Reads what is there, if anything is.
fn read_now(pipe: impl AsFd, into: &mut [u8]) -> Option<usize> {
    rustix::io::read(pipe, into).ok().filter(|count| *count > 0)
}

// === impl Group ===

impl Group {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It fails when the whole group is gone already, which is what was wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
