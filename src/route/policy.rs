//! Where a listener's statements may go.

use std::{fmt, sync::Arc};

use super::SplitSettings;
use crate::{
    names::EndpointName,
    topology::{DeclaredRole, Endpoint},
};

/// Where a listener's statements may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePolicy {
    /// The endpoint that is the writer now.
    Primary,
    /// The read pools.
    ReadPool {
        /// Behavior without a usable read pool.
        when_no_reader: WhenNoReader,
    },
    /// The secondary cluster's endpoints.
    Secondary,
    /// Proven reads to the read pools, all other statements to the writer.
    Split(Arc<SplitSettings>),
    /// A fixed endpoint.
    Endpoint(EndpointName),
}

/// Behavior of reads without a usable read pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenNoReader {
    /// The primary serves instead.
    #[default]
    Primary,
    /// The client is refused.
    Refuse,
}

impl RoutePolicy {
    /// True if the policy may select `endpoint`, by the declared role.
    #[must_use]
    pub fn may_reach(&self, endpoint: &Endpoint) -> bool {
        let role = endpoint.role;
        match self {
            Self::Primary => role == DeclaredRole::Primary,
            Self::ReadPool { when_no_reader } => {
                role.serves_reads()
                    || (*when_no_reader == WhenNoReader::Primary && role == DeclaredRole::Primary)
            }
            Self::Secondary => role == DeclaredRole::Secondary,
            Self::Split(_) => role.serves_reads() || role == DeclaredRole::Primary,
            Self::Endpoint(name) => endpoint.name == *name,
        }
    }
}

impl fmt::Display for RoutePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::ReadPool { .. } => f.write_str("read-pool"),
            Self::Secondary => f.write_str("secondary"),
            Self::Split(_) => f.write_str("split"),
            Self::Endpoint(name) => write!(f, "endpoint:{name}"),
        }
    }
}
