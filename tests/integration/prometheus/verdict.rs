//! Faults of a query, found by the responses of a real Prometheus.

use crate::harness::{
    grafana::{Query, Target},
    prometheus::{Prometheus, Series, Span},
};

/// The query with Grafana's own variables replaced: all values are selected.
pub(super) fn filled_in(expr: &str) -> String {
    let built_in = expr.replace("$__rate_interval", "8s").replace("$__range", "2m");
    ["job", "instance", "endpoint", "listener"]
        .iter()
        .fold(built_in, |text, name| text.replace(&format!("${name}"), ".*"))
}

/// Faults of a panel's query.
pub(super) async fn faults_of_target(prometheus: &Prometheus, target: &Target, span: Span) -> Vec<String> {
    let expr = filled_in(&target.expr);
    let answer = if target.instant {
        prometheus.instant(&expr, span.end).await
    } else {
        prometheus.range(&expr, span).await
    };
    match answer {
        Ok(series) => faults_of_answer(&series, target.legend_labels()),
        Err(error) => vec![error],
    }
}

fn faults_of_answer<'a>(series: &[Series], legend: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut faults = Vec::new();
    if series.is_empty() {
        faults.push("it finds nothing".to_owned());
    } else if !series.iter().flat_map(|series| &series.samples).any(|sample| sample.is_finite()) {
        faults.push("it finds no finite number".to_owned());
    }
    for label in legend {
        if series.iter().any(|series| !series.labels.contains_key(label)) {
            faults.push(format!("its legend names {label}, which its series do not have"));
        }
    }
    faults
}

/// Faults of an alert: the alert may find no series, but each part must find at least a series.
pub(super) async fn faults_of_alert(prometheus: &Prometheus, expr: &str, span: Span) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = prometheus.instant(expr, span.end).await {
        faults.push(error);
    }
    for selector in Query::parse(expr).selectors {
        match prometheus.range(&selector.text, span).await {
            Ok(series) => faults.extend(
                faults_of_answer(&series, std::iter::empty())
                    .into_iter()
                    .map(|fault| format!("{}: {fault}", selector.text)),
            ),
            Err(error) => faults.push(error),
        }
    }
    faults
}

/// Faults of a variable: an empty list of values.
pub(super) async fn faults_of_variable(prometheus: &Prometheus, query: &str, span: Span) -> Vec<String> {
    let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let Some((selector, label)) = inner.and_then(|inner| inner.rsplit_once(", ")) else {
        return vec![format!("{query} is not label_values(series, label)")];
    };
    match prometheus.range(&filled_in(selector), span).await {
        Ok(series) if series.iter().any(|series| series.labels.contains_key(label)) => Vec::new(),
        Ok(_) => vec![format!("{query} lists nothing")],
        Err(error) => vec![error],
    }
}
