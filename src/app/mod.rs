//! Builds the program from a configuration, reloads and stops it.
//!
//! The only module that knows all others. Threads: two for control (probes, tokens, files, admin API, accepting
//! clients), one for each worker, which serves clients, and one that writes the audit log.

mod active_settings;
mod build;
mod cancel_forwarding;
mod console;
mod doctor;
mod handed_state;
mod handover;
mod inherited;
mod knowledge;
mod principal;
mod probed_health;
mod program;
mod reload;
mod report;
mod service_manager;
mod shutdown;

use std::{io::Write, process::ExitCode};

use tokio::runtime::Builder;

pub use doctor::{Doctor, Form, Verdict};
pub use knowledge::{KnowledgeError, knowledge_of};
pub use principal::{PrincipalMistake, find_principals};
use program::Program;
pub use program::StartError;

use crate::{
    blame::Chain,
    config::{ConfigSource, LoadedConfig},
    telemetry::start_log,
};

/// Runs until shutdown; `source` is read again on reload.
#[must_use]
pub fn run(loaded: LoadedConfig, source: ConfigSource) -> ExitCode {
    match start_and_serve(loaded, source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "gatekeeper cannot start");
            // The log may not be started, or may be filtered.
            let _ = writeln!(std::io::stderr(), "error: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn start_and_serve(loaded: LoadedConfig, source: ConfigSource) -> Result<(), StartError> {
    let log = start_log(&loaded.config.log).map_err(StartError::Log)?;
    raise_descriptor_limit();
    let runtime = Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    runtime.block_on(async {
        // Registered before the start: the first process of a container has no default handling of SIGTERM.
        let signals = shutdown::Signals::listen().map_err(StartError::Signals)?;
        Program::start(loaded, source, log).await?.serve(signals).await;
        Ok(())
    })
}

/// Raises the soft limit on open files. A session takes two descriptors; shells and service managers set 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, soft = limit.current, "cannot raise the limit on open files");
    }
}

/// Two: a slow response of the admin API must not delay the probe.
const CONTROL_THREADS: usize = 2;
/// Stack size for the SQL parser, as on the workers, in bytes.
const STACK_BYTES: usize = 4 << 20;
