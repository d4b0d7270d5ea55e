//! Result of routing, for logs, metrics and audit.

use std::sync::Arc;

use super::RouteReason;
use crate::{closed_set::closed_set, topology::Endpoint};

/// A chosen endpoint, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDecision {
    /// Where to go.
    pub endpoint: Arc<Endpoint>,
    /// Why there.
    pub reason: RouteReason,
}

closed_set! {
    /// Reason without an endpoint. A change of the topology may change the result.
    #[derive(thiserror::Error)]
    pub enum NoEndpoint {
        /// No endpoint declared primary is known, or believed, to take writes.
        #[error("no endpoint accepts writes now")]
        Writer = "no-writer",
        /// Every read pool is down and the primary may not stand in.
        #[error("no read pool can serve now")]
        Reader = "no-reader",
        /// Every endpoint of the secondary cluster was tried.
        #[error("no endpoint of the secondary cluster can serve now")]
        Secondary = "no-secondary",
        /// The endpoint that the route names was tried, or has left the configuration.
        #[error("the endpoint of this route cannot serve now")]
        Named = "no-named",
        /// The endpoint that the route names is fenced: an operator moved the writer away.
        #[error("the endpoint of this route takes no writes since the writer was moved")]
        Fenced = "fenced",
    }
}
