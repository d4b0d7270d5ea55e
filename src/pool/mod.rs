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
//! [`Pools`] finds or creates the [`Pool`] for a [`Target`]. [`Pool::try_lease`] returns an idle backend at once, or
//! none; [`Pool::wait`] then enqueues a [`Waiter`]. Both yield a [`Lease`]. Two plain structures under the pool's lock
//! keep the books, without sockets: `Slots` (state of each backend) and `Queue` (waiters). Logins, resets and work
//! after cancel requests run as tasks; time limits are checked by a tick per worker.

mod budget;
mod chore;
mod filter;
mod growth;
mod lease;
mod member;
#[expect(clippy::module_inception, reason = "the type has the folder's name, and its file has the type's")]
mod pool;
mod queue;
mod registry;
mod renewal;
mod running;
mod settings;
mod slots;
mod state;
mod status;
mod succession;
mod target;
#[cfg(test)]
mod tests;
mod trouble;
mod upkeep;
mod waiter;
mod welcome;

pub use filter::Filter;
pub use lease::{Disposition, Lease, LeaseError, Trace, Want};
pub use pool::Pool;
pub use registry::{Event, LoginReport, Pools};
pub use running::{CancelGuard, Running};
pub use settings::{PoolMode, PoolSettings};
pub use status::{BackendStatus, PoolPhase, PoolStatus};
pub use target::Target;
pub use waiter::{Waited, Waiter};
pub use welcome::Welcome;
