//! Which endpoint is the writer.
//!
//! All configured clusters form a family: a primary cluster and the secondary clusters that replicate from the primary.
//! Two servers of the family that both accept writes diverge, so the writer is never guessed.
//!
//! The writer must be *declared* a primary, and an endpoint in recovery is never the writer. Silence is no evidence
//! about roles: a silent writer stays the writer, with health down, until a server reports another role. A failover
//! behind the same address needs no election.

use super::{DeclaredRole, EndpointStatus, ObservedRole};
use crate::names::EndpointName;

/// The result of an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// The writer, if exactly one endpoint qualifies.
    pub writer: Option<EndpointName>,
    /// Several servers report that they accept writes.
    pub two_writers: bool,
}

/// Elects among `endpoints`; `current` is the previous writer and stays the writer in doubt.
#[must_use]
pub fn elect_writer(endpoints: &[EndpointStatus], current: Option<&EndpointName>) -> Election {
    let writer = declared_and_saying_so(endpoints, current).or_else(|| declared_only(endpoints, current));
    Election { writer, two_writers: two_writers(endpoints) }
}

/// Endpoints declared primary that report role primary: a single server, or the current writer among several.
fn declared_and_saying_so(
    endpoints: &[EndpointStatus],
    current: Option<&EndpointName>,
) -> Option<EndpointName> {
    let candidates: Vec<_> =
        endpoints.iter().filter(|status| may_be_writer(status) && status.says_writable()).collect();
    if let Some(kept) = candidates.iter().find(|status| Some(&status.endpoint.name) == current) {
        return Some(kept.endpoint.name.clone());
    }
    let (first, rest) = candidates.split_first()?;
    rest.iter().all(|other| first.is_same_server(other)).then(|| first.endpoint.name.clone())
}

/// Without a server that reports role primary, the current writer stays. At the start a single declaration is believed,
/// because a server behind a passthrough login cannot be queried. Both end when the server reports recovery.
fn declared_only(endpoints: &[EndpointStatus], current: Option<&EndpointName>) -> Option<EndpointName> {
    if endpoints.iter().any(|status| may_be_writer(status) && status.says_writable()) {
        return None;
    }
    let mut candidates = endpoints
        .iter()
        .filter(|status| may_be_writer(status) && status.observed != Some(ObservedRole::Standby))
        .map(|status| &status.endpoint.name);
    if let Some(kept) = candidates.clone().find(|name| Some(*name) == current) {
        return Some(kept.clone());
    }
    let first = candidates.next()?;
    candidates.next().is_none().then(|| first.clone())
}

/// True if the configuration permits the endpoint to be the writer.
fn may_be_writer(status: &EndpointStatus) -> bool {
    status.endpoint.role == DeclaredRole::Primary
}

fn two_writers(endpoints: &[EndpointStatus]) -> bool {
    let mut writable = endpoints.iter().filter(|status| status.says_writable());
    let Some(first) = writable.next() else { return false };
    writable.any(|other| !first.is_same_server(other))
}
