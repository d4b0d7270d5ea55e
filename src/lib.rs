//! Gatekeeper: a PostgreSQL proxy and connection pooler in front of a whole AlloyDB cluster.
//!
//! `ARCHITECTURE.md` has the layers, a reading order and the table "Where do I add"; `docs/decisions/` has the reasons.
//! `tests/architecture.rs` enforces the layers. All modules are private to the crate; [`testing`] exports what tests and
//! benchmarks use.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod backend;
pub(crate) mod blame;
pub(crate) mod cli;
pub(crate) mod client_error;
pub(crate) mod closed_set;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod credentials;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod frontend;
pub(crate) mod handshake;
pub(crate) mod live;
pub(crate) mod names;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod route;
#[cfg(feature = "demo")]
pub(crate) mod sandbox;
pub(crate) mod scram;
pub(crate) mod session;
pub(crate) mod sql;
pub(crate) mod tasks;
pub(crate) mod telemetry;
#[doc(hidden)]
pub mod testing;
pub(crate) mod tls;
pub(crate) mod topology;
pub(crate) mod wire;
pub(crate) mod writer_move;

pub use cli::main;
