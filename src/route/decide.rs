//! The decision: a function of snapshot, policy, load and a random draw.

use std::sync::Arc;

use super::{
    NoEndpoint, RouteDecision, RoutePolicy, RouteReason, RouteRequest, RouteSide, SplitSettings, WhenNoReader,
};
use crate::{
    names::EndpointName,
    topology::{DeclaredRole, EndpointStatus, Health, ObservedRole, TopologySnapshot},
};

/// Chooses an endpoint for a new session of a listener. A session of a splitting listener starts at the writer;
/// [`decide_split`] routes the statements.
///
/// `load` returns the number of sessions on an endpoint; `draw` is a random number; `tried` are endpoints that failed
/// the session and are excluded.
///
/// A server observed in recovery is never chosen as the writer, for any declared role: the snapshot's election excludes
/// the server. An unprobed endpoint counts as usable.
///
/// # Errors
/// [`NoEndpoint`] if no endpoint is left.
pub fn decide(
    policy: &RoutePolicy,
    snapshot: &TopologySnapshot,
    load: impl Fn(&EndpointName) -> usize,
    draw: u64,
    tried: &[EndpointName],
) -> Result<RouteDecision, NoEndpoint> {
    let open = |status: &&EndpointStatus| !tried.contains(&status.endpoint.name);
    match policy {
        RoutePolicy::Primary | RoutePolicy::Split(_) => decide_writer(snapshot, open, RouteReason::Writer),
        RoutePolicy::ReadPool { when_no_reader } => {
            let standing_in = *when_no_reader == WhenNoReader::Primary;
            let serves = |status: &&EndpointStatus| {
                status.endpoint.role.serves_reads()
                    && !snapshot.is_barred(status)
                    && !(standing_in && status.health == Health::Down)
            };
            match choose_balanced(
                snapshot.endpoints.iter().filter(open).filter(serves),
                preference_rank,
                load,
                draw,
            ) {
                Some(status) => Ok(decision_for(status, RouteReason::ReadPool)),
                None if standing_in => {
                    decide_writer(snapshot, open, RouteReason::NoReader).map_err(|_| NoEndpoint::Reader)
                }
                None => Err(NoEndpoint::Reader),
            }
        }
        RoutePolicy::Secondary => {
            let secondary = |status: &&EndpointStatus| {
                status.endpoint.role == DeclaredRole::Secondary && !snapshot.is_barred(status)
            };
            choose_balanced(
                snapshot.endpoints.iter().filter(open).filter(secondary),
                preference_rank,
                load,
                draw,
            )
            .map(|status| decision_for(status, RouteReason::Secondary))
            .ok_or(NoEndpoint::Secondary)
        }
        RoutePolicy::Endpoint(name) => snapshot
            .get(name)
            .filter(open)
            .map(|status| match snapshot.is_barred(status) {
                true => Err(NoEndpoint::Fenced),
                false => Ok(decision_for(status, RouteReason::Named)),
            })
            .unwrap_or(Err(NoEndpoint::Named)),
    }
}

/// Chooses an endpoint for a statement of a splitting session.
///
/// A request for a reader goes to a read pool not known to be down or lagging, or else to the writer, with
/// [`RouteReason::NoReader`] or [`RouteReason::Lagging`]. `avoided` marks endpoints that failed sessions recently: such endpoints come last, and
/// serve if no other endpoint is left. `load` and `draw` are as with [`decide`].
///
/// # Errors
/// [`NoEndpoint`] if no endpoint is left.
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
        return decide_writer(snapshot, open, demand.reason);
    }
    let home = home_endpoint(snapshot);
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
    // A read pool that lags delays reads: a writer that is up serves them. Without one, an old answer is better than none.
    let is_served = standing_in && home.is_some_and(|home| home.health != Health::Down);
    if is_served
        && readers.clone().next().is_some()
        && readers.clone().all(|status| status.is_lagging)
        && let Ok(decision) = decide_writer(snapshot, open, RouteReason::Lagging)
    {
        return Ok(decision);
    }
    // Order of preference: health, then recent failures, then lag, then distance.
    let preference = |status: &EndpointStatus| {
        let remote = local.is_some() && status.endpoint.region.as_deref() != local;
        (status.health == Health::Down, avoided(&status.endpoint.name), preference_rank(status), remote)
    };
    match (choose_balanced(readers, preference, load, draw), standing_in) {
        (Some(status), _) => Ok(decision_for(status, demand.reason)),
        (None, true) => decide_writer(snapshot, open, RouteReason::NoReader).map_err(|_| NoEndpoint::Reader),
        (None, false) => Err(NoEndpoint::Reader),
    }
}

/// The writer, or without a known writer the endpoint declared primary.
fn home_endpoint(snapshot: &TopologySnapshot) -> Option<&EndpointStatus> {
    let declared = || snapshot.endpoints.iter().find(|status| status.endpoint.role == DeclaredRole::Primary);
    snapshot.writer.as_ref().and_then(|name| snapshot.get(name)).or_else(declared)
}

fn decision_for(status: &EndpointStatus, reason: RouteReason) -> RouteDecision {
    RouteDecision { endpoint: Arc::clone(&status.endpoint), reason }
}

/// The elected writer. No second candidate is tried: a session with writes on two servers would be worse than no
/// writer.
fn decide_writer(
    snapshot: &TopologySnapshot,
    open: impl Fn(&&EndpointStatus) -> bool,
    reason: RouteReason,
) -> Result<RouteDecision, NoEndpoint> {
    let elected = snapshot.writer.as_ref().and_then(|name| snapshot.get(name)).filter(open);
    elected.map(|status| decision_for(status, reason)).ok_or(NoEndpoint::Writer)
}

/// The best endpoint of lowest `rank`: the less loaded of two random candidates.
///
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996). Failing endpoints are excluded, except
/// the last endpoint: a probe may be wrong.
fn choose_balanced<'a, R: Ord>(
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

/// Lower is better: up with the declared role, the same and lagging, up, unknown, down.
fn preference_rank(status: &EndpointStatus) -> u8 {
    match (status.health, status.observed) {
        (Health::Up, Some(ObservedRole::Standby)) if !status.is_lagging => 0,
        (Health::Up, Some(ObservedRole::Standby)) => 1,
        (Health::Up, _) => 2,
        (Health::Unknown, _) => 3,
        (Health::Down, _) => 4,
    }
}

#[cfg(test)]
mod tests;
