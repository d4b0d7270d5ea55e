//! Difference between two snapshots, for logs, metrics and audit.

use std::{fmt, sync::Arc};

use super::{DeclaredRole, FenceCause, Health, NodeId, ObservedRole, ReplayState};
use crate::names::EndpointName;

/// A single difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChange {
    /// An endpoint came up or went down.
    Health {
        /// The endpoint.
        endpoint: EndpointName,
        /// Previous health.
        from: Health,
        /// Current health.
        to: Health,
        /// Reason for health down.
        reason: Option<Arc<str>>,
    },
    /// A server reported a new role.
    Role {
        /// The endpoint.
        endpoint: EndpointName,
        /// Previously reported role, if any.
        from: Option<ObservedRole>,
        /// Currently reported role.
        to: ObservedRole,
    },
    /// The reported role differs from the declared role: an operator must act.
    Mismatch {
        /// The endpoint.
        endpoint: EndpointName,
        /// Declared role.
        declared: DeclaredRole,
        /// Reported role.
        observed: ObservedRole,
    },
    /// Declared and observed role agree again.
    MismatchEnded {
        /// The endpoint.
        endpoint: EndpointName,
    },
    /// Another server answers at the address of a primary or secondary, after a restart or a failover.
    Node {
        /// The endpoint.
        endpoint: EndpointName,
        /// Previous server.
        from: NodeId,
        /// Current server.
        to: NodeId,
    },
    /// Another writer was elected.
    Writer {
        /// Previous writer.
        from: Option<EndpointName>,
        /// Current writer.
        to: Option<EndpointName>,
        /// An operator moves the writer: the absence is planned.
        is_moving: bool,
    },
    /// Several servers report that they accept writes: the data may be diverging.
    TwoWriters {
        /// The reporting endpoints, in the order of the configuration.
        endpoints: Vec<EndpointName>,
    },
    /// At most one server reports again that it accepts writes.
    TwoWritersEnded,
    /// The replay of a standby stopped, or goes on.
    Replay {
        /// The endpoint.
        endpoint: EndpointName,
        /// Previous state.
        from: ReplayState,
        /// Current state.
        to: ReplayState,
    },
    /// An endpoint takes no writes until an operator ends the fence.
    Fenced {
        /// The endpoint.
        endpoint: EndpointName,
        /// Reason for the fence.
        cause: FenceCause,
    },
    /// An endpoint is no longer fenced.
    FenceEnded {
        /// The endpoint.
        endpoint: EndpointName,
    },
}

// === impl SnapshotChange ===

impl SnapshotChange {
    /// Every kind: label values exist from the start.
    pub const KINDS: [&'static str; 11] = [
        "health",
        "role",
        "mismatch",
        "mismatch_ended",
        "node",
        "writer",
        "two_writers",
        "two_writers_ended",
        "replay",
        "fenced",
        "fence_ended",
    ];

    /// The word used in metrics, logs and audit.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Health { .. } => "health",
            Self::Role { .. } => "role",
            Self::Mismatch { .. } => "mismatch",
            Self::MismatchEnded { .. } => "mismatch_ended",
            Self::Node { .. } => "node",
            Self::Writer { .. } => "writer",
            Self::TwoWriters { .. } => "two_writers",
            Self::TwoWritersEnded => "two_writers_ended",
            Self::Replay { .. } => "replay",
            Self::Fenced { .. } => "fenced",
            Self::FenceEnded { .. } => "fence_ended",
        }
    }

    /// The endpoint of the change; `None` for a change of the whole cluster.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::Health { endpoint, .. }
            | Self::Role { endpoint, .. }
            | Self::Mismatch { endpoint, .. }
            | Self::MismatchEnded { endpoint }
            | Self::Node { endpoint, .. }
            | Self::Replay { endpoint, .. }
            | Self::Fenced { endpoint, .. }
            | Self::FenceEnded { endpoint } => Some(endpoint),
            Self::Writer { .. } | Self::TwoWriters { .. } | Self::TwoWritersEnded => None,
        }
    }

    /// Previous value, if any.
    #[must_use]
    pub fn from(&self) -> Option<String> {
        match self {
            Self::Health { from, .. } => Some(from.as_str().to_owned()),
            Self::Role { from, .. } => from.map(|role| role.as_str().to_owned()),
            Self::Mismatch { declared, .. } => Some(declared.as_str().to_owned()),
            Self::Node { from, .. } => Some(from.to_string()),
            Self::Replay { from, .. } => Some(from.as_str().to_owned()),
            Self::Writer { from, .. } => from.as_ref().map(ToString::to_string),
            Self::MismatchEnded { .. }
            | Self::TwoWriters { .. }
            | Self::TwoWritersEnded
            | Self::Fenced { .. }
            | Self::FenceEnded { .. } => None,
        }
    }

    /// Current value, if any.
    #[must_use]
    pub fn to(&self) -> Option<String> {
        match self {
            Self::Health { to, .. } => Some(to.as_str().to_owned()),
            Self::Role { to, .. } => Some(to.as_str().to_owned()),
            Self::Mismatch { observed, .. } => Some(observed.as_str().to_owned()),
            Self::Node { to, .. } => Some(to.to_string()),
            Self::Replay { to, .. } => Some(to.as_str().to_owned()),
            Self::Writer { to, .. } => to.as_ref().map(ToString::to_string),
            Self::TwoWriters { endpoints } => {
                Some(endpoints.iter().map(EndpointName::as_str).collect::<Vec<_>>().join(" "))
            }
            Self::Fenced { cause, .. } => Some(cause.as_str().to_owned()),
            Self::MismatchEnded { .. } | Self::TwoWritersEnded | Self::FenceEnded { .. } => None,
        }
    }

    /// True if an operator should look at the change, which may still end by itself.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        matches!(self, Self::Replay { to, .. } if to.is_fault())
    }

    /// True if an operator should be alerted at once.
    #[must_use]
    pub const fn is_alarm(&self) -> bool {
        matches!(
            self,
            Self::Health { to: Health::Down, .. }
                | Self::Mismatch { .. }
                | Self::Writer { to: None, is_moving: false, .. }
                | Self::TwoWriters { .. }
                | Self::Fenced { cause: FenceCause::Replaced | FenceCause::TwoWriters, .. }
        )
    }
}

/// Predicate of a sentence about the replay of an endpoint.
const fn describe_replay(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Stalled => "stands still: its position does not advance, and more WAL was written",
        ReplayState::Paused => "is paused",
        ReplayState::Diverged => "follows another server than the writer",
        ReplayState::Replaying => "goes on",
        ReplayState::Unknown => "is unknown",
    }
}

impl fmt::Display for SnapshotChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &Option<EndpointName>| match name {
            Some(name) => format!("`{name}`"),
            None => "none".to_owned(),
        };
        match self {
            Self::Health { endpoint, to, reason: Some(reason), .. } => {
                write!(f, "endpoint `{endpoint}` is {}: {reason}", to.as_str())
            }
            Self::Health { endpoint, to, .. } => write!(f, "endpoint `{endpoint}` is {}", to.as_str()),
            Self::Role { endpoint, from, to } => write!(
                f,
                "endpoint `{endpoint}` reports role {}, was {}",
                to.as_str(),
                from.map_or("not known", ObservedRole::as_str)
            ),
            Self::Mismatch { endpoint, declared, observed } => {
                write!(
                    f,
                    "endpoint `{endpoint}` is declared {declared}, but its server reports {}",
                    observed.as_str()
                )
            }
            Self::MismatchEnded { endpoint } => {
                write!(f, "endpoint `{endpoint}` has the declared role again")
            }
            Self::Node { endpoint, from, to } => {
                write!(f, "another server answers for endpoint `{endpoint}`: {to}, was {from}")
            }
            Self::Writer { from, to: None, is_moving: true } => {
                write!(f, "the writer is none while an operator moves it, was {}", named(from))
            }
            Self::Writer { from, to, .. } => write!(f, "the writer is {}, was {}", named(to), named(from)),
            Self::TwoWriters { endpoints } => {
                f.write_str("several servers report that they accept writes:")?;
                for endpoint in endpoints {
                    write!(f, " `{endpoint}`")?;
                }
                Ok(())
            }
            Self::Replay { endpoint, to, .. } => {
                write!(f, "replay of endpoint `{endpoint}` {}", describe_replay(*to))
            }
            Self::TwoWritersEnded => f.write_str("at most one server accepts writes again"),
            Self::Fenced { endpoint, cause } => {
                let why = match cause {
                    FenceCause::Moved => "an operator moved the writer",
                    FenceCause::Replaced => "another endpoint declared primary replaced it",
                    FenceCause::TwoWriters => "its server accepts writes beside the writer",
                };
                write!(f, "endpoint `{endpoint}` is fenced: {why}")
            }
            Self::FenceEnded { endpoint } => write!(f, "endpoint `{endpoint}` is no longer fenced"),
        }
    }
}
