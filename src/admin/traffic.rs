//! Traffic of the last minute, by listener and endpoint.
//!
//! Promises: the numbers of the last minute, from samples that are taken with and without readers.
//! Refuses to know: the counting of statements.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::{
    Metrics, PathTotals,
    catalog::{Buckets, STATEMENT_DURATION},
};

/// Recent samples of the totals.
#[derive(Default)]
pub(super) struct TrafficSamples {
    kept: Mutex<VecDeque<TrafficSample>>,
}

/// Totals since the start of the program.
#[derive(Clone)]
struct TrafficSample {
    taken: Instant,
    totals: Vec<PathTotals>,
}

/// Traffic of about the last minute; less after a start.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Traffic {
    /// Length of the period in seconds.
    seconds: f64,
    /// All statements.
    total: TrafficView,
    /// Statements by listener and endpoint. Without those that had none.
    paths: Vec<PathTraffic>,
    /// Statements by endpoint. Without those that had none.
    endpoints: Vec<EndpointTraffic>,
}

/// Statements on an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndpointTraffic {
    pub(super) endpoint: String,
    #[serde(flatten)]
    pub(super) traffic: TrafficView,
}

/// Statements of a listener on an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PathTraffic {
    listener: String,
    endpoint: String,
    /// Part of the listener's statements, from 0 to 1.
    share: f64,
    #[serde(flatten)]
    traffic: TrafficView,
}

/// Numbers of a period.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(super) struct TrafficView {
    /// Statements that a server has answered.
    pub(super) statements: u64,
    /// Statements that Gatekeeper has refused.
    pub(super) refused: u64,
    /// Errors that clients received.
    pub(super) errors: u64,
    /// Errors whose reason is not the statement: SQLSTATE classes other than 22, 23, 42 and P0.
    pub(super) faults: u64,
    statements_per_second: f64,
    errors_per_second: f64,
    /// 99 % of the statements were answered in less; absent without statements.
    p99_seconds: Option<f64>,
}

/// Interval of samples.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of samples: the oldest is between 60 and 65 seconds old.
const MAX_SAMPLES: usize = 13;

/// Number of buckets of [`STATEMENT_DURATION`].
const BUCKETS: usize = Buckets::Statements.bounds().len() + 1;

// === impl EndpointTraffic ===

impl EndpointTraffic {
    #[cfg(test)]
    pub(super) fn new(endpoint: &str, statements: u64, faults: u64, refused: u64) -> Self {
        let traffic = TrafficView { statements, faults, refused, errors: faults, ..TrafficView::default() };
        Self { endpoint: endpoint.to_owned(), traffic }
    }
}

// === impl TrafficSamples ===

impl TrafficSamples {
    /// Takes a sample.
    pub(super) fn take(&self, metrics: &Metrics, now: Instant) {
        let totals = metrics.totals();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_SAMPLES {
            kept.pop_front();
        }
        kept.push_back(TrafficSample { taken: now, totals });
    }

    /// Takes samples forever.
    ///
    /// Cancel safe.
    pub(super) async fn take_forever(&self, metrics: Metrics) {
        let mut due = tokio::time::interval(SAMPLE_INTERVAL);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            self.take(&metrics, Instant::now());
        }
    }

    /// Traffic since the oldest sample.
    pub(super) fn traffic(&self, metrics: &Metrics, now: Instant) -> Traffic {
        let oldest = self.kept.lock().unwrap_or_else(PoisonError::into_inner).front().cloned();
        let oldest = oldest.unwrap_or(TrafficSample { taken: now, totals: Vec::new() });
        Traffic::between(&oldest, &TrafficSample { taken: now, totals: metrics.totals() })
    }
}

// === impl Traffic ===

impl Traffic {
    fn between(before: &TrafficSample, after: &TrafficSample) -> Self {
        let seconds = after.taken.saturating_duration_since(before.taken).as_secs_f64();
        let mut all = Increase::default();
        let mut increases = Vec::new();
        for totals in &after.totals {
            let same = |other: &&PathTotals| {
                (&other.listener, &other.endpoint) == (&totals.listener, &totals.endpoint)
            };
            let increase = Increase::of(totals, before.totals.iter().find(same));
            all.add(&increase);
            if increase.statements + increase.refused + increase.errors > 0 {
                increases.push((totals.listener.to_string(), totals.endpoint.to_string(), increase));
            }
        }
        increases.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        let of_listener = |name: &str| -> u64 {
            let own = increases.iter().filter(|(listener, _, _)| listener == name);
            own.map(|(_, _, increase)| increase.asked()).sum()
        };
        let path = |(listener, endpoint, increase): &(String, String, Increase)| PathTraffic {
            listener: listener.clone(),
            endpoint: endpoint.clone(),
            share: divide(increase.asked(), of_listener(listener)),
            traffic: increase.view(seconds),
        };
        let mut by_endpoint: BTreeMap<&str, Increase> = BTreeMap::new();
        for (_, endpoint, increase) in &increases {
            by_endpoint.entry(endpoint).or_default().add(increase);
        }
        let of_endpoint = |(endpoint, increase): (&str, Increase)| EndpointTraffic {
            endpoint: endpoint.to_owned(),
            traffic: increase.view(seconds),
        };
        Self {
            seconds,
            total: all.view(seconds),
            paths: increases.iter().map(path).collect(),
            endpoints: by_endpoint.into_iter().map(of_endpoint).collect(),
        }
    }

    /// Statements by endpoint.
    pub(super) fn endpoints(&self) -> &[EndpointTraffic] {
        &self.endpoints
    }
}

/// Difference of two totals.
#[derive(Default)]
struct Increase {
    statements: u64,
    refused: u64,
    errors: u64,
    faults: u64,
    durations: [u64; BUCKETS],
}

// === impl Increase ===

impl Increase {
    fn of(after: &PathTotals, before: Option<&PathTotals>) -> Self {
        let since = |count: fn(&PathTotals) -> u64| count(after).saturating_sub(before.map_or(0, count));
        let mut durations = after.durations;
        for (count, earlier) in durations.iter_mut().zip(before.iter().flat_map(|before| before.durations)) {
            *count = count.saturating_sub(earlier);
        }
        Self {
            statements: since(|totals| totals.statements),
            refused: since(|totals| totals.refused),
            errors: since(|totals| totals.errors),
            faults: since(|totals| totals.faults),
            durations,
        }
    }

    fn add(&mut self, other: &Self) {
        self.statements += other.statements;
        self.refused += other.refused;
        self.errors += other.errors;
        self.faults += other.faults;
        for (sum, count) in self.durations.iter_mut().zip(other.durations) {
            *sum += count;
        }
    }

    /// Statements of clients, answered by a server or not.
    const fn asked(&self) -> u64 {
        self.statements + self.refused
    }

    fn view(&self, seconds: f64) -> TrafficView {
        TrafficView {
            statements: self.statements,
            refused: self.refused,
            errors: self.errors,
            faults: self.faults,
            statements_per_second: each_second(self.statements, seconds),
            errors_per_second: each_second(self.errors, seconds),
            p99_seconds: p99_seconds(&self.durations),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^53")]
fn each_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^53")]
fn divide(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// As `histogram_quantile(0.99, …)` of Prometheus: linear within a bucket, the last bound beyond the last bucket.
#[expect(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^53")]
fn p99_seconds(durations: &[u64; BUCKETS]) -> Option<f64> {
    const NANOSECONDS: f64 = 1e9;
    let total: u64 = durations.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = total as f64 * 0.99;
    let (mut below, mut lower) = (0, 0.0);
    for (count, bound) in durations.iter().zip(STATEMENT_DURATION.bounds()) {
        let upper = *bound as f64 / NANOSECONDS;
        if (below + count) as f64 >= rank {
            return Some(lower + (upper - lower) * (rank - below as f64) / *count as f64);
        }
        below += count;
        lower = upper;
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(listener: &str, endpoint: &str, statements: u64, refused: u64) -> PathTotals {
        let mut durations = [0; BUCKETS];
        durations[1] = statements;
        PathTotals {
            listener: listener.parse().unwrap(),
            endpoint: endpoint.parse().unwrap(),
            transactions: 0,
            statements,
            refused,
            errors: refused,
            faults: refused,
            durations,
            to_endpoint: 0,
            to_client: 0,
            statement_time: Duration::ZERO,
            wait_time: Duration::ZERO,
        }
    }

    #[test]
    fn shares_are_parts_of_the_listener() {
        let start = Instant::now();
        let before = TrafficSample { taken: start, totals: vec![totals("app", "primary", 1000, 5)] };
        let after = TrafficSample {
            taken: start + Duration::from_secs(60),
            totals: vec![
                totals("app", "reads", 450, 0),
                totals("app", "primary", 1120, 35),
                totals("other", "primary", 600, 0),
                totals("idle", "primary", 0, 0),
            ],
        };
        let traffic = Traffic::between(&before, &after);
        let shown: Vec<_> = traffic
            .paths
            .iter()
            .map(|path| (path.listener.as_str(), path.endpoint.as_str(), path.share, path.traffic.statements))
            .collect();
        assert_eq!(
            shown,
            [("app", "primary", 0.25, 120), ("app", "reads", 0.75, 450), ("other", "primary", 1.0, 600)]
        );
        assert_eq!((traffic.total.statements, traffic.total.refused, traffic.total.errors), (1170, 30, 30));
        let by_endpoint: Vec<_> = traffic
            .endpoints()
            .iter()
            .map(|it| (it.endpoint.as_str(), it.traffic.statements, it.traffic.refused))
            .collect();
        assert_eq!(by_endpoint, [("primary", 720, 30), ("reads", 450, 0)]);
        assert!((traffic.total.statements_per_second - 19.5).abs() < 1e-9);
        assert!((traffic.total.errors_per_second - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_p99_is_that_of_prometheus() {
        let mut durations = [0; BUCKETS];
        assert_eq!(p99_seconds(&durations), None);
        // Between 0.5 and 1 ms.
        durations[1] = 100;
        assert!((p99_seconds(&durations).unwrap() - 0.000_995).abs() < 1e-9);
        durations[BUCKETS - 1] = 100;
        assert_eq!(p99_seconds(&durations), Some(10.0));
    }
}
