//! Examines endpoints and listeners stage by stage and reports problems with remedies.
//!
//! Promises: connects in the same way as sessions, so results apply to sessions; reports failures with the messages of
//! the log; shows no token, password or key. Refuses to know: how to repair a problem.

mod certificates;
mod endpoint;
mod finding;
mod listener;
mod print;
mod questions;
mod verdicts;

use std::{
    io::{self, Write},
    sync::Arc,
};

use serde::Serialize;
use tokio::{runtime::Builder, sync::oneshot};

use finding::Examination;
pub use finding::Verdict;

use crate::{
    backend::EndpointSettings, config::Config, frontend::ListenerSettings, names::EndpointName, tasks::Tasks,
    topology::DeclaredRole,
};

/// Examines the endpoints and listeners of a configuration.
pub struct Doctor {
    endpoints: Vec<EndpointSettings>,
    listeners: Vec<ListenerSettings>,
    /// Number of configured endpoints that are declared primary.
    primaries: usize,
}

/// Format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text; each endpoint as soon as its examination ends.
    Text {
        /// With colors.
        colour: bool,
    },
    /// One JSON object at the end.
    Json,
}

/// The configuration has no such endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown endpoint `{asked}`; configured: {}", list_endpoints(.known))]
pub struct UnknownEndpoint {
    asked: String,
    known: Vec<EndpointName>,
}

/// The whole report.
#[derive(Serialize)]
struct DoctorReport {
    /// The worst verdict of all.
    verdict: Verdict,
    endpoints: Vec<Examination>,
    listeners: Vec<Examination>,
}

fn is_primary(settings: &EndpointSettings) -> bool {
    settings.endpoint.role == DeclaredRole::Primary
}

// === impl UnknownEndpoint ===

impl UnknownEndpoint {
    /// `known` does not contain `asked`.
    pub(super) fn new(asked: &str, known: Vec<EndpointName>) -> Self {
        Self { asked: asked.to_owned(), known }
    }
}

// === impl Doctor ===

impl Doctor {
    /// Examines all endpoints and listeners of `config`, or only the endpoint `named`.
    ///
    /// # Errors
    /// [`UnknownEndpoint`] lists the configured endpoints.
    pub fn new(config: Config, named: Option<&str>) -> Result<Self, UnknownEndpoint> {
        let Config { mut endpoints, mut listeners, .. } = config;
        let primaries = endpoints.iter().filter(|settings| is_primary(settings)).count();
        if let Some(asked) = named {
            let known: Vec<_> = endpoints.iter().map(|settings| settings.endpoint.name.clone()).collect();
            endpoints.retain(|settings| settings.endpoint.name.as_str() == asked);
            listeners.clear();
            if endpoints.is_empty() {
                return Err(UnknownEndpoint::new(asked, known));
            }
        }
        Ok(Self { endpoints, listeners, primaries })
    }

    /// Examines all endpoints concurrently, then the listeners. Writes the report to `out` and returns the worst
    /// verdict.
    /// Blocks up to the endpoints' time limits.
    ///
    /// # Errors
    /// When `out` cannot be written to, or starting threads.
    pub fn examine(self, form: Form, out: &mut impl Write) -> io::Result<Verdict> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let verdict = runtime.block_on(self.go_through(form, out));
        // A hung resolver keeps its thread; the shutdown does not wait.
        runtime.shutdown_background();
        verdict
    }

    async fn go_through(self, form: Form, out: &mut impl Write) -> io::Result<Verdict> {
        let tasks = Arc::new(Tasks::new());
        let under_way: Vec<_> = self
            .endpoints
            .iter()
            .cloned()
            .map(|settings| {
                let (done, examined) = oneshot::channel();
                let keepers = Arc::clone(&tasks);
                let has_peer = self.primaries > 1 && is_primary(&settings);
                tasks.spawn("doctor", async move {
                    // The receiver may be gone.
                    done.send(endpoint::examine_endpoint(&settings, has_peer, &keepers).await).ok();
                });
                examined
            })
            .collect();
        let mut report =
            DoctorReport { verdict: Verdict::Skipped, endpoints: Vec::new(), listeners: Vec::new() };
        for examined in under_way {
            let examination = examined.await.map_err(io::Error::other)?;
            if let Form::Text { colour } = form {
                print::print_examination(out, "endpoint", &examination, colour)?;
            }
            report.verdict = report.verdict.max(examination.verdict);
            report.endpoints.push(examination);
        }
        tasks.shutdown().await;
        for settings in &self.listeners {
            let examination = listener::examine_listener(settings, &self.endpoints);
            if let Form::Text { colour } = form {
                print::print_examination(out, "listener", &examination, colour)?;
            }
            report.verdict = report.verdict.max(examination.verdict);
            report.listeners.push(examination);
        }
        match form {
            Form::Text { .. } => print::print_summary(out, &report)?,
            Form::Json => {
                serde_json::to_writer_pretty(&mut *out, &report)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        Ok(report.verdict)
    }
}

fn list_endpoints(known: &[EndpointName]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}
