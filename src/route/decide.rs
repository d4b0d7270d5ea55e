//! The decision itself: a function of the snapshot, the policy, the load and a random draw.

use std::sync::Arc;

use super::{NoEndpoint, Reason, RouteDecision, RoutePolicy, WhenNoReader};
use crate::{
    names::EndpointName,
    topology::{DeclaredRole, EndpointStatus, Health, ObservedRole, Snapshot},
};

/// Chooses an endpoint for a new session of a listener.
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
    snapshot: &Snapshot,
    load: impl Fn(&EndpointName) -> usize,
    draw: u64,
    tried: &[EndpointName],
) -> Result<RouteDecision, NoEndpoint> {
    let open = |status: &&EndpointStatus| !tried.contains(&status.endpoint.name);
    match policy {
        RoutePolicy::Primary => writer(snapshot, open, Reason::Writer),
        RoutePolicy::ReadPool { when_no_reader } => {
            let mut readers: Vec<_> =
                snapshot.endpoints.iter().filter(|s| s.endpoint.role.serves_reads()).filter(open).collect();
            let standing_in = *when_no_reader == WhenNoReader::Primary;
            if standing_in {
                readers.retain(|status| status.health != Health::Down);
            }
            match balance(&readers, load, draw) {
                Some(status) => Ok(answer(status, Reason::ReadPool)),
                None if standing_in => {
                    writer(snapshot, open, Reason::NoReader).map_err(|_| NoEndpoint::NoReader)
                }
                None => Err(NoEndpoint::NoReader),
            }
        }
        RoutePolicy::Secondary => {
            let all: Vec<_> = snapshot
                .endpoints
                .iter()
                .filter(|status| status.endpoint.role == DeclaredRole::Secondary)
                .filter(open)
                .collect();
            balance(&all, load, draw)
                .map(|status| answer(status, Reason::Secondary))
                .ok_or(NoEndpoint::NoSecondary)
        }
        RoutePolicy::Endpoint(name) => snapshot
            .get(name)
            .filter(open)
            .map(|status| answer(status, Reason::Named))
            .ok_or(NoEndpoint::NoNamed),
    }
}

fn answer(status: &EndpointStatus, reason: Reason) -> RouteDecision {
    RouteDecision { endpoint: Arc::clone(&status.endpoint), reason }
}

/// The elected writer. A second candidate is never tried: two servers that took one session's writes would be worse
/// than none.
fn writer(
    snapshot: &Snapshot,
    open: impl Fn(&&EndpointStatus) -> bool,
    reason: Reason,
) -> Result<RouteDecision, NoEndpoint> {
    let elected = snapshot.writer.as_ref().and_then(|name| snapshot.get(name)).filter(open);
    elected.map(|status| answer(status, reason)).ok_or(NoEndpoint::NoWriter)
}

/// The best of the healthiest: of two drawn at random, the one with fewer sessions.
///
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996). Failing endpoints are left out, but
/// never the last one: a probe may be wrong.
fn balance<'a>(
    candidates: &[&'a EndpointStatus],
    load: impl Fn(&EndpointName) -> usize,
    draw: u64,
) -> Option<&'a EndpointStatus> {
    let best = candidates.iter().map(|status| rank(status)).min()?;
    let healthiest: Vec<_> = candidates.iter().filter(|status| rank(status) == best).collect();
    let count = healthiest.len() as u64;
    let first = draw % count;
    let mut second = (draw >> 32) % count.max(2).saturating_sub(1);
    if second >= first {
        second = (second + 1) % count;
    }
    let pick = |at: u64| healthiest[usize::try_from(at).unwrap_or(0)];
    let (a, b) = (pick(first), pick(second));
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
mod tests {
    use super::*;
    use crate::{
        names::ClusterName,
        topology::{Endpoint, elect},
    };

    /// One endpoint a line: name, declared role, health, observed role.
    fn snapshot(lines: &str) -> Snapshot {
        let endpoints = lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let endpoint = Arc::new(Endpoint {
                    name: EndpointName::new(words[0]).unwrap(),
                    cluster: ClusterName::new("c").unwrap(),
                    region: None,
                    role: words[1].parse().unwrap(),
                    address: "127.0.0.1".parse().unwrap(),
                });
                EndpointStatus {
                    health: Health::ALL.into_iter().find(|health| health.as_str() == words[2]).unwrap(),
                    observed: ObservedRole::ALL.into_iter().find(|role| role.as_str() == words[3]),
                    ..EndpointStatus::unknown(endpoint)
                }
            })
            .collect::<Vec<_>>();
        let writer = elect(&endpoints, None).writer;
        Snapshot { endpoints, writer, two_writers: false }
    }

    fn choose(policy: &RoutePolicy, snapshot: &Snapshot, tried: &[&str]) -> String {
        let tried: Vec<_> = tried.iter().map(|name| EndpointName::new(name).unwrap()).collect();
        let answers: std::collections::BTreeSet<String> = (0..64u64)
            .map(|draw| draw.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .map(|draw| match decide(policy, snapshot, |_| 0, draw, &tried) {
                Ok(to) => format!("{}:{}", to.endpoint.name, to.reason.as_str()),
                Err(none) => none.as_str().to_owned(),
            })
            .collect();
        answers.into_iter().collect::<Vec<_>>().join(" ")
    }

    const READ_POOL: RoutePolicy = RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Primary };
    const READ_POOL_ONLY: RoutePolicy = RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Refuse };

    #[test]
    fn a_server_in_recovery_is_never_the_writer() {
        let world = snapshot("p primary up standby\nr read-pool up standby");
        assert_eq!(choose(&RoutePolicy::Primary, &world, &[]), "no-writer");
        let world = snapshot("p primary unknown -\nr read-pool up standby");
        assert_eq!(choose(&RoutePolicy::Primary, &world, &[]), "p:writer");
    }

    #[test]
    fn the_elected_writer_wins_over_the_declared_one() {
        let mut world = snapshot("p primary up primary\nq primary up primary");
        assert_eq!(
            choose(&RoutePolicy::Primary, &world, &[]),
            "no-writer",
            "two that could be, none elected"
        );
        world.writer = Some(EndpointName::new("q").unwrap());
        assert_eq!(choose(&RoutePolicy::Primary, &world, &[]), "q:writer");
        assert_eq!(
            choose(&RoutePolicy::Primary, &world, &["q"]),
            "no-writer",
            "never a second writer by itself"
        );
    }

    #[test]
    fn reads_leave_out_what_fails_and_fall_back_when_allowed() {
        let world = snapshot(
            "p primary up primary\na read-pool up standby\nb replica up standby\nc read-pool down -",
        );
        assert_eq!(choose(&READ_POOL, &world, &[]), "a:read-pool b:read-pool");
        assert_eq!(choose(&READ_POOL, &world, &["a"]), "b:read-pool");
        assert_eq!(choose(&READ_POOL, &world, &["a", "b"]), "p:no-reader");
        assert_eq!(
            choose(&READ_POOL_ONLY, &world, &["a", "b"]),
            "c:read-pool",
            "never leave out the last one"
        );
        assert_eq!(choose(&READ_POOL_ONLY, &world, &["a", "b", "c"]), "no-reader");
    }

    #[test]
    fn a_reader_that_turned_writer_is_the_second_choice() {
        let world = snapshot("a read-pool up primary\nb read-pool up standby");
        assert_eq!(choose(&READ_POOL, &world, &[]), "b:read-pool");
        assert_eq!(choose(&READ_POOL, &world, &["b"]), "a:read-pool");
    }

    #[test]
    fn of_two_drawn_the_less_busy_one_is_chosen() {
        let world = snapshot("a read-pool up standby\nb read-pool up standby");
        let load = |name: &EndpointName| if name.as_str() == "a" { 5 } else { 1 };
        for draw in 0..64u64 {
            let to = decide(&READ_POOL, &world, load, draw << 31 | draw, &[]).unwrap();
            assert_eq!(to.endpoint.name.as_str(), "b");
        }
    }

    #[test]
    fn the_other_routes_keep_to_their_endpoints() {
        let world = snapshot("p primary up primary\nd secondary up standby\nx read-pool up standby");
        assert_eq!(choose(&RoutePolicy::Secondary, &world, &[]), "d:secondary");
        assert_eq!(choose(&RoutePolicy::Secondary, &world, &["d"]), "no-secondary");
        let named = RoutePolicy::Endpoint(EndpointName::new("x").unwrap());
        assert_eq!(choose(&named, &world, &[]), "x:named");
        assert_eq!(choose(&named, &world, &["x"]), "no-named");
    }
}
