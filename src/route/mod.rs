//! Which endpoint gets a session or, where a listener splits, a statement; and why.
//!
//! Promises: a decision is a value that can be logged, counted and audited as it is, and it depends on its arguments
//! alone. Refuses to know: sockets, clocks, randomness (it is handed in), what a statement does, how fresh a node is.

mod decide;
mod decision;
mod demand;
mod ejection;
mod policy;
mod reason;
mod side;
mod split;

pub use decide::{decide, decide_split};
pub use decision::{NoEndpoint, RouteDecision};
pub use demand::{Demand, Side};
pub use ejection::{Ejections, Suspect};
pub use policy::{RoutePolicy, WhenNoReader};
pub use reason::{Reason, RerunCause};
pub use side::{Need, Situation, Unit};
pub use split::{Consistency, Hints, RelationName, SplitSettings};
