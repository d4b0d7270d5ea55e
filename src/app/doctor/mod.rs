//! Goes through endpoints and listeners stage by stage and says what is wrong and what to do about it.
//!
//! Promises: the ways to the endpoints are those that sessions take, so that what works here works there; failures are
//! told in the words of the log; no token, password or key is shown. Refuses to know: how to make anything work.

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
};

/// Examines what a configuration describes.
pub struct Doctor {
    endpoints: Vec<EndpointSettings>,
    listeners: Vec<ListenerSettings>,
}

/// What the report looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines for people; each endpoint's as soon as it has been gone through.
    Text {
        /// With colours.
        colour: bool,
    },
    /// One JSON object at the end.
    Json,
}

/// There is no endpoint of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown endpoint `{asked}`; configured: {}", list(.known))]
pub struct UnknownEndpoint {
    asked: String,
    known: Vec<EndpointName>,
}

/// The whole report.
#[derive(Serialize)]
struct DoctorReport {
    /// The worst of all.
    verdict: Verdict,
    endpoints: Vec<Examination>,
    listeners: Vec<Examination>,
}

// === impl UnknownEndpoint ===

impl UnknownEndpoint {
    /// There is nothing called `asked` among `known`.
    pub(super) fn new(asked: &str, known: Vec<EndpointName>) -> Self {
        Self { asked: asked.to_owned(), known }
    }
}

// === impl Doctor ===

impl Doctor {
    /// Looks after all endpoints and listeners of `config`, or after the one endpoint called `named`.
    ///
    /// # Errors
    /// [`UnknownEndpoint`] names those that there are.
    pub fn new(config: Config, named: Option<&str>) -> Result<Self, UnknownEndpoint> {
        let Config { mut endpoints, mut listeners, .. } = config;
        if let Some(asked) = named {
            let known: Vec<_> = endpoints.iter().map(|settings| settings.endpoint.name.clone()).collect();
            endpoints.retain(|settings| settings.endpoint.name.as_str() == asked);
            listeners.clear();
            if endpoints.is_empty() {
                return Err(UnknownEndpoint::new(asked, known));
            }
        }
        Ok(Self { endpoints, listeners })
    }

    /// Goes through everything, the endpoints at one time, and writes the report to `out`; returns the worst verdict.
    /// Blocks for as long as the endpoints' time limits allow.
    ///
    /// # Errors
    /// When `out` cannot be written to, or starting threads.
    pub fn examine(self, form: Form, out: &mut impl Write) -> io::Result<Verdict> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let verdict = runtime.block_on(self.go_through(form, out));
        // A resolver that hangs holds its thread; nobody waits for it.
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
                tasks.spawn("doctor", async move {
                    // Whoever asked may be gone.
                    done.send(endpoint::examine(&settings, &keepers).await).ok();
                });
                examined
            })
            .collect();
        let mut report =
            DoctorReport { verdict: Verdict::Skipped, endpoints: Vec::new(), listeners: Vec::new() };
        for examined in under_way {
            let examination = examined.await.map_err(io::Error::other)?;
            if let Form::Text { colour } = form {
                print::examination(out, "endpoint", &examination, colour)?;
            }
            report.verdict = report.verdict.max(examination.verdict);
            report.endpoints.push(examination);
        }
        tasks.shutdown().await;
        for settings in &self.listeners {
            let examination = listener::examine(settings, &self.endpoints);
            if let Form::Text { colour } = form {
                print::examination(out, "listener", &examination, colour)?;
            }
            report.verdict = report.verdict.max(examination.verdict);
            report.listeners.push(examination);
        }
        match form {
            Form::Text { .. } => print::summary(out, &report)?,
            Form::Json => {
                serde_json::to_writer_pretty(&mut *out, &report)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        Ok(report.verdict)
    }
}

fn list(known: &[EndpointName]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}
