//! What an operator may say about the process.

use std::time::Duration;

/// Workers, drain and deadlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Threads that serve clients; the number of cores when absent.
    pub workers: Option<usize>,
    /// After SIGTERM: how long listeners stay open with readiness already off. Default 0.
    pub drain_delay: Duration,
    /// After that: how long sessions may take to end between transactions. Default 30 s.
    pub drain_timeout: Duration,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self { workers: None, drain_delay: Duration::ZERO, drain_timeout: Duration::from_secs(30) }
    }
}
