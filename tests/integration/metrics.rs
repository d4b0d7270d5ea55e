//! `/metrics` of the running program.

use std::{io::Write as _, process::Stdio};

use crate::harness::{Stand, grafana::tool};

/// Families whose series belong to a listener or to the program, and not to an endpoint; a new family must be listed.
const OF_NO_ENDPOINT: [&str; 24] = [
    "gatekeeper_held_clients",
    "gatekeeper_hold_duration_seconds",
    "gatekeeper_holds_total",
    "gatekeeper_commits_in_doubt_total",
    "gatekeeper_interrupted_transactions_total",
    "gatekeeper_writer_absence_duration_seconds",
    "gatekeeper_clients",
    "gatekeeper_client_",
    "gatekeeper_authentication_failures_total",
    "gatekeeper_sessions_total",
    "gatekeeper_route_decisions_total",
    "gatekeeper_read_fallbacks_total",
    "gatekeeper_cancel_requests_total",
    "gatekeeper_accept_errors_total",
    "gatekeeper_listener_",
    "gatekeeper_topology_",
    "gatekeeper_admin_",
    "gatekeeper_build_info",
    "gatekeeper_config_",
    "gatekeeper_file_reloads_total",
    "gatekeeper_trace_",
    "gatekeeper_audit_",
    "gatekeeper_panics_total",
    "process_",
];

async fn metrics() -> String {
    let stand = Stand::passthrough().await;
    let client = stand.connect("user=app password=app-password dbname=app").await.unwrap();
    // The error arrives before the ReadyForQuery of its statement; the next response arrives behind both.
    client.simple_query("SELECT 1/0").await.unwrap_err();
    client.simple_query("SELECT 1").await.unwrap();
    let answer = stand.gatekeeper.get("/metrics").await.unwrap();
    assert_eq!(answer.status, 200);
    answer.body
}

#[tokio::test]
async fn every_series_of_an_endpoint_carries_its_name_and_role() {
    let metrics = metrics().await;
    let series = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut labelled = 0;
    for line in series {
        if OF_NO_ENDPOINT.iter().any(|prefix| line.starts_with(prefix)) {
            assert!(!line.contains("endpoint="), "{line}");
        } else {
            assert!(line.contains("endpoint=\"primary\",backend_role=\"primary\""), "{line}");
            labelled += 1;
        }
    }
    assert!(labelled > 100, "{labelled} series in:\n{metrics}");
    let value = |series: &str| {
        let line = metrics.lines().find(|line| line.starts_with(series));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<f64>().ok())
    };
    let path = "{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"";
    for (name, last, expected) in [
        ("gatekeeper_statements_total", ",outcome=\"ok\"}", 1.0),
        ("gatekeeper_statements_total", ",outcome=\"error\"}", 1.0),
        ("gatekeeper_statement_errors_total", ",sqlstate_class=\"22\"}", 1.0),
        ("gatekeeper_statement_errors_total", ",sqlstate_class=\"42\"}", 0.0),
        ("gatekeeper_statement_duration_seconds_count", "}", 2.0),
        ("gatekeeper_transactions_total", "}", 2.0),
    ] {
        assert_eq!(value(&format!("{name}{path}{last}")), Some(expected), "{name}{path}{last}");
    }
}

#[tokio::test]
async fn promtool_finds_no_fault_in_the_metrics() {
    let Some(mut promtool) = tool("promtool") else { return };
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics().await.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
}
