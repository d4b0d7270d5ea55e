//! Dashboards and alerts in front of a real Prometheus, which looks at the program under load while the cluster has a bad
//! quarter of an hour in fast motion.

mod calm;
mod faults;
mod load;
mod verdict;
mod watch;

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use gatekeeper::testing::sandbox::{Passage, Sandbox, SandboxOptions, Stop};

use crate::harness::{
    Gatekeeper,
    grafana::{self, Dashboard, Target, tool},
    pki::Pki,
    prometheus::{Prometheus, Span},
};
use load::Load;
use verdict::{faults_of_alert, faults_of_target, faults_of_variable, filled_in};

/// Panels and alerts that are rightly empty here, by a part of the message, with the reason.
const EMPTY: [(&str, &str); 5] = [
    ("gatekeeper-endpoint / Certificates and tokens: ours", "no endpoint here wants a certificate of us"),
    ("gatekeeper-clients / Certificates of endpoints: ours", "no endpoint here wants a certificate of us"),
    (
        "gatekeeper-clients / Certificates for clients: it finds no finite number (min by (instance)",
        NO_ADMIN_TLS,
    ),
    ("GatekeeperCertificateExpiring: gatekeeper_admin_certificate_expiry_timestamp_seconds", NO_ADMIN_TLS),
    ("GatekeeperTokenNotRenewed: gatekeeper_token_mint_failure_timestamp_seconds", "no mint fails here"),
];

const NO_ADMIN_TLS: &str = "the admin API has no TLS here";

/// Set to a folder, pictures of the dashboards are drawn there: `make pictures`.
const PICTURES: &str = "GATEKEEPER_TEST_PICTURES";

/// The sandbox with Gatekeeper, clients, and Prometheus.
struct Scene {
    // Fields in the order of their end.
    _load: Load,
    prometheus: Prometheus,
    gatekeeper: Gatekeeper,
    sandbox: Sandbox,
    started: f64,
}

impl Scene {
    /// `None`: there is no Prometheus.
    async fn open() -> Option<Self> {
        tool("prometheus")?;
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let gatekeeper =
            Gatekeeper::start(sandbox.folder(), &config(&sandbox), sandbox.admin_address()).await;
        sandbox
            .node("primary")
            .sql("app", "CREATE TABLE load (id int); GRANT ALL ON load TO PUBLIC")
            .await
            .unwrap();
        let address = (sandbox.block().ip(101), 9090).into();
        let rules = grafana::file("alerts/rules.yml");
        let prometheus =
            Prometheus::start(sandbox.folder(), address, sandbox.admin_address(), &rules).await?;
        let started = now();
        let load = Load::start(&sandbox).await;
        Some(Self { _load: load, prometheus, gatekeeper, sandbox, started })
    }

    /// A lag spike, an outage of a read pool, a crash of the primary, a rejected configuration, a switchover to the
    /// other region and back, and the read pool again; Prometheus scrapes each before the next begins. Returns the
    /// span.
    async fn bad_day(&self) -> Span {
        let Self { prometheus, sandbox, .. } = self;
        let all_up = "sum(gatekeeper_endpoint_health{state=\"up\"}) == 4";
        prometheus.sees(all_up).await;
        prometheus
            .sees("min(rate(gatekeeper_statements_total{listener=\"app\",endpoint=\"primary\",outcome!=\"refused\"}[8s])) > 0")
            .await;
        self.dwell().await;

        let standby = sandbox.node("dr-reads-1");
        standby.pause_replay().await.unwrap();
        prometheus.sees("gatekeeper_replication_lag_seconds{endpoint=\"dr-reads\"} > 5").await;
        self.dwell().await;
        standby.resume_replay().await.unwrap();
        prometheus.sees("gatekeeper_replication_lag_seconds{endpoint=\"dr-reads\"} < 3").await;
        self.dwell().await;

        let reads_down = "gatekeeper_endpoint_health{endpoint=\"reads\",state=\"down\"} == 1";
        let reads = sandbox.endpoint("reads").middleman();
        reads.set(Passage::Cut);
        prometheus.sees(reads_down).await;
        prometheus.sees("rate(gatekeeper_statements_total{listener=\"reads\",backend_role=\"primary\",outcome=\"ok\"}[4s]) > 0").await;
        self.dwell().await;
        reads.set(Passage::Open);
        prometheus.sees(all_up).await;
        self.dwell().await;

        let primary = sandbox.node("primary");
        primary.stop(Stop::Immediate).await.unwrap();
        prometheus.sees("gatekeeper_endpoint_health{endpoint=\"primary\",state=\"down\"} == 1").await;
        self.dwell().await;
        primary.start().await.unwrap();
        prometheus.sees(all_up).await;
        self.refused_reload().await;
        self.dwell().await;

        sandbox.switchover().await.unwrap();
        prometheus.sees("count(gatekeeper_endpoint_role_mismatch{endpoint=~\"primary|dr\"} == 1) == 2").await;
        self.dwell().await;
        sandbox.switchover().await.unwrap();
        prometheus.sees("sum(gatekeeper_endpoint_role_mismatch) == 0").await;
        prometheus.sees(all_up).await;
        prometheus.sees("gatekeeper_replication_lag_seconds{endpoint=\"dr\"} >= 0").await;
        self.dwell().await;

        reads.set(Passage::Cut);
        prometheus.sees(reads_down).await;
        Span { start: self.started, end: self.dwell().await }
    }

    /// A configuration with a mistake is rejected, and the previous configuration stays in force.
    async fn refused_reload(&self) {
        let file = self.gatekeeper.config_file();
        let config = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, format!("{config}\n[nonsense]\n")).unwrap();
        self.gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap();
        self.prometheus.sees("gatekeeper_config_reload_failed == 1").await;
        std::fs::write(file, config).unwrap();
        self.gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap();
    }

    /// Waits for a few more scrapes, or for many in favor of a picture; returns the time of the last.
    async fn dwell(&self) -> f64 {
        let looks = if std::env::var_os(PICTURES).is_some() { 14.0 } else { 3.0 };
        let seen = self.prometheus.sees("up").await;
        self.prometheus.sees(&format!("timestamp(up) > {}", seen + looks)).await
    }
}

/// The sandbox's own configuration, with pools that are too small, limits, and a certificate for clients.
fn config(sandbox: &Sandbox) -> String {
    let identity = Pki::new(sandbox.folder(), "clients").issue("gatekeeper");
    let (cert, key) = (identity.cert.display(), identity.key.display());
    let listener = format!(
        "tls = {{ cert = \"{cert}\", key = \"{key}\" }}\nmax_clients = 100\nhold = \"2s\"\n\
         pool = {{ mode = \"transaction\", size = 4, query_wait_timeout = \"2s\" }}\n"
    );
    let config = sandbox.config_toml().unwrap();
    let config = config.replace("[[listener]]\n", &format!("[[listener]]\n{listener}"));
    let config = config.replace("route = \"primary\"", "route = \"split\"");
    // Tokens that are renewed during the test.
    let config = config.replace("token_command = [", "token_ttl = \"6s\", token_command = [");
    config.replace("[[cluster.endpoint]]\n", "[[cluster.endpoint]]\nmax_backends = 40\n")
        + "\n[probe]\ninterval = \"500ms\"\n"
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// All faults found by Prometheus.
async fn faults(prometheus: &Prometheus, span: Span) -> Vec<String> {
    let mut faults = Vec::new();
    let mut asked = 0;
    for dashboard in Dashboard::all() {
        for (place, panel, target) in dashboard.targets() {
            let found = faults_of_target(prometheus, target, span).await;
            let place =
                if panel.kind == "table" { format!("{place}: {}", column(panel, target)) } else { place };
            faults.extend(found.into_iter().map(|fault| format!("{place}: {fault} ({})", target.expr)));
            asked += 1;
        }
        for query in dashboard.variables.iter().filter_map(|variable| variable.query.as_deref()) {
            faults.extend(faults_of_variable(prometheus, query, span).await);
            asked += 1;
        }
        for expr in &dashboard.annotations {
            if let Err(error) = prometheus.range(&filled_in(expr), span).await {
                faults.push(error);
            }
        }
    }
    for alert in grafana::alerts() {
        let found = faults_of_alert(prometheus, &alert.expr, span).await;
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", alert.name)));
        asked += 1;
    }
    eprintln!("{asked} questions in {} s of samples", (span.end - span.start).round());
    faults
}

/// Columns of a table are named apart from their query.
fn column<'a>(panel: &'a grafana::Panel, target: &Target) -> &'a str {
    let at = panel.targets.iter().position(|other| other.expr == target.expr).unwrap_or_default();
    let names = &panel.json["transformations"][1]["options"]["renameByName"];
    names[format!("Value #{}", char::from(b'A' + u8::try_from(at).unwrap()))].as_str().unwrap_or_default()
}

/// The state of an endpoint in the timeline, in order of time.
async fn timeline(prometheus: &Prometheus, span: Span, endpoint: &str) -> Vec<i64> {
    let overview =
        Dashboard::all().into_iter().find(|dashboard| dashboard.uid == "gatekeeper-overview").unwrap();
    let panel = overview.panels.iter().find(|panel| panel.title == "Topology").unwrap();
    let series = prometheus.range(&filled_in(&panel.targets[0].expr), span).await.unwrap();
    let one = series.into_iter().find(|series| series.labels["endpoint"] == endpoint).unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "states are small whole numbers")]
    let mut states: Vec<i64> = one.samples.iter().map(|sample| *sample as i64).collect();
    states.dedup();
    states
}

async fn value(prometheus: &Prometheus, query: &str, span: Span) -> f64 {
    let series = prometheus.instant(query, span.end).await.unwrap();
    series.first().unwrap_or_else(|| panic!("{query} finds nothing")).samples[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_and_alert_has_data_during_an_outage() {
    let Some(scene) = Scene::open().await else { return };
    let span = scene.bad_day().await;
    let prometheus = &scene.prometheus;

    let found = faults(prometheus, span).await;
    let excused = |fault: &&String| !EMPTY.iter().any(|(place, _)| fault.starts_with(place));
    let unexcused: Vec<_> = found.iter().filter(excused).collect();
    assert!(unexcused.is_empty(), "{unexcused:#?}");

    // 1 primary, 2 read pool, 3 secondary, 4 and 5 not as declared, 6 down; 0 before the first look.
    let states = |text: &str| text.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<i64>>();
    for (endpoint, wanted) in [
        ("reads", "2 6 2"),
        ("primary", "1 6 1"),
        ("primary", "1 4"),
        ("dr", "3 5"),
        ("dr", "5 3"),
        ("dr", "5 3"),
        ("dr-reads", "3"),
    ] {
        let seen = timeline(prometheus, span, endpoint).await;
        assert!(follows(&seen, &states(wanted)), "{endpoint} was seen as {seen:?}, not as {wanted}");
    }
    let range = format!("[{}s]", (span.end - span.start).round());
    for (query, least) in [
        ("max(max_over_time(gatekeeper_replication_lag_seconds$R))", 5.0),
        ("max(max_over_time(gatekeeper_endpoint_replay{endpoint=\"dr-reads\",state=\"paused\"}$R))", 1.0),
        ("max(max_over_time(gatekeeper_pool_oldest_wait_seconds$R))", 0.5),
        ("max(max_over_time(gatekeeper_oldest_transaction_seconds$R))", 0.01),
        ("-min(min_over_time(gatekeeper_topology_writable_endpoints$R))", 0.0),
        ("sum(increase(gatekeeper_topology_changes_total{kind=\"writer\"}$R))", 0.9),
        ("sum(increase(gatekeeper_pins_total{reason=\"temporary_object\"}$R))", 0.9),
        ("sum(increase(gatekeeper_authentication_failures_total{reason=\"wrong_password\"}$R))", 0.9),
        ("sum(increase(gatekeeper_client_refusals_total{reason=\"protocol\"}$R))", 0.9),
        ("sum(increase(gatekeeper_cancel_requests_total{outcome=\"ok\"}$R))", 0.9),
        ("max(max_over_time(gatekeeper_pool_waiting_clients$R))", 1.0),
        ("sum(increase(gatekeeper_read_fallbacks_total{reason=\"no-reader\"}$R))", 0.9),
    ] {
        let seen = value(prometheus, &query.replace("$R", &range), span).await;
        assert!(seen >= least, "{query} is {seen}");
    }

    // Prometheus evaluates the rules itself.
    let rules = prometheus.ask("rules", &[]).await;
    let rules = rules.unwrap_or_default();
    let groups = rules["groups"].as_array().cloned().unwrap_or_default();
    let evaluated: Vec<_> =
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
    assert_eq!(evaluated.len(), grafana::alerts().len());
    for rule in evaluated {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    // Units are known, so Prometheus read OpenMetrics.
    let metadata = prometheus.ask("metadata?metric=gatekeeper_traffic_bytes_total", &[]).await.unwrap();
    let other = prometheus.ask("metadata?metric=gatekeeper_traffic_bytes", &[]).await.unwrap();
    assert!(
        metadata.to_string().contains("\"unit\":\"bytes\"")
            || other.to_string().contains("\"unit\":\"bytes\""),
        "{metadata}{other}"
    );

    // The page's own promise, for 4 listeners, 4 endpoints and the 6 ways that routes allow.
    let series =
        value(prometheus, "count({job=\"gatekeeper\", __name__=~\"gatekeeper_.*|process_.*\"})", span).await;
    eprintln!("{series} series");
    assert!(series <= 50.0 + 4.0 * 115.0 + 4.0 * 140.0 + 6.0 * 110.0, "{series} series");

    mistakes_are_noticed(prometheus, span).await;
    draw(prometheus, span);
}

/// True if `seen` contains `wanted` in order; states in between may come from a slow machine.
fn follows(seen: &[i64], wanted: &[i64]) -> bool {
    let mut seen = seen.iter();
    wanted.iter().all(|state| seen.any(|other| other == state))
}

/// Proof that the check can fail: these faults are visible only to a Prometheus.
async fn mistakes_are_noticed(prometheus: &Prometheus, span: Span) {
    let target = |expr: &str, legend: &str| Target {
        expr: expr.to_owned(),
        legend: legend.to_owned(),
        instant: false,
    };
    for (expr, legend, fault) in [
        ("rate(gatekeeper_statements_total{outcome=\"fine\"}[$__rate_interval])", "", "it finds nothing"),
        ("gatekeeper_token_expiry_timestamp_seconds * NaN", "", "it finds no finite number"),
        ("sum by (endpoint) (gatekeeper_backends)", "{{listener}}", "its legend names listener"),
        ("sum by endpoint (gatekeeper_backends)", "", "parse error"),
        ("gatekeeper_backends / gatekeeper_clients", "", "it finds nothing"),
    ] {
        let found = faults_of_target(prometheus, &target(expr, legend), span).await;
        assert!(
            found.iter().any(|found| found.contains(fault)),
            "`{fault}` is not among {found:?} of {expr}"
        );
    }
    let found = faults_of_alert(prometheus, "gatekeeper_endpoint_health{state=\"dead\"} == 1", span).await;
    assert!(found.iter().any(|found| found.ends_with("it finds nothing")), "{found:?}");
    let found = faults_of_variable(prometheus, "label_values(gatekeeper_clients, endpoint)", span).await;
    assert!(found.iter().any(|found| found.ends_with("lists nothing")), "{found:?}");
}

/// Draws the dashboards on request.
fn draw(prometheus: &Prometheus, span: Span) {
    let Some(folder) = std::env::var_os(PICTURES) else { return };
    let mut command = Command::new("python3");
    command.arg(grafana::file("draw")).arg(format!("http://{}", prometheus.address()));
    command.args([span.start, span.end].map(|moment| moment.to_string())).arg(folder);
    assert!(command.status().unwrap().success(), "grafana/draw failed");
}

#[test]
fn every_exemption_names_an_existing_panel_or_alert() {
    let places: Vec<String> = Dashboard::all()
        .iter()
        .flat_map(|dashboard| {
            let place = |panel: &grafana::Panel| format!("{} / {}", dashboard.uid, panel.title);
            dashboard.panels.iter().map(place).collect::<Vec<_>>()
        })
        .chain(grafana::alerts().into_iter().map(|alert| alert.name))
        .collect();
    for (place, why) in EMPTY {
        assert!(
            places.iter().any(|panel| place.starts_with(panel)),
            "there is no {place}, which was excused since {why}"
        );
    }
}
