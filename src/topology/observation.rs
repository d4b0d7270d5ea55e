//! What one look at an endpoint brought back.

use std::{sync::Arc, time::Instant};

use super::{NodeId, ObservedRole};
use crate::names::EndpointName;

/// One look at one endpoint.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Whom it is about.
    pub endpoint: EndpointName,
    /// Our clock, taken before the server was asked.
    pub asked_at: Instant,
    /// Our clock, when the look was over.
    pub ended_at: Instant,
    /// What came back.
    pub outcome: ProbeOutcome,
}

/// What came back from a look.
#[derive(Debug, Clone)]
pub enum ProbeOutcome {
    /// The server answered questions on a connection that was logged in.
    Answered(ProbeAnswer),
    /// The writer was asked in between where it stands, on a connection that was there already. It proves no login, and counts
    /// for nothing if another server answered than the last look saw.
    Sampled(ProbeAnswer),
    /// The server speaks, but nobody may log in to ask it: alive, nothing else is known.
    Alive,
    /// No credentials for a new login, and no evidence about the server. The server answered on the kept connection or
    /// to a StartupMessage.
    NoCredentials {
        /// The server's answer; `None` without a connection for queries.
        answer: Option<ProbeAnswer>,
        /// Reason for the missing login, without secrets.
        reason: Arc<str>,
    },
    /// It could not be reached or logged in to. The reason holds no secret.
    Failed(Arc<str>),
    /// We could not even ask, for want of a descriptor, say: nothing was learned.
    Unasked(Arc<str>),
}

/// What a server says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// `pg_is_in_recovery()`.
    pub role: ObservedRole,
    /// `transaction_read_only`, as it is for a new transaction.
    pub read_only: bool,
    /// WAL insert position of a primary, replay position of a standby, in bytes; absent when the server will not say.
    pub lsn: Option<u64>,
    /// The timeline a primary writes.
    pub timeline: Option<u32>,
    /// Who answered; absent when the server will not say.
    pub node: Option<NodeId>,
}

/// What a node said in passing about how far it has replayed, on a session's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// Behind which endpoint it was met.
    pub endpoint: EndpointName,
    /// Which one it is.
    pub node: NodeId,
    /// What it has replayed; `None` when it is not in recovery, or would not say.
    pub lsn: Option<u64>,
    /// Our clock, taken before it was asked.
    pub asked_at: Instant,
    /// Our clock, when its answer had come.
    pub answered_at: Instant,
}
