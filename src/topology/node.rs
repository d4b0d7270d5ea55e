//! One server behind an endpoint's address, recognised in-band.

use std::{fmt, net::IpAddr, time::Instant};

use super::{ObservedRole, WalPosition};

/// What tells one server process from another behind the same address.
///
/// A restart makes a new node: nothing that was known of the old one (its position, its replication) holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// `pg_postmaster_start_time()` in microseconds since 1970.
    pub started_us: i64,
    /// `inet_server_addr()`; absent over a Unix-domain socket.
    pub address: Option<IpAddr>,
    /// `inet_server_port()`; absent over a Unix-domain socket.
    pub port: Option<u16>,
}

/// What is known of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// Which one.
    pub id: NodeId,
    /// What it last said it is.
    pub role: ObservedRole,
    /// The WAL position it last reported.
    pub position: Option<WalPosition>,
    /// The timeline it last reported.
    pub timeline: Option<u32>,
    /// When it last answered.
    pub last_seen: Instant,
    /// It has replayed what the writer, asked afterwards, had not written: it follows another history, and does so for life.
    pub strayed: bool,
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
