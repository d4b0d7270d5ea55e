use std::time::Instant;

use super::*;
use crate::{
    names::{ClusterName, EndpointName},
    topology::{NodeId, ObservedRole},
};

const RULES: ObservationRules = ObservationRules {
    failures: 2,
    forget_nodes_after: Duration::from_secs(600),
    lagging_after: Duration::from_millis(800),
};

fn name(text: &str) -> EndpointName {
    EndpointName::new(text).unwrap()
}

fn endpoint(text: &str, role: DeclaredRole) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        name: name(text),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role,
        address: "127.0.0.1:5432".parse().unwrap(),
    })
}

/// A cluster with consecutive answers of the servers, and all changes.
struct Story {
    snapshot: TopologySnapshot,
    now: Instant,
    changes: Vec<SnapshotChange>,
}

impl Story {
    fn of(endpoints: &[(&str, DeclaredRole)]) -> Self {
        let endpoints = endpoints.iter().map(|(name, role)| endpoint(name, *role));
        Self { snapshot: TopologySnapshot::declared(endpoints), now: Instant::now(), changes: Vec::new() }
    }

    /// One observation of an endpoint: `primary` and `standby` answer from node 0, or from node N as `standby@N`.
    fn tell(mut self, answers: &[&str]) -> Self {
        for line in answers {
            let (endpoint, word) = line.split_once(' ').expect("`endpoint word`");
            let outcome = match word {
                "alive" => ProbeOutcome::Alive,
                "late" => ProbeOutcome::Late,
                "fails" => ProbeOutcome::Failed("connection refused".into()),
                word if word.starts_with("no-token") => ProbeOutcome::NoCredentials {
                    answer: word.strip_prefix("no-token ").map(|word| answer(word, endpoint)),
                    reason: "no token".into(),
                },
                word => ProbeOutcome::Answered(answer(word, endpoint)),
            };
            self = self.observe(endpoint, outcome);
        }
        self
    }

    fn observe(mut self, endpoint: &str, outcome: ProbeOutcome) -> Self {
        self.now += Duration::from_secs(1);
        let observation =
            Observation { endpoint: name(endpoint), asked_at: self.now, ended_at: self.now, outcome };
        let (snapshot, changes) = apply_observation(&self.snapshot, &observation, &RULES);
        self.snapshot = snapshot;
        self.changes.extend(changes);
        self
    }

    /// A decision of an operator: `hold`, `release`, `move NAME`, `unfence NAME`; `Err` as word.
    fn decide(mut self, words: &str) -> Result<Self, DecisionError> {
        let decision = match words.split_once(' ') {
            None if words == "hold" => OperatorDecision::Hold,
            None => OperatorDecision::Release,
            Some(("move", endpoint)) => OperatorDecision::Move(name(endpoint)),
            Some((_, endpoint)) => OperatorDecision::EndFence(name(endpoint)),
        };
        let (snapshot, changes) = apply_decision(&self.snapshot, &decision)?;
        self.snapshot = snapshot;
        self.changes.extend(changes);
        Ok(self)
    }

    /// Answers of servers and decisions (behind `!`), in order. A refused decision changes nothing.
    fn play(self, steps: &[&str]) -> Self {
        steps.iter().fold(self, |story, step| match step.strip_prefix('!') {
            None => story.tell(&[step]),
            Some(decision) => {
                let before = story.snapshot.control.clone();
                let changes = story.changes.clone();
                let (snapshot, now) = (story.snapshot.clone(), story.now);
                story.decide(decision).unwrap_or_else(|_| {
                    assert_eq!(snapshot.control, before);
                    Self { snapshot, now, changes }
                })
            }
        })
    }

    /// Another configuration.
    fn configure(mut self, endpoints: &[(&str, DeclaredRole)]) -> Self {
        let endpoints = endpoints.iter().map(|(name, role)| endpoint(name, *role));
        let (snapshot, changes) = apply_configuration(&self.snapshot, endpoints);
        self.snapshot = snapshot;
        self.changes.extend(changes);
        self
    }

    /// Writer and fences: `dr, a moved`.
    fn outcome(&self) -> String {
        let fences = &self.snapshot.control.fences;
        let fences = fences.iter().map(|fence| format!("{} {}", fence.endpoint, fence.cause.as_str()));
        let writer = self.writer().unwrap_or("none").to_owned();
        std::iter::once(writer).chain(fences).collect::<Vec<_>>().join(", ")
    }

    fn later(mut self, by: Duration) -> Self {
        self.now += by;
        self
    }

    fn writer(&self) -> Option<&str> {
        self.snapshot.writer.as_ref().map(EndpointName::as_str)
    }

    fn status(&self, endpoint: &str) -> &EndpointStatus {
        self.snapshot.get(&name(endpoint)).unwrap()
    }

    fn has_mismatch(&self, endpoint: &str) -> bool {
        self.snapshot.has_mismatch(self.status(endpoint))
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.changes.iter().map(SnapshotChange::kind).collect()
    }
}

fn answer(word: &str, endpoint: &str) -> ProbeAnswer {
    let (role, node) = word.split_once('@').unwrap_or((word, "0"));
    let node: i64 = node.parse().expect("a number of a node");
    ProbeAnswer {
        role: match role {
            "primary" => ObservedRole::Primary,
            "standby" => ObservedRole::Standby,
            other => panic!("no such word: {other}"),
        },
        read_only: role == "standby",
        lsn: Some(0x0100_0000),
        timeline: None,
        node: Some(NodeId {
            started_us: if node == 0 { i64::from(endpoint.as_bytes()[0]) } else { node },
            address: None,
            port: None,
        }),
        standby: None,
    }
}

const PAIR: &[(&str, DeclaredRole)] = &[("a", DeclaredRole::Primary), ("r", DeclaredRole::ReadPool)];
const WITH_DR: &[(&str, DeclaredRole)] = &[("a", DeclaredRole::Primary), ("dr", DeclaredRole::Secondary)];
const TWO_PRIMARIES: &[(&str, DeclaredRole)] = &[("a", DeclaredRole::Primary), ("b", DeclaredRole::Primary)];

#[test]
fn the_writer_is_who_may_be_it_and_says_so() {
    type Case = (&'static [(&'static str, DeclaredRole)], &'static [&'static str], Option<&'static str>);
    let cases: &[Case] = &[
        // A single declared primary is believed until queried, and while no login is configured.
        (PAIR, &[], Some("a")),
        (PAIR, &["a alive"], Some("a")),
        (PAIR, &["a primary", "r standby"], Some("a")),
        // A server in recovery is never the writer.
        (PAIR, &["a standby"], None),
        (PAIR, &["a primary", "a standby"], None),
        (PAIR, &["a standby", "a primary"], Some("a")),
        // Silence is no evidence about roles.
        (PAIR, &["a primary", "a fails", "a fails", "a fails"], Some("a")),
        (PAIR, &["a standby", "a fails", "a fails"], None),
        // An endpoint not declared primary is never the writer, for any reported role.
        (WITH_DR, &["a standby", "dr primary"], None),
        (WITH_DR, &["a primary", "dr primary"], Some("a")),
        (WITH_DR, &["a fails", "a fails", "dr primary"], Some("a")),
        // Two candidates: no writer before a report; the first reporter stays the writer.
        (TWO_PRIMARIES, &[], None),
        (TWO_PRIMARIES, &["b primary"], Some("b")),
        (TWO_PRIMARIES, &["b primary", "a primary"], Some("b")),
        (TWO_PRIMARIES, &["b primary", "a standby"], Some("b")),
        // A switchover, in both orders of being noticed.
        (TWO_PRIMARIES, &["a primary", "b standby", "a standby", "b primary"], Some("b")),
        (TWO_PRIMARIES, &["a primary", "b standby", "b primary", "a standby"], Some("b")),
        // The writer fell silent and the other candidate took over; after a return the first candidate stays a
        // non-writer.
        (TWO_PRIMARIES, &["a primary", "a fails", "a fails", "b primary"], Some("b")),
        (TWO_PRIMARIES, &["a primary", "a fails", "a fails", "b primary", "a primary"], Some("b")),
        // Two addresses of the same server.
        (TWO_PRIMARIES, &["a primary@7", "b primary@7"], Some("a")),
    ];
    for (endpoints, answers, expected) in cases {
        let story = Story::of(endpoints).tell(answers);
        assert_eq!(story.writer(), *expected, "{answers:?}");
    }
}

#[test]
fn two_servers_that_take_writes_raise_an_alarm_until_one_is_gone() {
    let story = Story::of(WITH_DR).tell(&["a primary", "dr standby", "dr primary"]);
    assert!(story.snapshot.two_writers);
    assert_eq!(
        story.changes.last(),
        Some(&SnapshotChange::TwoWriters { endpoints: vec![name("a"), name("dr")] }),
        "{:?}",
        story.changes
    );
    assert!(story.changes.last().unwrap().is_alarm());
    let story = story.tell(&["dr primary", "a standby"]);
    assert!(!story.snapshot.two_writers);
    assert_eq!(story.kinds().iter().filter(|kind| **kind == "two_writers").count(), 1, "said once");
    assert_eq!(story.kinds().last(), Some(&"two_writers_ended"));
}

#[test]
fn one_server_behind_two_addresses_is_no_alarm() {
    let story = Story::of(TWO_PRIMARIES).tell(&["a primary@7", "b primary@7"]);
    assert!(!story.snapshot.two_writers);
}

#[test]
fn an_endpoint_is_down_after_as_many_failures_as_it_takes_and_up_after_one_success() {
    let story = Story::of(PAIR).tell(&["a fails"]);
    assert_eq!((story.status("a").health, story.changes.len()), (Health::Unknown, 0));
    let story = story.tell(&["a fails"]);
    assert_eq!(story.status("a").health, Health::Down);
    assert_eq!(story.status("a").last_error.as_deref(), Some("connection refused"));
    assert_eq!(story.status("a").since, Some(story.now));
    let story = story.tell(&["a fails", "a primary", "a fails", "a primary", "a fails"]);
    assert_eq!(story.status("a").health, Health::Up, "failures are counted in a row");
    assert_eq!(story.kinds(), ["health", "health", "role"]);
}

#[test]
fn alive_says_nothing_about_the_role() {
    let story = Story::of(PAIR).tell(&["a alive"]);
    assert_eq!((story.status("a").health, story.status("a").observed), (Health::Up, None));
    assert!(!story.has_mismatch("a"));
}

#[test]
fn a_role_that_differs_from_the_declared_one_is_said_once_and_taken_back() {
    let story = Story::of(PAIR).tell(&["r primary", "r primary"]);
    assert!(story.has_mismatch("r"));
    assert_eq!(story.kinds(), ["health", "role", "mismatch"]);
    let story = story.tell(&["r standby"]);
    assert_eq!(story.kinds()[3..], ["role", "mismatch_ended"]);
}

#[test]
fn a_failover_behind_the_same_address_is_noticed_by_the_node() {
    let story = Story::of(PAIR).tell(&["a primary@1", "a primary@2"]);
    assert_eq!(story.kinds().last(), Some(&"node"));
    assert_eq!(story.status("a").nodes.len(), 1, "the old one is gone");
    assert_eq!(story.writer(), Some("a"));
}

#[test]
fn the_nodes_of_a_read_pool_are_kept_until_they_are_not_seen_any_more() {
    let story = Story::of(PAIR).tell(&["r standby@1", "r standby@2", "r standby@1"]);
    let starts: Vec<_> = story.status("r").nodes.iter().map(|node| node.id.started_us).collect();
    assert_eq!(starts, [1, 2]);
    assert!(!story.kinds().contains(&"node"), "a pool's balancer at work is no change");
    let story = story.later(RULES.forget_nodes_after).tell(&["r standby@1"]);
    assert_eq!(story.status("r").nodes.len(), 1);
}

#[test]
fn a_position_that_is_not_told_is_not_known() {
    let story = Story::of(PAIR).tell(&["r standby"]);
    assert!(story.status("r").position.is_some());
    let silent = ProbeAnswer { lsn: None, ..answer("standby", "r") };
    let story = story.observe("r", ProbeOutcome::Answered(silent));
    assert_eq!(story.status("r").position, None);
}

#[test]
fn no_token_says_nothing_about_an_endpoint() {
    let cases: &[(&[&str], Health)] = &[
        (&["a no-token"], Health::Unknown),
        (&["a no-token primary"], Health::Up),
        (&["a primary", "a no-token", "a no-token", "a no-token"], Health::Up),
        (&["a primary", "a no-token primary", "a no-token primary"], Health::Up),
        // Silence marks an endpoint as down, and an answer ends the silence.
        (&["a primary", "a fails", "a no-token", "a fails"], Health::Up),
        (&["a primary", "a fails", "a fails"], Health::Down),
        (&["a primary", "a fails", "a fails", "a no-token"], Health::Up),
    ];
    for (answers, health) in cases {
        let story = Story::of(PAIR).tell(answers);
        let status = story.status("a");
        assert_eq!(status.health, *health, "{answers:?}");
        if answers.last().is_some_and(|word| word.contains("no-token")) {
            assert_eq!(status.last_error.as_deref(), Some("no token"), "{answers:?}");
        }
        assert_eq!(story.writer(), Some("a"), "{answers:?}");
    }
}

#[test]
fn an_unknown_endpoint_changes_nothing() {
    let story = Story::of(PAIR).tell(&["gone fails", "gone fails"]);
    assert!(story.changes.is_empty());
}

#[test]
fn a_changed_configuration_keeps_what_is_known_of_the_rest() {
    let story = Story::of(PAIR).tell(&["a primary", "r standby"]);
    let (next, changes) = apply_configuration(
        &story.snapshot,
        [endpoint("a", DeclaredRole::Primary), endpoint("r", DeclaredRole::Replica)],
    );
    assert!(changes.is_empty());
    assert_eq!(next.get(&name("a")).unwrap().health, Health::Up);
    assert_eq!(next.get(&name("r")).unwrap().health, Health::Unknown, "its declaration is another one");
    assert_eq!(next.writer, Some(name("a")));
}

#[test]
fn a_writer_that_is_taken_out_of_the_configuration_is_missed() {
    let story = Story::of(PAIR).tell(&["a primary", "r standby"]);
    let (next, changes) = apply_configuration(&story.snapshot, [endpoint("r", DeclaredRole::ReadPool)]);
    assert_eq!(next.writer, None);
    assert_eq!(changes, [SnapshotChange::Writer { from: Some(name("a")), to: None, is_moving: false }]);
}

#[test]
fn a_moved_writer_fences_its_predecessor() {
    let began: &[&str] = &["a primary", "dr standby", "!hold"];
    for (steps, outcome) in [
        (&[][..], "none"),
        (&["!release"], "a"),
        (&["!move dr"], "none"),
        (&["!move dr", "!release"], "a"),
        (&["!hold"], "none"),
        (&["a standby", "dr primary", "!release"], "none"),
        // Switched over, or promoted beside a living writer.
        (&["a standby", "dr primary", "!move dr"], "dr, a moved"),
        (&["dr primary", "!move dr"], "dr, a moved"),
        // The old server returns writable, silent or on a newer timeline: nothing of it counts.
        (&["dr primary", "!move dr", "a standby", "a primary@9"], "dr, a moved"),
        (&["dr primary", "!move dr", "dr fails", "dr fails", "a primary@9"], "dr, a moved"),
        (&["dr primary", "!move dr", "dr standby", "a primary@9"], "none, a moved"),
        // An operator ends the fence of a server that accepts no writes; the writer stays.
        (&["dr primary", "!move dr", "a primary", "!unfence a"], "dr, a moved"),
        (&["dr primary", "!move dr", "a standby", "!unfence a"], "dr"),
        (&["dr primary", "!move dr", "a fails", "a fails", "!unfence a"], "dr"),
        (
            &["dr primary", "!move dr", "a standby", "!unfence a", "dr standby", "a primary@9"],
            "a, dr replaced",
        ),
        // The server returns writable after all.
        (
            &["dr primary", "!move dr", "a fails", "a fails", "!unfence a", "dr primary", "a primary"],
            "dr, a two_writers",
        ),
        (
            &[
                "dr primary",
                "!move dr",
                "a fails",
                "a fails",
                "!unfence a",
                "dr primary",
                "dr fails",
                "dr fails",
                "a primary",
            ],
            "dr, a two_writers",
        ),
        // Back again.
        (&["dr primary", "!move dr", "a primary", "dr standby", "!hold", "!move a"], "a, dr moved"),
        (&["dr primary", "!move dr", "!unfence dr", "!unfence nowhere"], "dr, a moved"),
    ] {
        let story = Story::of(WITH_DR).play(began).play(steps);
        assert_eq!(story.outcome(), outcome, "{steps:?}");
    }
}

#[test]
fn a_lost_writer_of_a_pair_is_replaced_and_fenced() {
    for (steps, outcome) in [
        (&["a primary", "b standby"][..], "a"),
        // The other one accepts writes once the writer is down or in recovery.
        (&["a primary", "b standby", "a fails", "a fails", "b primary"], "b, a replaced"),
        (&["a primary", "b standby", "a standby", "b primary"], "b, a replaced"),
        // The new writer is noticed before the loss of the old one.
        (&["a primary", "b standby", "b primary"], "a"),
        (&["a primary", "b standby", "b primary", "a standby"], "b, a replaced"),
        (&["a primary", "b standby", "b primary", "a fails"], "a"),
        (&["a primary", "b standby", "b primary", "a fails", "a fails"], "b, a replaced"),
        // Without a server that accepts writes nothing moves.
        (&["a primary", "b standby", "a fails", "a fails"], "a"),
        (&["a primary", "a standby"], "none"),
        (&["a primary", "b standby", "a standby"], "none"),
        // The old server returns writable.
        (&["a primary", "a fails", "a fails", "b primary", "a primary@9"], "b, a replaced"),
        (&["a primary", "a fails", "a fails", "b primary", "b standby", "a primary@9"], "none, a replaced"),
        // Both accept writes at a time: the writer stays, also when it falls silent afterwards.
        (&["a primary", "b primary", "a primary"], "a, b two_writers"),
        (&["a primary", "b primary", "a primary", "a fails", "a fails", "b primary"], "a, b two_writers"),
        (&["a primary", "b primary", "a primary", "!move b"], "b, a moved"),
        (
            &["a primary", "b primary", "a primary", "b standby", "!unfence b", "a standby", "b primary"],
            "b, a replaced",
        ),
        // From the start: nobody is the writer before an operator chooses.
        (&["!move b", "b fails"], "none"),
        // One server with two addresses.
        (&["a primary@7", "b primary@7", "a fails", "a fails"], "b"),
    ] {
        let story = Story::of(TWO_PRIMARIES).play(steps);
        assert_eq!(story.outcome(), outcome, "{steps:?}");
    }
}

#[test]
fn moves_and_fences_are_reported() {
    let story =
        Story::of(WITH_DR).play(&["a primary", "dr primary", "!hold", "!move dr", "a standby", "!unfence a"]);
    let changes: Vec<_> = story.changes.iter().map(ToString::to_string).collect();
    let expected = [
        "the writer is none while an operator moves it, was `a`",
        "the writer is `dr`, was none",
        "endpoint `a` is fenced: an operator moved the writer",
        "endpoint `a` is no longer fenced",
    ];
    let last: Vec<_> = changes.iter().filter(|change| expected.contains(&change.as_str())).collect();
    assert_eq!(last, expected, "{changes:#?}");
    assert!(
        story.changes.iter().all(|change| change.kind() != "writer" || !change.is_alarm()),
        "all is planned"
    );
    assert_eq!(story.snapshot.override_of_configuration(), Some(&name("dr")));
    assert!(story.has_mismatch("dr"), "the configuration has to change, too");
}

#[test]
fn the_standby_of_a_pair_is_no_mismatch() {
    let story = Story::of(TWO_PRIMARIES).play(&["a primary", "b standby"]);
    assert!(!story.has_mismatch("a") && !story.has_mismatch("b"));
    assert!(!story.kinds().contains(&"mismatch"), "{:?}", story.kinds());
    let story = story.play(&["a standby"]);
    assert!(story.has_mismatch("a") && story.has_mismatch("b"), "nobody is the writer");
    let story = story.play(&["b primary"]);
    assert!(!story.has_mismatch("a") && !story.has_mismatch("b"));
    assert_eq!(story.kinds().iter().filter(|kind| **kind == "mismatch_ended").count(), 2);
}

#[test]
fn a_reload_keeps_moves_and_fences() {
    let moved = || Story::of(WITH_DR).play(&["a primary", "dr primary", "!hold", "!move dr"]);
    let exchanged: &[(&str, DeclaredRole)] = &[("a", DeclaredRole::Secondary), ("dr", DeclaredRole::Primary)];
    assert_eq!(moved().configure(WITH_DR).outcome(), "dr, a moved");
    let story = moved().configure(exchanged);
    assert_eq!(story.outcome(), "dr, a moved");
    assert_eq!(story.snapshot.override_of_configuration(), None, "the configuration has caught up");
    // Declared primary again by the operator.
    let story = story.play(&["dr primary", "a standby"]).configure(WITH_DR);
    assert_eq!(story.play(&["dr standby", "a primary"]).outcome(), "a");
    assert_eq!(moved().configure(&WITH_DR[..1]).outcome(), "none, a moved");
    assert_eq!(moved().configure(&WITH_DR[1..]).outcome(), "dr");
}

#[test]
fn a_fence_of_an_operator_binds_every_route() {
    let barred = |steps: &[&str]| {
        let story = Story::of(WITH_DR).play(&["a primary", "dr primary"]).play(steps);
        story.snapshot.is_barred(story.status("a"))
    };
    assert!(!barred(&[]));
    assert!(barred(&["!move dr"]));
    assert!(barred(&["!move dr", "a fails", "a fails"]));
    assert!(!barred(&["!move dr", "a standby"]), "in recovery it accepts no writes");
    assert!(barred(&["!move dr", "a standby", "a primary@9"]));
    assert!(!barred(&["!move dr", "a fails", "a fails", "!unfence a"]));
    let story = Story::of(TWO_PRIMARIES).play(&["a primary", "a fails", "a fails", "b primary"]);
    assert!(!story.snapshot.is_barred(story.status("a")), "a listener that names it may use it");
}

#[test]
fn a_late_probe_changes_nothing_else() {
    let story = || Story::of(&[("reads", DeclaredRole::ReadPool)]).tell(&["reads standby"]);
    let late_probe = |story: &Story| story.snapshot.get(&name("reads")).unwrap().late_probe;
    let late = story().tell(&["reads late"]);
    assert_eq!(late_probe(&late), Some(late.now));
    let (before, after) = (story(), late.snapshot.get(&name("reads")).unwrap().clone());
    let before = before.snapshot.get(&name("reads")).unwrap();
    assert_eq!((after.health, after.failures), (before.health, before.failures));
    assert!(after.last_answer < Some(late.now));
    for end in ["reads standby", "reads fails"] {
        assert_eq!(late_probe(&story().tell(&["reads late", end])), None, "{end}");
    }
}
