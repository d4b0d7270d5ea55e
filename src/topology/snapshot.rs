//! The whole picture at one moment.

use std::{sync::Arc, time::Instant};

use super::Endpoint;
use crate::names::EndpointName;

/// Everything known of every endpoint; swapped whole, written by the probe's keeper alone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// One entry for each configured endpoint, in the configuration's order.
    pub endpoints: Vec<EndpointStatus>,
    /// The endpoint that is the writer now, if exactly one is known and allowed to be it.
    pub writer: Option<EndpointName>,
}

/// What is known of one endpoint.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// What the configuration says.
    pub endpoint: Arc<Endpoint>,
    /// Whether a login works.
    pub health: Health,
    /// What the server last said it is.
    pub observed: Option<ObservedRole>,
    /// WAL position the server last reported, and when it was asked.
    pub position: Option<Position>,
    /// When a probe last succeeded.
    pub last_success: Option<Instant>,
    /// When `health` last changed.
    pub since: Option<Instant>,
    /// Why the last probe failed; `None` after a success. Never holds a secret; may hold an address.
    pub last_error: Option<Arc<str>>,
}

/// Whether an endpoint can be logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Not yet probed.
    Unknown,
    /// The last probes logged in.
    Up,
    /// The last probes failed.
    Down,
}

/// What a server says it is (`pg_is_in_recovery()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObservedRole {
    /// Not in recovery: it takes writes.
    Primary,
    /// In recovery: a standby, of a read pool or of a secondary cluster.
    Standby,
}

/// A write-ahead-log position of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Insert position of a primary, replay position of a standby, in octets of WAL.
    pub lsn: u64,
    /// Our clock, taken before the server was asked.
    pub asked_at: Instant,
}

// === impl Snapshot ===

impl Snapshot {
    /// The status of the endpoint called `name`.
    #[must_use]
    pub fn get(&self, name: &EndpointName) -> Option<&EndpointStatus> {
        self.endpoints.iter().find(|status| status.endpoint.name == *name)
    }
}

// === impl Health ===

impl Health {
    /// Every value: label values exist from the start.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Up, Self::Down];

    /// The word used in metrics, logs and the admin API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

// === impl ObservedRole ===

impl ObservedRole {
    /// Every value: label values exist from the start.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Standby];

    /// The word used in metrics, logs and the admin API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}
