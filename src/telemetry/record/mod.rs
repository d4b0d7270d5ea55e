//! Handles that record metrics. Built from the catalog; each creates all of its series at once.

mod clients;
mod endpoint;
mod listener;
mod path;
mod program;
mod routes;
mod sharded;

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metrics_exporter_prometheus::LabelSet;
use tokio::time::MissedTickBehavior;

use super::{
    catalog::{Label, Metric},
    openmetrics,
    panic_log::PanicLog,
    process::{self, ProcessMetrics},
    registry::{self, Counter, Gauge, Histogram, Labels, Level, MetricRegistry},
    shards::Tally,
};
use crate::{closed_set::LabelValue, names::ListenerName, topology::Endpoint};

pub use clients::ClientPresence;
pub use endpoint::{BackendPresence, EndpointMetrics};
pub use listener::{HoldPresence, ListenerMetrics};
pub use path::{PathCounts, PathMetrics, PathTotals};
pub use program::{AdminMetrics, AuditMetrics, ProgramMetrics, TopologyMetrics, TraceMetrics};
pub use routes::RouteCounts;
use sharded::Sharded;

/// All metrics of one process, and the factory of handles. Clones share the metrics.
///
/// Repeated calls for a listener or endpoint return handles to the same numbers, which are kept until the process ends.
/// After a removal from the configuration, counters keep their value, and [`EndpointMetrics::replaced`] and
/// [`ListenerMetrics::removed`] clear the state.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<MetricRegistry>,
    process: Arc<ProcessMetrics>,
    sharded: Arc<Sharded>,
    panics: Arc<PanicLog>,
}

/// Interval at which the workers' counts are collected and the exporter's records are sorted into buckets.
const COLLECTION_INTERVAL: Duration = Duration::from_secs(1);

impl Metrics {
    /// Metrics without any series.
    #[must_use]
    pub fn new() -> Self {
        let registry = Arc::new(MetricRegistry::new());
        let process = Arc::new(ProcessMetrics::new(&registry));
        Self { registry, process, sharded: Arc::default(), panics: Arc::default() }
    }

    /// Metrics of a listener's sessions on an endpoint.
    #[must_use]
    pub fn path(&self, listener: &ListenerName, endpoint: &Endpoint) -> Arc<PathMetrics> {
        self.sharded.path((listener.clone(), endpoint.name.clone(), endpoint.role), || {
            let scope = self.scope().and(Label::Listener, listener.as_str()).endpoint(endpoint);
            PathMetrics::new(&scope)
        })
    }

    /// Metrics of a listener.
    #[must_use]
    pub fn listener(&self, listener: &ListenerName) -> Arc<ListenerMetrics> {
        self.sharded.listener(listener, || {
            ListenerMetrics::new(&self.scope().and(Label::Listener, listener.as_str()))
        })
    }

    /// Metrics of an endpoint.
    #[must_use]
    pub fn endpoint(&self, endpoint: &Endpoint) -> Arc<EndpointMetrics> {
        Arc::new(EndpointMetrics::new(&self.scope().endpoint(endpoint), endpoint))
    }

    /// Metrics of the topology as a whole.
    #[must_use]
    pub fn topology(&self) -> TopologyMetrics {
        TopologyMetrics::new(&self.scope())
    }

    /// Metrics of the program: reloads, panics.
    #[must_use]
    pub fn program(&self) -> ProgramMetrics {
        ProgramMetrics::new(&self.scope(), Arc::clone(&self.panics))
    }

    /// Panics of the process, from [`ProgramMetrics::watch_panics`] on.
    #[must_use]
    pub fn panics(&self) -> &PanicLog {
        &self.panics
    }

    /// Metrics of the traces.
    #[must_use]
    pub fn traces(&self) -> TraceMetrics {
        TraceMetrics::new(&self.scope())
    }

    /// Metrics of the admin API.
    #[must_use]
    pub fn admin(&self) -> AdminMetrics {
        AdminMetrics::new(&self.scope())
    }

    /// Metrics of the audit log.
    #[must_use]
    pub fn audit(&self) -> AuditMetrics {
        AuditMetrics::new(&self.scope())
    }

    /// Collects the workers' counts each second, forever. Spawn once, off the data path.
    ///
    /// Also sorts the exporter's records into buckets, so that they do not accumulate between two pages.
    ///
    /// Cancel safety: may be dropped at any time; recorded numbers are kept.
    pub async fn run_upkeep(self) {
        let mut due = tokio::time::interval(COLLECTION_INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            self.sharded.flush();
            self.registry.run_upkeep();
        }
    }

    /// Totals of each listener's sessions on each endpoint since the start.
    #[must_use]
    pub fn totals(&self) -> Vec<PathTotals> {
        self.sharded.flush();
        self.sharded.totals()
    }

    /// The page in Prometheus' text format, version 0.0.4; see [`Self::render_openmetrics`] for the other format.
    /// Contains everything counted before the call. Reads `/proc`. Locks that sessions need are held only while data is
    /// copied.
    #[must_use]
    pub fn render(&self) -> String {
        self.sharded.flush();
        let cpu = self.process.sample();
        let mut page = self.registry.render();
        self.sharded.show(&mut page);
        process::show_cpu(&mut page, cpu);
        page
    }

    /// The page in the OpenMetrics 1.0 format.
    #[must_use]
    pub fn render_openmetrics(&self) -> String {
        openmetrics::from_text(&self.render())
    }

    fn scope(&self) -> Scope<'_> {
        Scope { registry: &self.registry, labels: Vec::new() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Label values shared by several metrics.
pub(super) struct Scope<'a> {
    registry: &'a MetricRegistry,
    labels: Labels,
}

impl Scope<'_> {
    fn and(&self, label: Label, value: &str) -> Self {
        let mut labels = self.labels.clone();
        labels.push((label, value.into()));
        Self { registry: self.registry, labels }
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Self {
        self.and(Label::Endpoint, endpoint.name.as_str()).and(Label::BackendRole, endpoint.role.as_str())
    }

    fn counter(&self, metric: &'static Metric) -> Counter {
        self.registry.counter(metric, self.labels.clone())
    }

    fn level(&self, metric: &'static Metric) -> Level {
        self.registry.level(metric, self.labels.clone())
    }

    fn gauge(&self, metric: &'static Metric) -> Gauge {
        self.registry.gauge(metric, self.labels.clone(), 0.0)
    }

    /// A gauge with an unknown value, `NaN`: a time not yet reached, a distance not yet measured.
    fn unknown(&self, metric: &'static Metric) -> Gauge {
        self.registry.gauge(metric, self.labels.clone(), f64::NAN)
    }

    fn histogram(&self, metric: &'static Metric) -> Histogram {
        self.registry.histogram(metric, self.labels.clone())
    }

    fn label_set(&self, metric: &'static Metric) -> LabelSet {
        registry::label_set(metric, self.labels.clone())
    }

    /// One handle for each value of a closed set.
    fn each<W: LabelValue, T>(&self, label: Label, make: impl Fn(&Self) -> T) -> Each<W, T> {
        let handles = W::ALL.iter().map(|word| make(&self.and(label, word.as_str()))).collect();
        Each { handles, words: PhantomData }
    }
}

/// A handle for each value of a closed set.
struct Each<W, T> {
    handles: Box<[T]>,
    words: PhantomData<W>,
}

impl<W: LabelValue, T> Each<W, T> {
    fn of(&self, word: W) -> &T {
        &self.handles[word.index()]
    }
}

impl<W: LabelValue> Each<W, Counter> {
    /// Adds the counts of one worker, by value.
    fn add(&self, counted: &[Tally]) {
        for (counter, tally) in self.handles.iter().zip(counted) {
            counter.add(tally.take());
        }
    }
}

impl<W: LabelValue> Each<W, Gauge> {
    /// Sets the state to 1, all others to 0.
    fn enter(&self, state: W) {
        for (at, gauge) in self.handles.iter().enumerate() {
            gauge.set(if at == state.index() { 1.0 } else { 0.0 });
        }
    }

    /// Sets all states to 0.
    fn leave(&self) {
        for gauge in &self.handles {
            gauge.set(0.0);
        }
    }
}

/// Seconds since 1970, Prometheus' form of a time.
fn unix_seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
