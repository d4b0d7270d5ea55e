//! Which endpoint gets a session, and why.
//!
//! Promises: a decision is a value that can be logged, counted and audited as it is, and it depends on its arguments
//! alone. Refuses to know: sockets, clocks, randomness (it is handed in).

mod decide;
mod decision;
mod policy;

pub use decide::decide;
pub use decision::{NoEndpoint, Reason, RouteDecision};
pub use policy::{RoutePolicy, WhenNoReader};
