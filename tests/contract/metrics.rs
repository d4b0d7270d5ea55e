//! The catalog of metrics, and its documentation.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use gatekeeper::testing::telemetry::catalog::{CATALOG, Metric, MetricKind};

use crate::grafana;

/// With any value, the table is written anew: `make grafana`.
const UPDATE: &str = "GATEKEEPER_TEST_UPDATE";
const BEGIN: &str = "<!-- generated from src/telemetry/catalog.rs by `make grafana` -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// A row for each metric.
fn table() -> String {
    let mut table = String::from("| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n");
    for metric in CATALOG {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.as_str())).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let _ = writeln!(table, "| `{}` | {} | {labels} | {} |", metric.name, kind(metric), metric.help);
    }
    table
}

fn kind(metric: &Metric) -> String {
    match metric.kind {
        MetricKind::Counter => "counter".to_owned(),
        MetricKind::Gauge => "gauge".to_owned(),
        MetricKind::Histogram(buckets) => {
            let bounds = buckets.bounds();
            let (first, last) = (bounds.first().expect("a bound"), bounds.last().expect("a bound"));
            let bound = |nanoseconds: &u64| format!("{:?}", std::time::Duration::from_nanos(*nanoseconds));
            format!("histogram, {} to {} in {} buckets", bound(first), bound(last), bounds.len() + 1)
        }
    }
}

#[test]
fn the_table_of_all_metrics_equals_the_catalog() {
    let page = grafana::text("README.md");
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (written, after) = rest.split_once(END).expect("and its end");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(grafana::file("README.md"), [before, BEGIN, &table(), END, after].concat())
            .expect("the page is written");
        return;
    }
    assert!(written == table(), "the table in grafana/README.md is not the catalogue: make grafana");
}

/// The words of a text that look like the name of a series.
fn series_in(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|word| word.starts_with("gatekeeper_") && !word.ends_with('_')).collect()
}

fn unknown_series(text: &str) -> Vec<&str> {
    let known = |series: &str| {
        CATALOG.iter().any(|metric| {
            metric.name == series
                || ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|part| series.strip_suffix(part) == Some(metric.name))
        })
    };
    series_in(text).into_iter().filter(|series| !known(series)).collect()
}

#[test]
fn every_documented_metric_exists() {
    let read = |page: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        fs::read_to_string(path).expect("shipped files are readable")
    };
    let mut named = 0;
    let documents = super::page::Page::all();
    let names: Vec<&str> = documents.iter().map(|page| page.name.as_str()).collect();
    for page in [
        "README.md",
        "grafana/README.md",
        "grafana/RUNBOOK.md",
        "grafana/alerts/rules.yml",
        "grafana/alerts/rules_test.yml",
    ]
    .into_iter()
    .chain(names.into_iter().filter(|name| name.starts_with("docs/")))
    {
        let text = read(page);
        assert_eq!(unknown_series(&text), Vec::<&str>::new(), "{page}");
        named += series_in(&text).len();
    }
    assert!(named > 60, "the pages name {named} metrics: the check looks for the wrong thing");
    assert_eq!(
        unknown_series("rate(gatekeeper_no_such_thing_total[5m])"),
        ["gatekeeper_no_such_thing_total"]
    );
}

#[test]
fn every_metric_is_used_by_a_panel_or_an_alert() {
    let mut looked_at = BTreeSet::new();
    let dashboards = grafana::Dashboard::all();
    let panels =
        dashboards.iter().flat_map(grafana::Dashboard::targets).map(|(_, _, target)| target.expr.clone());
    for expr in panels.chain(grafana::alerts().into_iter().map(|alert| alert.expr)) {
        looked_at.extend(grafana::Query::parse(&expr).selectors.into_iter().map(|selector| selector.metric));
    }
    let forgotten: Vec<&str> = CATALOG
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !looked_at.contains(*name) && !looked_at.contains(&format!("{name}_bucket")))
        .collect();
    assert!(forgotten.is_empty(), "nobody looks at {forgotten:?}: a panel in grafana/source, or an alert");
}
