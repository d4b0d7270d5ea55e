//! Which endpoint gets a session or, where a listener splits, a statement; and why.
//!
//! Promises: a decision is a value that can be logged, counted and audited as it is, and it depends on its arguments
//! alone. Refuses to know: sockets, clocks, randomness (it is handed in), what a statement does, how fresh a node is.

mod decide;
mod decision;
mod ejection;
mod policy;
mod reason;
mod request;
mod split_settings;
mod unit;

pub use decide::{decide, decide_split};
pub use decision::{NoEndpoint, RouteDecision};
pub use ejection::{Ejections, Outlier};
pub use policy::{RoutePolicy, WhenNoReader};
pub use reason::{RerunCause, RouteReason};
pub use request::{RouteRequest, RouteSide};
pub use split_settings::{Consistency, Hints, RelationName, SplitSettings};
pub use unit::{RouteNeed, RoutingUnit, SessionRouteState};
