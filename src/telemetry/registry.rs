//! Where the numbers live: cells of atomics, summed and written out when somebody asks.
//!
//! A series is a metric and its label values. Each worker writes to cells of its own (a shard), so that a statement's
//! counting is a few uncontended atomic adds; they are summed when rendered. Cells outlive the handles that write to
//! them: a reload that makes its handles anew goes on counting where the old ones stopped.
//!
//! It is our own rather than the `metrics` crate's: no global recorder (two can live in one process, as in tests), no
//! raw samples kept until somebody drains them, series that a reload can forget, and cells by worker.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::catalog::{CATALOG, Kind, Label, Metric};

/// A series' label values, in the order of its metric's labels.
pub(super) type Labels = Vec<(Label, Arc<str>)>;

#[derive(Default)]
pub(super) struct Registry {
    families: Mutex<BTreeMap<&'static str, Vec<Series>>>,
}

struct Series {
    labels: Labels,
    /// By shard; several of them are summed.
    cells: BTreeMap<usize, Cell>,
}

#[derive(Clone)]
enum Cell {
    Counter(Counter),
    Level(Level),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// One worker's number, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Line(AtomicU64);

/// Something that only grows.
#[derive(Clone, Default)]
pub struct Counter(Arc<Line>);

/// How many there are now: changed by one at a time, from several shards.
#[derive(Clone, Default)]
pub struct Level(Arc<Line>);

/// A number that is set.
#[derive(Clone, Default)]
pub struct Gauge(Arc<Line>);

/// Durations, counted into buckets.
#[derive(Clone)]
pub struct Histogram(Arc<Counts>);

#[repr(align(64))]
struct Counts {
    /// Upper bounds in nanoseconds.
    bounds: &'static [u64],
    nanoseconds: AtomicU64,
    /// One more than there are bounds: the last holds what is above them.
    buckets: Box<[AtomicU64]>,
}

// === impl Counter ===

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.0.fetch_add(count, Relaxed);
    }
}

// === impl Level ===

impl Level {
    /// One more.
    pub fn increment(&self) {
        self.0.0.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn decrement(&self) {
        self.lower(1);
    }

    /// `count` less. It wraps within its shard, and the sum over the shards is right.
    pub fn lower(&self, count: u64) {
        self.0.0.fetch_sub(count, Relaxed);
    }
}

// === impl Gauge ===

impl Gauge {
    /// It is `value` now.
    pub fn set(&self, value: f64) {
        self.0.0.store(value.to_bits(), Relaxed);
    }
}

// === impl Histogram ===

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counts { bounds, nanoseconds: AtomicU64::new(0), buckets }))
    }

    /// Counts one that took `duration`.
    pub fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at = self.0.bounds.partition_point(|bound| *bound < nanoseconds);
        self.0.buckets[at].fetch_add(1, Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }
}

// === impl Registry ===

impl Registry {
    pub(super) fn counter(&self, metric: &'static Metric, labels: Labels, shard: usize) -> Counter {
        match self.cell(metric, labels, shard, || Cell::Counter(Counter::default())) {
            Cell::Counter(counter) => counter,
            _ => unreachable!("a counter's series holds counters"),
        }
    }

    pub(super) fn level(&self, metric: &'static Metric, labels: Labels, shard: usize) -> Level {
        match self.cell(metric, labels, shard, || Cell::Level(Level::default())) {
            Cell::Level(level) => level,
            _ => unreachable!("a level's series holds levels"),
        }
    }

    /// A gauge is set, not summed: it has one cell, whatever the shard. A new one holds `first`.
    pub(super) fn gauge(&self, metric: &'static Metric, labels: Labels, first: f64) -> Gauge {
        let made = || {
            let gauge = Gauge::default();
            gauge.set(first);
            Cell::Gauge(gauge)
        };
        match self.cell(metric, labels, 0, made) {
            Cell::Gauge(gauge) => gauge,
            _ => unreachable!("a gauge's series holds gauges"),
        }
    }

    pub(super) fn histogram(&self, metric: &'static Metric, labels: Labels, shard: usize) -> Histogram {
        let Kind::Histogram(buckets) = metric.kind else { unreachable!("the catalogue says its buckets") };
        match self.cell(metric, labels, shard, || Cell::Histogram(Histogram::new(buckets.bounds()))) {
            Cell::Histogram(histogram) => histogram,
            _ => unreachable!("a histogram's series holds histograms"),
        }
    }

    fn cell(
        &self,
        metric: &'static Metric,
        labels: Labels,
        shard: usize,
        made: impl FnOnce() -> Cell,
    ) -> Cell {
        assert!(
            labels.iter().map(|(label, _)| label).eq(metric.labels),
            "{}: the catalogue lists other labels than {labels:?}",
            metric.name
        );
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(metric.name).or_default();
        let at = family.iter().position(|series| series.labels == labels).unwrap_or_else(|| {
            family.push(Series { labels, cells: BTreeMap::new() });
            family.len() - 1
        });
        family[at].cells.entry(shard).or_insert_with(made).clone()
    }

    /// Forgets every series with `label` = `value`.
    pub(super) fn forget(&self, label: Label, value: &str) {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for family in families.values_mut() {
            family.retain(|series| !series.labels.iter().any(|(l, v)| *l == label && **v == *value));
        }
    }

    /// The [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) of Prometheus, version 0.0.4.
    pub(super) fn render(&self) -> String {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::with_capacity(64 << 10);
        for metric in CATALOG {
            let Some(family) = families.get(metric.name).filter(|family| !family.is_empty()) else {
                continue;
            };
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let name = metric.name;
            write!(page, "# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help).ok();
            for series in family {
                series.render(&mut page, name);
            }
        }
        page
    }
}

// === impl Series ===

impl Series {
    fn render(&self, page: &mut String, name: &str) {
        let (mut whole, mut set, mut histograms) = (0_u64, None, Vec::new());
        for cell in self.cells.values() {
            match cell {
                Cell::Counter(Counter(line)) | Cell::Level(Level(line)) => {
                    whole = whole.wrapping_add(line.0.load(Relaxed));
                }
                Cell::Gauge(Gauge(line)) => set = Some(f64::from_bits(line.0.load(Relaxed))),
                Cell::Histogram(Histogram(counts)) => histograms.push(counts),
            }
        }
        if let Some(first) = histograms.first() {
            return self.render_histogram(page, name, first.bounds, &histograms);
        }
        self.head(page, name, "", None);
        match set {
            Some(value) => writeln!(page, " {value}").ok(),
            // A level that was read between two shards' changes may be below zero for a moment.
            None if whole > i64::MAX as u64 => writeln!(page, " 0").ok(),
            None => writeln!(page, " {whole}").ok(),
        };
    }

    fn render_histogram(&self, page: &mut String, name: &str, bounds: &[u64], shards: &[&Arc<Counts>]) {
        let sum = |at: usize| shards.iter().map(|counts| counts.buckets[at].load(Relaxed)).sum::<u64>();
        let mut count = 0;
        for (at, bound) in bounds.iter().enumerate() {
            count += sum(at);
            self.head(page, name, "_bucket", Some(&seconds(*bound).to_string()));
            writeln!(page, " {count}").ok();
        }
        count += sum(bounds.len());
        let total = shards.iter().map(|counts| counts.nanoseconds.load(Relaxed)).sum();
        self.head(page, name, "_bucket", Some("+Inf"));
        writeln!(page, " {count}").ok();
        self.head(page, name, "_sum", None);
        writeln!(page, " {}", seconds(total)).ok();
        self.head(page, name, "_count", None);
        writeln!(page, " {count}").ok();
    }

    fn head(&self, page: &mut String, name: &str, suffix: &str, bound: Option<&str>) {
        page.push_str(name);
        page.push_str(suffix);
        let labels = self.labels.iter().map(|(label, value)| (label.as_str(), &**value));
        let mut before = '{';
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            write!(page, "{before}{label}=\"").ok();
            for c in value.chars() {
                match c {
                    '\\' => page.push_str("\\\\"),
                    '"' => page.push_str("\\\""),
                    '\n' => page.push_str("\\n"),
                    c => page.push(c),
                }
            }
            page.push('"');
            before = ',';
        }
        if before == ',' {
            page.push('}');
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum of durations need not be exact to the nanosecond")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests;
