//! Storage of the metrics: a recorder of the `metrics` crate's Prometheus exporter, and handles to its series.
//!
//! Promises: only metrics of the catalog, with their labels, become series; a series is shown from the creation of its
//! handle; repeated handles share their numbers. Refuses to know: the counted events.
//!
//! Handles come from the recorder itself, not from the `metrics` crate's macros. No global recorder is installed, so
//! several registries can live in one process, as in tests.
//!
//! The exporter cannot remove a series: series of removed endpoints and listeners stay on the page until the process
//! ends (see [`super::EndpointMetrics::replaced`]).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::{Key, Metadata, Recorder};
use metrics_exporter_prometheus::{
    LabelSet, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::catalog::{CATALOG, Label, Metric, MetricKind, bound_seconds};

/// Label values of a series, in the order of its metric's labels.
pub(super) type Labels = Vec<(Label, Arc<str>)>;

/// Required by the interface; the exporter ignores all of it.
static METADATA: Metadata<'static> = Metadata::new(module_path!(), metrics::Level::INFO, None);

pub(super) struct MetricRegistry {
    recorder: PrometheusRecorder,
    page: PrometheusHandle,
    /// Gauges that have their first value.
    begun: Mutex<HashSet<Key>>,
}

/// A number that never decreases.
#[derive(Clone)]
pub struct Counter(metrics::Counter);

/// A current number.
#[derive(Clone)]
pub struct Level(metrics::Gauge);

/// A number that is set.
#[derive(Clone)]
pub struct Gauge(metrics::Gauge);

/// Durations, counted in buckets.
///
/// A record is stored in 16 bytes until the next upkeep or rendering sorts it into its bucket, so histograms are not
/// for the data path.
#[derive(Clone)]
pub struct Histogram(metrics::Histogram);

// === impl MetricRegistry ===

impl MetricRegistry {
    pub(super) fn new() -> Self {
        let recorder = CATALOG
            .iter()
            .fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
                MetricKind::Histogram(buckets) => {
                    let bounds: Vec<_> = buckets.bounds().iter().map(|bound| bound_seconds(*bound)).collect();
                    builder
                        .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &bounds)
                        .expect("every histogram of the catalogue has buckets")
                }
                MetricKind::Counter | MetricKind::Gauge => builder,
            })
            .build_recorder();
        for metric in CATALOG {
            // The name contains the unit; passing the unit too would make the exporter append it again.
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, None, help),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help),
                MetricKind::Histogram(_) => recorder.describe_histogram(name, None, help),
            }
        }
        Self { page: recorder.handle(), recorder, begun: Mutex::default() }
    }

    pub(super) fn counter(&self, metric: &'static Metric, labels: Labels) -> Counter {
        Counter(self.recorder.register_counter(&series_key(metric, labels), &METADATA))
    }

    pub(super) fn level(&self, metric: &'static Metric, labels: Labels) -> Level {
        Level(self.recorder.register_gauge(&series_key(metric, labels), &METADATA))
    }

    /// A new gauge shows `first`; an existing gauge keeps its value.
    pub(super) fn gauge(&self, metric: &'static Metric, labels: Labels, first: f64) -> Gauge {
        let key = series_key(metric, labels);
        let gauge = self.recorder.register_gauge(&key, &METADATA);
        // Held until the value is set: a second handle must not be used before.
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.insert(key) {
            gauge.set(first);
        }
        Gauge(gauge)
    }

    pub(super) fn histogram(&self, metric: &'static Metric, labels: Labels) -> Histogram {
        Histogram(self.recorder.register_histogram(&series_key(metric, labels), &METADATA))
    }

    /// Sorts recorded durations into buckets.
    pub(super) fn run_upkeep(&self) {
        self.page.run_upkeep();
    }

    /// The [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) of Prometheus, version 0.0.4.
    pub(super) fn render(&self) -> String {
        self.page.render()
    }
}

/// Labels of a series outside the exporter.
pub(super) fn label_set(metric: &'static Metric, labels: Labels) -> LabelSet {
    LabelSet::from_key_and_global(&series_key(metric, labels), &Default::default())
}

fn series_key(metric: &'static Metric, labels: Labels) -> Key {
    assert!(
        labels.iter().map(|(label, _)| label).eq(metric.labels),
        "{}: the catalogue lists other labels than {labels:?}",
        metric.name
    );
    let labels: Vec<_> =
        labels.into_iter().map(|(label, value)| metrics::Label::new(label.as_str(), value)).collect();
    Key::from_parts(metric.name, labels)
}

// === impl Counter ===

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.increment(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.increment(count);
    }
}

// === impl Level ===

impl Level {
    /// Adds one.
    pub fn increment(&self) {
        self.0.increment(1.0);
    }

    /// Subtracts one.
    pub fn decrement(&self) {
        self.0.decrement(1.0);
    }

    /// Adds `count`.
    #[expect(clippy::cast_precision_loss, reason = "nothing counted here comes near 2^53")]
    pub fn raise(&self, count: u64) {
        self.0.increment(count as f64);
    }

    /// Replaces the contribution `before` by `now`.
    pub(super) fn shift(&self, (before, now): (usize, usize)) {
        match now.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.raise(more as u64),
            None => self.lower((before - now) as u64),
        }
    }

    /// Subtracts `count`.
    #[expect(clippy::cast_precision_loss, reason = "nothing counted here comes near 2^53")]
    pub fn lower(&self, count: u64) {
        self.0.decrement(count as f64);
    }
}

// === impl Gauge ===

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }
}

// === impl Histogram ===

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        self.0.record(duration);
    }
}

#[cfg(test)]
mod tests;
