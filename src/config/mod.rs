//! The configuration: a TOML file, the environment, or both, with complete checks.
//!
//! Promises: reports every mistake at once, with its position and the correct form; the result needs no further checks.
//! Refuses to know: the use of the settings.
//!
//! The file becomes a tree of values with positions (`tree`), and the environment is laid over the tree (`overlay`). A
//! `Section` reads each table, reports unreadable values and keys that are missing in the `catalog`, and records the
//! values for `gatekeeper check`. serde is not used for the file, because serde stops at the first mistake.

mod auth;
mod catalog;
mod clients;
mod cluster;
mod console;
mod environment;
mod exports;
mod files;
mod listener;
mod login;
mod observe;
mod open_telemetry;
mod overlay;
mod pool;
mod problem;
mod reader;
mod secret;
mod source;
mod split;
mod transport;
mod tree;
mod units;
mod values;

#[cfg(test)]
mod tests;

pub use catalog::{KEYS, variables};
pub use problem::{Origin, Problems, Setting};
pub use source::{ConfigSource, LoadedConfig};
pub use units::parse_duration;

use crate::{
    admin::AdminSettings,
    audit::AuditSettings,
    backend::EndpointSettings,
    console::ConsoleSettings,
    frontend::ListenerSettings,
    probe::ProbeSettings,
    tasks::RuntimeSettings,
    telemetry::{LogSettings, MetricExportSettings, traces::TraceSettings},
    topology::Cluster,
};

/// A complete configuration: every reference resolves and every combination is allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The clusters.
    pub clusters: Vec<Cluster>,
    /// The endpoints of all clusters, names unique.
    pub endpoints: Vec<EndpointSettings>,
    /// The listeners, names and addresses unique.
    pub listeners: Vec<ListenerSettings>,
    /// The admin API; `None` if turned off.
    pub admin: Option<AdminSettings>,
    /// The console.
    pub console: ConsoleSettings,
    /// The audit log; `None` if turned off.
    pub audit: Option<AuditSettings>,
    /// The traces; `None` if turned off.
    pub traces: Option<TraceSettings>,
    /// The collector of metrics; `None` if metrics are only scraped.
    pub metrics: Option<MetricExportSettings>,
    /// The program's own log.
    pub log: LogSettings,
    /// The probe.
    pub probe: ProbeSettings,
    /// Workers, drain and deadlines.
    pub runtime: RuntimeSettings,
}
