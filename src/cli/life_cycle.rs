//! `gatekeeper healthcheck`, `wait`, `restart` and `stop`: control the running program's life cycle by the admin API, without a
//! shell.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::Value;
use tokio::{runtime::Builder, time::sleep};

use crate::{
    admin::{AdminClient, AdminClientError, AdminResponse},
    blame::Chain,
    config::{ConfigSource, parse_duration},
    names::ListenerName,
    tasks::RuntimeSettings,
    tls::TlsFileError,
};

/// Arguments of `gatekeeper healthcheck`.
#[derive(Args)]
pub(super) struct HealthcheckArguments {
    /// Only this listener's route must be ready.
    #[arg(long, value_name = "NAME", conflicts_with = "live")]
    listener: Option<ListenerName>,
    /// Only check that the process responds, regardless of its servers.
    #[arg(long)]
    live: bool,
    /// Time limit of the response.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration_argument)]
    timeout: Duration,
}

/// Arguments of `gatekeeper wait`.
#[derive(Args)]
pub(super) struct WaitArguments {
    /// Only this listener's route must be ready.
    #[arg(long, value_name = "NAME")]
    listener: Option<ListenerName>,
    /// Time limit of the wait.
    #[arg(long, visible_alias = "max", value_name = "DURATION", default_value = "30s", value_parser = parse_duration_argument)]
    timeout: Duration,
}

/// Arguments of `gatekeeper stop`.
#[derive(Args)]
pub(super) struct StopArguments {
    /// Wait for the end of the process, not only for the start of the drain.
    #[arg(long)]
    wait: bool,
    /// Time limit of the wait; by default `drain_delay`, `drain_timeout` and 10 s.
    #[arg(long, visible_alias = "max", value_name = "DURATION", requires = "wait", value_parser = parse_duration_argument)]
    timeout: Option<Duration>,
}

/// Arguments of `gatekeeper restart`.
#[derive(Args)]
pub(super) struct RestartArguments {
    /// Time limit of the new process to serve.
    #[arg(long, visible_alias = "max", value_name = "DURATION", default_value = "60s", value_parser = parse_duration_argument)]
    timeout: Duration,
}

/// A command to the running program.
pub(super) trait LifeCycleCommand {
    /// Runs the command; returns the line for standard output.
    async fn run(&self, client: &AdminClient, runtime: &RuntimeSettings) -> Result<String, LifeCycleError>;
}

/// Reasons why a command to the running program failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LifeCycleError {
    #[error("the admin API is turned off: `admin.enabled` is false")]
    NoAdmin,
    #[error("the certificate of the admin API")]
    Certificate(#[source] TlsFileError),
    #[error("starting the runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Client(AdminClientError),
    #[error("the admin API refused the configured key: the server runs with another `admin.api_key`")]
    WrongKey,
    #[error("the admin API requires a key, but none is configured: set `admin.api_key` or ADMIN_API_KEY")]
    NoKey,
    #[error("{0}")]
    NotReady(String),
    #[error("unknown listener `{0}`")]
    NoListener(ListenerName),
    #[error("the server at {0} is not Gatekeeper's admin API")]
    Foreign(std::net::SocketAddr),
    #[error("not ready after {limit:?}")]
    NotReadyInTime {
        limit: Duration,
        #[source]
        last: Box<LifeCycleError>,
    },
    #[error("the running program starts no other process: {0}")]
    NoSuccessor(String),
    #[error("process {pid} does not serve after {limit:?}: its log has the reason; the old one goes on")]
    SuccessorFailed { pid: u64, limit: Duration },
    #[error("still running after {0:?}: sessions are open, or the admin API does not respond")]
    StillRunning(Duration),
}

/// Interval between status requests.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time limit of each request of a series.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the end of the process, in addition to the drain.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a command with the admin API's settings of `source`; mistakes and failures go to standard error.
pub(super) fn run_command(source: &ConfigSource, command: &impl LifeCycleCommand) -> io::Result<ExitCode> {
    let (admin, runtime) = match source.load_admin() {
        Ok(settings) => settings,
        Err(problems) => {
            for problem in &problems.0 {
                writeln!(io::stderr(), "error: {problem}")?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let done = (|| {
        let settings = admin.ok_or(LifeCycleError::NoAdmin)?;
        let client = AdminClient::new(&settings).map_err(LifeCycleError::Certificate)?;
        let driver = Builder::new_current_thread().enable_all().build().map_err(LifeCycleError::Runtime)?;
        driver.block_on(command.run(&client, &runtime))
    })();
    match done {
        Ok(line) => writeln!(io::stdout(), "{line}").map(|()| ExitCode::SUCCESS),
        Err(error) => {
            writeln!(io::stderr(), "error: {}", Chain(&error))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn parse_duration_argument(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number with its unit, as in 500ms, 10s or 1m30s".to_owned())
}

// === impl HealthcheckArguments ===

impl LifeCycleCommand for HealthcheckArguments {
    async fn run(&self, client: &AdminClient, _: &RuntimeSettings) -> Result<String, LifeCycleError> {
        if !self.live {
            return check_readiness(client, self.listener.as_ref(), self.timeout).await;
        }
        let response = client.request("GET", "/livez", self.timeout).await.map_err(LifeCycleError::Client)?;
        refuse_denial(client, &response)?;
        match (response.status, response.body.as_str()) {
            (200, "ok\n") => Ok("alive".to_owned()),
            _ => Err(LifeCycleError::Foreign(client.address())),
        }
    }
}

// === impl WaitArguments ===

impl LifeCycleCommand for WaitArguments {
    async fn run(&self, client: &AdminClient, _: &RuntimeSettings) -> Result<String, LifeCycleError> {
        let started = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(started.elapsed()).clamp(POLL_INTERVAL, REQUEST_TIMEOUT);
            match check_readiness(client, self.listener.as_ref(), left).await {
                Ok(line) => return Ok(line),
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) if started.elapsed() >= self.timeout => {
                    return Err(LifeCycleError::NotReadyInTime {
                        limit: self.timeout,
                        last: Box::new(error),
                    });
                }
                Err(_) => sleep(POLL_INTERVAL).await,
            }
        }
    }
}

// === impl StopArguments ===

impl LifeCycleCommand for StopArguments {
    async fn run(&self, client: &AdminClient, runtime: &RuntimeSettings) -> Result<String, LifeCycleError> {
        let response =
            client.request("POST", "/v1/stop", REQUEST_TIMEOUT).await.map_err(LifeCycleError::Client)?;
        refuse_denial(client, &response)?;
        let sessions = parse_body(&response)["sessions"].as_u64();
        let (202, Some(sessions)) = (response.status, sessions) else {
            return Err(LifeCycleError::Foreign(client.address()));
        };
        if !self.wait {
            return Ok(format!("stopping; {sessions} sessions"));
        }
        let limit = self.timeout.unwrap_or(runtime.drain_delay + runtime.drain_timeout + END_TIMEOUT);
        let started = Instant::now();
        while is_draining(client).await {
            if started.elapsed() >= limit {
                return Err(LifeCycleError::StillRunning(limit));
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok("stopped".to_owned())
    }
}

// === impl RestartArguments ===

impl LifeCycleCommand for RestartArguments {
    async fn run(&self, client: &AdminClient, _: &RuntimeSettings) -> Result<String, LifeCycleError> {
        let response =
            client.request("POST", "/v1/restart", REQUEST_TIMEOUT).await.map_err(LifeCycleError::Client)?;
        refuse_denial(client, &response)?;
        let body = parse_body(&response);
        let pid = match (response.status, body["pid"].as_u64(), body["error"]["message"].as_str()) {
            (202, Some(pid), _) => pid,
            (409, _, Some(message)) => return Err(LifeCycleError::NoSuccessor(message.to_owned())),
            _ => return Err(LifeCycleError::Foreign(client.address())),
        };
        let started = Instant::now();
        while started.elapsed() < self.timeout {
            // Either process may answer until the old one has left.
            if let Ok(info) = client.request("GET", "/v1/info", REQUEST_TIMEOUT).await
                && parse_body(&info)["pid"].as_u64() == Some(pid)
            {
                return Ok(format!("process {pid} serves; the old one drains"));
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(LifeCycleError::SuccessorFailed { pid, limit: self.timeout })
    }
}

/// False once no process listens, or a new process has replaced the stopped process.
async fn is_draining(client: &AdminClient) -> bool {
    match client.request("GET", "/readyz", REQUEST_TIMEOUT).await {
        Ok(response) => parse_body(&response)["draining"] != Value::Bool(false),
        Err(AdminClientError::Connect(..)) => false,
        Err(_) => true,
    }
}

/// Returns `ready` if every listener, or only `listener`, can serve.
async fn check_readiness(
    client: &AdminClient,
    listener: Option<&ListenerName>,
    limit: Duration,
) -> Result<String, LifeCycleError> {
    let path = listener.map_or_else(|| "/readyz".to_owned(), |name| format!("/readyz?listener={name}"));
    let response = client.request("GET", &path, limit).await.map_err(LifeCycleError::Client)?;
    refuse_denial(client, &response)?;
    let body = parse_body(&response);
    if let (404, Some(name), "not_found") =
        (response.status, listener, body["error"]["code"].as_str().unwrap_or_default())
    {
        return Err(LifeCycleError::NoListener(name.clone()));
    }
    match body["ready"].as_bool() {
        Some(true) => Ok("ready".to_owned()),
        Some(false) => Err(LifeCycleError::NotReady(describe_problems(&body))),
        None => match body["error"]["message"].as_str() {
            Some(message) => Err(LifeCycleError::NotReady(message.to_owned())),
            None => Err(LifeCycleError::Foreign(client.address())),
        },
    }
}

/// Formats the listeners' problems as one line.
fn describe_problems(readiness: &Value) -> String {
    if readiness["draining"] == true {
        return "not ready: the program is shutting down".to_owned();
    }
    let listeners = readiness["listeners"].as_array().map_or(&[][..], Vec::as_slice);
    let problems = listeners.iter().filter_map(|listener| {
        Some(format!("listener `{}`: {}", listener["name"].as_str()?, listener["problem"].as_str()?))
    });
    format!("not ready: {}", problems.collect::<Vec<_>>().join("; "))
}

fn refuse_denial(client: &AdminClient, response: &AdminResponse) -> Result<(), LifeCycleError> {
    match (response.status, client.has_key()) {
        (401, true) => Err(LifeCycleError::WrongKey),
        (401, false) => Err(LifeCycleError::NoKey),
        _ => Ok(()),
    }
}

fn parse_body(response: &AdminResponse) -> Value {
    serde_json::from_str(&response.body).unwrap_or_default()
}

// === impl LifeCycleError ===

impl LifeCycleError {
    /// True if waiting does not help.
    fn is_permanent(&self) -> bool {
        matches!(self, Self::WrongKey | Self::NoKey | Self::NoListener(_))
    }
}
