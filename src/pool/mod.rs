//! Backends that outlive their sessions: one pool for each listener, endpoint, database, user and start-up parameters.
//!
//! Promises: a backend is leased to one session at a time; a pool never holds more than its size, nor all pools of an
//! endpoint together more than its budget; who waits first is served first, across workers; a backend goes back when
//! somebody says that it is clean, and is closed when it was forgotten; one with a cancel request on its way is given to
//! nobody. A lease and its return cost one short lock each and allocate nothing.
//! Refuses to know: what a session does with a backend, what "clean" takes, which endpoint is the right one.
//!
//! # The parts
//!
//! [`Pools`] finds or makes the [`Pool`] for a [`Target`]. [`Pool::try_lease`] gives an idle backend at once, or none; then
//! [`Pool::wait`] queues a [`Waiter`] up. What both give is a [`Lease`]. Two plain structures hold the books under the pool's
//! one lock, and know nothing of sockets: `Slots` (where each backend is) and `Queue` (who waits). Dialing, resets and what
//! follows a cancel run as tasks; all that depends on time is done by one tick for each worker.

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
