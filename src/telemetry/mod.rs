//! Metrics and the program's own log.
//!
//! Promises: every metric is listed in [`catalog`]; every series of a configured endpoint or listener exists at 0 before
//! its first event; what a statement counts costs a few atomic adds to cells that no other worker writes, and allocates
//! nothing. Refuses to know: who serves the page, what a statement is.
//!
//! The exporter holds the numbers. What is counted seldom goes straight to it; what each statement counts goes to shards
//! by worker ([`PathCounts`], [`ClientPresence`]), which [`Metrics::run_upkeep`] and [`Metrics::render`] empty into it.
//! Only the durations of statements stay in their shards, and [`Metrics::render`] adds them to the page.

pub mod catalog;
mod distribution;
pub mod labels;
mod logging;
mod openmetrics;
mod process;
mod record;
mod registry;
mod settings;
mod shards;
mod timings;
pub mod traces;

pub use logging::{LogError, start_log};
pub use record::{
    AdminMetrics, AuditMetrics, BackendPresence, ClientPresence, EndpointMetrics, ListenerMetrics, Metrics,
    PathCounts, PathMetrics, ProgramMetrics, RouteCounts, TopologyMetrics, TraceMetrics,
};
pub use settings::{LogFormat, LogSettings};
