//! Status of an endpoint.

use std::{sync::Arc, time::Instant};

use super::{DeclaredRole, Endpoint, NodeId, NodeStatus, ReplayState, ReplicationLag};
use crate::closed_set::closed_set;

/// Status of an endpoint.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// Configuration of the endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Health: success of recent logins.
    pub health: Health,
    /// Role last reported by the server. Kept while the server is silent: [`Health`] shows the silence.
    pub observed: Option<ObservedRole>,
    /// `transaction_read_only`, as last reported.
    pub read_only: Option<bool>,
    /// WAL position last reported, with the time of the query.
    pub position: Option<WalPosition>,
    /// The timeline the server last reported; only a primary is asked.
    pub timeline: Option<u32>,
    /// The node that answered last.
    pub node: Option<NodeId>,
    /// Nodes seen recently behind the address, in the order of first appearance.
    pub nodes: Vec<NodeStatus>,
    /// When a probe last succeeded.
    pub last_success: Option<Instant>,
    /// When the server last answered a probe, if only by an error.
    pub last_answer: Option<Instant>,
    /// Start of the running probe, if it is late.
    pub late_probe: Option<Instant>,
    /// When `health` last changed.
    pub since: Option<Instant>,
    /// Why the last probe failed, or had no credentials for a new login; `None` after a success. Never holds a secret; may hold an address.
    pub last_error: Option<Arc<str>>,
    /// Failed probes since the last success.
    pub failures: u32,
    /// Answers with the report that the server accepts writes, since the server last reported recovery.
    pub writable: Option<WritableAnswers>,
    /// Replay of the standbys behind the address: the worst state of the nodes seen lately.
    pub replay: ReplayState,
    /// When `replay` last changed.
    pub replay_since: Option<Instant>,
    /// Lag of the node that is furthest behind; `None` while unknown.
    pub lag: Option<ReplicationLag>,
    /// Declared to serve reads, and certainly further behind than [`super::ObservationRules::lagging_after`]. Separate from
    /// the health: a lagging server answers.
    pub is_lagging: bool,
}

/// Answers of a server that accepts writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritableAnswers {
    /// Local clock after the first answer.
    pub first: Instant,
    /// Local clock before the query of the last answer.
    pub last_asked: Instant,
}

closed_set! {
    /// Health of an endpoint: success of logins.
    pub enum Health {
        /// Not yet probed.
        Unknown = "unknown",
        /// The last probes logged in.
        Up = "up",
        /// The last probes failed.
        Down = "down",
    }
}

closed_set! {
    /// Role reported by a server (`pg_is_in_recovery()`).
    pub enum ObservedRole {
        /// Not in recovery: accepts writes.
        Primary = "primary",
        /// In recovery: a standby, of a read pool or of a secondary cluster.
        Standby = "standby",
    }
}

/// A write-ahead-log position of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalPosition {
    /// Insert position of a primary, replay position of a standby, in bytes of WAL.
    pub lsn: u64,
    /// Local clock before the query.
    pub asked_at: Instant,
}

// === impl EndpointStatus ===

impl EndpointStatus {
    /// An endpoint of which only the configuration is known.
    #[must_use]
    pub fn unknown(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            health: Health::Unknown,
            observed: None,
            read_only: None,
            position: None,
            timeline: None,
            node: None,
            nodes: Vec::new(),
            last_success: None,
            last_answer: None,
            late_probe: None,
            since: None,
            last_error: None,
            failures: 0,
            writable: None,
            replay: ReplayState::Unknown,
            replay_since: None,
            lag: None,
            is_lagging: false,
        }
    }

    /// True if the reported role differs from the declared role. [`super::TopologySnapshot::has_mismatch`] also knows
    /// the other endpoints.
    #[must_use]
    pub fn has_mismatch(&self) -> bool {
        self.observed.is_some_and(|observed| observed != self.endpoint.role.expected_role())
    }

    /// True if there may be a standby behind the address: not every recently seen server reports that it accepts
    /// writes.
    #[must_use]
    pub fn has_standby(&self) -> bool {
        match self.nodes.as_slice() {
            [] => self.observed != Some(ObservedRole::Primary),
            nodes => nodes.iter().any(|node| node.role == ObservedRole::Standby),
        }
    }

    /// True if both endpoints lead to the same server: two addresses of a server (say private and public) are not two
    /// writers.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        let by_node = match (self.node, other.node) {
            (Some(one), Some(other)) => one.started_us == other.started_us,
            _ => false,
        };
        by_node || self.endpoint.name == other.endpoint.name
    }

    /// True if this server accepted writes before `other` was queried and reported the same: two writers, and not a
    /// writer that was replaced between two probes.
    #[must_use]
    pub fn wrote_before_answer_of(&self, other: &Self) -> bool {
        match (self.writable, other.writable) {
            (Some(own), Some(others)) => {
                self.says_writable() && own.first <= others.last_asked && !self.is_same_server(other)
            }
            _ => false,
        }
    }

    /// True if the server answers and reports that it accepts writes, for any declared role.
    #[must_use]
    pub fn says_writable(&self) -> bool {
        self.health == Health::Up && self.observed == Some(ObservedRole::Primary)
    }
}

// === impl DeclaredRole ===

impl DeclaredRole {
    /// Role that a healthy server with the declared role reports.
    #[must_use]
    pub const fn expected_role(self) -> ObservedRole {
        match self {
            Self::Primary => ObservedRole::Primary,
            Self::Replica | Self::ReadPool | Self::Secondary => ObservedRole::Standby,
        }
    }
}
