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
    /// Lag beyond which an endpoint that serves reads is lagging; zero: never. Default 800 ms: AlloyDB delays new reads of a
    /// read pool whose lag exceeds 1 s.
    pub lagging_after: Duration,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            failures: 2,
            lagging_after: Duration::from_millis(800),
        }
    }
}
