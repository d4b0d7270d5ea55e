//! Faults of a dashboard or a query that are visible without a Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use gatekeeper::testing::telemetry::catalog::{CATALOG, Metric, MetricKind};
use serde_json::Value;

use super::{Dashboard, Panel, Query, Selector};

/// Metrics made by Prometheus itself, with their labels.
const OF_PROMETHEUS: [(&str, &[&str]); 2] = [("up", &[]), ("ALERTS", &["alertname", "alertstate"])];
/// Labels that Prometheus adds to every series.
const ADDED: [&str; 2] = ["job", "instance"];
/// Variables defined by Grafana.
const BUILT_IN: [&str; 2] = ["__rate_interval", "__range"];
/// Heading required in every panel's description.
const ADVICE: &str = "**What to do:**";
const WIDTH: u64 = 24;

/// All faults of one dashboard; links may lead to the `known` dashboards.
pub fn faults(dashboard: &Dashboard, known: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard.json["panels"].as_array().into_iter().flatten() {
        let id = panel["id"].as_u64();
        if !id.is_some_and(|id| ids.insert(id)) {
            faults.push(format!("{}: id {id:?} is missing or taken", panel["title"]));
        }
    }
    for (at, panel) in dashboard.panels.iter().enumerate() {
        let others = &dashboard.panels[..at];
        faults.extend(of_panel(panel, others, known).map(|fault| format!("{}: {fault}", panel.title)));
    }
    let variables: Vec<&str> = dashboard.variables.iter().map(|variable| variable.name.as_str()).collect();
    for wanted in ["datasource", "job", "instance", "endpoint"] {
        if !variables.contains(&wanted) {
            faults.push(format!("there is no variable {wanted}"));
        }
    }
    let annotations = dashboard.annotations.iter().map(|expr| ("an annotation".to_owned(), expr.as_str()));
    let panels = dashboard.targets().map(|(_, panel, target)| (panel.title.clone(), target.expr.as_str()));
    for (place, expr) in panels.chain(annotations) {
        let mut found = faults_of_query(expr);
        for variable in Query::parse(expr).variables {
            if !variables.contains(&variable.as_str()) && !BUILT_IN.contains(&variable.as_str()) {
                found.push(format!("there is no variable {variable}"));
            }
        }
        faults.extend(found.into_iter().map(|fault| format!("{place}: {fault}")));
    }
    faults
}

fn of_panel(panel: &Panel, others: &[Panel], known: &[&str]) -> impl Iterator<Item = String> {
    let mut faults = Vec::new();
    let [x, y, w, h] = panel.place();
    if w == 0 || h == 0 || x.saturating_add(w) > WIDTH {
        faults.push(format!("it is not within {WIDTH} columns"));
    }
    for other in others {
        let [left, top, wide, high] = other.place();
        if x < left + wide && left < x.saturating_add(w) && y < top + high && top < y.saturating_add(h) {
            faults.push(format!("it overlaps `{}`", other.title));
        }
    }
    if panel.json["fieldConfig"]["defaults"]["unit"].as_str().is_none_or(str::is_empty) {
        faults.push("it has no unit".to_owned());
    }
    let description = panel.json["description"].as_str().unwrap_or_default();
    if description.split_once(ADVICE).is_none_or(|(shows, advice)| shows.len() < 20 || advice.len() < 20) {
        faults.push("its description does not say what it shows and what to do".to_owned());
    }
    if panel.targets.is_empty() {
        faults.push("it asks nothing".to_owned());
    }
    let links: Vec<&str> = urls(&panel.json).collect();
    if links.is_empty() {
        faults.push("it leads nowhere".to_owned());
    }
    for link in links {
        let uid = link.strip_prefix("/d/").and_then(|rest| rest.split('?').next()).unwrap_or(link);
        if !known.contains(&uid) {
            faults.push(format!("there is no dashboard {uid}"));
        }
    }
    faults.into_iter()
}

/// Targets of the links of a panel and of the values in the panel.
fn urls(panel: &Value) -> impl Iterator<Item = &str> {
    let own = panel["links"].as_array().into_iter().flatten();
    let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
    let properties = overrides.flat_map(|it| it["properties"].as_array().into_iter().flatten());
    let values = properties
        .filter(|it| it["id"] == "links")
        .flat_map(|it| it["value"].as_array().into_iter().flatten());
    own.chain(values).filter_map(|link| link["url"].as_str())
}

/// Faults of a query alone.
pub fn faults_of_query(expr: &str) -> Vec<String> {
    let query = Query::parse(expr);
    let mut faults = Vec::new();
    let mut labels: BTreeSet<&str> = ADDED.into();
    for selector in &query.selectors {
        let Some((metric, known)) = look_up(&selector.metric) else {
            faults.push(format!("there is no metric {}", selector.metric));
            continue;
        };
        for label in &selector.labels {
            if !known.contains(label.as_str()) && !ADDED.contains(&label.as_str()) {
                faults.push(format!("{} has no label {label}", selector.metric));
            }
        }
        labels.extend(known);
        faults.extend(metric.and_then(|metric| of_use(metric, selector)));
    }
    if query.selectors.is_empty() {
        faults.push("it selects nothing".to_owned());
    }
    for label in &query.grouped {
        if !labels.contains(label.as_str()) {
            faults.push(format!("nothing in it has the label {label}"));
        }
    }
    faults
}

/// Counters are queried by rate; gauges are not.
fn of_use(metric: &Metric, selector: &Selector) -> Option<String> {
    let rated = ["rate", "increase"].contains(&selector.function.as_str()) && selector.range;
    match (metric.kind, rated) {
        (MetricKind::Counter | MetricKind::Histogram(_), false) => {
            Some(format!("the counter {} is not in rate() or increase()", selector.metric))
        }
        (MetricKind::Gauge, true) => {
            Some(format!("{} goes up and down, and is in {}()", selector.metric, selector.function))
        }
        _ => None,
    }
}

/// A metric by the name of a series, and the labels of the series.
fn look_up(series: &str) -> Option<(Option<&'static Metric>, BTreeSet<&'static str>)> {
    if let Some((_, labels)) = OF_PROMETHEUS.iter().find(|(name, _)| *name == series) {
        return Some((None, labels.iter().copied().collect()));
    }
    let parts = ["_bucket", "_sum", "_count"];
    let metric = CATALOG.iter().find(|metric| match metric.kind {
        MetricKind::Histogram(_) => parts.iter().any(|part| series.strip_suffix(part) == Some(metric.name)),
        MetricKind::Counter | MetricKind::Gauge => metric.name == series,
    })?;
    let mut labels: BTreeSet<&str> = metric.labels.iter().map(|label| label.as_str()).collect();
    if series.ends_with("_bucket") {
        labels.insert("le");
    }
    Some((Some(*metric), labels))
}

/// Faults between dashboards: duplicate names, and series or states with two colors.
pub fn faults_of_set(dashboards: &[Dashboard]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut uids = BTreeSet::new();
    let mut colors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for dashboard in dashboards {
        if !uids.insert(&dashboard.uid) {
            faults.push(format!("two dashboards are called {}", dashboard.uid));
        }
        for panel in &dashboard.panels {
            for (what, color) in painted(&panel.json) {
                colors.entry(what).or_default().insert(color);
            }
        }
    }
    for (what, colors) in colors {
        if colors.len() > 1 {
            faults.push(format!("{what} is painted {colors:?}"));
        }
    }
    faults
}

/// Names with a color: series by legend, states by name.
fn painted(panel: &Value) -> Vec<(String, String)> {
    let config = &panel["fieldConfig"];
    let mut all = Vec::new();
    for it in config["overrides"].as_array().into_iter().flatten() {
        for property in it["properties"].as_array().into_iter().flatten() {
            if let Some(color) = property["value"]["fixedColor"].as_str() {
                all.push((format!("series {}", it["matcher"]["options"]), color.to_owned()));
            }
        }
    }
    for mapping in config["defaults"]["mappings"].as_array().into_iter().flatten() {
        for option in mapping["options"].as_object().into_iter().flat_map(serde_json::Map::values) {
            if let (Some(text), Some(color)) = (option["text"].as_str(), option["color"].as_str()) {
                all.push((format!("state {text}"), color.to_owned()));
            }
        }
    }
    all
}
