//! Settings of traces.

use std::{path::PathBuf, time::Duration};

use super::{Collector, ExportHeaders, Resource};

/// Destination and sampling of spans.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector.
    pub collector: Collector,
    /// CAs of a collector with `https`; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// Headers of each request.
    pub headers: ExportHeaders,
    /// Time limit of a request.
    pub timeout: Duration,
    /// Attributes of the process.
    pub resource: Resource,
    /// Sampled spans per million spans without a parent. Other spans follow the sampling decision of their parent.
    pub per_million: u32,
    /// Capacity of the span queue.
    pub queue: usize,
}
