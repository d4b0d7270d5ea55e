//! The probe's view of a cluster and of its failures.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gatekeeper::testing::{
    backend::{EndpointHandle, EndpointSettings, ProbeLogin},
    live::Live,
    names::{DatabaseName, EndpointName, UserName},
    probe::{Evidence, Probe, ProbeSettings},
    sandbox::{ALICE, APP, DATABASE, NativeUser, Passage, Sandbox, SandboxOptions, Single, Stop},
    tasks::Tasks,
    telemetry::Metrics,
    topology::{DeclaredRole, EndpointStatus, Health, ObservedRole, ReplayState, TopologySnapshot},
};

use crate::harness::{
    endpoint::{handle, iam, native, request, settings},
    until,
};

const LIMIT: Duration = Duration::from_secs(20);

const OFTEN: ProbeSettings = ProbeSettings {
    interval: Duration::from_millis(300),
    timeout: Duration::from_secs(2),
    failures: 2,
    lagging_after: Duration::ZERO,
};

struct Watched {
    probe: Probe,
    snapshot: Live<TopologySnapshot>,
    changes: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

fn watch(endpoints: Vec<EndpointSettings>) -> Watched {
    watch_with(endpoints, OFTEN)
}

fn watch_with(endpoints: Vec<EndpointSettings>, settings: ProbeSettings) -> Watched {
    let (tasks, changes) = (Tasks::new(), Arc::new(Mutex::new(Vec::new())));
    let handles: Vec<EndpointHandle> =
        endpoints.into_iter().map(|settings| handle(settings, &tasks)).collect();
    let seen = Arc::clone(&changes);
    let probe = Probe::start(&handles, settings, Metrics::new().topology(), &tasks, move |change, _| {
        seen.lock().unwrap().push(change.to_string());
    });
    Watched { snapshot: probe.snapshot(), probe, changes, _tasks: tasks }
}

fn as_user(user: &str) -> Option<ProbeLogin> {
    Some(ProbeLogin { user: UserName::new(user).unwrap(), database: DatabaseName::new("postgres").unwrap() })
}

fn cluster(sandbox: &Sandbox) -> Vec<EndpointSettings> {
    let mut all = Vec::new();
    for cluster in sandbox.clusters() {
        for endpoint in cluster.endpoints() {
            let role: DeclaredRole = endpoint.role().parse().unwrap();
            let ca = cluster.authority().ca_file();
            let settings = settings(endpoint.name(), role, endpoint.address(), ca);
            let login = iam(sandbox.tokens(), &[ALICE]);
            all.push(EndpointSettings { login, probe_login: as_user(ALICE), ..settings });
        }
    }
    all
}

impl Watched {
    fn status(&self, name: &str) -> EndpointStatus {
        self.snapshot.load().get(&EndpointName::new(name).unwrap()).unwrap().clone()
    }

    async fn until(&self, name: &str, wanted: impl Fn(&EndpointStatus) -> bool) {
        until(LIMIT, async || {
            let status = self.status(name);
            if wanted(&status) { Ok(()) } else { Err(status) }
        })
        .await;
    }

    fn writer(&self) -> Option<String> {
        self.snapshot.load().writer.as_ref().map(ToString::to_string)
    }

    fn has_event(&self, words: &str) -> bool {
        self.changes.lock().unwrap().iter().any(|change| change.contains(words))
    }
}

#[tokio::test]
async fn the_probe_reports_roles_positions_and_nodes_of_a_cluster() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let watched = watch(cluster(&sandbox));
    for (name, role) in [
        ("primary", ObservedRole::Primary),
        ("reads", ObservedRole::Standby),
        ("dr", ObservedRole::Standby),
        ("dr-reads", ObservedRole::Standby),
    ] {
        watched.until(name, |status| status.health == Health::Up && status.observed == Some(role)).await;
        let status = watched.status(name);
        assert!(status.position.is_some() && status.node.is_some() && !status.has_mismatch(), "{status:?}");
        assert_eq!(status.read_only, Some(role == ObservedRole::Standby));
    }
    assert_eq!(watched.status("primary").timeline, Some(1));
    assert_eq!(watched.writer().as_deref(), Some("primary"));

    // A probe caused by evidence uses a new login: a balancer may show another node.
    let (evidence, reads) = (watched.probe.evidence(), EndpointName::new("reads").unwrap());
    watched
        .until("reads", |status| {
            evidence.submit(&reads, Evidence::ConnectionLost);
            status.nodes.len() == 2
        })
        .await;
}

#[tokio::test]
async fn two_writers_raise_an_alarm_and_the_first_one_stays_the_writer() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let watched = watch(cluster(&sandbox));
    watched.until("dr", |status| status.observed == Some(ObservedRole::Standby)).await;
    watched.until("primary", |status| status.observed == Some(ObservedRole::Primary)).await;
    sandbox.promote_secondary().await.unwrap();
    watched.until("dr", EndpointStatus::has_mismatch).await;
    let snapshot = watched.snapshot.load();
    assert!(snapshot.two_writers);
    assert_eq!(watched.writer().as_deref(), Some("primary"));
    assert!(watched.has_event("several servers report that they accept writes: `primary` `dr`"));
    assert!(watched.has_event("endpoint `dr` is declared secondary, but its server reports primary"));
}

#[tokio::test]
async fn after_a_switchover_a_primary_that_became_a_standby_is_not_the_writer() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let watched = watch(cluster(&sandbox));
    watched.until("primary", |status| status.observed == Some(ObservedRole::Primary)).await;
    sandbox.switchover().await.unwrap();
    watched.until("primary", |status| status.observed == Some(ObservedRole::Standby)).await;
    assert_eq!(watched.writer(), None);
    assert!(watched.has_event("the writer is none, was `primary`"));
}

#[tokio::test]
async fn an_endpoint_goes_down_and_comes_up_with_its_server() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let watched = watch(cluster(&sandbox));
    watched.until("primary", |status| status.health == Health::Up).await;
    let primary = sandbox.node("primary");
    primary.stop(Stop::Fast).await.unwrap();
    watched.until("primary", |status| status.health == Health::Down).await;
    assert!(watched.status("primary").last_error.is_some());
    assert_eq!(watched.writer().as_deref(), Some("primary"), "silence says nothing about roles");
    primary.start().await.unwrap();
    watched.until("primary", |status| status.health == Health::Up).await;
    assert!(watched.has_event("another server answers for endpoint `primary`"));

    sandbox.endpoint("primary").middleman().set(Passage::BlackHole);
    watched.until("primary", |status| status.health == Health::Down).await;
    let error = watched.status("primary").last_error.unwrap();
    assert!(error.contains("within"), "{error}");
}

#[tokio::test]
async fn a_server_without_a_login_is_only_reported_alive() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    let ca = single.authority().ca_file();
    let watched = watch(vec![settings("primary", DeclaredRole::Primary, single.address(), ca)]);
    watched.until("primary", |status| status.health == Health::Up).await;
    assert_eq!(watched.status("primary").observed, None);
    assert_eq!(watched.writer().as_deref(), Some("primary"), "the only one declared is believed");
    single.node().stop(Stop::Fast).await.unwrap();
    watched.probe.evidence().submit(&EndpointName::new("primary").unwrap(), Evidence::LoginFailed);
    watched.until("primary", |status| status.health == Health::Down).await;
}

#[tokio::test]
async fn a_new_role_at_a_login_triggers_a_probe() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    let ca = single.authority().ca_file();
    let settings = settings("primary", DeclaredRole::Primary, single.address(), ca);
    let settings = EndpointSettings { login: native(APP), probe_login: as_user(APP.name), ..settings };
    let seldom = ProbeSettings { interval: Duration::from_secs(3600), ..OFTEN };
    let watched = watch_with(vec![settings], seldom);
    watched.until("primary", |status| status.observed == Some(ObservedRole::Primary)).await;
    let seen = watched.status("primary").last_success;
    let standby = Evidence::RoleReported(ObservedRole::Standby);
    watched.probe.evidence().submit(&EndpointName::new("primary").unwrap(), standby);
    watched.until("primary", |status| status.last_success > seen).await;
}

#[tokio::test]
async fn a_rejected_probe_login_takes_the_endpoint_down() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    let ca = single.authority().ca_file();
    let login = native(NativeUser { password: "wrong", ..APP });
    let settings = settings("primary", DeclaredRole::Primary, single.address(), ca);
    let watched = watch(vec![EndpointSettings { login, probe_login: as_user(APP.name), ..settings }]);
    watched.until("primary", |status| status.health == Health::Down).await;
    let error = watched.status("primary").last_error.unwrap();
    assert!(error.contains("password authentication failed for user \"app\""), "{error}");
}

#[tokio::test]
async fn a_reload_keeps_the_state_of_unchanged_endpoints() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let all = cluster(&sandbox);
    let watched = watch(all.clone());
    watched.until("primary", |status| status.health == Health::Up).await;
    let tasks = Tasks::new();
    let fewer: Vec<_> = all.into_iter().take(2).map(|settings| handle(settings, &tasks)).collect();
    watched.probe.reconfigure(fewer, OFTEN).await;
    until(LIMIT, async || {
        let names = watched.snapshot.load().endpoints.len();
        if names == 2 { Ok(()) } else { Err(names) }
    })
    .await;
    let seen = watched.status("primary").last_success;
    assert!(seen.is_some(), "known before, known now");
    watched.until("primary", |status| status.last_success > seen).await;
}

/// A query on a standby, with a lock that replay needs: PostgreSQL waits for 30 s.
#[tokio::test]
async fn replay_that_a_query_holds_up_is_a_stall() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let watched = watch(cluster(&sandbox));
    let (primary, standby) = (sandbox.node("primary"), sandbox.node("dr-reads-1"));
    primary.sql("app", "CREATE TABLE held ()").await.unwrap();
    standby.catch_up(primary).await.unwrap();
    let is_level = |status: &EndpointStatus| {
        status.replay == ReplayState::Replaying && status.lag.is_some_and(|lag| lag.bytes == Some(0))
    };
    let within_a_minute = async |wanted: &dyn Fn(&EndpointStatus) -> bool| {
        until(LIMIT * 3, async || {
            let status = watched.status("dr-reads");
            if wanted(&status) { Ok(()) } else { Err(status) }
        })
        .await;
    };
    within_a_minute(&is_level).await;

    let query = standby.sql("app", "SELECT count(*) FROM held; SELECT pg_sleep(25)");
    let dropped = async {
        until(LIMIT, async || {
            let held = "SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass";
            match standby.sql("app", held).await.unwrap().as_str() {
                "0" => Err("no lock yet"),
                _ => Ok(()),
            }
        })
        .await;
        primary.sql("app", "DROP TABLE held").await.unwrap();
        within_a_minute(&|status| status.replay == ReplayState::Stalled).await;
        let lag = watched.status("dr-reads").lag.unwrap();
        assert!(lag.bytes > Some(0) && lag.certain >= Duration::from_secs(9), "{lag:?}");
    };
    let (slept, ()) = tokio::join!(query, dropped);
    slept.unwrap();
    within_a_minute(&is_level).await;
    assert!(watched.has_event("replay of endpoint `dr-reads` stands still"));
    assert!(watched.has_event("replay of endpoint `dr-reads` goes on"));
    assert!(!watched.has_event("replay of endpoint `reads`"), "the other standbys replay on");
}

#[tokio::test]
async fn a_server_with_a_revoked_pause_function_reports_its_position() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let (primary, standby) = (sandbox.node("primary"), sandbox.node("reads-1"));
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_is_wal_replay_paused() FROM PUBLIC";
    primary.sql("postgres", revoke).await.unwrap();
    standby.catch_up(primary).await.unwrap();
    let watched = watch(cluster(&sandbox));
    watched.until("reads", |status| status.position.is_some() && status.lag.is_some()).await;
    assert_eq!(watched.status("reads").replay, ReplayState::Replaying);
}

#[tokio::test]
async fn a_server_with_a_revoked_function_reports_its_role() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_postmaster_start_time() FROM PUBLIC";
    single.node().sql("postgres", revoke).await.unwrap();
    let ca = single.authority().ca_file();
    let settings = settings("primary", DeclaredRole::Primary, single.address(), ca);
    let watched =
        watch(vec![EndpointSettings { login: native(APP), probe_login: as_user(APP.name), ..settings }]);
    watched.until("primary", |status| status.observed == Some(ObservedRole::Primary)).await;
    assert_eq!(watched.status("primary").position, None);
}

#[tokio::test]
async fn a_full_server_is_busy_and_not_down() {
    let options = SandboxOptions { max_connections: 5, ..SandboxOptions::default() };
    let single = Single::start(options).await.unwrap();
    let ca = single.authority().ca_file();
    let settings = settings("primary", DeclaredRole::Primary, single.address(), ca);
    let tasks = Tasks::new();
    let settings = EndpointSettings { login: native(APP), probe_login: as_user(APP.name), ..settings };
    let crowd = handle(settings.clone(), &tasks);
    let mut guests = Vec::new();
    while let Ok(guest) = crowd.connect(request(APP.name, DATABASE)).await {
        guests.push(guest);
    }
    let watched = watch(vec![settings]);
    watched.until("primary", |status| status.health == Health::Up).await;
    assert_eq!(watched.status("primary").observed, None);
}
