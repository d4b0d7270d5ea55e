//! Which endpoint gets a session or, where a listener splits, a statement; and why.
//!
//! Promises: a decision is a value for logs, metrics and audit, and depends on the arguments only. Refuses to know:
//! sockets, clocks, randomness (an argument), the effects of statements, the freshness of nodes.

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
