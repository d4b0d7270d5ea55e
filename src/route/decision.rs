//! The answer of the router: a value that is logged, counted and audited as it is.

use std::sync::Arc;

use super::Reason;
use crate::topology::Endpoint;

/// An endpoint, and why that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDecision {
    /// Where to go.
    pub endpoint: Arc<Endpoint>,
    /// Why there.
    pub reason: Reason,
}

/// Why no endpoint can be had now. The same question may be answered otherwise after the next change of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoEndpoint {
    /// No endpoint declared primary is known, or believed, to take writes.
    #[error("no endpoint takes writes now")]
    Writer,
    /// Every read pool is down and the primary may not stand in.
    #[error("no read pool can serve now")]
    Reader,
    /// Every endpoint of the secondary cluster was tried.
    #[error("no endpoint of the secondary cluster can serve now")]
    Secondary,
    /// The endpoint that the route names was tried, or has left the configuration.
    #[error("the endpoint of this route cannot serve now")]
    Named,
}

// === impl NoEndpoint ===

impl NoEndpoint {
    /// The word used in metrics, logs and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "no-writer",
            Self::Reader => "no-reader",
            Self::Secondary => "no-secondary",
            Self::Named => "no-named",
        }
    }
}
