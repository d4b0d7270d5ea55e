use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    names::{ClusterName, EndpointName},
    route::{RerunCause, RouteReason},
    sql::ClassifyReason,
    telemetry::{
        catalog::{CATALOG, Metric, MetricKind},
        labels::{Certificate, ClientState, ConnectPhase, Direction, Outcome, StatementOutcome},
    },
    topology::{DeclaredRole, Health},
};

fn endpoint() -> Endpoint {
    Endpoint {
        name: EndpointName::new("reads").unwrap(),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role: DeclaredRole::ReadPool,
        address: "10.0.0.1".parse().unwrap(),
    }
}

fn listener() -> ListenerName {
    ListenerName::new("app").unwrap()
}

#[test]
fn what_is_shown_is_what_the_catalogue_lists() {
    let metrics = Metrics::new();
    let _handles = (
        metrics.path(&listener(), &endpoint()),
        metrics.listener(&listener()),
        metrics.endpoint(&endpoint()),
        metrics.topology(),
        metrics.program(),
        metrics.admin(),
        metrics.audit(),
        metrics.traces(),
    );
    let page = metrics.render();
    let heads = |prefix| -> BTreeSet<String> {
        page.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let listed = |words: fn(&Metric) -> String| -> BTreeSet<String> {
        CATALOG.iter().map(|metric| words(metric)).collect()
    };
    let typed = listed(|metric| match metric.kind {
        MetricKind::Counter => format!("{} counter", metric.name),
        MetricKind::Gauge => format!("{} gauge", metric.name),
        MetricKind::Histogram(_) => format!("{} histogram", metric.name),
    });
    assert_eq!(heads("# TYPE "), typed);
    assert_eq!(heads("# HELP "), listed(|metric| format!("{} {}", metric.name, metric.help)));
    assert_eq!(typed.len(), CATALOG.len(), "a name is listed twice");
}

#[test]
fn every_series_is_there_before_its_first_event() {
    let metrics = Metrics::new();
    let path = metrics.path(&listener(), &endpoint());
    let before: BTreeSet<String> = series(&metrics.render());
    let path = path.of(0);
    path.record_statement(StatementOutcome::Error, Duration::from_millis(3));
    path.record_error("40P01");
    path.record_error("0A000");
    assert_eq!(series(&metrics.render()), before, "an event made a new series");
    let page = metrics.render();
    assert!(page.contains(
        "gatekeeper_statement_errors_total{listener=\"app\",endpoint=\"reads\",backend_role=\"read-pool\",sqlstate_class=\"40\"} 1\n"
    ));
    assert!(page.contains("outcome=\"ok\"} 0\n"));
}

#[test]
fn decisions_are_counted_by_reason_and_fallbacks_are_the_reads_that_a_read_pool_could_have_served() {
    let metrics = Metrics::new();
    let (listener, reads) = (metrics.listener(&listener()), metrics.endpoint(&endpoint()));
    let before = series(&metrics.render());
    for worker in [0, 3] {
        let routes = listener.routes(worker);
        routes.record_decision(RouteReason::Statement(ClassifyReason::Read));
        routes.record_decision(RouteReason::NotFresh);
        routes.fell_back(RouteReason::NotFresh);
        routes.record_decision(RouteReason::Hint);
        routes.fell_back(RouteReason::Hint);
    }
    reads.record_rerun(RerunCause::RecoveryConflict);
    reads.writer_sampled(Outcome::Error);
    let page = metrics.render();
    assert_eq!(series(&page), before, "an event made a new series");
    for line in [
        "gatekeeper_route_decisions_total{listener=\"app\",reason=\"read\"} 2\n",
        "gatekeeper_route_decisions_total{listener=\"app\",reason=\"not-fresh\"} 2\n",
        "gatekeeper_route_decisions_total{listener=\"app\",reason=\"hint\"} 2\n",
        "gatekeeper_read_fallbacks_total{listener=\"app\",reason=\"not-fresh\"} 2\n",
        "gatekeeper_read_fallbacks_total{listener=\"app\",reason=\"no-reader\"} 0\n",
        "gatekeeper_reruns_total{endpoint=\"reads\",backend_role=\"read-pool\",cause=\"recovery-conflict\"} 1\n",
        "gatekeeper_writer_samples_total{endpoint=\"reads\",backend_role=\"read-pool\",outcome=\"error\"} 1\n",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    assert!(!page.contains("gatekeeper_read_fallbacks_total{listener=\"app\",reason=\"hint\"}"));
}

fn series(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

#[test]
fn names_say_kind_and_unit() {
    for metric in CATALOG {
        let name = metric.name;
        assert!(name.starts_with("gatekeeper_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
        if let MetricKind::Histogram(buckets) = metric.kind {
            assert!(name.ends_with("_seconds"), "{name}");
            assert!(buckets.bounds().is_sorted(), "{name}");
        }
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\', '"']), "{name}");
    }
}

/// Number of series added to the page by `more`.
fn cost<T>(metrics: &Metrics, more: impl FnOnce() -> T) -> usize {
    let before = series(&metrics.render()).len();
    more();
    series(&metrics.render()).len() - before
}

/// Half of an endpoint's series are buckets of its phases: one more bound adds seven series. Half of a listener's
/// series are route reasons.
#[test]
fn the_page_stays_within_its_budget_of_series() {
    let metrics = Metrics::new();
    let program =
        cost(&metrics, || (metrics.topology(), metrics.program(), metrics.admin(), metrics.audit()));
    let listener_costs = cost(&metrics, || metrics.listener(&listener()));
    let endpoint_costs = cost(&metrics, || metrics.endpoint(&endpoint()));
    let path = cost(&metrics, || metrics.path(&listener(), &endpoint()));
    println!("series: program {program}, listener {listener_costs}, endpoint {endpoint_costs}, path {path}");
    for (what, costs, budget) in [
        ("the program", program, 50),
        ("a listener", listener_costs, 120),
        ("an endpoint", endpoint_costs, 140),
        ("a listener's way to an endpoint", path, 110),
    ] {
        assert!(costs <= budget, "{what} costs {costs} series, and the budget is {budget}");
    }
}

/// Enough listeners and endpoints for `wanted` series.
fn crowd(metrics: &Metrics, wanted: usize) -> Vec<Arc<PathMetrics>> {
    let mut paths = Vec::new();
    for number in 0.. {
        if series(&metrics.render()).len() >= wanted {
            break;
        }
        let endpoint =
            Endpoint { name: EndpointName::new(&format!("reads-{number}")).unwrap(), ..endpoint() };
        let listener = ListenerName::new(&format!("app-{}", number % 5)).unwrap();
        let _handles = (metrics.listener(&listener), metrics.endpoint(&endpoint));
        paths.push(metrics.path(&listener, &endpoint));
    }
    paths
}

/// Rendering a page must not hold a lock that sessions need for counting.
#[test]
fn sessions_go_on_counting_while_a_page_of_five_thousand_series_is_written() {
    let metrics = Metrics::new();
    let paths = crowd(&metrics, 5000);
    let (rounds, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let took = std::thread::scope(|scope| {
        for worker in 0..2 {
            let (paths, rounds, done) = (&paths, &rounds, &done);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    for path in paths {
                        // Uses both locks: that of the shards, and that of long durations.
                        path.of(worker).record_statement(StatementOutcome::Ok, Duration::from_secs(1000));
                    }
                    rounds.fetch_add(1, Relaxed);
                }
            });
        }
        let mut took = Vec::new();
        // On a busy machine, a page may be written while no worker runs, but not every time.
        let gone_on = (0..500).any(|_| {
            let before = rounds.load(Relaxed);
            let start = Instant::now();
            let page = metrics.render_openmetrics();
            took.push(start.elapsed());
            // The first of a worker's rounds may have begun before the page.
            page.len() > 100_000 && rounds.load(Relaxed) >= before + 4
        });
        done.store(true, Relaxed);
        assert!(gone_on, "nobody could count while a page was written");
        took
    });
    let quickest = took.iter().min().expect("a page was written");
    let size = metrics.render_openmetrics().len();
    println!("{} series, {size} bytes, in {quickest:?}", series(&metrics.render()).len());
}

#[test]
fn a_client_is_counted_in_exactly_one_state_and_in_none_when_gone() {
    let metrics = Metrics::new();
    let listener = metrics.listener(&listener());
    let shown = |state: &str| {
        let head = format!("gatekeeper_clients{{listener=\"app\",state=\"{state}\"}} ");
        let page = metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix(&head)).map(str::to_owned);
        line.expect("the series exists")
    };
    let mut client = listener.record_accept();
    assert_eq!((shown("login"), shown("active")), ("1".into(), "0".into()));
    client.settle(1);
    client.enter(ClientState::Active);
    client.enter(ClientState::Active);
    assert_eq!((shown("login"), shown("active")), ("0".into(), "1".into()));
    drop(client);
    assert_eq!((shown("login"), shown("active")), ("0".into(), "0".into()));
}

#[test]
fn an_endpoint_has_one_health_and_one_role_at_a_time() {
    let metrics = Metrics::new();
    let endpoint = metrics.endpoint(&endpoint());
    endpoint.state(Health::Down, None, false);
    endpoint.state(Health::Up, Some(crate::topology::ObservedRole::Standby), true);
    let _backend = endpoint.connected();
    endpoint.connect_failed(ConnectPhase::Tls);
    endpoint.certificate_ends(Certificate::Ca, Some(UNIX_EPOCH + Duration::from_secs(2_000_000_000)));
    let page = metrics.render();
    let labels = "endpoint=\"reads\",backend_role=\"read-pool\"";
    for line in [
        format!("gatekeeper_endpoint_health{{{labels},state=\"up\"}} 1\n"),
        format!("gatekeeper_endpoint_health{{{labels},state=\"down\"}} 0\n"),
        format!("gatekeeper_endpoint_role{{{labels},role=\"standby\"}} 1\n"),
        format!("gatekeeper_endpoint_role{{{labels},role=\"unknown\"}} 0\n"),
        format!("gatekeeper_endpoint_role_mismatch{{{labels}}} 1\n"),
        format!("gatekeeper_backends{{{labels}}} 1\n"),
        format!("gatekeeper_connects_total{{{labels},outcome=\"error\"}} 1\n"),
        format!("gatekeeper_connect_failures_total{{{labels},phase=\"tls\"}} 1\n"),
        format!(
            "gatekeeper_certificate_expiry_timestamp_seconds{{{labels},certificate=\"ca\"}} 2000000000\n"
        ),
        format!("gatekeeper_certificate_expiry_timestamp_seconds{{{labels},certificate=\"client\"}} NaN\n"),
    ] {
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

/// The page's values for an endpoint: info, "up", and number of failed connections.
fn standing(metrics: &Metrics, role: &str, region: &str) -> [String; 3] {
    let labels = format!("endpoint=\"reads\",backend_role=\"{role}\"");
    let page = metrics.render();
    [
        format!("gatekeeper_endpoint_info{{{labels},cluster=\"orders\",region=\"{region}\"}} "),
        format!("gatekeeper_endpoint_health{{{labels},state=\"up\"}} "),
        format!("gatekeeper_connect_failures_total{{{labels},phase=\"tls\"}} "),
    ]
    .map(|head| page.lines().find_map(|line| line.strip_prefix(&head)).expect("the series exists").to_owned())
}

#[test]
fn an_endpoint_that_is_gone_keeps_its_counts_and_has_no_state() {
    let metrics = Metrics::new();
    let handles = metrics.endpoint(&endpoint());
    handles.connect_failed(ConnectPhase::Tls);
    handles.token_minted(Duration::from_millis(1), UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    assert_eq!(standing(&metrics, "read-pool", ""), ["0", "0", "1"], "before it is in use");
    handles.state(Health::Up, Some(crate::topology::ObservedRole::Standby), true);
    handles.set_fenced(true);
    let fenced = |value| {
        format!("gatekeeper_endpoint_fenced{{endpoint=\"reads\",backend_role=\"read-pool\"}} {value}\n")
    };
    assert!(metrics.render().contains(&fenced(1)));
    assert_eq!(standing(&metrics, "read-pool", ""), ["1", "1", "1"]);
    handles.replaced(None);
    assert_eq!(standing(&metrics, "read-pool", ""), ["0", "0", "1"]);
    let page = metrics.render();
    let labels = "endpoint=\"reads\",backend_role=\"read-pool\"";
    for line in [
        format!("gatekeeper_endpoint_role{{{labels},role=\"standby\"}} 0\n"),
        format!("gatekeeper_endpoint_role_mismatch{{{labels}}} 0\n"),
        fenced(0),
        format!("gatekeeper_token_expiry_timestamp_seconds{{{labels}}} NaN\n"),
    ] {
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

#[test]
fn an_endpoint_declared_anew_takes_along_what_its_labels_still_say() {
    let metrics = Metrics::new();
    let handles = metrics.endpoint(&endpoint());
    handles.state(Health::Up, None, false);
    handles.replaced(Some(&Endpoint { address: "10.0.0.2".parse().unwrap(), ..endpoint() }));
    assert_eq!(standing(&metrics, "read-pool", ""), ["1", "1", "0"], "the address is no label");
    handles.replaced(Some(&Endpoint { region: Some("eu".into()), ..endpoint() }));
    assert_eq!(standing(&metrics, "read-pool", ""), ["0", "1", "0"], "the region is one of the info alone");
    handles.state(Health::Up, None, false);
    handles.replaced(Some(&Endpoint { role: DeclaredRole::Secondary, ..endpoint() }));
    assert_eq!(standing(&metrics, "read-pool", ""), ["0", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn upkeep_goes_on_until_it_is_dropped_and_loses_no_record() {
    let metrics = Metrics::new();
    let path = metrics.path(&listener(), &endpoint()).of(0);
    let upkeep = metrics.clone().run_upkeep();
    tokio::pin!(upkeep);
    for _ in 0..3 {
        path.overhead(Duration::from_micros(30));
        assert!(tokio::time::timeout(Duration::from_millis(2500), &mut upkeep).await.is_err());
    }
    let count = "gatekeeper_proxy_overhead_seconds_count{listener=\"app\",endpoint=\"reads\",backend_role=\"read-pool\"} 3\n";
    assert!(metrics.render().contains(count));
}

/// The page's value of a series of the path.
fn of_path(metrics: &Metrics, name: &str, more: &str) -> f64 {
    let head = format!("{name}{{listener=\"app\",endpoint=\"reads\",backend_role=\"read-pool\"{more}}} ");
    let page = metrics.render();
    let line = page.lines().find_map(|line| line.strip_prefix(&head)).expect("the series exists");
    line.parse().expect("a number")
}

#[test]
fn workers_that_count_while_others_look_lose_nothing() {
    let metrics = Metrics::new();
    let path = metrics.path(&listener(), &endpoint());
    std::thread::scope(|scope| {
        let counting: Vec<_> = (0..3)
            .map(|worker| {
                let counts = path.of(worker);
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        counts.record_statement(StatementOutcome::Error, Duration::from_millis(1));
                        counts.record_error("40001");
                        counts.overhead(Duration::from_micros(10));
                        counts.record_transaction();
                        counts.state_check();
                        counts.record_traffic(Direction::ToClient, 7);
                    }
                })
            })
            .collect();
        let mut last = 0.0;
        while !counting.iter().all(|thread| thread.is_finished()) {
            let now = of_path(&metrics, "gatekeeper_transactions_total", "");
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    });
    for (name, more, value) in [
        ("statements_total", ",outcome=\"error\"", 30_000.0),
        ("statements_total", ",outcome=\"ok\"", 0.0),
        ("statement_errors_total", ",sqlstate_class=\"40\"", 30_000.0),
        ("statement_duration_seconds_bucket", ",le=\"0.0005\"", 0.0),
        ("statement_duration_seconds_bucket", ",le=\"0.001\"", 30_000.0),
        ("statement_duration_seconds_count", "", 30_000.0),
        ("proxy_overhead_seconds_bucket", ",le=\"0.00001\"", 30_000.0),
        ("transactions_total", "", 30_000.0),
        ("state_checks_total", "", 30_000.0),
        ("traffic_bytes_total", ",direction=\"to_client\"", 210_000.0),
    ] {
        let shown = of_path(&metrics, &format!("gatekeeper_{name}"), more);
        assert!(shown == value, "{name}{more} is {shown}, not {value}");
    }
    let sum = of_path(&metrics, "gatekeeper_statement_duration_seconds_sum", "");
    assert!((sum - 30.0).abs() < 1e-9, "{sum}");
}

#[test]
fn a_session_that_outlives_its_paths_configuration_is_counted() {
    let metrics = Metrics::new();
    let counts = metrics.path(&listener(), &endpoint()).of(0);
    counts.record_transaction();
    let again = metrics.path(&listener(), &endpoint()).of(1);
    counts.record_transaction();
    again.record_transaction();
    drop((counts, again));
    assert_eq!(of_path(&metrics, "gatekeeper_transactions_total", ""), 3.0);
}

#[test]
fn clients_that_change_workers_are_never_seen_fewer_than_none() {
    let metrics = Metrics::new();
    let listener = metrics.listener(&listener());
    std::thread::scope(|scope| {
        let moving: Vec<_> = (0..2)
            .map(|worker| {
                let listener = &listener;
                scope.spawn(move || {
                    for round in 0..5000 {
                        let mut client = listener.record_accept();
                        client.settle(worker + round % 3);
                        client.enter(ClientState::Idle);
                        client.settle(worker);
                        client.enter(ClientState::Active);
                    }
                })
            })
            .collect();
        while !moving.iter().all(|thread| thread.is_finished()) {
            let page = metrics.render();
            assert!(!page.contains("state=\"login\"} -"), "{page}");
            assert!(!page.contains("state=\"idle\"} -") && !page.contains("state=\"active\"} -"), "{page}");
        }
    });
    let page = metrics.render();
    for state in ["login", "idle", "active"] {
        assert!(page.contains(&format!("state=\"{state}\"}} 0\n")), "{page}");
    }
}

#[test]
fn a_panic_anywhere_is_counted() {
    let metrics = Metrics::new();
    metrics.program().watch_panics();
    assert!(std::thread::spawn(|| panic!("on purpose")).join().is_err());
    let (count, last) = metrics.panics().panics().unwrap();
    assert!(count >= 1 && last.elapsed().unwrap() < Duration::from_secs(60), "{count} {last:?}");
    let page = metrics.render();
    assert!(
        page.contains("gatekeeper_panics_total ") && !page.contains("gatekeeper_panics_total 0\n"),
        "{page}"
    );
}

#[test]
fn the_process_shows_itself() {
    let page = Metrics::new().render();
    let value = |name: &str| {
        let line =
            page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.expect("the series exists").parse::<f64>().expect("a number")
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_threads") >= 1.0);
    assert!(value("process_start_time_seconds") > 1.7e9);
}
