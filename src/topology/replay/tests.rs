use std::sync::Arc;

use super::*;
use crate::{
    names::{ClusterName, EndpointName},
    topology::{
        DeclaredRole, Endpoint, NodeId, Observation, ObservationRules, ProbeAnswer, ProbeOutcome,
        SnapshotChange, apply_observation,
    },
};

const RULES: ObservationRules = ObservationRules {
    failures: 2,
    forget_nodes_after: Duration::from_secs(600),
    lagging_after: Duration::from_millis(800),
};

/// Primary `p`, which is node 1, and read pool `r`, with a clock in seconds.
struct World {
    snapshot: TopologySnapshot,
    start: Instant,
    changes: Vec<String>,
}

impl World {
    fn new() -> Self {
        let endpoint = |(text, role)| {
            Arc::new(Endpoint {
                name: EndpointName::new(text).unwrap(),
                cluster: ClusterName::new("main").unwrap(),
                region: None,
                role,
                address: "127.0.0.1".parse().unwrap(),
            })
        };
        let endpoints = [("p", DeclaredRole::Primary), ("r", DeclaredRole::ReadPool)];
        let snapshot = TopologySnapshot::declared(endpoints.map(endpoint));
        Self { snapshot, start: Instant::now(), changes: Vec::new() }
    }

    fn observe(mut self, endpoint: &str, second: f64, outcome: ProbeOutcome) -> Self {
        let asked_at = self.start + Duration::from_secs_f64(second);
        let ended_at = asked_at + Duration::from_millis(1);
        let endpoint = EndpointName::new(endpoint).unwrap();
        let observation = Observation { endpoint, asked_at, ended_at, outcome };
        let (next, changes) = apply_observation(&self.snapshot, &observation, &RULES);
        let replay = changes.iter().filter(|change| matches!(change, SnapshotChange::Replay { .. }));
        self.changes.extend(replay.map(|change| format!("{second}: {}", change.to().unwrap())));
        self.snapshot = next;
        self
    }

    /// The writer, as process `started_us`, has written up to `lsn`.
    fn writer_as(self, started_us: i64, second: f64, lsn: u64) -> Self {
        self.observe("p", second, answered(started_us, ObservedRole::Primary, lsn, None))
    }

    fn writer(self, second: f64, lsn: u64) -> Self {
        self.writer_as(1, second, lsn)
    }

    /// A node of the read pool has received and replayed WAL up to `received` and `lsn`.
    fn node(self, id: i64, second: f64, received: u64, lsn: u64) -> Self {
        let wal = StandbyWal { received: Some(received), is_paused: false };
        self.observe("r", second, answered(id, ObservedRole::Standby, lsn, Some(wal)))
    }

    fn reader(self, second: f64, received: u64, lsn: u64) -> Self {
        self.node(2, second, received, lsn)
    }

    fn status(&self) -> &EndpointStatus {
        self.snapshot.endpoints.iter().find(|status| status.endpoint.name.as_str() == "r").unwrap()
    }

    /// Bytes and whole seconds of the lag.
    fn lag(&self) -> Option<(Option<u64>, u64)> {
        self.status().lag.map(|lag| (lag.bytes, lag.time.as_secs()))
    }

    fn replay(&self) -> &'static str {
        self.status().replay.as_str()
    }
}

fn answered(started_us: i64, role: ObservedRole, lsn: u64, standby: Option<StandbyWal>) -> ProbeOutcome {
    let node = Some(NodeId { started_us, address: None, port: None });
    let read_only = role == ObservedRole::Standby;
    ProbeOutcome::Answered(ProbeAnswer { role, read_only, lsn: Some(lsn), timeline: None, node, standby })
}

/// Both endpoints each 2 s from `from` to `to`: the writer writes, and the read pool stays at 1000.
fn stuck(world: World, from: u32, to: u32) -> World {
    (from..to).step_by(2).fold(world, |world, second| {
        let (second, lsn) = (f64::from(second), 2000 + u64::from(second));
        world.writer(second, lsn).reader(second + 0.5, 1000, 1000)
    })
}

#[test]
fn a_level_standby_has_no_lag_in_bytes_and_in_time() {
    let world = World::new().writer(0.0, 1000).reader(1.0, 1000, 1000);
    assert_eq!(world.lag(), Some((Some(0), 0)));
    let idle = world.writer(100.0, 1000).reader(101.0, 1000, 1000);
    assert_eq!(idle.lag(), Some((Some(0), 0)), "an idle writer makes nobody lag");
    let written = idle.reader(103.0, 1100, 1100).writer(104.0, 1200);
    assert_eq!(written.lag(), Some((Some(0), 0)), "written after the node was asked");
}

#[test]
fn lag_is_unknown_before_the_writer_was_asked() {
    let world = World::new().reader(0.0, 1000, 1000);
    assert_eq!(world.lag(), None);
    assert_eq!(world.replay(), "replaying");
}

#[test]
fn lag_behind_all_samples_is_a_lower_bound_that_grows() {
    let mut world = World::new();
    let mut before = 0;
    // An hour, four times the age at which samples used to be dropped.
    for minute in 0..60 {
        world = stuck(world, minute * 60, minute * 60 + 60);
        let (bytes, seconds) = world.lag().expect("it is known");
        assert!(bytes.is_some_and(|bytes| bytes > 0));
        assert!(seconds >= u64::from(minute) * 60 + 50, "{seconds} s in minute {minute}");
        assert!(seconds > before);
        before = seconds;
    }
    let lag = world.status().lag.unwrap();
    assert!(lag.is_lower_bound && lag.time == lag.certain, "{lag:?}");
}

#[test]
fn a_standby_that_moves_again_is_measured_anew() {
    let world = stuck(World::new().writer(0.0, 1000).reader(0.5, 1000, 1000), 2, 62);
    assert!(world.lag().unwrap().1 >= 58, "{:?}", world.lag());
    // It has replayed what the writer had written at 50 s.
    let world = world.writer(62.0, 2062).reader(62.5, 2062, 2050);
    assert_eq!(world.lag(), Some((Some(12), 12)));
    let world = world.reader(64.5, 2062, 2062);
    assert_eq!(world.lag(), Some((Some(0), 0)));
}

#[test]
fn lag_survives_a_restart_of_the_writer() {
    let world = stuck(World::new().writer(0.0, 1000).reader(0.5, 1000, 1000), 2, 302);
    let before = world.lag().unwrap().1;
    // The new process has lost WAL that was not flushed: the position goes back.
    let world = world.writer_as(9, 310.0, 2200).reader(310.5, 1000, 1000);
    let (bytes, seconds) = world.lag().unwrap();
    assert_eq!(bytes, Some(1200));
    assert!(seconds > before, "{seconds} s, {before} s before");
    assert_eq!(world.replay(), "stalled");
    let world = world.reader(312.5, 2200, 2200);
    assert_eq!((world.lag(), world.replay()), (Some((Some(0), 0)), "replaying"));
}

#[test]
fn lag_is_known_while_the_writer_has_not_answered_since_its_restart() {
    let world = stuck(World::new(), 0, 100);
    let world =
        world.observe("p", 101.0, answered(9, ObservedRole::Standby, 1, None)).reader(102.5, 1000, 1000);
    assert!(world.snapshot.writer_samples.is_empty());
    let (bytes, seconds) = world.lag().unwrap();
    assert_eq!(bytes, None, "nobody knows what the next writer has");
    assert!(seconds >= 100, "{seconds} s");
}

#[test]
fn a_position_that_stands_still_is_a_stall_and_ends_with_progress() {
    let world = stuck(World::new().writer(0.0, 1000).reader(0.5, 1000, 1000), 2, 12);
    assert_eq!(world.replay(), "replaying", "not yet 10 s");
    let world = stuck(world, 12, 30);
    assert_eq!(world.replay(), "stalled");
    let world = world.reader(31.0, 1500, 1500);
    assert_eq!(world.replay(), "replaying", "behind, but it moves");
    assert_eq!(world.changes, ["12.5: stalled", "31: replaying"]);
}

#[test]
fn an_idle_cluster_does_not_stall() {
    let mut world = World::new();
    for second in (0..600).step_by(2) {
        world = world.writer(f64::from(second), 1000).reader(f64::from(second) + 0.5, 1000, 1000);
    }
    assert_eq!((world.replay(), world.changes.len()), ("replaying", 0));
}

#[test]
fn wal_of_a_dead_writer_proves_no_stall() {
    // The last sample was not flushed before the crash, and never arrives.
    let mut world = World::new().writer(0.0, 1000).reader(0.5, 1000, 1000).writer(2.0, 1100);
    for second in 3..120 {
        world = world.reader(f64::from(second), 1050, 1000);
    }
    assert_eq!(world.changes, Vec::<String>::new());
    // The new process is behind the read pool's copy of the log by nothing.
    let world = world.writer_as(9, 121.0, 1200).reader(122.0, 1200, 1000);
    assert_eq!(world.replay(), "replaying", "the new WAL has just been written");
}

#[test]
fn received_wal_that_is_not_replayed_is_a_stall_without_a_writer() {
    let mut world = World::new();
    for second in 0..20 {
        world = world.reader(f64::from(second), 2000 + u64::from(second as u32), 1000);
    }
    assert_eq!(world.changes, ["11: stalled"]);
    let mut world = World::new();
    for second in 0..20 {
        world = world.reader(f64::from(second), 2000, 1000);
    }
    assert_eq!(world.changes, Vec::<String>::new(), "half of a record, from a writer that died");
}

#[test]
fn paused_replay_is_told_at_once_and_only_once() {
    let paused = |second| {
        let wal = StandbyWal { received: Some(1000), is_paused: true };
        move |world: World| world.observe("r", second, answered(2, ObservedRole::Standby, 1000, Some(wal)))
    };
    let world = paused(2.0)(World::new().writer(0.0, 1000).reader(1.0, 1000, 1000));
    assert_eq!(world.replay(), "paused");
    let world = stuck_and_paused(world, paused);
    assert_eq!(world.changes, ["2: paused", "60: replaying"]);
}

/// Paused for 50 s while the writer writes, and then level.
fn stuck_and_paused<F: FnOnce(World) -> World>(world: World, paused: impl Fn(f64) -> F) -> World {
    let world = (2..26).fold(world, |world, step| {
        let second = f64::from(step) * 2.0;
        paused(second + 0.5)(world.writer(second, 1000 + u64::from(step as u32)))
    });
    world.reader(60.0, 1025, 1025)
}

#[test]
fn one_stuck_node_of_several_is_the_lag_and_the_replay_of_the_pool() {
    let mut world = World::new();
    for second in (0..60).step_by(2) {
        let (at, lsn) = (f64::from(second), 1000 + u64::from(second as u32));
        world = world.writer(at, lsn).node(2, at + 0.3, lsn, lsn).node(3, at + 0.6, 1000, 1000);
    }
    assert_eq!(world.replay(), "stalled");
    assert!(world.lag().unwrap().1 >= 55, "{:?}", world.lag());
    // The stuck node has left: not seen for a minute.
    for second in (60..130).step_by(2) {
        let (at, lsn) = (f64::from(second), 1000 + u64::from(second as u32));
        world = world.writer(at, lsn).node(2, at + 0.3, lsn, lsn);
    }
    assert_eq!((world.replay(), world.lag()), ("replaying", Some((Some(0), 0))));
}

#[test]
fn a_node_of_another_history_has_no_lag_and_says_so() {
    // It had replayed more than the writer had written afterwards.
    let world =
        World::new().writer(0.0, 1000).reader(1.0, 5000, 5000).writer(2.0, 1100).reader(3.0, 5000, 5000);
    assert_eq!((world.replay(), world.lag()), ("diverged", None));
    assert_eq!(world.changes, ["2: diverged"]);
}

#[test]
fn a_lagging_read_pool_is_one_that_certainly_lacks_wal() {
    let world = World::new().writer(0.0, 1000).writer(2.0, 1100).reader(2.5, 1000, 1000);
    let lag = world.status().lag.unwrap();
    assert_eq!((lag.time.as_millis(), lag.certain.as_millis()), (2500, 499));
    assert!(!world.status().is_lagging, "it may have been level until 2 s");
    let world = world.reader(3.0, 1000, 1000);
    assert!(world.status().is_lagging && world.status().health == Health::Up);
    assert!(!world.reader(4.0, 1100, 1100).status().is_lagging);
}

#[test]
fn a_silent_endpoint_has_no_lag() {
    let world = stuck(World::new(), 0, 20);
    let fails = |world: World, second| world.observe("r", second, ProbeOutcome::Failed("gone".into()));
    let world = fails(fails(world, 21.0), 22.0);
    assert_eq!((world.lag(), world.replay()), (None, "stalled"), "what was known of its replay stays");
    assert!(!world.status().is_lagging);
}
