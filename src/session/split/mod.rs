//! What a session knows that sends its reads to the read pools: which side its backend is on, what it has written, and
//! what it would have to say again elsewhere.
//!
//! Promises: nothing is said again that a writer may have executed, nothing once any of its answer has reached the client,
//! and a read never shows less than the session's own last write. Refuses to know: which endpoints there are, and how
//! fresh they are; the driver says so when it gives the session a backend.

mod begin_script;
mod last_route;
mod lookahead;
mod replay;
mod replay_buffer;
mod rerun_cause;
mod router;

pub(in crate::session) use begin_script::{BeginScript, Opening, PortalUse};
pub(in crate::session) use last_route::LastRoute;
pub(in crate::session) use lookahead::{Lookahead, UnitProof};
pub(in crate::session) use replay::Replay;
pub(in crate::session) use replay_buffer::ReplayBuffer;
pub(in crate::session) use rerun_cause::find_rerun_cause;
pub use router::{AssignedBackend, FreshnessCheck, RouteOptions};
pub(in crate::session) use router::{LAST_ROUTE, Router, WRITER};
