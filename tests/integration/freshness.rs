//! How fresh the nodes of a read pool are known to be.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use gatekeeper::testing::{
    backend::{ConnectFailure, EndpointHandle, EndpointSettings, ProbeLogin},
    live::Live,
    names::{DatabaseName, EndpointName, UserName},
    probe::{Probe, ProbeSettings},
    sandbox::{APP, DATABASE, Node, Sandbox, SandboxOptions},
    tasks::Tasks,
    telemetry::Metrics,
    topology::{DeclaredRole, NodeFreshness, NodeId, ReplayReport, TopologySnapshot, parse_lsn},
};

use crate::harness::{
    endpoint::{handle, native, request, settings},
    until,
};

const LIMIT: Duration = Duration::from_secs(20);

/// The probe runs rarely: positions come from sessions and samples.
const SELDOM: ProbeSettings = ProbeSettings {
    interval: Duration::from_secs(3600),
    timeout: Duration::from_secs(5),
    failures: 2,
    lagging_after: Duration::ZERO,
};

/// The primary and its read pool, with a running probe.
struct Watched {
    sandbox: Sandbox,
    reads: EndpointHandle,
    probe: Probe,
    snapshot: Live<TopologySnapshot>,
    _tasks: Tasks,
}

impl Watched {
    async fn start() -> Self {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let tasks = Tasks::new();
        let cluster = &sandbox.clusters()[0];
        let of = |endpoint: &gatekeeper::testing::sandbox::SandboxEndpoint| {
            let role: DeclaredRole = endpoint.role().parse().unwrap();
            let settings = settings(endpoint.name(), role, endpoint.address(), cluster.authority().ca_file());
            let probe_login = Some(ProbeLogin {
                user: UserName::new(APP.name).unwrap(),
                database: DatabaseName::new("postgres").unwrap(),
            });
            handle(EndpointSettings { login: native(APP), probe_login, ..settings }, &tasks)
        };
        let handles: Vec<EndpointHandle> = cluster.endpoints().iter().map(of).collect();
        let probe = Probe::start(&handles, SELDOM, Metrics::new().topology(), &tasks, |_, _| {});
        let reads = handles.into_iter().find(|handle| handle.name().as_str() == "reads").unwrap();
        let watched = Self { sandbox, reads, snapshot: probe.snapshot(), probe, _tasks: tasks };
        until(LIMIT, async || {
            let snapshot = watched.snapshot.load();
            let all = snapshot.endpoints.iter().all(|status| status.last_success.is_some());
            if all { Ok(()) } else { Err(snapshot) }
        })
        .await;
        watched
    }

    fn nodes(&self) -> &[Node] {
        self.sandbox.endpoint("reads").nodes()
    }

    /// A transaction that commits on the primary; returns the moment of the commit.
    async fn write(&self) -> Instant {
        let sql = "CREATE TABLE IF NOT EXISTS written (at timestamptz); INSERT INTO written VALUES (now())";
        self.sandbox.node("primary").sql(DATABASE, sql).await.unwrap();
        Instant::now()
    }

    fn freshness_of(&self, node: &NodeId, floor: Instant) -> NodeFreshness {
        self.snapshot.load().freshness_of(Some(node), floor, Instant::now())
    }

    /// Asks for a sample until the writer was asked since `floor`.
    async fn sampled(&self, floor: Instant) {
        until(LIMIT, async || {
            self.probe.evidence().want_sample();
            match self.snapshot.load().freshness_of(None, floor, Instant::now()) {
                NodeFreshness::Ask { .. } => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Queries the node's replay position, as a session does beside a read, and reports the position.
    async fn ask(&self, node: &Node, id: NodeId) {
        let asked_at = Instant::now();
        let replay_lsn = node.sql("postgres", "SELECT pg_last_wal_replay_lsn()").await.unwrap();
        let lsn = parse_lsn(replay_lsn.trim());
        assert!(lsn.is_some(), "{replay_lsn}");
        let endpoint = EndpointName::new("reads").unwrap();
        let replayed = ReplayReport { endpoint, node: id, lsn, asked_at, answered_at: Instant::now() };
        self.probe.evidence().replayed(&self.snapshot.load(), replayed);
    }
}

/// Identity reported by the node.
async fn identity(node: &Node) -> i64 {
    let sql = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";
    node.sql("postgres", sql).await.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_login_identifies_the_node_behind_one_address() {
    let watched = Watched::start().await;
    let mut expected = BTreeSet::new();
    for node in watched.nodes() {
        expected.insert(identity(node).await);
    }
    let (mut seen, mut known) = (BTreeSet::new(), false);
    for _ in 0..16 {
        let mut backend = watched.reads.connect(request(APP.name, DATABASE)).await.unwrap();
        let node = watched.reads.identify_standby(&mut backend).await.unwrap().unwrap();
        assert!(node.address.is_some() && node.port.is_some());
        seen.insert(node.started_us);
        // The probe, which asks in the same words, means the same node.
        known |= watched.snapshot.load().node(&node).is_some();
    }
    assert_eq!(seen, expected);
    assert!(known, "{:?}", watched.snapshot.load().endpoints);
}

#[tokio::test]
async fn a_node_is_fresh_after_replaying_the_write() {
    let watched = Watched::start().await;
    let node = &watched.nodes()[0];
    let started = identity(node).await;
    let mut id = None;
    while id.is_none() {
        let mut backend = watched.reads.connect(request(APP.name, DATABASE)).await.unwrap();
        let led_to = watched.reads.identify_standby(&mut backend).await.unwrap().unwrap();
        id = Some(led_to).filter(|led_to| led_to.started_us == started);
    }
    let id = id.unwrap();

    node.pause_replay().await.unwrap();
    let floor = watched.write().await;
    assert_eq!(watched.freshness_of(&id, floor), NodeFreshness::Unknown, "the writer was not asked since");
    watched.sampled(floor).await;
    watched.ask(node, id).await;
    until(LIMIT, async || {
        // Seen to be stale, and to be asked again a little later; fresh at no time.
        let standing = watched.freshness_of(&id, floor);
        assert_ne!(standing, NodeFreshness::Fresh);
        let is_sampled = watched.snapshot.load().node(&id).is_some_and(|(_, node)| node.position.is_some());
        if is_sampled && matches!(standing, NodeFreshness::Ask { .. }) { Ok(()) } else { Err(standing) }
    })
    .await;

    node.resume_replay().await.unwrap();
    until(LIMIT, async || {
        watched.ask(node, id).await;
        match watched.freshness_of(&id, floor) {
            NodeFreshness::Fresh => Ok(()),
            other => Err(other),
        }
    })
    .await;

    // The next write is another matter.
    let floor = watched.write().await;
    assert_ne!(watched.freshness_of(&id, floor), NodeFreshness::Fresh);
}

#[tokio::test]
async fn a_node_promoted_by_mistake_serves_no_reads() {
    let watched = Watched::start().await;
    let promoted = &watched.nodes()[0];
    let started = identity(promoted).await;
    promoted.promote().await.unwrap();
    let (mut refused, mut served) = (0, 0);
    for _ in 0..16 {
        let mut backend = watched.reads.connect(request(APP.name, DATABASE)).await.unwrap();
        match watched.reads.identify_standby(&mut backend).await {
            Ok(node) => {
                assert_ne!(node.unwrap().started_us, started);
                served += 1;
            }
            Err(error) => {
                assert!(matches!(error.failure(), ConnectFailure::NoStandby), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && served > 0, "{refused} refused, {served} served");

    // After a probe, the node is not fresh either, at any position.
    let (evidence, reads) = (watched.probe.evidence(), EndpointName::new("reads").unwrap());
    let met = |snapshot: &Arc<TopologySnapshot>| {
        let status = snapshot.get(&reads).unwrap();
        status.nodes.iter().find(|node| node.id.started_us == started).copied()
    };
    until(LIMIT, async || {
        evidence.submit(&reads, gatekeeper::testing::probe::Evidence::ConnectionLost);
        match met(&watched.snapshot.load()) {
            Some(node) if node.role == gatekeeper::testing::topology::ObservedRole::Primary => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let id = met(&watched.snapshot.load()).unwrap().id;
    let floor = watched.write().await;
    watched.sampled(floor).await;
    assert_eq!(watched.freshness_of(&id, floor), NodeFreshness::Stale);
}
