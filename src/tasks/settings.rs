//! Settings of the process: worker threads and time limits of a shutdown.

use std::{path::PathBuf, time::Duration};

/// Number of workers and limits of a drain (`[runtime]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Worker threads; `None` means a thread per core.
    pub workers: Option<usize>,
    /// Time from SIGTERM, which ends readiness, until the listeners close. Default 0.
    pub drain_delay: Duration,
    /// Time from then until sessions that are still in a transaction are ended. Default 30 s.
    pub drain_timeout: Duration,
    /// Socket at which another process takes over the listeners; `None` turns that off.
    pub handover: Option<PathBuf>,
    /// Time for sessions to end by themselves once another process has the listeners; then they are drained. Default 60 s.
    pub handover_wait: Duration,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            workers: None,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            handover: None,
            handover_wait: Duration::from_secs(60),
        }
    }
}
