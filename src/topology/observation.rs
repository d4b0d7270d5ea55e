//! Observations of an endpoint.

use std::{sync::Arc, time::Instant};

use super::{NodeId, ObservedRole};
use crate::names::EndpointName;

/// A single probe of an endpoint.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The probed endpoint.
    pub endpoint: EndpointName,
    /// Local clock before the query.
    pub asked_at: Instant,
    /// Local clock after the probe.
    pub ended_at: Instant,
    /// Result of the probe.
    pub outcome: ProbeOutcome,
}

/// Result of a probe.
#[derive(Debug, Clone)]
pub enum ProbeOutcome {
    /// The server answered questions on a connection that was logged in.
    Answered(ProbeAnswer),
    /// WAL sample of the writer between probes, on an existing connection. Proves no login, and is ignored if another
    /// server answered than the last probe found.
    Sampled(ProbeAnswer),
    /// The server speaks the protocol, but no login is configured: alive, and nothing else is known.
    Alive,
    /// No credentials for a new login, and no evidence about the server. The server answered on the kept connection or
    /// to a StartupMessage.
    NoCredentials {
        /// The server's answer; `None` without a connection for queries.
        answer: Option<ProbeAnswer>,
        /// Reason for the missing login, without secrets.
        reason: Arc<str>,
    },
    /// Connection or login failed. The reason holds no secret.
    Failed(Arc<str>),
    /// The server answered with an error. The reason holds no secret.
    Refused(Arc<str>),
    /// The probe goes on, and has had no answer for a while. The result follows.
    Late,
    /// The probe failed locally, for example without a file descriptor: no information.
    Unasked(Arc<str>),
}

/// Server state, as reported by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// `pg_is_in_recovery()`.
    pub role: ObservedRole,
    /// `transaction_read_only` of a new transaction.
    pub read_only: bool,
    /// WAL insert position of a primary or replay position of a standby, in bytes; `None` without permission.
    pub lsn: Option<u64>,
    /// The timeline a primary writes.
    pub timeline: Option<u32>,
    /// Identity of the server; `None` without permission.
    pub node: Option<NodeId>,
    /// WAL of a standby; `None` on a primary, without permission, or if not queried.
    pub standby: Option<StandbyWal>,
}

/// WAL of a standby, besides the replay position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyWal {
    /// `pg_last_wal_receive_lsn()`; `None` without streaming replication.
    pub received: Option<u64>,
    /// `pg_is_wal_replay_paused()`.
    pub is_paused: bool,
}

/// Replay position of a node, reported on a session's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// Endpoint of the connection.
    pub endpoint: EndpointName,
    /// Identity of the node.
    pub node: NodeId,
    /// Replay position; `None` outside recovery or without permission.
    pub lsn: Option<u64>,
    /// Local clock before the query.
    pub asked_at: Instant,
    /// Local clock after the answer.
    pub answered_at: Instant,
}
