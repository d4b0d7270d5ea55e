//! Request for a move, and its result.

use std::{net::SocketAddr, time::Duration};

use crate::names::{EndpointName, UserName};

/// Request to move the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveRequest {
    /// The new writer.
    pub to: EndpointName,
    /// Time for transactions on the previous writer to end by themselves.
    pub wait: Duration,
    /// Time for the server to begin to accept writes, as by a promotion; zero refuses a server in recovery at once.
    pub promotion_wait: Duration,
    /// The operator.
    pub origin: MoveOrigin,
}

/// The operator who requested a move, and the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveOrigin {
    /// Interface: `admin`, `console`.
    pub through: &'static str,
    /// Address of the operator.
    pub client: Option<SocketAddr>,
    /// User of the console.
    pub user: Option<UserName>,
}

/// Result of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveReport {
    /// The previous writer, if known and another endpoint.
    pub from: Option<EndpointName>,
    /// The writer.
    pub to: EndpointName,
    /// Pooled sessions whose transaction or pinned backend was ended.
    pub ended_leases: usize,
    /// Sessions with a backend for life that were ended after the wait.
    pub ended_sessions: usize,
    /// Time in which new transactions waited.
    pub held: Duration,
}

impl MoveRequest {
    /// Default time for transactions to end by themselves.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);
    /// Longest time for transactions to end, and longest time for a promotion.
    pub const MAX_WAIT: Duration = Duration::from_secs(3600);
}
