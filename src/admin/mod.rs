//! The admin API: HTTP for health checks, scrapers, operators and the status page, on a socket of its own.
//!
//! Promises: every operation is described in `openapi.json`; responses contain no secret; requests without a valid key
//! are denied, counted and audited; a browser's cookie permits reading only; a flood of requests occupies the control
//! threads alone, one page at a time. Refuses to know: the steps of a reload ([`ProgramControl`] requests one), the
//! messages of sessions.

mod access;
mod api;
mod client;
mod connection;
mod connection_places;
mod context;
mod control;
mod cookies;
mod diagnosis;
mod endpoint;
mod error;
mod events;
mod first_seen;
mod guard;
mod health;
mod info;
mod login;
mod metrics;
mod moment;
mod monitor;
mod openapi;
mod operations;
mod page;
mod pools;
mod router;
mod server;
mod sessions;
mod settings;
mod snapshot_broadcaster;
mod stream;
#[cfg(test)]
mod tests;
mod topology;
mod traffic;
mod writer;

pub use api::Api;
pub use client::{AdminClient, AdminClientError, AdminResponse};
pub use control::{
    ControlCommand, ProgramControl, ReloadFailure, ReloadReport, RestartError, SettingChange, control,
};
pub use diagnosis::{Fault, diagnose, start_diagnoses};
pub use monitor::ServiceMonitor;
pub use openapi::description;
pub use server::{AdminError, AdminServer};
pub use settings::AdminSettings;
