//! The admin API: HTTP for health checks, scrapers and operators, on a socket of its own.
//!
//! Promises: it shows and does only what `openapi.json` says; no secret is in any answer; whoever needs a key is told so,
//! counted and audited; a flood of requests costs the control threads alone, and there one page at a time. Refuses to
//! know: how a reload is done ([`Control`] is told), what a client's session is saying.

mod access;
mod connection;
mod context;
mod control;
mod endpoint;
mod error;
mod health;
mod info;
mod metrics;
mod moment;
mod openapi;
mod operations;
mod pools;
mod router;
mod server;
mod sessions;
mod settings;
#[cfg(test)]
mod tests;
mod topology;

pub use context::Api;
pub use control::{Command, Control, ReloadFailure, ReloadReport, control};
pub use openapi::description;
pub use server::{AdminError, Server};
pub use settings::AdminSettings;
