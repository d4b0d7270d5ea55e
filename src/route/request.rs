//! What a session that splits needs now.

use super::RouteReason;
use crate::names::EndpointName;

/// What a session needs now. How fresh a node has to be is the caller's business, who knows the node once it has a backend:
/// see [`crate::topology::TopologySnapshot::freshness_of`].
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// Who may serve it.
    pub side: RouteSide,
    /// Why: what the decision says if it goes as it should.
    pub reason: RouteReason,
    /// Endpoints that failed this very demand.
    pub tried: &'a [EndpointName],
}

/// Who may serve a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteSide {
    /// A read pool, or else the writer.
    Reader,
    /// The writer alone.
    Writer,
}
