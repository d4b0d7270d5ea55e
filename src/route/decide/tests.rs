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
    Snapshot { endpoints, writer, ..Snapshot::default() }
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
    assert_eq!(choose(&RoutePolicy::Primary, &world, &[]), "no-writer", "two that could be, none elected");
    world.writer = Some(EndpointName::new("q").unwrap());
    assert_eq!(choose(&RoutePolicy::Primary, &world, &[]), "q:writer");
    assert_eq!(choose(&RoutePolicy::Primary, &world, &["q"]), "no-writer", "never a second writer by itself");
}

#[test]
fn reads_leave_out_what_fails_and_fall_back_when_allowed() {
    let world =
        snapshot("p primary up primary\na read-pool up standby\nb replica up standby\nc read-pool down -");
    assert_eq!(choose(&READ_POOL, &world, &[]), "a:read-pool b:read-pool");
    assert_eq!(choose(&READ_POOL, &world, &["a"]), "b:read-pool");
    assert_eq!(choose(&READ_POOL, &world, &["a", "b"]), "p:no-reader");
    assert_eq!(choose(&READ_POOL_ONLY, &world, &["a", "b"]), "c:read-pool", "never leave out the last one");
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
