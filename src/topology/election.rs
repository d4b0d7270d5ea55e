//! Which endpoint is the writer.
//!
//! All configured clusters are one family: a primary cluster and the secondary clusters that replicate from it. Two
//! servers of it that both take writes are a divergence in progress, so the writer is never guessed.
//!
//! The writer must be *declared* a primary; an endpoint that says it is in recovery is never the writer. Silence is no
//! evidence about roles: a writer that stops answering stays the writer, with its health to say that it is down, until
//! it or another server says something else. A failover behind the same address then needs no change here at all.

use super::{DeclaredRole, EndpointStatus, ObservedRole};
use crate::names::EndpointName;

/// The result of an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// The writer, if exactly one endpoint can be it.
    pub writer: Option<EndpointName>,
    /// Several servers say that they take writes.
    pub two_writers: bool,
}

/// Elects among `endpoints`; `current` is the writer so far and stays it when in doubt.
#[must_use]
pub fn elect(endpoints: &[EndpointStatus], current: Option<&EndpointName>) -> Election {
    let writer = declared_and_saying_so(endpoints, current).or_else(|| declared_only(endpoints, current));
    Election { writer, two_writers: two_writers(endpoints) }
}

/// Endpoints declared primary that answer and say they are: one server, or the current writer among several.
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

/// Nobody says it is the writer: whoever was it stays it, and at the start a single declaration is believed (nobody may
/// ask a server behind a passthrough login). Both end when the server says that it is in recovery.
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

/// Whether the configuration allows it to be the writer.
fn may_be_writer(status: &EndpointStatus) -> bool {
    status.endpoint.role == DeclaredRole::Primary
}

fn two_writers(endpoints: &[EndpointStatus]) -> bool {
    let mut writable = endpoints.iter().filter(|status| status.says_writable());
    let Some(first) = writable.next() else { return false };
    writable.any(|other| !first.is_same_server(other))
}
