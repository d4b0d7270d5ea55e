//! `psql` as the tour uses it: for one statement, and as a session that stays open.

use std::process::{Command, Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use super::{
    super::{DATABASE, FrontListener, NativeUser, Sandbox},
    DemoError, PROCESS_WAIT_LIMIT,
};

/// The connection string of a user at a listener.
pub(super) fn target(listener: &FrontListener, user: NativeUser) -> String {
    let (ip, port) = (listener.address.ip(), listener.address.port());
    format!("host={ip} port={port} dbname={DATABASE} user={} password={}", user.name, user.password)
}

/// `psql` for a user at a listener, without settings of the person who runs the demo.
pub(super) fn command(sandbox: &Sandbox, listener: &FrontListener, user: NativeUser) -> Command {
    let mut psql = Command::new(sandbox.installation().psql());
    psql.args(["-X", "-d", &target(listener, user)]).env("HOME", "/nonexistent");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        psql.env_remove(name);
    }
    psql
}

/// A session that stays open. It ends when it is dropped.
pub(super) struct PsqlSession {
    /// Held for its end: dropping it kills `psql`.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// The line after the answer to a statement.
const END: &str = "-- end of the answer";

// === impl PsqlSession ===

impl PsqlSession {
    /// Opens a session.
    pub(super) fn open(
        sandbox: &Sandbox,
        listener: &FrontListener,
        user: NativeUser,
    ) -> Result<Self, DemoError> {
        let mut psql = tokio::process::Command::from(command(sandbox, listener, user));
        psql.args(["-A", "-t"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = psql.kill_on_drop(true).spawn().map_err(failed)?;
        let input = child.stdin.take().expect("standard input is a pipe");
        let output = child.stdout.take().expect("standard output is a pipe");
        Ok(Self { _child: child, input, output: BufReader::new(output).lines() })
    }

    /// Runs one statement and returns its rows.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<String, DemoError> {
        self.input.write_all(format!("{sql};\n\\echo {END}\n").as_bytes()).await.map_err(failed)?;
        let mut rows = Vec::new();
        loop {
            let line = timeout(PROCESS_WAIT_LIMIT, self.output.next_line()).await;
            let line = line.map_err(|elapsed| failed(elapsed.into()))?.map_err(failed)?;
            let Some(line) = line else {
                let (what, came) = ("an answer to a session".to_owned(), rows.join("\n"));
                return Err(DemoError::Unexpected { what, came });
            };
            if line == END {
                return Ok(rows.join("\n"));
            }
            rows.push(line);
        }
    }
}

fn failed(source: std::io::Error) -> DemoError {
    DemoError::Io { what: "running psql", source }
}
