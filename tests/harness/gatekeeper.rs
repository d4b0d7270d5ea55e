//! The program as a process.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::until;

/// How long the program may take to serve, or to end, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Gatekeeper; killed when dropped.
pub struct Gatekeeper {
    child: Child,
    admin: SocketAddr,
    config: PathBuf,
    stderr: Arc<Mutex<String>>,
}

/// An answer of the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Gatekeeper {
    /// Writes `config` to `folder` and starts the program; waits until the admin API at `admin` reports that the
    /// program is alive. Take free addresses for `config` from an `AddressBlock`.
    ///
    /// # Panics
    /// If the program ends instead, with the program's output.
    pub async fn start(folder: &Path, config: &str, admin: SocketAddr) -> Self {
        Self::launch(folder, config, admin, &[]).live().await
    }

    /// Starts Gatekeeper like [`Self::start`], with more environment variables.
    pub async fn start_with(
        folder: &Path,
        config: &str,
        admin: SocketAddr,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::launch(folder, config, admin, environment).live().await
    }

    /// Starts the program with `environment` as the only configuration; waits as [`Self::start`] does.
    pub async fn from_environment(environment: &[(&str, &str)], admin: SocketAddr) -> Self {
        let mut command = program(environment);
        command.stdin(Stdio::null());
        Self::spawn(command, PathBuf::new(), admin).live().await
    }

    /// Starts the program without waiting, with more environment variables.
    pub fn launch(folder: &Path, config: &str, admin: SocketAddr, environment: &[(&str, &str)]) -> Self {
        let file = folder.join("gatekeeper.toml");
        fs::write(&file, config).unwrap();
        let mut command = program(environment);
        command.args(["run", "--config"]).arg(&file).stdin(Stdio::null());
        Self::spawn(command, file, admin)
    }

    /// Starts the program by a shell command that prepares inherited state and ends with `exec "$@"`; waits as
    /// [`Self::start`] does.
    pub async fn start_by(shell: &str, stdin: Stdio, folder: &Path, config: &str, admin: SocketAddr) -> Self {
        let file = folder.join("gatekeeper.toml");
        fs::write(&file, config).unwrap();
        let binary = program(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", shell, "sh"]).arg(binary.get_program()).args(["run", "--config"]).arg(&file);
        for (name, _) in binary.get_envs() {
            command.env_remove(name);
        }
        command.stdin(stdin);
        Self::spawn(command, file, admin).live().await
    }

    fn spawn(mut command: Command, config: PathBuf, admin: SocketAddr) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (from, to) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut log = to.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, admin, config, stderr }
    }

    /// Waits until the admin API reports that the program is alive.
    async fn live(mut self) -> Self {
        until(PATIENCE, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("gatekeeper ended with {status}:\n{}", self.stderr());
            }
            match self.get("/livez").await {
                Ok(Answer { status: 200, .. }) => Ok(()),
                other => Err((other, self.stderr())),
            }
        })
        .await;
        self
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until standard error contains `words`.
    pub async fn wait_for_log(&self, words: &str) {
        until(PATIENCE, async || {
            let log = self.stderr();
            if log.contains(words) { Ok(()) } else { Err(format!("no `{words}` in:\n{log}")) }
        })
        .await;
    }

    /// The configuration file. Rewrite the file and send SIGHUP, or `POST /v1/reload`.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        let Self { child, stderr, .. } = self;
        until(PATIENCE, async || child.try_wait().unwrap().ok_or_else(|| stderr.lock().unwrap().clone()))
            .await
    }

    /// `GET path` at the admin API.
    pub async fn get(&self, path: &str) -> std::io::Result<Answer> {
        self.ask("GET", path, "", "").await
    }

    /// A request to the admin API; `headers` are whole lines, each with a line break.
    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> std::io::Result<Answer> {
        request(self.admin, method, path, headers, body).await
    }

    /// Changes the configuration file by `change`, and reloads.
    pub async fn reload_with(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, change(text)).unwrap();
        let answer = self.ask("POST", "/v1/reload", "", "").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The value of one series of `/metrics`, written as on the page: `name{label="value"}`; `None` if the series is
    /// missing.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.get("/metrics").await.unwrap().body;
        metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

/// The program, with `environment` as the only configuration.
fn program(environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatekeeper"));
    // Variables with the program's prefix are configuration: the caller's own must not reach the program.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("GATEKEEPER_") || name == "ADMIN_API_KEY" {
            command.env_remove(name);
        }
    }
    // Credentials of the developer, or a metadata server of the machine, may not reach the program either.
    command.env_remove("GOOGLE_APPLICATION_CREDENTIALS");
    command.env("CLOUDSDK_CONFIG", "/nonexistent").env("NO_GCE_CHECK", "true");
    command.envs(environment.iter().copied());
    command
}

/// Output of `gatekeeper check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub code: Option<i32>,
    /// Standard output: every setting with its value and origin.
    pub settings: String,
    /// Standard error: mistakes and warnings.
    pub stderr: String,
}

/// Runs `gatekeeper check` on `file` and `environment`.
pub fn check(file: Option<&Path>, environment: &[(&str, &str)]) -> Checked {
    let mut command = program(environment);
    command.arg("check");
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Checked { code: output.status.code(), settings: text(output.stdout), stderr: text(output.stderr) }
}

/// Returns the output of `gatekeeper doctor` about `file`, as JSON.
pub fn doctor(file: &Path, environment: &[(&str, &str)]) -> String {
    let mut command = program(environment);
    let output = command.args(["doctor", "--json", "--config"]).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command of the program to the end, with `environment` alone as configuration.
pub async fn run_command(arguments: &[&str], environment: &[(&str, &str)]) -> Checked {
    let mut command = tokio::process::Command::from(program(environment));
    let output = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Checked { code: output.status.code(), settings: text(output.stdout), stderr: text(output.stderr) }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- standard error of gatekeeper:\n{}---", self.stderr());
        }
    }
}

/// A process that has taken over from another one, by its id; killed when dropped: no test owns the process as a child.
pub struct Successor(pub u32);

impl Successor {
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.cast_signed()) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// An HTTP request; `headers` are whole lines, each with a line break.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other(answer.clone()))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(head.to_owned()))?;
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        dechunk(body)
    } else {
        body.to_owned()
    };
    Ok(Answer { status, body })
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(chunk) = after.get(..size) else { break };
        body += chunk;
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}
