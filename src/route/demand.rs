//! What a session that splits needs now.

use super::Reason;
use crate::names::EndpointName;

/// What a session needs now. How fresh a node has to be is the caller's business, who knows the node once it has a backend:
/// see [`crate::topology::Snapshot::standing`].
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// Who may serve it.
    pub side: Side,
    /// Why: what the decision says if it goes as it should.
    pub reason: Reason,
    /// Endpoints that failed this very demand.
    pub tried: &'a [EndpointName],
}

/// Who may serve a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A read pool, or else the writer.
    Reader,
    /// The writer alone.
    Writer,
}
