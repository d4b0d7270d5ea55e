//! Gatekeeper: one process in front of a whole AlloyDB cluster.
//!
//! # The map
//!
//! Pure machines in the middle, effects around them, assembly on top. What decides is a value or a machine that takes
//! time, randomness and the picture of the world as arguments; what touches sockets, files, clocks or metrics is a thin
//! driver of such a machine; one module assembles them. `tests/architecture.rs` holds the layers to it.
//!
//! **Pure**, in layer order: [`names`], [`blame`], [`wire`] (octets ⇄ messages), [`scram`], [`handshake`] (all before the
//! first ReadyForQuery), [`sql`] (what a statement may leave in the session), [`topology`] (what exists and what is known of it), [`route`] (which endpoint, and why),
//! [`session`] (one client's conversation, without sockets).
//!
//! **Effects**: [`live`] (values that are swapped whole), [`files`] (read again when they change), [`tasks`] (the one place
//! that spawns), [`telemetry`], [`audit`], [`tls`], [`credentials`], [`backend`] (server connections), [`pool`] (backends that
//! outlive their sessions), [`probe`] (the only
//! writer of the topology), [`frontend`] (client connections).
//!
//! **Assembly**: [`config`], [`admin`], [`console`] (what `psql` and exporters talk to), [`sandbox`] (a throwaway cluster for the demo and the tests), [`app`], [`cli`].
//!
//! # A client's way
//!
//! [`frontend::Listener`] accepts it on a control thread and hands its socket to the worker with the fewest clients, where
//! it stays. There one task greets it (TLS, StartupMessage), has it prove itself, asks [`route::decide`] for an endpoint and
//! [`backend::EndpointHandle`] for a backend, and then relays: [`session::Session`] walks over the octets of both sides and
//! says how many may go on; the driver moves them from the buffer they were read into. Nothing is copied, an idle client
//! holds no buffer, and a statement allocates nothing of ours unless it is audited (rustls does, for each record).
//!
//! # Where this differs from the first plan
//!
//! - Workers are fed by accepting threads, not by `SO_REUSEPORT`: the kernel's hash leaves a few long-lived clients
//!   unevenly spread.
//! - A client's cancel key carries the server's process id (with a secret of ours), so that `PQbackendPID` and
//!   `pg_backend_pid()` agree as they do without a proxy.
//! - The connect stack finds its token before it dials: a slow token command holds no connection and no place in the queue.
//! - The configuration is read through a tree of values with their places rather than a serde mirror: serde stops at the
//!   first mistake, and every mistake is to be told at once.
//! - Statement text is normalized with the server's own scanner rather than `pg_query::normalize`, which keeps comments and
//!   the literals of utility statements.
//! - What each statement counts is kept in cells of each worker, and its two histograms go to the page from there: the
//!   exporter keeps every sample until it is drained, one by one.

pub mod admin;
pub mod app;
pub mod audit;
pub mod backend;
pub mod blame;
pub mod cli;
pub mod config;
pub mod console;
pub mod credentials;
pub mod files;
pub mod frontend;
pub mod handshake;
pub mod live;
pub mod names;
pub mod pool;
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
