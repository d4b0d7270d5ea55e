//! The dashboards, as far as checkable without a Prometheus; `tests/integration/prometheus.rs` has the rest.

use std::process::Command;

use serde_json::{Value, json};

use crate::grafana::{self, Dashboard, faults, faults_of_query, faults_of_set};
use crate::runbook::{answers, of_command};

#[test]
fn the_dashboards_equal_the_output_of_their_source() {
    let output = Command::new("python3").arg(grafana::file("generate")).arg("--check").output();
    let output = output.expect("Python 3 is installed");
    assert!(output.status.success(), "{}make grafana", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn no_dashboard_has_a_fault() {
    let dashboards = Dashboard::all();
    assert!(dashboards.len() >= 5, "{} dashboards", dashboards.len());
    let known: Vec<&str> = dashboards.iter().map(|dashboard| dashboard.uid.as_str()).collect();
    let mut found = faults_of_set(&dashboards);
    for dashboard in &dashboards {
        found
            .extend(faults(dashboard, &known).into_iter().map(|fault| format!("{}: {fault}", dashboard.uid)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The overview with a mistake.
fn spoiled(spoil: impl FnOnce(&mut Value)) -> Vec<String> {
    let dashboards = Dashboard::all();
    let known: Vec<&str> = dashboards.iter().map(|dashboard| dashboard.uid.as_str()).collect();
    let overview =
        dashboards.iter().find(|dashboard| dashboard.uid == "gatekeeper-overview").expect("it is there");
    let mut json = overview.json.clone();
    spoil(&mut json);
    faults(&Dashboard::parse(json), &known)
}

/// The panels that a reader sees stand at 1 and 2: the row's heading is at 0.
#[test]
fn each_mistake_in_a_dashboard_is_found() {
    type Spoil = fn(&mut Value);
    let mistakes: [(&str, Spoil); 14] = [
        ("id Some(3) is missing or taken", |json| json["panels"][1]["id"] = json!(3)),
        ("it overlaps `Gatekeepers up`", |json| json["panels"][2]["gridPos"]["x"] = json!(2)),
        ("it is not within 24 columns", |json| json["panels"][8]["gridPos"]["w"] = json!(4)),
        ("it has no unit", |json| json["panels"][1]["fieldConfig"]["defaults"]["unit"] = json!("")),
        ("its description does not say", |json| {
            json["panels"][1]["description"] = json!("Processes that answer.")
        }),
        ("it asks nothing", |json| json["panels"][1]["targets"] = json!([])),
        ("it leads nowhere", |json| json["panels"][1]["links"] = json!([])),
        ("there is no dashboard gatekeeper-nowhere", |json| {
            json["panels"][1]["links"][0]["url"] = json!("/d/gatekeeper-nowhere?x=1");
        }),
        ("there is no variable endpoint", |json| {
            json["templating"]["list"]
                .as_array_mut()
                .unwrap()
                .retain(|variable| variable["name"] != "endpoint");
        }),
        ("there is no variable shard", |json| ask(json, "up{instance=~\"$shard\"}")),
        ("there is no metric gatekeeper_no_such_metric", |json| ask(json, "max(gatekeeper_no_such_metric)")),
        ("there is no metric gatekeeper_gone_total", |json| {
            json["annotations"]["list"][0]["expr"] = json!("rate(gatekeeper_gone_total[1m])");
        }),
        ("gatekeeper_clients has no label endpoint", |json| {
            ask(json, "sum(gatekeeper_clients{endpoint=\"a\"})")
        }),
        ("the counter gatekeeper_statements_total is not in rate()", |json| {
            ask(json, "sum(gatekeeper_statements_total)")
        }),
    ];
    for (fault, spoil) in mistakes {
        let found = spoiled(spoil);
        assert!(found.iter().any(|found| found.contains(fault)), "`{fault}` is not among {found:#?}");
    }
    assert_eq!(spoiled(|_| ()), Vec::<String>::new());
}

/// Replaces the query of the first panel.
fn ask(json: &mut Value, expr: &str) {
    json["panels"][1]["targets"][0]["expr"] = json!(expr);
}

#[test]
fn each_mistake_in_a_query_is_found() {
    for (expr, fault) in [
        ("rate(gatekeeper_clients[5m])", "gatekeeper_clients goes up and down, and is in rate()"),
        (
            "sum(gatekeeper_statement_duration_seconds_count)",
            "the counter gatekeeper_statement_duration_seconds_count is not",
        ),
        (
            "sum(rate(gatekeeper_statement_duration_seconds[5m]))",
            "there is no metric gatekeeper_statement_duration_seconds",
        ),
        ("max by (region) (gatekeeper_backends)", "nothing in it has the label region"),
        ("sum by (le) (rate(gatekeeper_statements_total[5m]))", "nothing in it has the label le"),
        ("1 + 1", "it selects nothing"),
    ] {
        let found = faults_of_query(expr);
        assert!(
            found.iter().any(|found| found.starts_with(fault)),
            "`{fault}` is not among {found:?} of {expr}"
        );
    }
    for expr in [
        "histogram_quantile(0.9, sum by (endpoint, le) (rate(gatekeeper_probe_duration_seconds_bucket{job=\"x\"}[5m])))",
        "deriv(gatekeeper_replication_position_bytes[1m]) * on (endpoint) group_left (region) gatekeeper_endpoint_info",
    ] {
        assert_eq!(faults_of_query(expr), Vec::<String>::new(), "{expr}");
    }
}

#[test]
fn two_colors_of_a_series_and_duplicate_names_are_found() {
    let mut dashboards = Dashboard::all();
    let copy = dashboards[0].json.to_string().replace("#3274D9", "#123456");
    dashboards.push(Dashboard::parse(serde_json::from_str(&copy).unwrap()));
    let found = faults_of_set(&dashboards);
    for fault in [format!("two dashboards are called {}", dashboards[0].uid), "primary".to_owned()] {
        assert!(found.iter().any(|found| found.contains(&fault)), "`{fault}` is not among {found:#?}");
    }
}

#[test]
fn commands_in_panel_descriptions_exist() {
    let mut called = 0;
    for dashboard in Dashboard::all() {
        for panel in &dashboard.panels {
            let description = panel.json["description"].as_str().unwrap_or_default();
            for words in description.split('`').skip(1).step_by(2) {
                let faults = match words.split_once(" /") {
                    Some((method, path)) if answers(&method.to_lowercase(), path) => Vec::new(),
                    Some(_) => vec![format!("nothing answers {words}")],
                    None => of_command(words),
                };
                assert_eq!(faults, Vec::<String>::new(), "{} / {}", dashboard.uid, panel.title);
                called += usize::from(words.starts_with("gatekeeper ") || words.contains(" /"));
            }
        }
    }
    assert!(called >= 3, "{called} calls were found: the check looks for the wrong thing");
}

#[test]
fn grafana_finds_the_dashboards_where_the_page_mounts_them() {
    let provider = grafana::text("provisioning/dashboards/gatekeeper.yml");
    let page = grafana::text("README.md");
    let mounted = "/etc/grafana/gatekeeper";
    assert!(provider.contains(&format!("path: {mounted}/dashboards\n")), "{provider}");
    assert!(page.contains(&format!(":{mounted}:ro")), "the page mounts the folder elsewhere");
    assert!(page.contains(&format!("GF_PATHS_PROVISIONING={mounted}/provisioning")), "and its provisioning");
}
