use super::*;
use crate::{
    names::ClusterName,
    sql::ClassifyReason,
    topology::{Endpoint, WriterControl, elect_writer},
};

/// Health by its word; `lagging` is up.
fn health(word: &str) -> Health {
    let known = Health::ALL.into_iter().find(|health| health.as_str() == word);
    known.or((word == "lagging").then_some(Health::Up)).expect("a health")
}

/// An endpoint per line: name, declared role, health, observed role.
fn snapshot(lines: &str) -> TopologySnapshot {
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
                health: health(words[2]),
                observed: ObservedRole::ALL.into_iter().find(|role| role.as_str() == words[3]),
                is_lagging: words[2] == "lagging",
                ..EndpointStatus::unknown(endpoint)
            }
        })
        .collect::<Vec<_>>();
    let writer = elect_writer(&endpoints, &WriterControl::default()).writer;
    TopologySnapshot { endpoints, writer, ..TopologySnapshot::default() }
}

fn choose(policy: &RoutePolicy, snapshot: &TopologySnapshot, tried: &[&str]) -> String {
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
fn a_lagging_read_pool_comes_after_the_others_and_before_none() {
    let world = snapshot("p primary up primary\nr read-pool lagging standby\ns read-pool up standby");
    assert_eq!(choose(&READ_POOL, &world, &[]), "s:read-pool");
    assert_eq!(choose(&READ_POOL, &world, &["s"]), "r:read-pool");
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

/// A block of `tests/data/routes`.
struct Block<'t> {
    title: &'t str,
    settings: SplitSettings,
    endpoints: Vec<EndpointStatus>,
    demands: Vec<(&'t str, &'t str)>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("= ") {
            let (settings, endpoints, demands) = (SplitSettings::default(), Vec::new(), Vec::new());
            blocks.push(Block { title, settings, endpoints, demands });
            continue;
        }
        let block = blocks.last_mut().expect("a block begins with its title");
        if let Some(demand) = line.strip_prefix("> ") {
            block.demands.push(demand.split_once(" : ").expect("`> demand : answers`"));
        } else if let [name, role, health, observed, region, cluster] =
            line.split_whitespace().collect::<Vec<_>>()[..]
        {
            let endpoint = Endpoint {
                name: EndpointName::new(name).unwrap(),
                cluster: ClusterName::new(cluster).unwrap(),
                region: Some(region.to_owned()),
                role: role.parse().unwrap(),
                address: "127.0.0.1".parse().unwrap(),
            };
            block.endpoints.push(EndpointStatus {
                health: self::health(health),
                is_lagging: health == "lagging",
                observed: match observed {
                    "standby" => Some(ObservedRole::Standby),
                    "standby-no" => Some(ObservedRole::Primary),
                    _ => None,
                },
                ..EndpointStatus::unknown(Arc::new(endpoint))
            });
        } else {
            match line.split_once('=') {
                Some(("local", region)) => block.settings.local_region = Some(region.to_owned()),
                None if line == "refuse" => block.settings.when_no_reader = WhenNoReader::Refuse,
                None if line == "secondary" => block.settings.secondary_read_pools = true,
                _ => panic!("no setting: {line}"),
            }
        }
    }
    blocks
}

#[test]
fn split_sends_each_demand_where_the_table_says() {
    let blocks = blocks(include_str!("../../../tests/data/routes/split.txt"));
    let mut checked = 0;
    for Block { title, settings, endpoints, demands } in blocks {
        let writer = elect_writer(&endpoints, &WriterControl::default()).writer;
        let snapshot = TopologySnapshot { endpoints, writer, ..TopologySnapshot::default() };
        for (demand, answers) in demands {
            let words: Vec<_> = demand.split_whitespace().collect();
            let named = |sign: char| -> Vec<_> {
                let names = words.iter().filter_map(|word| word.strip_prefix(sign));
                names.map(|name| EndpointName::new(name).unwrap()).collect()
            };
            let (tried, avoided) = (named('-'), named('~'));
            let (side, reason) = match words[0] {
                "reader" => (RouteSide::Reader, RouteReason::Statement(ClassifyReason::Read)),
                _ => (
                    RouteSide::Writer,
                    RouteReason::ALL.into_iter().find(|it| it.as_str() == words[1]).unwrap(),
                ),
            };
            let demand = RouteRequest { side, reason, tried: &tried };
            let answered: std::collections::BTreeSet<String> = (0..64u64)
                .map(|draw| draw.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                .map(|draw| {
                    let avoided = |name: &EndpointName| avoided.contains(name);
                    match decide_split(&settings, &snapshot, &demand, |_| 0, avoided, draw) {
                        Ok(to) => format!("{}:{}", to.endpoint.name, to.reason.as_str()),
                        Err(none) => none.as_str().to_owned(),
                    }
                })
                .collect();
            let answered = answered.into_iter().collect::<Vec<_>>().join(" ");
            assert_eq!(answered, answers, "{title}: {words:?}");
            checked += 1;
        }
    }
    assert!(checked > 25, "only {checked} demands were read");
}

#[test]
fn of_two_read_pools_the_one_with_fewer_leases_serves() {
    let world = snapshot("p primary up primary\na read-pool up standby\nb read-pool up standby");
    let load = |name: &EndpointName| if name.as_str() == "a" { 5 } else { 1 };
    let demand = RouteRequest {
        side: RouteSide::Reader,
        reason: RouteReason::Statement(ClassifyReason::Read),
        tried: &[],
    };
    for draw in 0..64u64 {
        let to = decide_split(&SplitSettings::default(), &world, &demand, load, |_| false, draw << 31 | draw)
            .unwrap();
        assert_eq!(to.endpoint.name.as_str(), "b");
    }
}
