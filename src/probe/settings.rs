//! What an operator may say about the probe.

use std::time::Duration;

/// How often and how patiently endpoints are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Between two looks at one endpoint, jittered by a tenth. Default 2 s.
    pub interval: Duration,
    /// For one look. Default 5 s.
    pub timeout: Duration,
    /// Failed looks in a row before an endpoint counts as down. Default 2.
    pub failures: u32,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(2), timeout: Duration::from_secs(5), failures: 2 }
    }
}
