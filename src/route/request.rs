//! Routing request of a splitting session.

use super::RouteReason;
use crate::names::EndpointName;

/// Routing request of a splitting session. The caller checks freshness, because the node is known only once there is a
/// backend: see [`crate::topology::TopologySnapshot::freshness_of`].
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// Side that may serve the request.
    pub side: RouteSide,
    /// Reason reported if the preferred side serves.
    pub reason: RouteReason,
    /// Endpoints that failed the same request.
    pub tried: &'a [EndpointName],
}

/// Side that may serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteSide {
    /// A read pool, or else the writer.
    Reader,
    /// The writer alone.
    Writer,
}
