//! What a session knows that sends its reads to the read pools: which side its backend is on, what it has written, and
//! what it would have to say again elsewhere.
//!
//! Promises: nothing is said again that a writer may have executed, nothing once any of its answer has reached the client,
//! and a read never shows less than the session's own last write. Refuses to know: which endpoints there are, and how
//! fresh they are; the driver says so when it gives the session a backend.

mod attempt;
mod begun;
mod lookahead;
mod replay;
mod router;
mod trace;

pub(in crate::session) use attempt::ReplayBuffer;
pub(in crate::session) use begun::{BeginScript, Opening, PortalUse};
pub(in crate::session) use lookahead::{Lookahead, UnitProof};
pub(in crate::session) use replay::Replay;
pub use router::{AssignedBackend, FreshnessCheck, RouteOptions};
pub(in crate::session) use router::{LAST_ROUTE, Router, WRITER, rerun_on};
pub(in crate::session) use trace::LastRoute;
