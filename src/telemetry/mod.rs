//! Metrics and the program's own log.
//!
//! Promises: every metric is listed in [`catalog`]; every series of a configured endpoint or listener exists at 0 before
//! its first event; counting costs a few atomic adds, a histogram's record also a place in a list that upkeep empties.
//! Refuses to know: who serves the page, what a statement is.

pub mod catalog;
pub mod labels;
mod logging;
mod process;
mod record;
mod registry;
mod settings;

pub use logging::{LogError, start_log};
pub use record::{
    AdminMetrics, AuditMetrics, BackendPresence, ClientPresence, EndpointMetrics, ListenerMetrics, Metrics,
    PathMetrics, ProgramMetrics, TopologyMetrics,
};
pub use registry::{Counter, Gauge, Histogram, Level};
pub use settings::{LogFormat, LogSettings};
