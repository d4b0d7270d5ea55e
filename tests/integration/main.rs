//! The program as a process, against real PostgreSQL servers: a file per capability.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking and talks to whoever runs it"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod audit;
mod client_auth;
mod client_tls;
mod copy;
mod doctor;
mod endpoint_tls;
mod endpoints;
mod environment;
mod metrics;
mod postgresql_18;
mod probe;
mod protocol;
mod reload;
mod sandbox;
mod tokens;
