//! Gatekeeper: one process in front of a whole AlloyDB cluster.
//!
//! # The map
//!
//! Pure machines in the middle, effects around them, assembly on top. What decides is a value or a machine that takes
//! time, randomness and the picture of the world as arguments; what touches sockets, files, clocks or metrics is a thin
//! driver of such a machine; one module assembles them. `tests/architecture.rs` holds the layers to it.
//!
//! **Pure**, in layer order: [`names`], [`blame`], [`wire`] (octets ⇄ messages), [`scram`], [`handshake`] (all before the
//! first ReadyForQuery), [`sql`] (statement text), [`topology`] (what exists and what is known of it), [`route`] (which
//! endpoint, and why), [`session`] (one client's conversation, without sockets).
//!
//! **Effects**: [`live`], [`files`] (read again when they change), [`tasks`], [`telemetry`], [`audit`], [`tls`], [`credentials`], [`backend`] (server connections),
//! [`probe`] (the only writer of the topology), [`frontend`] (client connections).
//!
//! **Assembly**: [`config`], [`admin`], [`sandbox`] (a throwaway cluster for the demo and the tests), [`app`], [`cli`].

pub mod admin;
pub mod app;
pub mod audit;
pub mod backend;
pub mod blame;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod files;
pub mod frontend;
pub mod handshake;
pub mod live;
pub mod names;
pub mod probe;
pub mod route;
pub mod sandbox;
pub mod scram;
pub mod session;
pub mod sql;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod topology;
pub mod wire;
