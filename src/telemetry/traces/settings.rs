//! What an operator may say about traces.

use super::Collector;

/// Where spans go, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector.
    pub collector: Collector,
    /// Of a million that have no parent, so many are sampled. What has a parent is sampled when its parent is.
    pub per_million: u32,
    /// Spans that may wait.
    pub queue: usize,
}
