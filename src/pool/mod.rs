//! Pools of backends: one pool for each listener, endpoint, database, user and startup parameters.
//!
//! Promises: a backend is leased to a single session at a time; a pool never exceeds its size, and all pools of an
//! endpoint never exceed the budget; waiters are served first come, first served, across workers; a backend is reused
//! only if declared clean, and closed if a lease is dropped; a backend with a pending cancel request is not leased. A
//! lease and a return cost a short lock each, without allocation. Refuses to know: the use of a backend by a session,
//! the conditions for "clean", the choice of an endpoint.
//!
//! # The parts
//!
//! [`Pools`] finds or creates the [`Pool`] for a [`PoolKey`]. [`Pool::try_lease`] returns an idle backend at once, or
//! none; [`Pool::wait`] then enqueues a [`Waiter`]. Both yield a [`Lease`]. Two plain structures under the pool's lock
//! keep the books, without sockets: `Slots` (state of each backend) and `Queue` (waiters). Logins, resets and work
//! after cancel requests run as tasks; time limits are checked by a tick per worker.

mod absence;
mod backend_handle;
mod budget;
mod filter;
mod growth;
mod lease;
mod login_backoff;
mod maintenance;
mod oldest_waits;
mod overload;
#[expect(clippy::module_inception, reason = "the type has the folder's name, and its file has the type's")]
mod pool;
mod pool_key;
mod pooled_backend;
mod queue;
mod refused_sessions;
mod registry;
mod renewal;
mod replacement_pool;
mod server_keepalive;
mod settings;
mod slots;
mod startup_response;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod turn_away;
mod unserved_waits;
mod upkeep;
mod waiter;

pub use backend_handle::{BackendHandle, CancelGuard};
pub use filter::Filter;
pub use lease::{AcquireOptions, Disposition, Lease, LeaseError, Trace, WaitTerms};
pub use overload::QueueEstimate;
pub use pool::Pool;
pub use pool_key::PoolKey;
pub use registry::{BackendEvent, LoginReport, Pools};
pub use settings::{PoolMode, PoolSettings};
pub use startup_response::StartupResponse;
pub use status::{BackendStatus, PoolPhase, PoolStatus};
pub use unserved_waits::UnservedWaits;
pub use waiter::{Waited, Waiter};
