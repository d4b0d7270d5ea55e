//! A record of the alerts of a Prometheus and of the verdict, while nothing is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;

use crate::harness::{Answer, prometheus::Prometheus, request};

/// Looks at alerts and verdict.
pub(super) struct Watch {
    began: Instant,
    admin: SocketAddr,
    state: Mutex<WatchState>,
}

#[derive(Default)]
struct WatchState {
    alerts: BTreeMap<String, AlertTimes>,
    /// Operation that goes on, or the last one.
    operation: &'static str,
    /// Kinds of faults that the operation explains.
    explained: &'static [&'static str],
    /// Faults that the operation has explained.
    excused: BTreeSet<String>,
    unexplained: Vec<String>,
    verdicts: usize,
}

/// Times of one alert.
#[derive(Default)]
struct AlertTimes {
    longest_pending: Duration,
    /// Labels and begin of each instance.
    instances: BTreeSet<String>,
    has_fired: bool,
}

const INTERVAL: Duration = Duration::from_secs(2);

impl Watch {
    pub(super) fn new(admin: SocketAddr) -> Self {
        Self { began: Instant::now(), admin, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the begin of an operation, and the kinds of faults that the operation explains.
    pub(super) fn begin(&self, operation: &'static str, explained: &'static [&'static str]) {
        eprintln!("{:6.0} s: {operation}", self.began.elapsed().as_secs_f64());
        let mut state = self.state();
        (state.operation, state.explained) = (operation, explained);
    }

    /// Looks forever.
    pub(super) async fn run(&self, prometheus: &Prometheus) {
        loop {
            let alerts = prometheus.ask("alerts", &[]).await.unwrap();
            self.state().note_alerts(&alerts, Timestamp::now());
            let verdict = request(self.admin, "GET", "/v1/verdict", "", "").await;
            let found = match verdict {
                Ok(Answer { status: 200, body }) => self.state().note_verdict(&body),
                other => self.state().note_fault(None, &format!("{other:?}")),
            };
            for fault in found {
                eprintln!("{:6.0} s: {fault}", self.began.elapsed().as_secs_f64());
            }
            sleep(INTERVAL).await;
        }
    }

    /// Alerts that have fired.
    pub(super) fn fired(&self) -> Vec<String> {
        let state = self.state();
        let fired = state.alerts.iter().filter(|(_, times)| times.has_fired);
        fired.map(|(name, _)| name.clone()).collect()
    }

    /// Faults that no operation explains.
    pub(super) fn unexplained(&self) -> Vec<String> {
        self.state().unexplained.clone()
    }

    /// Faults that an operation explains.
    pub(super) fn excused(&self) -> Vec<String> {
        self.state().excused.iter().cloned().collect()
    }

    /// Number of verdicts.
    pub(super) fn verdicts(&self) -> usize {
        self.state().verdicts
    }

    /// The table of the alerts that were pending. `limits`: time for which an alert must be pending before the alert
    /// fires.
    pub(super) fn table(&self, limits: &BTreeMap<String, Duration>) -> String {
        let state = self.state();
        let rows = state.alerts.iter().map(|(name, times)| {
            let limit = limits.get(name).copied().unwrap_or_default();
            let (longest, limit) = (times.longest_pending.as_secs(), limit.as_secs());
            format!("| `{name}` | {} | {longest} s | {limit} s |", times.instances.len())
        });
        let rows: Vec<String> = rows.collect();
        format!(
            "| alert | times pending | longest | fires after |\n| --- | ---: | ---: | ---: |\n{}",
            rows.join("\n")
        )
    }
}

// === impl WatchState ===

impl WatchState {
    fn note_alerts(&mut self, alerts: &Value, now: Timestamp) {
        for alert in alerts["alerts"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let times = self.alerts.entry(text(&alert["labels"]["alertname"])).or_default();
            let active_at = text(&alert["activeAt"]);
            times.instances.insert(format!("{} {active_at}", alert["labels"]));
            if alert["state"] == "firing" {
                times.has_fired = true;
            } else if let Ok(since) = active_at.parse::<Timestamp>() {
                let pending = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                times.longest_pending = times.longest_pending.max(pending);
            }
        }
    }

    /// Returns the faults that are new and not explained.
    fn note_verdict(&mut self, body: &str) -> Vec<String> {
        self.verdicts += 1;
        let verdict: Value = serde_json::from_str(body).unwrap_or_default();
        let faults = verdict["faults"].as_array().cloned().unwrap_or_default();
        let mut found = Vec::new();
        if verdict["state"] != "healthy" && faults.is_empty() {
            found.extend(self.note_fault(None, &format!("state {}", verdict["state"])));
        }
        for fault in faults.iter().filter(|fault| fault["severity"] != "info") {
            let (kind, text) = (fault["kind"].as_str(), fault["text"].as_str().unwrap_or_default());
            found.extend(self.note_fault(kind, text));
        }
        found
    }

    fn note_fault(&mut self, kind: Option<&str>, text: &str) -> Vec<String> {
        let fault = format!("after `{}`: {}: {text}", self.operation, kind.unwrap_or("verdict"));
        if kind.is_some_and(|kind| self.explained.contains(&kind)) {
            self.excused.insert(format!("`{}` after `{}`", kind.unwrap_or_default(), self.operation));
            return Vec::new();
        }
        self.unexplained.push(fault.clone());
        vec![fault]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_longest_pending_time_stays() {
        let mut state = WatchState::default();
        let alerts = |state: &str, second| {
            let labels = json!({ "alertname": "A" });
            json!({ "alerts": [{ "labels": labels, "state": state, "activeAt": at(second).to_string() }] })
        };
        state.note_alerts(&alerts("pending", 100), at(145));
        state.note_alerts(&alerts("pending", 200), at(210));
        let times = &state.alerts["A"];
        assert_eq!((times.longest_pending.as_secs(), times.instances.len(), times.has_fired), (45, 2, false));
        state.note_alerts(&alerts("firing", 200), at(300));
        assert!(state.alerts["A"].has_fired);
    }

    #[test]
    fn a_fault_is_explained_by_its_operation_alone() {
        let mut state = WatchState { explained: &["pool_paused"], ..WatchState::default() };
        let verdict = |kind: &str, severity: &str| {
            json!({ "state": "faulty", "faults": [{ "kind": kind, "severity": severity, "text": "…" }] })
                .to_string()
        };
        assert!(state.note_verdict(&verdict("pool_paused", "warning")).is_empty());
        assert!(state.note_verdict(&verdict("draining", "info")).is_empty());
        assert_eq!(state.note_verdict(&verdict("errors", "alarm")).len(), 1);
        assert_eq!(state.note_verdict(r#"{"state":"not_ready","faults":[]}"#).len(), 1);
        assert!(state.note_verdict(r#"{"state":"healthy","faults":[]}"#).is_empty());
        assert_eq!((state.unexplained.len(), state.verdicts), (2, 5));
    }
}
