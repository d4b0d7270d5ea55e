//! The admin API: HTTP for health checks, scrapers, operators and the status page, on a socket of its own.
//!
//! Promises: it shows and does only what `openapi.json` says; no secret is in any answer; whoever needs a key is told so,
//! counted and audited; a browser's cookie opens what can be looked at and changes nothing; a flood of requests costs the control threads alone, and there one page at a time. Refuses to
//! know: how a reload is done ([`ProgramControl`] is told), what a client's session is saying.

mod access;
mod client;
mod connection;
mod context;
mod control;
mod cookies;
mod endpoint;
mod error;
mod events;
mod guard;
mod health;
mod info;
mod login;
mod metrics;
mod moment;
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

pub use client::{AdminClient, AdminClientError, AdminResponse};
pub use context::Api;
pub use control::{ControlCommand, ProgramControl, ReloadFailure, ReloadReport, control};
pub use openapi::description;
pub use server::{AdminError, AdminServer};
pub use settings::AdminSettings;
