//! Settings of traces.

use super::Collector;

/// Destination and sampling of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector.
    pub collector: Collector,
    /// Sampled spans per million spans without a parent. Other spans follow the sampling decision of their parent.
    pub per_million: u32,
    /// Capacity of the span queue.
    pub queue: usize,
}
