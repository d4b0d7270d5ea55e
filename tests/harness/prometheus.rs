//! Prometheus as a process, with its API.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{grafana::tool, request, until};

/// Time limit for a start or for a scrape, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit of a scrape, as by default.
const MAX_SCRAPE_SECONDS: u32 = 10;

/// Ends the program at the end of standard input: a test never leaves a process behind.
const LEASH: &str = r#"trap '' HUP INT TERM; "$@" & child=$!; read -r _; kill -KILL "$child"; wait"#;

/// A running Prometheus that scrapes one program; ended when dropped.
pub struct Prometheus {
    shell: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// A series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub samples: Vec<f64>,
}

/// A span of time, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: f64,
    pub end: f64,
}

impl Prometheus {
    /// Starts Prometheus at `address`, with `target` as the page to scrape each second and `rules` to evaluate; files are
    /// kept in `folder`. `None` if Prometheus is not installed.
    pub async fn start(folder: &Path, address: SocketAddr, target: SocketAddr, rules: &Path) -> Option<Self> {
        Self::start_with(folder, address, target, &[rules], 1).await
    }

    /// Starts Prometheus like [`Self::start`], with an interval of `seconds`.
    pub async fn start_with(
        folder: &Path,
        address: SocketAddr,
        target: SocketAddr,
        rules: &[&Path],
        seconds: u32,
    ) -> Option<Self> {
        let program = tool("prometheus")?;
        let folder = folder.join("prometheus");
        fs::create_dir(&folder).unwrap();
        let (config, log) = (folder.join("prometheus.yml"), folder.join("log"));
        let text = format!(
            "global: {{ scrape_interval: {seconds}s, scrape_timeout: {}s, evaluation_interval: {seconds}s }}\n\
             rule_files: {rules:?}\n\
             scrape_configs:\n  - job_name: gatekeeper\n    static_configs: [{{ targets: [\"{target}\"] }}]\n",
            seconds.min(MAX_SCRAPE_SECONDS)
        );
        fs::write(&config, text).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", LEASH, "sh"]).arg(program.get_program());
        shell.arg(format!("--config.file={}", config.display()));
        shell.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        shell.arg(format!("--web.listen-address={address}"));
        shell.current_dir(&folder).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let prometheus = Self { shell: shell.spawn().unwrap(), address, log };
        until(PATIENCE, async || match request(address, "GET", "/-/ready", "", "").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err((other, fs::read_to_string(&prometheus.log))),
        })
        .await;
        Some(prometheus)
    }

    /// Address of the API.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Response of the API; an error has the words of Prometheus.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut form = String::new();
        for (name, value) in parameters {
            let _ = write!(form, "{name}={}&", encode(value));
        }
        let (method, headers) = if parameters.is_empty() {
            ("GET", "")
        } else {
            ("POST", "content-type: application/x-www-form-urlencoded\r\n")
        };
        let path = format!("/api/v1/{path}");
        let answer =
            request(self.address, method, &path, headers, &form).await.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(answer["error"].to_string())
        }
    }

    /// The values of a query each second of a span.
    pub async fn range(&self, query: &str, span: Span) -> Result<Vec<Series>, String> {
        let (start, end) = (span.start.to_string(), span.end.to_string());
        let parameters = [("query", query), ("start", &start), ("end", &end), ("step", "1")];
        Ok(series(&self.ask("query_range", &parameters).await?))
    }

    /// Values of `query` at one moment.
    pub async fn instant(&self, query: &str, moment: f64) -> Result<Vec<Series>, String> {
        Ok(series(&self.ask("query", &[("query", query), ("time", &moment.to_string())]).await?))
    }

    /// Waits until a query has a result; returns its moment. A later query can always look back at the moment.
    pub async fn sees(&self, query: &str) -> f64 {
        until(PATIENCE, async || {
            let answer = self.ask("query", &[("query", query)]).await;
            let moment = answer.as_ref().ok().and_then(|data| data["result"][0]["value"][0].as_f64());
            moment.ok_or((query, answer))
        })
        .await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        if std::thread::panicking() {
            eprintln!("--- log of prometheus:\n{}---", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn series(data: &Value) -> Vec<Series> {
    let number = |sample: &Value| sample[1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    let result = data["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |series: &Value| {
        let labels = series["metric"].as_object().into_iter().flatten();
        let labels =
            labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let samples = match series["values"].as_array() {
            Some(values) => values.iter().map(number).collect(),
            None => vec![number(&series["value"])],
        };
        Series { labels: labels.collect(), samples }
    };
    result.iter().map(one).collect()
}

/// A value of a form.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
