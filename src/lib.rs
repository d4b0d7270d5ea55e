//! Gatekeeper: one process in front of a whole AlloyDB cluster.
//!
//! # The map
//!
//! Pure machines in the middle, effects around them, assembly on top. What decides is a value or a machine that takes
//! time, randomness and the picture of the world as arguments; what touches sockets, files, clocks or metrics is a thin
//! driver of such a machine; one module assembles them. `tests/architecture.rs` holds the layers to it.
//!
//! **Pure**, in layer order: [`closed_set`] (enums with words), [`names`], [`blame`], [`wire`] (bytes ⇄ messages), [`scram`],
//! [`handshake`] (all before the first ReadyForQuery), [`sql`] (possible effects of a statement on the session and the
//! database), [`topology`] (endpoints and their observed state), [`route`] (which endpoint, and why), [`client_error`] (every
//! ErrorResponse in Gatekeeper's name), [`session`] (one client's conversation, without sockets).
//!
//! **Effects**: [`live`] (values that are swapped whole), [`files`] (read again when they change), [`tasks`] (the one place
//! that spawns), [`telemetry`], [`events`] (what happened lately), [`audit`], [`tls`], [`credentials`], [`backend`] (server
//! connections), [`pool`] (backends that outlive their sessions), [`probe`] (the only writer of the topology), [`frontend`]
//! (client connections).
//!
//! **Assembly**: [`config`], [`admin`], [`console`] (what `psql` and exporters talk to), [`app`], [`cli`]. [`sandbox`] (a
//! throwaway cluster for the demo and the tests) is behind the feature `demo`.
//!
//! All modules are private to the crate; [`testing`] exports what tests and benchmarks use.
//!
//! # A client's way
//!
//! [`frontend::Listener`] accepts it on a control thread and hands its socket to the worker with the fewest clients, where
//! it stays. There one task greets it (TLS, StartupMessage), has it prove itself, asks [`route::decide`] for an endpoint and
//! [`pool::Pool`] for a backend, for life or for a transaction, and then relays: [`session::Session`] walks over the bytes of
//! both sides and says how many may go on; the driver moves them from the buffer they were read into. What is not rewritten
//! is not copied, an idle client holds no buffer, and a statement allocates nothing of ours unless it is audited (rustls
//! does, for each record).
//!
//! # Sharing backends
//!
//! Truth comes from the server. [`sql::effects`] lists the kinds of state a text *might* leave behind, rather too many
//! than too few. The effects also record the use of unproved names. A name is proved to leave nothing by a list of
//! PostgreSQL's own functions, or by the [`sql::StatefulNames`] of the database. After an unproved transaction, the session
//! queries the server's catalogs, on the same backend and unseen by the client. The answer holds a pin for each piece
//! of state impossible to carry, and the values of settings. So rollbacks, savepoints and quoting are never emulated.
//! The catalog has an epoch, compared with the server's each second, and over the session's own backend where the
//! catalog may be out of date. State invisible in the catalogs pins until `DISCARD ALL`. A clean backend is returned
//! together with [`session::TrackedBackendState`]: prepared statements under shared names, and the backend's settings.
//! The next session adds only the differences, in the same write as the first statement.
//!
//! # Reading elsewhere
//!
//! A session that has written may read from a node that is known to show its write. The writer's insert position, sampled at
//! a moment of ours, is the measure: [`topology::TopologySnapshot::freshness_of`] compares it with what a node has replayed, and says
//! fresh, stale, ask it, or that nobody asked the writer since. The keeper of the topology learns both by the probe and, much
//! sooner, from sessions: they hand in what a node said beside a read, and wish for a sample, which one connection to the
//! writer takes each 5 ms at most while anybody wishes. A node whose WAL comes from elsewhere (promoted by mistake, ahead of
//! the writer, in a cluster with a writer of its own) is never fresh. [`route::decide_split`] then chooses the endpoint.
//!
//! What is judged together is a unit ([`route::RoutingUnit`]): a Query, or a batch up to its Sync. The session looks ahead in what
//! the client has sent, has [`sql::Classifier`] judge each text, and says what it [needs](route::RouteNeed) before it takes a
//! backend. A BEGIN is held back with its modes, so that `SET TRANSACTION READ ONLY` can still decide. What a read pool is
//! sent is kept until its answer begins ([`session`], beside the backend, so that an idle session keeps nothing): messages
//! that only promise an answer are held back, and on an error that the server's being a standby may explain, on a lost
//! connection or a node that is behind, the unit is said again elsewhere.
//!
//! # Where this differs from the first plan
//!
//! - Workers are fed by accepting threads, not by `SO_REUSEPORT`: the kernel's hash leaves a few long-lived clients
//!   unevenly spread.
//! - A client's cancel key carries the server's process id (with a secret of ours), so that `PQbackendPID` and
//!   `pg_backend_pid()` agree as they do without a proxy; a session that shares backends has a number of its own there.
//! - Start-up options are carried like settings, and sent again after a reset. Options settable only at login are part
//!   of a pool's key; with a dedicated backend, all options are.
//! - A role or session authorization that has to be given to another backend is confirmed before the statement is sent, one
//!   round trip more: were it refused, the statement would run with the rights of whoever logged in.
//! - The connect stack finds its token before it dials: a slow token command holds no connection and no place in the queue.
//! - The configuration is read through a tree of values with their places rather than a serde mirror: serde stops at the
//!   first mistake, and every mistake is to be told at once.
//! - Statement text is normalized with the server's own scanner rather than `pg_query::normalize`, which keeps comments and
//!   the literals of utility statements.
//! - A READ ONLY transaction on a read pool moves to the writer if commands alone can rebuild BEGIN, savepoints and
//!   local settings. A session with more state on a read pool stays there.
//! - Any error of a standby that a lag or a standby's limits may explain (classes 08, 0A, 42, 55, 57, 58, XX, not only 25006,
//!   40001 and 57P01) has the primary's answer instead: nothing fails because of where it was sent.
//! - A batch whose end does not come at once (20 ms) goes to the writer as it is.
//! - What each statement counts is kept in cells of each worker, and its two histograms go to the page from there: the
//!   exporter keeps every sample until it is drained, one by one.

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

pub use cli::main;
