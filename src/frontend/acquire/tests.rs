//! Acquisitions over a scripted connect, with a paused clock.

use std::{
    cell::RefCell,
    io,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    AcquireError, Connected, PooledAcquirer, acquire_dedicated,
    hold::{ACQUIRE_RETRY_INTERVAL, Hold, HoldBudget, UNPROBED_PAUSE},
};
use crate::{
    backend::{ConnectError, ConnectFailure, EndpointHandle, RoleReport},
    client_error::ClientErrorReason,
    frontend::{
        ListenerContext,
        testing::{Stand, snapshot},
    },
    names::{DatabaseName, UserName},
    probe::Evidence,
    route::{RoutePolicy, RouteReason, WhenNoReader},
    telemetry::labels::{ConnectPhase, HoldOutcome},
    tls::TlsError,
    topology::{ObservedRole, TopologySnapshot},
    wire::{ProtocolVersion, StartupMessage},
};

const READ_POOL: RoutePolicy = RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Primary };
const CLUSTER: &str = "p primary up primary\na read-pool up standby\nb read-pool up standby";
const HOLD: Duration = Duration::from_secs(30);

/// A scripted backend, in recovery or not.
struct Scripted {
    is_in_recovery: bool,
}

impl RoleReport for Scripted {
    fn is_in_recovery(&self) -> bool {
        self.is_in_recovery
    }
}

impl RoleReport for () {}

fn broken(endpoint: &EndpointHandle) -> ConnectError {
    let source = io::ErrorKind::ConnectionReset.into();
    let failure = ConnectFailure::Broken { phase: ConnectPhase::Login, source };
    ConnectError::new(Arc::clone(endpoint.endpoint()), failure)
}

fn refused(endpoint: &EndpointHandle, sqlstate: &[u8; 5]) -> ConnectError {
    ConnectError::scripted_refusal(Arc::clone(endpoint.endpoint()), *sqlstate)
}

/// Acquires with `answer` as the connect; returns the outcome and the names of the tried endpoints.
async fn acquire(
    stand: &Stand,
    listener: &Arc<ListenerContext>,
    answer: impl Fn(&EndpointHandle, usize) -> Result<(), ConnectError>,
) -> (Result<(Connected<()>, RouteReason), AcquireError>, Vec<String>) {
    let tried = RefCell::new(Vec::new());
    let outcome = acquire_dedicated(&stand.services, listener, |endpoint: EndpointHandle| {
        tried.borrow_mut().push(endpoint.name().to_string());
        let answered = answer(&endpoint, tried.borrow().len());
        async move { answered }
    });
    let outcome = outcome.await;
    (outcome, tried.into_inner())
}

fn login_failed(endpoints: &[String]) -> Vec<(String, Evidence)> {
    endpoints.iter().map(|name| (name.clone(), Evidence::LoginFailed)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_failing_read_pool_is_left_for_the_next() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(READ_POOL, Duration::ZERO);
    let (outcome, mut tried) = acquire(&stand, &listener, |endpoint, _| {
        if endpoint.name().as_str() == "p" { Ok(()) } else { Err(broken(endpoint)) }
    })
    .await;
    let (connected, reason) = outcome.ok().unwrap();
    assert_eq!((connected.endpoint.name().as_str(), reason), ("p", RouteReason::NoReader));
    assert_eq!(tried.pop().as_deref(), Some("p"));
    let failed = login_failed(&tried);
    tried.sort();
    assert_eq!(tried, ["a", "b"]);
    assert_eq!(stand.evidence.take(), failed, "each failed login wakes the probe");
}

#[tokio::test(start_paused = true)]
async fn a_refused_user_is_tried_once() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(READ_POOL, HOLD);
    let (outcome, tried) = acquire(&stand, &listener, |endpoint, _| Err(refused(endpoint, b"28P01"))).await;
    let client_error = outcome.err().unwrap().client_error();
    assert_eq!(client_error.sqlstate.as_str(), "28P01");
    assert_eq!(tried.len(), 1);
    assert_eq!(stand.evidence.take(), []);
}

#[tokio::test(start_paused = true)]
async fn a_failed_handshake_of_the_writer_wakes_the_probe() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let (outcome, tried) = acquire(&stand, &listener, |endpoint, _| {
        let failure = ConnectFailure::Tls(TlsError::UnknownCa { issuer: "scripted".to_owned() });
        Err(ConnectError::new(Arc::clone(endpoint.endpoint()), failure))
    })
    .await;
    assert_eq!(outcome.err().unwrap().client_error().reason, ClientErrorReason::Endpoint);
    assert_eq!(tried, ["p"], "no other try helps");
    assert_eq!(stand.evidence.take(), login_failed(&tried));
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_no_evidence() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, Duration::ZERO);
    let (outcome, _) = acquire(&stand, &listener, |endpoint, _| Err(refused(endpoint, b"53300"))).await;
    assert_eq!(outcome.err().unwrap().client_error().sqlstate.as_str(), "53300");
    assert_eq!(stand.evidence.take(), []);
}

#[tokio::test(start_paused = true)]
async fn an_absent_writer_is_tried_again() {
    let stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let started = Instant::now();
    let answer = |endpoint: &EndpointHandle, tries| {
        if tries < 4 { Err(refused(endpoint, b"57P03")) } else { Ok(()) }
    };
    let (outcome, tried) = acquire(&stand, &listener, answer).await;
    assert!(outcome.is_ok());
    assert_eq!(tried.len(), 4);
    assert_eq!(started.elapsed(), 3 * UNPROBED_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_probe_ends_the_pause() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let started = Instant::now();
    let services = Arc::clone(&stand.services);
    let is_back = std::sync::atomic::AtomicBool::new(false);
    let acquired = acquire_dedicated(&services, &listener, |endpoint: EndpointHandle| {
        let answered = if is_back.load(SeqCst) { Ok(()) } else { Err(broken(&endpoint)) };
        async move { answered }
    });
    let returned = async {
        tokio::time::sleep(UNPROBED_PAUSE / 2).await;
        assert_eq!(held_clients(&stand), Some("1".to_owned()));
        is_back.store(true, SeqCst);
        stand.topology.publish(snapshot(CLUSTER));
    };
    let (outcome, ()) = tokio::join!(acquired, returned);
    assert!(outcome.is_ok());
    assert_eq!(started.elapsed(), UNPROBED_PAUSE / 2);
    assert_eq!(held_clients(&stand), Some("0".to_owned()));
    assert!(
        stand
            .services
            .observers
            .metrics
            .render()
            .contains("gatekeeper_holds_total{listener=\"app\",outcome=\"served\"} 1")
    );
}

fn held_clients(stand: &Stand) -> Option<String> {
    let page = stand.services.observers.metrics.render();
    let series = "gatekeeper_held_clients{listener=\"app\"} ";
    page.lines().find_map(|line| line.strip_prefix(series)).map(ToOwned::to_owned)
}

#[tokio::test(start_paused = true)]
async fn the_hold_ends_with_the_reason() {
    let stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let started = Instant::now();
    let (outcome, tried) = acquire(&stand, &listener, |endpoint, _| Err(broken(endpoint))).await;
    let client_error = outcome.err().unwrap().client_error();
    assert_eq!(client_error.sqlstate.as_str(), "57P03");
    assert_eq!(
        client_error.message,
        "no writer was available within 30 s: endpoint \"p\" broke the connection off"
    );
    assert_eq!(started.elapsed(), HOLD, "one deadline from the first wait");
    assert!(tried.len() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_try_ends_at_the_deadline() {
    let stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let started = Instant::now();
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let outcome = acquire_dedicated(&stand.services, &listener, |endpoint: EndpointHandle| {
        let first = tries.fetch_add(1, SeqCst) == 0;
        async move {
            if !first {
                std::future::pending::<()>().await;
            }
            Err::<(), _>(broken(&endpoint))
        }
    });
    assert_eq!(outcome.await.err().unwrap().client_error().sqlstate.as_str(), "57P03");
    assert_eq!((started.elapsed(), tries.into_inner()), (HOLD, 2));
}

#[tokio::test(start_paused = true)]
async fn a_young_process_waits_for_a_silent_writer_only() {
    let stand = Stand::new("p primary unknown -");
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let answer = |endpoint: &EndpointHandle, tries| if tries < 3 { Err(broken(endpoint)) } else { Ok(()) };
    let (outcome, tried) = acquire(&stand, &listener, answer).await;
    assert!(outcome.is_ok());
    assert_eq!(tried.len(), 3);
    for sqlstate in [b"53300", b"28P01"] {
        let (outcome, tried) =
            acquire(&stand, &listener, |endpoint, _| Err(refused(endpoint, sqlstate))).await;
        assert!(matches!(outcome, Err(AcquireError::Down(..))));
        assert_eq!(tried.len(), 1);
    }
}

#[test]
fn the_budget_of_holds_is_renewed_after_a_time_without_any() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stand = Stand::new(CLUSTER);
        let listener = stand.listener(RoutePolicy::Primary, HOLD);
        let mut budget = HoldBudget::default();
        let mut hold = Hold::default();
        hold.begin_hold(
            HOLD,
            listener.metrics.hold_client(),
            stand.services.observers.evidence.hold_client(),
        );
        tokio::time::sleep(HOLD / 3).await;
        hold.end_hold(HoldOutcome::Served, &mut budget);
        tokio::time::sleep(HOLD / 2).await;
        assert_eq!(budget.left(HOLD), HOLD * 2 / 3);
        tokio::time::sleep(HOLD / 2).await;
        assert_eq!(budget.left(HOLD), HOLD);
    });
}

#[tokio::test(start_paused = true)]
async fn a_writer_in_recovery_is_waited_for() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let services = Arc::clone(&stand.services);
    let started = Instant::now();
    let is_in_recovery = std::sync::atomic::AtomicBool::new(true);
    let acquired = acquire_dedicated(&services, &listener, |_: EndpointHandle| {
        let backend = Scripted { is_in_recovery: is_in_recovery.load(SeqCst) };
        async move { Ok(backend) }
    });
    let probed = async {
        tokio::time::sleep(ACQUIRE_RETRY_INTERVAL).await;
        assert_eq!(held_clients(&stand), Some("1".to_owned()));
        stand.topology.publish(snapshot(&CLUSTER.replace("p primary up primary", "p primary up standby")));
        tokio::time::sleep(ACQUIRE_RETRY_INTERVAL).await;
        is_in_recovery.store(false, SeqCst);
        stand.topology.publish(snapshot(CLUSTER));
    };
    let (outcome, ()) = tokio::join!(acquired, probed);
    assert_eq!(outcome.ok().unwrap().0.endpoint.name().as_str(), "p");
    assert_eq!(started.elapsed(), 2 * ACQUIRE_RETRY_INTERVAL);
    let reported = Evidence::RoleReported(ObservedRole::Standby);
    assert_eq!(stand.evidence.take(), [("p".to_owned(), reported)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_in_recovery_serves_reads_and_routes_that_name_it() {
    let stand = Stand::new(CLUSTER);
    let read_pool = RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Refuse };
    for route in [read_pool, RoutePolicy::Endpoint("a".parse().unwrap())] {
        let listener = stand.listener(route, Duration::ZERO);
        let acquired = acquire_dedicated(&stand.services, &listener, |_: EndpointHandle| async {
            Ok(Scripted { is_in_recovery: true })
        });
        assert!(acquired.await.is_ok());
    }
    let listener = stand.listener(RoutePolicy::Primary, Duration::ZERO);
    let acquired = acquire_dedicated(&stand.services, &listener, |_: EndpointHandle| async {
        Ok(Scripted { is_in_recovery: true })
    });
    let client_error = acquired.await.err().unwrap().client_error();
    assert_eq!(client_error.message, "endpoint \"p\" is in recovery");
}

#[tokio::test(start_paused = true)]
async fn no_endpoint_is_reported_without_a_try() {
    let stand = Stand::new("a read-pool up standby");
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let (outcome, tried) = acquire(&stand, &listener, |_, _| Ok(())).await;
    assert_eq!(outcome.err().unwrap().client_error().reason, ClientErrorReason::NoEndpoint);
    assert_eq!(tried, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_new_writer_ends_the_pause() {
    let mut stand = Stand::new("p primary up standby\nq primary up standby");
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let started = Instant::now();
    let services = Arc::clone(&stand.services);
    let acquired = acquire_dedicated(&services, &listener, |_: EndpointHandle| async { Ok(()) });
    let promoted = async {
        tokio::time::sleep(ACQUIRE_RETRY_INTERVAL / 4).await;
        stand.topology.publish(snapshot("p primary down standby\nq primary up primary"));
    };
    let (outcome, ()) = tokio::join!(acquired, promoted);
    let (connected, reason) = outcome.ok().unwrap();
    assert_eq!((connected.endpoint.name().as_str(), reason), ("q", RouteReason::Writer));
    assert!(started.elapsed() < ACQUIRE_RETRY_INTERVAL);
}

/// A refused TCP connection: no process listens at the endpoints' address.
#[tokio::test]
async fn a_pool_and_a_connect_report_the_same_failure() {
    let stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, Duration::ZERO);
    let (user, database) = (UserName::new("alice").unwrap(), DatabaseName::new("orders").unwrap());
    let startup = StartupMessage::new(ProtocolVersion::V3_0);
    let mut acquirer = PooledAcquirer::pooled(&stand.services, &listener, user, database, startup);
    let pooled = acquirer.lease().await.err().unwrap().client_error();
    let dialed = acquire_dedicated(&stand.services, &listener, |endpoint: EndpointHandle| async move {
        endpoint.dial().await
    });
    let dedicated = dialed.await.err().unwrap().client_error();
    assert_eq!(pooled, dedicated);
    assert_eq!(pooled.reason, ClientErrorReason::Endpoint);
    let now = std::time::Instant::now();
    assert!(stand.services.routing.outliers.avoids(&"p".parse().unwrap(), now), "other sessions keep away");
}

#[tokio::test(start_paused = true)]
async fn a_read_with_another_way_is_not_refused() {
    let stand = Stand::new(CLUSTER);
    let refuses = |route: RoutePolicy| {
        let listener = stand.listener(route, HOLD);
        let (user, database) = (UserName::new("alice").unwrap(), DatabaseName::new("shop").unwrap());
        let startup = StartupMessage::new(ProtocolVersion::V3_0);
        let mut acquirer = PooledAcquirer::pooled(&stand.services, &listener, user, database, startup);
        acquirer.pool().unwrap();
        acquirer.is_refusable()
    };
    assert!(!refuses(READ_POOL), "the writer may serve the read");
    assert!(refuses(RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Refuse }));
    assert!(refuses(RoutePolicy::Primary));
}

fn pooled(stand: &Stand, listener: &Arc<ListenerContext>) -> PooledAcquirer {
    let (user, database) = (UserName::new("app").unwrap(), DatabaseName::new("app").unwrap());
    let startup = StartupMessage::new(ProtocolVersion::V3_0);
    PooledAcquirer::pooled(&stand.services, listener, user, database, startup)
}

/// The cluster while an operator moves the writer.
fn held(lines: &str) -> TopologySnapshot {
    let mut snapshot = snapshot(lines);
    snapshot.writer = None;
    snapshot.control.is_held = true;
    snapshot
}

#[tokio::test(start_paused = true)]
async fn a_new_client_waits_while_the_writer_moves() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    stand.topology.publish(held(CLUSTER));
    let mut acquirer = pooled(&stand, &listener);
    let started = Instant::now();
    let moves = async {
        tokio::time::sleep(HOLD / 2).await;
        stand.topology.publish(snapshot(CLUSTER));
    };
    let (pool, ()) = tokio::join!(acquirer.wait_for_pool(), moves);
    assert_eq!(pool.ok().unwrap().endpoint().name().as_str(), "p");
    assert_eq!(started.elapsed(), HOLD / 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_client_is_refused_at_the_end_of_its_hold() {
    let mut stand = Stand::new(CLUSTER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    stand.topology.publish(held(CLUSTER));
    let started = Instant::now();
    let error = pooled(&stand, &listener).wait_for_pool().await.err().unwrap().client_error();
    assert_eq!((error.sqlstate.as_str(), started.elapsed()), ("57P03", HOLD));
    stand.topology.publish(snapshot(CLUSTER));
    assert!(pooled(&stand, &listener).wait_for_pool().await.is_ok());
}
