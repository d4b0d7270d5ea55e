//! The alerts: accepted by Prometheus, tested one by one, and based on existing metrics.

use std::process::Output;

use crate::grafana::{self, alerts, faults_of_query, tool};

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn every_alert_queries_existing_metrics() {
    let alerts = alerts();
    assert!(alerts.len() > 15, "{} alerts", alerts.len());
    for alert in &alerts {
        assert_eq!(faults_of_query(&alert.expr), Vec::<String>::new(), "{}: {}", alert.name, alert.expr);
        for part in ["severity:", "summary:", "description:"] {
            assert!(alert.lines.contains(part), "{} has no {part}", alert.name);
        }
        let runbook = format!("runbook_url: grafana/RUNBOOK.md#{}\n", alert.name.to_lowercase());
        assert!(alert.lines.contains(&runbook), "{} does not lead to its section of the runbook", alert.name);
    }
}

#[test]
fn every_alert_is_tested_firing_and_silent() {
    let tests = grafana::text("alerts/rules_test.yml");
    for alert in alerts() {
        let fires = format!("alertname: {}\n        exp_alerts:\n", alert.name);
        let rests = format!("alertname: {} }}\n", alert.name);
        assert!(tests.contains(&fires), "{} is never seen to fire", alert.name);
        assert!(tests.contains(&rests), "{} is never seen not to fire", alert.name);
    }
}

#[test]
fn prometheus_accepts_the_rules_and_their_tests_pass() {
    for (what, file) in [("check", "alerts/rules.yml"), ("test", "alerts/rules_test.yml")] {
        let Some(mut promtool) = tool("promtool") else { return };
        let output = promtool.args([what, "rules"]).arg(grafana::file(file)).output().expect("promtool runs");
        assert!(output.status.success(), "{}", text_of(&output));
    }
}

#[test]
fn a_silent_rule_and_an_invalid_rule_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = grafana::text("alerts/rules.yml");
    std::fs::write(folder.path().join("rules_test.yml"), grafana::text("alerts/rules_test.yml"))
        .expect("it is written");
    for (what, file, before, after) in [
        (
            "test",
            "rules_test.yml",
            "gatekeeper_replication_lag_seconds) > 30",
            "gatekeeper_replication_lag_seconds) > 3000",
        ),
        ("test", "rules_test.yml", "for: 30s", "for: 1h"),
        ("check", "rules.yml", "max by (job) (", "max by job ("),
    ] {
        assert!(rules.contains(before), "{before}");
        std::fs::write(folder.path().join("rules.yml"), rules.replace(before, after)).expect("it is written");
        let Some(mut promtool) = tool("promtool") else { return };
        let output =
            promtool.args([what, "rules"]).arg(folder.path().join(file)).output().expect("promtool runs");
        assert!(!output.status.success(), "{after} was not noticed:\n{}", text_of(&output));
    }
}
