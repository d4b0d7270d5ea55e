//! Configured and observed topology.
//!
//! Promises: a [`TopologySnapshot`] is consistent; each value comes from the configuration or from an observation with
//! a time. Refuses to know: sockets, clocks, the source of observations.

mod apply;
mod election;
mod endpoint;
mod lsn;
mod node;
mod node_freshness;
mod observation;
mod operator_decision;
mod replay;
mod snapshot;
mod snapshot_change;
mod status;
mod writer_control;
mod writer_samples;

pub use apply::{
    ObservationRules, apply_configuration, apply_decision, apply_observation, apply_replay_report,
};
pub use election::elect_writer;
pub use endpoint::{Address, Cluster, DeclaredRole, Endpoint};
pub use lsn::parse_lsn;
pub use node::{NodeId, NodeStatus};
pub use node_freshness::{NODE_RETRY_INTERVAL, NodeFreshness};
pub use observation::{Observation, ProbeAnswer, ProbeOutcome, ReplayReport, StandbyWal};
pub use operator_decision::{DecisionError, OperatorDecision};
pub use replay::{ReplayProgress, ReplayState, ReplicationLag};
pub use snapshot::TopologySnapshot;
pub use snapshot_change::SnapshotChange;
pub use status::{EndpointStatus, Health, ObservedRole, WalPosition};
pub use writer_control::{Fence, FenceCause, WriterControl};
pub use writer_samples::WriterSamples;
