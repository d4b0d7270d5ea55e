//! Shared parts of integration tests: the program as a process, clients, and waiting for a condition.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each capability uses its own part of the harness"
)]

pub mod audit;
pub mod browser;
mod client;
pub mod conversation;
pub mod draw;
pub mod endpoint;
pub mod frames;
mod gatekeeper;
pub mod grafana;
pub mod pages;
pub mod pki;
mod pooled;
pub mod prometheus;
pub mod raw;
mod refused;
pub mod shared;
pub mod split;
pub mod stand;
pub mod tls;
mod until;

pub use client::{Psql, connect, connect_tls, psql, psql_at};
pub use frames::Frames;
pub use gatekeeper::{Answer, Checked, Gatekeeper, Successor, check, doctor, request, run_command};
pub use pooled::{Pooled, Seen, Shape};
pub use refused::{Refused, refused};
pub use split::{Split, SplitShape};
pub use stand::Stand;
pub use tls::client_tls;
pub use until::until;
