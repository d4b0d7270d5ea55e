//! Decisions of an operator, and the history, that bind the election of the writer.

use super::{DeclaredRole, EndpointStatus};
use crate::{closed_set::closed_set, names::EndpointName};

/// Decisions of an operator, and the history, that bind the election. Kept in memory alone: a
/// handover takes them over, and a start begins without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriterControl {
    /// The writer elected last. In doubt the incumbent stays the writer.
    pub incumbent: Option<EndpointName>,
    /// Endpoint that an operator made the writer, for any declared role.
    pub appointed: Option<EndpointName>,
    /// Endpoints that take no writes, in the order of the fencing.
    pub fences: Vec<Fence>,
    /// No endpoint is the writer while an operator moves the writer.
    pub is_held: bool,
}

/// Exclusion of an endpoint from writes, until an operator ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The endpoint without writes.
    pub endpoint: EndpointName,
    /// Reason for the fence.
    pub cause: FenceCause,
}

closed_set! {
    /// Reason for a fence.
    pub enum FenceCause(
        /// True if listeners with route `endpoint:NAME` or `secondary` do not use the endpoint either.
        binds_every_route: bool,
    ) {
        /// An operator moved the writer to another endpoint.
        Moved = "moved" { binds_every_route: true },
        /// The writer was lost, and another endpoint declared primary was elected.
        Replaced = "replaced" { binds_every_route: false },
        /// The endpoint accepted writes while the writer accepted writes.
        TwoWriters = "two_writers" { binds_every_route: false },
    }
}

// === impl WriterControl ===

impl WriterControl {
    /// The fence of `endpoint`, if any.
    #[must_use]
    pub fn fence_of(&self, endpoint: &EndpointName) -> Option<FenceCause> {
        self.fences.iter().find(|fence| fence.endpoint == *endpoint).map(|fence| fence.cause)
    }

    /// True if the endpoint may be elected: declared primary or appointed by an operator, and not fenced.
    #[must_use]
    pub fn may_elect(&self, status: &EndpointStatus) -> bool {
        let name = &status.endpoint.name;
        let is_permitted =
            status.endpoint.role == DeclaredRole::Primary || self.appointed.as_ref() == Some(name);
        is_permitted && self.fence_of(name).is_none()
    }

    /// Fences `endpoint`. An existing fence keeps its place and gets the new cause.
    pub(super) fn fence(&mut self, endpoint: &EndpointName, cause: FenceCause) {
        match self.fences.iter_mut().find(|fence| fence.endpoint == *endpoint) {
            Some(fence) => fence.cause = cause,
            None => self.fences.push(Fence { endpoint: endpoint.clone(), cause }),
        }
    }

    /// Ends the fence of `endpoint`; false without a fence.
    pub(super) fn end_fence(&mut self, endpoint: &EndpointName) -> bool {
        let before = self.fences.len();
        self.fences.retain(|fence| fence.endpoint != *endpoint);
        self.fences.len() < before
    }

    /// Follows an election among `endpoints`: the elected writer is the incumbent. Its predecessor is fenced, if the
    /// configuration still permits the predecessor to be the writer. An endpoint that is proved to accept writes
    /// beside the writer is fenced.
    pub(super) fn follow_election(&mut self, endpoints: &[EndpointStatus], writer: Option<&EndpointName>) {
        let status_of = |name: &EndpointName| endpoints.iter().find(|status| status.endpoint.name == *name);
        let Some(elected) = writer.and_then(status_of) else { return };
        let before = self.incumbent.replace(elected.endpoint.name.clone());
        let replaced = before.as_ref().and_then(status_of).filter(|before| !before.is_same_server(elected));
        if let Some(replaced) = replaced.filter(|replaced| self.may_elect(replaced)) {
            self.fence(&replaced.endpoint.name, FenceCause::Replaced);
        }
        for rival in endpoints.iter().filter(|status| status.wrote_before_answer_of(elected)) {
            if self.may_elect(rival) {
                self.fence(&rival.endpoint.name, FenceCause::TwoWriters);
            }
        }
    }

    /// Follows a changed configuration from `before` to `next`. Endpoints outside the configuration are forgotten. An
    /// endpoint whose declared role becomes primary is no longer fenced: the operator names the endpoint as the writer.
    pub(super) fn follow_configuration(&mut self, before: &[EndpointStatus], next: &[EndpointStatus]) {
        let role_in = |endpoints: &[EndpointStatus], name: &EndpointName| {
            let found = endpoints.iter().find(|status| status.endpoint.name == *name);
            found.map(|status| status.endpoint.role)
        };
        let is_configured = |name: &EndpointName| role_in(next, name).is_some();
        self.incumbent = self.incumbent.take().filter(is_configured);
        // A configuration that declares the appointed endpoint primary has caught up.
        let is_override =
            |name: &EndpointName| role_in(next, name).is_some_and(|role| role != DeclaredRole::Primary);
        self.appointed = self.appointed.take().filter(is_override);
        self.fences.retain(|Fence { endpoint, .. }| {
            let was_primary = role_in(before, endpoint) == Some(DeclaredRole::Primary);
            role_in(next, endpoint).is_some_and(|role| role != DeclaredRole::Primary || was_primary)
        });
    }
}
