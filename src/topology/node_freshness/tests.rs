use super::*;
use crate::{
    names::EndpointName,
    topology::{
        DeclaredRole, Endpoint, Observation, ObservationRules, ProbeAnswer, ProbeOutcome, ReplayReport,
        apply_observation, apply_replay_report,
    },
};

const MS: Duration = Duration::from_millis(1);
const RULES: ObservationRules = ObservationRules {
    failures: 2,
    forget_nodes_after: Duration::from_secs(600),
    lagging_after: Duration::from_millis(800),
};

/// A cluster with primary `p` and read pool `r`, a secondary cluster with `d` and read pool `e`, and a clock in
/// milliseconds. Each probe takes a millisecond.
struct World {
    snapshot: TopologySnapshot,
    start: Instant,
}

fn node(number: i64) -> NodeId {
    NodeId { started_us: number, address: None, port: None }
}

fn name(text: &str) -> EndpointName {
    EndpointName::new(text).unwrap()
}

impl World {
    /// The writer is node 1, and stood at 100 at 0.
    fn new() -> Self {
        let endpoint = |(text, cluster, role)| {
            std::sync::Arc::new(Endpoint {
                name: name(text),
                cluster: ClusterName::new(cluster).unwrap(),
                region: None,
                role,
                address: "127.0.0.1".parse().unwrap(),
            })
        };
        let endpoints = [
            ("p", "main", DeclaredRole::Primary),
            ("r", "main", DeclaredRole::ReadPool),
            ("d", "away", DeclaredRole::Secondary),
            ("e", "away", DeclaredRole::ReadPool),
        ];
        let snapshot = TopologySnapshot::declared(endpoints.map(endpoint));
        Self { snapshot, start: Instant::now() }.writer(0, 100)
    }

    fn at(&self, ms: u32) -> Instant {
        self.start + MS * ms
    }

    fn look(mut self, endpoint: &str, ms: u32, id: i64, role: ObservedRole, lsn: u64) -> Self {
        let read_only = role == ObservedRole::Standby;
        let answer = ProbeAnswer {
            role,
            read_only,
            lsn: Some(lsn),
            timeline: None,
            node: Some(node(id)),
            standby: None,
        };
        let outcome = ProbeOutcome::Answered(answer);
        let (asked_at, ended_at) = (self.at(ms), self.at(ms + 1));
        let observation = Observation { endpoint: name(endpoint), asked_at, ended_at, outcome };
        self.snapshot = apply_observation(&self.snapshot, &observation, &RULES).0;
        self
    }

    fn sampled(mut self, ms: u32, id: i64, role: ObservedRole, lsn: u64) -> Self {
        let answer = ProbeAnswer {
            role,
            read_only: false,
            lsn: Some(lsn),
            timeline: None,
            node: Some(node(id)),
            standby: None,
        };
        let (asked_at, ended_at) = (self.at(ms), self.at(ms + 1));
        let outcome = ProbeOutcome::Sampled(answer);
        let observation = Observation { endpoint: name("p"), asked_at, ended_at, outcome };
        self.snapshot = apply_observation(&self.snapshot, &observation, &RULES).0;
        self
    }

    fn writer(self, ms: u32, lsn: u64) -> Self {
        self.look("p", ms, 1, ObservedRole::Primary, lsn)
    }

    fn reader(self, ms: u32, id: i64, lsn: u64) -> Self {
        self.look("r", ms, id, ObservedRole::Standby, lsn)
    }

    fn replay_report(&self, ms: u32, id: i64, lsn: Option<u64>) -> ReplayReport {
        let (asked_at, answered_at) = (self.at(ms), self.at(ms + 1));
        ReplayReport { endpoint: name("r"), node: node(id), lsn, asked_at, answered_at }
    }

    fn passing(mut self, ms: u32, id: i64, lsn: Option<u64>) -> Self {
        if let Some(next) = apply_replay_report(&self.snapshot, &self.replay_report(ms, id, lsn), &RULES) {
            self.snapshot = next;
        }
        self
    }

    fn freshness_of(&self, id: i64, floor: u32, now: u32) -> NodeFreshness {
        self.snapshot.freshness_of(Some(&node(id)), self.at(floor), self.at(now))
    }
}

#[test]
fn a_node_is_fresh_once_it_has_replayed_what_the_writer_had_written_at_the_floor_or_later() {
    let world = World::new().writer(10, 200).reader(15, 2, 199);
    assert_eq!(world.freshness_of(2, 0, 40), NodeFreshness::Fresh, "a write of before the first sample");
    assert_eq!(world.freshness_of(2, 5, 40), NodeFreshness::Ask { lsn: 200 });
    assert_eq!(world.reader(50, 2, 200).freshness_of(2, 5, 60), NodeFreshness::Fresh);
}

#[test]
fn nobody_can_tell_while_the_writer_was_not_asked_since_the_floor() {
    let world = World::new().reader(5, 2, 1000);
    assert_eq!(world.freshness_of(2, 1, 10), NodeFreshness::Unknown);
    assert_eq!(world.snapshot.freshness_of(None, world.at(1), world.at(10)), NodeFreshness::Unknown);
    let world = world.writer(11, 100);
    assert_eq!(world.snapshot.freshness_of(None, world.at(1), world.at(12)), NodeFreshness::Ask { lsn: 100 });
}

#[test]
fn a_node_that_nobody_has_seen_or_that_has_no_name_is_asked_each_time() {
    let world = World::new();
    for now in [1, 2, 500] {
        assert_eq!(world.freshness_of(9, 0, now), NodeFreshness::Ask { lsn: 100 });
        assert_eq!(
            world.snapshot.freshness_of(None, world.at(0), world.at(now)),
            NodeFreshness::Ask { lsn: 100 }
        );
    }
}

#[test]
fn a_node_that_lacks_what_it_was_asked_for_is_asked_again_after_a_while_and_not_before() {
    let world = World::new().writer(10, 200).passing(20, 2, Some(150));
    assert_eq!(world.freshness_of(2, 5, 21), NodeFreshness::Stale);
    assert_eq!(world.freshness_of(2, 5, 39), NodeFreshness::Stale);
    assert_eq!(world.freshness_of(2, 5, 40), NodeFreshness::Ask { lsn: 200 });
    assert_eq!(world.freshness_of(2, 0, 21), NodeFreshness::Fresh, "an older floor is another matter");
}

#[test]
fn a_node_that_kept_up_a_moment_ago_is_asked_for_what_was_written_since() {
    let world =
        World::new().writer(10, 200).passing(20, 2, Some(200)).sampled(25, 1, ObservedRole::Primary, 300);
    assert_eq!(world.freshness_of(2, 24, 27), NodeFreshness::Ask { lsn: 300 });
}

#[test]
fn a_node_that_lags_by_more_than_the_floor_is_old_is_not_asked_for_what_was_written_since() {
    let mut world = World::new();
    for second in 1..=10 {
        world = world.writer(second * 1000, 100 + u64::from(second));
    }
    // Two seconds behind at 10.005.
    let world = world.passing(10_005, 2, Some(108)).sampled(10_010, 1, ObservedRole::Primary, 200);
    assert_eq!(world.freshness_of(2, 10_008, 10_012), NodeFreshness::Stale);
    assert_eq!(
        world.freshness_of(2, 10_008, 10_030),
        NodeFreshness::Ask { lsn: 200 },
        "one question each 20 ms"
    );
}

#[test]
fn a_position_that_cannot_be_known_is_stale_for_a_while_and_never_fresh() {
    let world = World::new().passing(5, 2, None);
    assert_eq!(world.freshness_of(2, 0, 10), NodeFreshness::Stale);
    assert_eq!(world.freshness_of(2, 0, 26), NodeFreshness::Ask { lsn: 100 });
}

#[test]
fn a_node_that_left_recovery_is_never_fresh() {
    let world = World::new().reader(5, 2, 1000).look("r", 10, 2, ObservedRole::Primary, 1000);
    for now in [11, 500, 5000] {
        assert_eq!(world.freshness_of(2, 0, now), NodeFreshness::Stale);
    }
    assert!(!world.snapshot.may_serve(Some(&node(2))), "not even when anything will do");
    assert!(world.snapshot.may_serve(Some(&node(3))) && world.snapshot.may_serve(None));
}

#[test]
fn a_node_that_was_ahead_of_the_writer_follows_somebody_else_and_is_never_fresh_again() {
    let world = World::new().reader(5, 2, 500).reader(5, 3, 100).writer(10, 400);
    let world = world.writer(500, 1000).reader(510, 2, 2000).reader(510, 3, 1000);
    assert_eq!(world.freshness_of(2, 0, 520), NodeFreshness::Stale);
    assert_eq!(world.freshness_of(3, 0, 520), NodeFreshness::Fresh);
    assert_eq!(world.freshness_of(3, 400, 520), NodeFreshness::Fresh);
}

#[test]
fn a_node_that_answered_while_the_writer_was_asked_may_well_be_ahead_of_that_answer() {
    // The answer came at 11; the writer had been queried at 10.
    let world = World::new().reader(10, 2, 150).writer(10, 120);
    assert_eq!(world.freshness_of(2, 0, 20), NodeFreshness::Fresh);
}

#[test]
fn standbys_of_a_cluster_with_a_writer_of_its_own_are_never_fresh() {
    let standby = ObservedRole::Standby;
    let world = World::new().look("d", 1, 4, standby, 90).look("e", 2, 5, standby, 100);
    assert_eq!(world.freshness_of(5, 0, 10), NodeFreshness::Fresh);
    let world = world.look("d", 20, 4, ObservedRole::Primary, 110);
    assert_eq!(world.snapshot.writer, Some(name("p")));
    assert_eq!(world.freshness_of(5, 0, 30), NodeFreshness::Stale);
    assert!(world.snapshot.follows_writer(&ClusterName::new("main").unwrap()));
}

#[test]
fn another_server_in_the_writers_place_begins_a_new_trail() {
    let world = World::new().reader(5, 2, 100);
    let world = world.look("p", 10, 7, ObservedRole::Primary, 100);
    assert_eq!(world.snapshot.fresh_as_of(100), Some(world.at(10)));
    assert_eq!(world.freshness_of(2, 0, 11), NodeFreshness::Fresh, "the new server has no more than that");
}

#[test]
fn a_sample_counts_for_the_server_that_the_probe_saw_and_for_no_other() {
    let world = World::new();
    let other = World::new().sampled(10, 7, ObservedRole::Primary, 200);
    assert_eq!(other.snapshot.fresh_as_of(u64::MAX), Some(other.at(0)));
    let demoted = World::new().sampled(10, 1, ObservedRole::Standby, 200);
    assert_eq!(demoted.snapshot.fresh_as_of(u64::MAX), Some(demoted.at(0)));
    let same = world.sampled(10, 1, ObservedRole::Primary, 200);
    assert_eq!(same.snapshot.fresh_as_of(u64::MAX), Some(same.at(10)));
    assert_eq!(same.snapshot.get(&name("p")).unwrap().position.unwrap().lsn, 200);
}

#[test]
fn what_advances_nothing_is_no_news() {
    let world = World::new().passing(10, 2, Some(100));
    for (ms, id, lsn, news) in [
        (11, 2, Some(101), true),
        (11, 2, Some(100), false),
        (11, 2, Some(90), false),
        (29, 2, Some(100), false),
        (30, 2, Some(100), true),
        (11, 2, None, true),
        (11, 3, Some(1), true),
    ] {
        assert_eq!(world.snapshot.is_news(&world.replay_report(ms, id, lsn)), news, "{ms} {id} {lsn:?}");
    }
    let foreign = ReplayReport { endpoint: name("gone"), ..world.replay_report(11, 2, Some(500)) };
    assert!(!world.snapshot.is_news(&foreign), "an endpoint that left the configuration");
}

#[test]
fn a_look_that_was_overtaken_by_what_a_session_heard_takes_nothing_back() {
    let world = World::new().writer(20, 200).passing(25, 2, Some(200)).reader(22, 2, 150);
    assert_eq!(world.freshness_of(2, 15, 30), NodeFreshness::Fresh);
}

#[test]
fn a_node_that_only_sessions_have_met_is_forgotten_as_others_are() {
    let world = World::new().passing(10, 2, Some(100)).passing(700_000, 3, Some(100));
    let nodes = &world.snapshot.get(&name("r")).unwrap().nodes;
    assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [node(3)]);
}
