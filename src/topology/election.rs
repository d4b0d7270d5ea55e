//! Which endpoint is the writer.
//!
//! All configured clusters form a family: a primary cluster and the secondary clusters that replicate from the primary.
//! Two servers of the family that both accept writes diverge, so the writer is never guessed.
//!
//! The writer must be *declared* a primary or appointed by an operator, and must not be fenced. An endpoint in recovery
//! is never the writer. Silence is no evidence about roles: a silent writer stays the writer, with health down, until
//! another permitted server reports that it accepts writes. A failover behind the same address needs no election.

use super::{EndpointStatus, ObservedRole, WriterControl};
use crate::names::EndpointName;

/// The result of an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// The writer, if exactly one endpoint qualifies.
    pub writer: Option<EndpointName>,
    /// Several servers report that they accept writes.
    pub two_writers: bool,
}

/// Elects among `endpoints` within the bounds of `control`, whose incumbent stays the writer in doubt.
#[must_use]
pub fn elect_writer(endpoints: &[EndpointStatus], control: &WriterControl) -> Election {
    let incumbent = endpoints.iter().find(|status| Some(&status.endpoint.name) == control.incumbent.as_ref());
    // A server that accepted writes beside the incumbent has other data, and does not replace an incumbent that falls
    // silent afterwards.
    let is_rival =
        |status: &EndpointStatus| incumbent.is_some_and(|writer| status.wrote_before_answer_of(writer));
    let candidates: Vec<_> =
        endpoints.iter().filter(|status| control.may_elect(status) && !is_rival(status)).collect();
    let writer = match candidates.iter().any(|status| status.says_writable()) {
        _ if control.is_held => None,
        true => elect_writable(&candidates, control),
        false => keep_silent_writer(&candidates, control),
    };
    Election {
        writer: writer.map(|status| status.endpoint.name.clone()),
        two_writers: two_writers(endpoints),
    }
}

/// Among candidates that report that they accept writes: the incumbent, or else a single server.
fn elect_writable<'e>(
    candidates: &[&'e EndpointStatus],
    control: &WriterControl,
) -> Option<&'e EndpointStatus> {
    let mut writable = candidates.iter().copied().filter(|status| status.says_writable());
    if let Some(kept) =
        writable.clone().find(|status| Some(&status.endpoint.name) == control.incumbent.as_ref())
    {
        return Some(kept);
    }
    let first = writable.next()?;
    writable.all(|other| first.is_same_server(other)).then_some(first)
}

/// Without a candidate that reports that it accepts writes, the incumbent stays. Without an incumbent, a single
/// candidate is believed, because a server behind a passthrough login cannot be queried. Both end when the server
/// reports recovery.
fn keep_silent_writer<'e>(
    candidates: &[&'e EndpointStatus],
    control: &WriterControl,
) -> Option<&'e EndpointStatus> {
    let is_incumbent = |status: &&&EndpointStatus| Some(&status.endpoint.name) == control.incumbent.as_ref();
    let kept = match (candidates.iter().find(is_incumbent), candidates) {
        (Some(incumbent), _) => *incumbent,
        (None, [only]) => *only,
        (None, _) => return None,
    };
    (kept.observed != Some(ObservedRole::Standby)).then_some(kept)
}

fn two_writers(endpoints: &[EndpointStatus]) -> bool {
    let mut writable = endpoints.iter().filter(|status| status.says_writable());
    let Some(first) = writable.next() else { return false };
    writable.any(|other| !first.is_same_server(other))
}
