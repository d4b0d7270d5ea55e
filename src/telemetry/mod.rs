//! Metrics and the program's log.
//!
//! Promises: every metric is listed in [`catalog`]; every series of a configured endpoint or listener exists at 0
//! before its first event; counting a statement costs a few atomic additions to cells of one worker, and no allocation.
//! Refuses to know: the server of the page, and the meaning of statements.
//!
//! The exporter holds the numbers. Rare events go directly to the exporter. Events of every statement go to shards, one
//! per worker ([`PathCounts`], [`ClientPresence`]), which [`Metrics::run_upkeep`] and [`Metrics::render`] move to the
//! exporter. Only durations of statements stay in their shards; [`Metrics::render`] adds them to the page.

pub mod catalog;
mod distribution;
pub mod labels;
mod log_limiter;
mod logging;
mod metric_export;
mod openmetrics;
pub mod otlp;
mod panic_log;
mod process;
mod record;
mod registry;
mod settings;
mod shards;
mod timings;
pub mod traces;

pub use log_limiter::{LogLimiter, UnloggedCount};
pub use logging::{LogError, LogFilter, start_log};
pub use metric_export::{MetricExportSettings, MetricExporter};
pub use process::{FileDescriptors, file_descriptors};
pub use record::{
    AdminMetrics, AuditMetrics, BackendPresence, ClientPresence, EndpointMetrics, HoldPresence,
    ListenerMetrics, Metrics, PathCounts, PathMetrics, PathTotals, ProgramMetrics, RouteCounts,
    TopologyMetrics, TraceMetrics,
};
pub use settings::{LogFormat, LogSettings};
