//! What exists and what is known of it.
//!
//! Promises: a [`Snapshot`] is one consistent picture; every value in it comes from configuration or from an
//! observation that says when it was made. Refuses to know: sockets, clocks, how an observation was obtained.

mod change;
mod election;
mod endpoint;
mod fold;
mod freshness;
mod lsn;
mod node;
mod observation;
mod snapshot;
mod standing;
mod status;

pub use change::Change;
pub use election::elect;
pub use endpoint::{Address, Cluster, DeclaredRole, Endpoint};
pub use fold::{FoldRules, fold, heard, reconfigure};
pub use freshness::WriterTrail;
pub use lsn::parse_lsn;
pub use node::{NodeId, NodeStatus};
pub use observation::{Answer, Observation, Outcome, Replayed};
pub use snapshot::Snapshot;
pub use standing::{ASK_AGAIN, Standing};
pub use status::{EndpointStatus, Health, ObservedRole, Position};
