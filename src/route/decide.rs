//! The decision itself: a function of the snapshot, the policy, the load and a random draw.

use std::sync::Arc;

use super::{
    NoEndpoint, RouteDecision, RoutePolicy, RouteReason, RouteRequest, RouteSide, SplitSettings, WhenNoReader,
};
use crate::{
    names::EndpointName,
    topology::{DeclaredRole, EndpointStatus, Health, ObservedRole, TopologySnapshot},
};

/// Chooses an endpoint for a new session of a listener. One that splits begins at the writer: what its statements need is
/// decided by [`decide_split`].
///
/// `load` tells how many sessions an endpoint carries for us; `draw` is any random number; `tried` are the endpoints
/// that failed this very session and are left out.
///
/// A server that was seen in recovery is never the answer for a writer, whatever the configuration calls it: the
/// snapshot's election sees to that. An endpoint that has not been probed yet is given the benefit of the doubt.
///
/// # Errors
/// [`NoEndpoint`] when none is left that may serve.
pub fn decide(
    policy: &RoutePolicy,
    snapshot: &TopologySnapshot,
    load: impl Fn(&EndpointName) -> usize,
    draw: u64,
    tried: &[EndpointName],
) -> Result<RouteDecision, NoEndpoint> {
    let open = |status: &&EndpointStatus| !tried.contains(&status.endpoint.name);
    match policy {
        RoutePolicy::Primary | RoutePolicy::Split(_) => writer(snapshot, open, RouteReason::Writer),
        RoutePolicy::ReadPool { when_no_reader } => {
            let standing_in = *when_no_reader == WhenNoReader::Primary;
            let serves = |status: &&EndpointStatus| {
                status.endpoint.role.serves_reads() && !(standing_in && status.health == Health::Down)
            };
            match balance(snapshot.endpoints.iter().filter(open).filter(serves), rank, load, draw) {
                Some(status) => Ok(answer(status, RouteReason::ReadPool)),
                None if standing_in => {
                    writer(snapshot, open, RouteReason::NoReader).map_err(|_| NoEndpoint::Reader)
                }
                None => Err(NoEndpoint::Reader),
            }
        }
        RoutePolicy::Secondary => {
            let secondary = |status: &&EndpointStatus| status.endpoint.role == DeclaredRole::Secondary;
            balance(snapshot.endpoints.iter().filter(open).filter(secondary), rank, load, draw)
                .map(|status| answer(status, RouteReason::Secondary))
                .ok_or(NoEndpoint::Secondary)
        }
        RoutePolicy::Endpoint(name) => snapshot
            .get(name)
            .filter(open)
            .map(|status| answer(status, RouteReason::Named))
            .ok_or(NoEndpoint::Named),
    }
}

/// Chooses an endpoint for what a session of a listener that splits needs now.
///
/// A demand for a reader goes to a read pool that is not known to be down, or else to the writer, with [`RouteReason::NoReader`].
/// `avoided` tells which endpoints failed sessions a moment ago: they come last, and serve if they are all there is. `load` and
/// `draw` are as with [`decide`].
///
/// # Errors
/// [`NoEndpoint`] when none is left that may serve.
pub fn decide_split(
    settings: &SplitSettings,
    snapshot: &TopologySnapshot,
    demand: &RouteRequest<'_>,
    load: impl Fn(&EndpointName) -> usize,
    avoided: impl Fn(&EndpointName) -> bool,
    draw: u64,
) -> Result<RouteDecision, NoEndpoint> {
    let open = |status: &&EndpointStatus| !demand.tried.contains(&status.endpoint.name);
    if demand.side == RouteSide::Writer {
        return writer(snapshot, open, demand.reason);
    }
    let home = home(snapshot);
    let local =
        settings.local_region.as_deref().or_else(|| home.and_then(|home| home.endpoint.region.as_deref()));
    let standing_in = settings.when_no_reader == WhenNoReader::Primary;
    let serves = |status: &&EndpointStatus| {
        let near = home.is_none_or(|home| home.endpoint.cluster == status.endpoint.cluster);
        status.endpoint.role.serves_reads()
            && (near || settings.secondary_read_pools)
            && snapshot.follows_writer(&status.endpoint.cluster)
            && status.has_standby()
            && !(standing_in && status.health == Health::Down)
    };
    let readers = snapshot.endpoints.iter().filter(open).filter(serves);
    // Health before what happened a moment ago, that before the distance.
    let preference = |status: &EndpointStatus| {
        let remote = local.is_some() && status.endpoint.region.as_deref() != local;
        (status.health == Health::Down, avoided(&status.endpoint.name), rank(status), remote)
    };
    match (balance(readers, preference, load, draw), standing_in) {
        (Some(status), _) => Ok(answer(status, demand.reason)),
        (None, true) => writer(snapshot, open, RouteReason::NoReader).map_err(|_| NoEndpoint::Reader),
        (None, false) => Err(NoEndpoint::Reader),
    }
}

/// The writer, or the endpoint that was declared to be it, while none is known.
fn home(snapshot: &TopologySnapshot) -> Option<&EndpointStatus> {
    let declared = || snapshot.endpoints.iter().find(|status| status.endpoint.role == DeclaredRole::Primary);
    snapshot.writer.as_ref().and_then(|name| snapshot.get(name)).or_else(declared)
}

fn answer(status: &EndpointStatus, reason: RouteReason) -> RouteDecision {
    RouteDecision { endpoint: Arc::clone(&status.endpoint), reason }
}

/// The elected writer. A second candidate is never tried: two servers that took one session's writes would be worse
/// than none.
fn writer(
    snapshot: &TopologySnapshot,
    open: impl Fn(&&EndpointStatus) -> bool,
    reason: RouteReason,
) -> Result<RouteDecision, NoEndpoint> {
    let elected = snapshot.writer.as_ref().and_then(|name| snapshot.get(name)).filter(open);
    elected.map(|status| answer(status, reason)).ok_or(NoEndpoint::Writer)
}

/// The best of those whose `rank` is lowest: of two drawn at random, the one with fewer sessions.
///
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996). Failing endpoints are left out, but
/// never the last one: a probe may be wrong.
fn balance<'a, R: Ord>(
    candidates: impl Iterator<Item = &'a EndpointStatus> + Clone,
    rank: impl Fn(&EndpointStatus) -> R,
    load: impl Fn(&EndpointName) -> usize,
    draw: u64,
) -> Option<&'a EndpointStatus> {
    let best = candidates.clone().map(&rank).min()?;
    let equals = candidates.filter(|status| rank(status) == best);
    let count = equals.clone().count() as u64;
    let first = draw % count;
    let mut second = (draw >> 32) % count.max(2).saturating_sub(1);
    if second >= first {
        second = (second + 1) % count;
    }
    let pick = |at: u64| equals.clone().nth(usize::try_from(at).unwrap_or(0));
    let (a, b) = (pick(first)?, pick(second)?);
    Some(if load(&b.endpoint.name) < load(&a.endpoint.name) { b } else { a })
}

/// Lower is better: up and what it was declared to be, then up, then unknown, then down.
fn rank(status: &EndpointStatus) -> u8 {
    match (status.health, status.observed) {
        (Health::Up, Some(ObservedRole::Standby)) => 0,
        (Health::Up, _) => 1,
        (Health::Unknown, _) => 2,
        (Health::Down, _) => 3,
    }
}

#[cfg(test)]
mod tests;
