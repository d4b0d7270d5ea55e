//! Settings of traces.

use crate::telemetry::otlp::ExportTarget;

/// Destination and sampling of spans.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// Where spans are sent to.
    pub target: ExportTarget,
    /// Sampled spans per million spans without a parent. Other spans follow the sampling decision of their parent.
    pub per_million: u32,
    /// Capacity of the span queue.
    pub queue: usize,
}
