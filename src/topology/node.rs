//! A server behind an endpoint's address, identified by values that the server reports.

use std::{fmt, net::IpAddr, time::Instant};

use super::{ObservedRole, ReplayProgress, WalPosition};

/// Identity of a server process behind an address.
///
/// A restart makes a new node: the previous position and replication state do not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// `pg_postmaster_start_time()` in microseconds since 1970.
    pub started_us: i64,
    /// `inet_server_addr()`; absent over a Unix-domain socket.
    pub address: Option<IpAddr>,
    /// `inet_server_port()`; absent over a Unix-domain socket.
    pub port: Option<u16>,
}

/// State of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// Identity.
    pub id: NodeId,
    /// Last reported role.
    pub role: ObservedRole,
    /// Last reported WAL position.
    pub position: Option<WalPosition>,
    /// Last reported timeline.
    pub timeline: Option<u32>,
    /// Time of the last answer.
    pub last_seen: Instant,
    /// The node replayed WAL that the writer, queried later, had not written: the node follows another history for
    /// life.
    pub strayed: bool,
    /// Replay of a standby.
    pub replay: ReplayProgress,
}

// === impl NodeId ===

impl fmt::Display for NodeId {
    /// `address:port@start`, for logs and the admin API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (Some(IpAddr::V6(address)), Some(port)) => write!(f, "[{address}]:{port}")?,
            (Some(address), Some(port)) => write!(f, "{address}:{port}")?,
            (Some(address), None) => write!(f, "{address}")?,
            (None, _) => f.write_str("local")?,
        }
        write!(f, "@{}", self.started_us)
    }
}
