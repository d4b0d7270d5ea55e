//! The destination of exports.

use std::{path::PathBuf, time::Duration};

use super::{Collector, ExportHeaders, Resource};

/// Where spans or metrics are sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct ExportTarget {
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
}

#[cfg(test)]
impl ExportTarget {
    /// A target at `address` with defaults.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            collector: Collector::parse(address, "/v1/traces").unwrap(),
            ca_file: None,
            headers: ExportHeaders::default(),
            timeout: Duration::from_secs(10),
            resource: Resource::default(),
        }
    }
}
