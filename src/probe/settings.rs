//! Settings of the probe.

use std::time::Duration;

/// Interval, timeout and threshold of probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Interval of probes of an endpoint, jittered by a tenth. Default 2 s.
    pub interval: Duration,
    /// Time limit of a probe. Default 5 s.
    pub timeout: Duration,
    /// Failed probes in a row before an endpoint counts as down. Default 2.
    pub failures: u32,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(2), timeout: Duration::from_secs(5), failures: 2 }
    }
}
