//! What is known of one endpoint.

use std::{sync::Arc, time::Instant};

use super::{DeclaredRole, Endpoint, NodeId, NodeStatus};
use crate::closed_set::closed_set;

/// What is known of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// What the configuration says.
    pub endpoint: Arc<Endpoint>,
    /// Whether a login works.
    pub health: Health,
    /// What the server last said it is. It outlives the server's silence: [`Health`] says whether it still answers.
    pub observed: Option<ObservedRole>,
    /// Whether the server's transactions are read-only by default, as it last said.
    pub read_only: Option<bool>,
    /// WAL position the server last reported, and when it was asked.
    pub position: Option<WalPosition>,
    /// The timeline the server last reported; only a primary is asked.
    pub timeline: Option<u32>,
    /// The node that answered last.
    pub node: Option<NodeId>,
    /// Every node seen lately behind the address, in the order of their first appearance.
    pub nodes: Vec<NodeStatus>,
    /// When a probe last succeeded.
    pub last_success: Option<Instant>,
    /// When `health` last changed.
    pub since: Option<Instant>,
    /// Why the last probe failed, or had no credentials for a new login; `None` after a success. Never holds a secret; may hold an address.
    pub last_error: Option<Arc<str>>,
    /// Failed looks since the last success.
    pub failures: u32,
}

closed_set! {
    /// Whether an endpoint can be logged in to.
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
    /// What a server says it is (`pg_is_in_recovery()`).
    pub enum ObservedRole {
        /// Not in recovery: it takes writes.
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
    /// Our clock, taken before the server was asked.
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
            since: None,
            last_error: None,
            failures: 0,
        }
    }

    /// Whether the server says it is something else than the configuration declares.
    #[must_use]
    pub fn mismatch(&self) -> bool {
        self.observed.is_some_and(|observed| observed != self.endpoint.role.expects())
    }

    /// Whether there may be a standby behind it: not every server that it has shown lately says that it takes writes.
    #[must_use]
    pub fn has_standby(&self) -> bool {
        match self.nodes.as_slice() {
            [] => self.observed != Some(ObservedRole::Primary),
            nodes => nodes.iter().any(|node| node.role == ObservedRole::Standby),
        }
    }

    /// Whether both are one server: two addresses of it (a private and a public one, say) are not two writers.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        let by_node = match (self.node, other.node) {
            (Some(one), Some(other)) => one.started_us == other.started_us,
            _ => false,
        };
        by_node || self.endpoint.name == other.endpoint.name
    }

    /// Whether it answers and says that it takes writes, whatever it was declared to be.
    #[must_use]
    pub fn says_writable(&self) -> bool {
        self.health == Health::Up && self.observed == Some(ObservedRole::Primary)
    }
}

// === impl DeclaredRole ===

impl DeclaredRole {
    /// What a server of this role says it is while all is well.
    #[must_use]
    pub const fn expects(self) -> ObservedRole {
        match self {
            Self::Primary => ObservedRole::Primary,
            Self::Replica | Self::ReadPool | Self::Secondary => ObservedRole::Standby,
        }
    }
}
