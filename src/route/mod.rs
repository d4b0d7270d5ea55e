//! Which endpoint gets a session or, where a listener splits, a statement; and why.
//!
//! Promises: a decision is a value that can be logged, counted and audited as it is, and it depends on its arguments
//! alone. Refuses to know: sockets, clocks, randomness (it is handed in), what a statement does, how fresh a node is.

mod decide;
mod decision;
mod demand;
mod ejection;
mod ground;
mod policy;
mod reason;
mod split;

pub use decide::{decide, decide_split};
pub use decision::{NoEndpoint, RouteDecision};
pub use demand::{Access, Demand};
pub use ejection::{Ejections, Suspect};
pub use ground::Ground;
pub use policy::{RoutePolicy, WhenNoReader};
pub use reason::{Reason, RerunCause};
pub use split::{Consistency, Hints, RelationName, RelationNameError, SplitSettings};
