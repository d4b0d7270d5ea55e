//! What became different between two snapshots: logged, counted and audited as it is.

use std::{fmt, sync::Arc};

use super::{DeclaredRole, Health, NodeId, ObservedRole};
use crate::names::EndpointName;

/// One difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChange {
    /// An endpoint came up or went down.
    Health {
        /// Which one.
        endpoint: EndpointName,
        /// What it was.
        from: Health,
        /// What it is.
        to: Health,
        /// Why it is down.
        reason: Option<Arc<str>>,
    },
    /// A server said something new about what it is.
    Role {
        /// Which one.
        endpoint: EndpointName,
        /// What it said before, if it ever answered.
        from: Option<ObservedRole>,
        /// What it says now.
        to: ObservedRole,
    },
    /// A server says it is something else than the configuration declares: somebody must look.
    Mismatch {
        /// Which one.
        endpoint: EndpointName,
        /// What the configuration says.
        declared: DeclaredRole,
        /// What the server says.
        observed: ObservedRole,
    },
    /// Declared and observed role agree again.
    MismatchEnded {
        /// Which one.
        endpoint: EndpointName,
    },
    /// Another server answers at the address of a primary or secondary: a restart or a failover behind it.
    Node {
        /// Which one.
        endpoint: EndpointName,
        /// Who answered before.
        from: NodeId,
        /// Who answers now.
        to: NodeId,
    },
    /// The writer is another one.
    Writer {
        /// Who was the writer.
        from: Option<EndpointName>,
        /// Who is it.
        to: Option<EndpointName>,
    },
    /// Several servers say that they take writes: writes may be diverging right now.
    TwoWriters {
        /// All endpoints that say so, in the configuration's order.
        endpoints: Vec<EndpointName>,
    },
    /// At most one server says that it takes writes again.
    TwoWritersEnded,
}

// === impl SnapshotChange ===

impl SnapshotChange {
    /// Every kind: label values exist from the start.
    pub const KINDS: [&'static str; 8] = [
        "health",
        "role",
        "mismatch",
        "mismatch_ended",
        "node",
        "writer",
        "two_writers",
        "two_writers_ended",
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
        }
    }

    /// The endpoint it is about; `None` when it is about the cluster as a whole.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::Health { endpoint, .. }
            | Self::Role { endpoint, .. }
            | Self::Mismatch { endpoint, .. }
            | Self::MismatchEnded { endpoint }
            | Self::Node { endpoint, .. } => Some(endpoint),
            Self::Writer { .. } | Self::TwoWriters { .. } | Self::TwoWritersEnded => None,
        }
    }

    /// What it was, where it was something.
    #[must_use]
    pub fn from(&self) -> Option<String> {
        match self {
            Self::Health { from, .. } => Some(from.as_str().to_owned()),
            Self::Role { from, .. } => from.map(|role| role.as_str().to_owned()),
            Self::Mismatch { declared, .. } => Some(declared.as_str().to_owned()),
            Self::Node { from, .. } => Some(from.to_string()),
            Self::Writer { from, .. } => from.as_ref().map(ToString::to_string),
            Self::MismatchEnded { .. } | Self::TwoWriters { .. } | Self::TwoWritersEnded => None,
        }
    }

    /// What it is, where it is something.
    #[must_use]
    pub fn to(&self) -> Option<String> {
        match self {
            Self::Health { to, .. } => Some(to.as_str().to_owned()),
            Self::Role { to, .. } => Some(to.as_str().to_owned()),
            Self::Mismatch { observed, .. } => Some(observed.as_str().to_owned()),
            Self::Node { to, .. } => Some(to.to_string()),
            Self::Writer { to, .. } => to.as_ref().map(ToString::to_string),
            Self::TwoWriters { endpoints } => {
                Some(endpoints.iter().map(EndpointName::as_str).collect::<Vec<_>>().join(" "))
            }
            Self::MismatchEnded { .. } | Self::TwoWritersEnded => None,
        }
    }

    /// Whether somebody should be told at once, rather than find it in the log later.
    #[must_use]
    pub const fn is_alarm(&self) -> bool {
        matches!(
            self,
            Self::Health { to: Health::Down, .. }
                | Self::Mismatch { .. }
                | Self::Writer { to: None, .. }
                | Self::TwoWriters { .. }
        )
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
                "endpoint `{endpoint}` says it is a {}, was {}",
                to.as_str(),
                from.map_or("not known", ObservedRole::as_str)
            ),
            Self::Mismatch { endpoint, declared, observed } => {
                write!(
                    f,
                    "endpoint `{endpoint}` is declared {declared}, but says it is a {}",
                    observed.as_str()
                )
            }
            Self::MismatchEnded { endpoint } => {
                write!(f, "endpoint `{endpoint}` is what it was declared to be again")
            }
            Self::Node { endpoint, from, to } => {
                write!(f, "another server answers for endpoint `{endpoint}`: {to}, was {from}")
            }
            Self::Writer { from, to } => write!(f, "the writer is {}, was {}", named(to), named(from)),
            Self::TwoWriters { endpoints } => {
                f.write_str("several servers say that they take writes:")?;
                for endpoint in endpoints {
                    write!(f, " `{endpoint}`")?;
                }
                Ok(())
            }
            Self::TwoWritersEnded => f.write_str("at most one server says that it takes writes again"),
        }
    }
}
