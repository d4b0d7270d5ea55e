//! Builds the program from a configuration, reloads it, ends it.

mod settings;

use std::process::ExitCode;

pub use settings::RuntimeSettings;

use crate::config::{Config, ConfigSource};

/// Runs until the process is told to end; `source` is read again on reload.
pub fn run(config: Config, source: ConfigSource) -> ExitCode {
    let _ = (config, source);
    ExitCode::FAILURE
}
