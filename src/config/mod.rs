//! The configuration: a TOML file, the environment, or both, checked whole.
//!
//! Promises: every mistake is reported at once, with its place and what to write instead; what it returns needs no
//! further checking. Refuses to know: what the settings are for.
//!
//! The file becomes a tree of values that know their places (`tree`), the environment is laid over it (`overlay`), and each
//! table is read by its `Section`, which reports what it cannot read, names keys that are not in the `catalog`, and records
//! what it read for `gatekeeper check`. There is no serde mirror in between: serde stops at the first mistake.

mod auth;
mod catalog;
mod clients;
mod cluster;
mod console;
mod environment;
mod files;
mod listener;
mod login;
mod observe;
mod overlay;
mod pool;
mod problem;
mod reader;
mod secret;
mod source;
mod split;
mod traces;
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
    telemetry::{LogSettings, traces::TraceSettings},
    topology::Cluster,
};

/// A whole configuration in which every reference resolves and every combination is allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The clusters.
    pub clusters: Vec<Cluster>,
    /// The endpoints of all clusters, names unique.
    pub endpoints: Vec<EndpointSettings>,
    /// The listeners, names and addresses unique.
    pub listeners: Vec<ListenerSettings>,
    /// The admin API; `None` when turned off.
    pub admin: Option<AdminSettings>,
    /// The console.
    pub console: ConsoleSettings,
    /// The audit log; `None` when turned off.
    pub audit: Option<AuditSettings>,
    /// The traces; `None` when there are none.
    pub traces: Option<TraceSettings>,
    /// The program's own log.
    pub log: LogSettings,
    /// The probe.
    pub probe: ProbeSettings,
    /// Workers, drain and deadlines.
    pub runtime: RuntimeSettings,
}
