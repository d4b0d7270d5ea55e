//! Settings of the process: worker threads and time limits of a shutdown.

use std::time::Duration;

/// Number of workers and limits of a drain (`[runtime]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Worker threads; `None` means a thread per core.
    pub workers: Option<usize>,
    /// Time from SIGTERM, which ends readiness, until the listeners close. Default 0.
    pub drain_delay: Duration,
    /// Time from then until sessions that are still in a transaction are ended. Default 30 s.
    pub drain_timeout: Duration,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self { workers: None, drain_delay: Duration::ZERO, drain_timeout: Duration::from_secs(30) }
    }
}
