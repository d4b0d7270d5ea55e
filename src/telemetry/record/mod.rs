//! The handles that count. They are made once, from the catalogue alone, and each makes all of its series at once.

mod endpoint;
mod listener;
mod path;
mod program;

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    catalog::{Label, Metric},
    labels::Word,
    process::ProcessMetrics,
    registry::{Counter, Gauge, Histogram, Labels, Level, Registry},
};
use crate::{
    names::{EndpointName, ListenerName},
    topology::Endpoint,
};

pub use endpoint::{BackendPresence, EndpointMetrics};
pub use listener::{ClientPresence, ListenerMetrics};
pub use path::PathMetrics;
pub use program::{AuditMetrics, ProgramMetrics, TopologyMetrics};

/// All the numbers of one process, and the maker of the handles that write them. Clones share the numbers.
///
/// Asking twice for the handles of one listener or endpoint gives handles to the same numbers.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    process: Arc<ProcessMetrics>,
    shard: usize,
}

impl Metrics {
    /// No numbers yet.
    #[must_use]
    pub fn new() -> Self {
        let registry = Arc::new(Registry::default());
        let process = Arc::new(ProcessMetrics::new(&registry));
        Self { registry, process, shard: 0 }
    }

    /// A maker of handles for worker `index`: they write to memory of their own and never disturb another worker.
    #[must_use]
    pub fn worker(&self, index: usize) -> Self {
        Self { shard: index + 1, ..self.clone() }
    }

    /// The handles for what a listener's sessions do on an endpoint.
    #[must_use]
    pub fn path(&self, listener: &ListenerName, endpoint: &Endpoint) -> Arc<PathMetrics> {
        let scope = self.scope().and(Label::Listener, listener.as_str()).endpoint(endpoint);
        Arc::new(PathMetrics::new(&scope))
    }

    /// The handles of a listener.
    #[must_use]
    pub fn listener(&self, listener: &ListenerName) -> Arc<ListenerMetrics> {
        Arc::new(ListenerMetrics::new(&self.scope().and(Label::Listener, listener.as_str())))
    }

    /// The handles of an endpoint.
    #[must_use]
    pub fn endpoint(&self, endpoint: &Endpoint) -> Arc<EndpointMetrics> {
        Arc::new(EndpointMetrics::new(&self.scope().endpoint(endpoint), endpoint))
    }

    /// The handles of the topology as a whole.
    #[must_use]
    pub fn topology(&self) -> TopologyMetrics {
        TopologyMetrics::new(&self.scope())
    }

    /// The handles of the program: reloads, panics.
    #[must_use]
    pub fn program(&self) -> ProgramMetrics {
        ProgramMetrics::new(&self.scope())
    }

    /// The handles of the audit log.
    #[must_use]
    pub fn audit(&self) -> AuditMetrics {
        AuditMetrics::new(&self.scope())
    }

    /// Forgets the series of an endpoint that the configuration no longer has.
    pub fn forget_endpoint(&self, endpoint: &EndpointName) {
        self.registry.forget(Label::Endpoint, endpoint.as_str());
    }

    /// Forgets the series of a listener that the configuration no longer has.
    pub fn forget_listener(&self, listener: &ListenerName) {
        self.registry.forget(Label::Listener, listener.as_str());
    }

    /// The page for Prometheus, in its text format, version 0.0.4. Reads `/proc`; takes no lock of the data path.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.sample();
        self.registry.render()
    }

    fn scope(&self) -> Scope<'_> {
        Scope { registry: &self.registry, shard: self.shard, labels: Vec::new() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Label values that several metrics share.
pub(super) struct Scope<'a> {
    registry: &'a Registry,
    shard: usize,
    labels: Labels,
}

impl Scope<'_> {
    fn and(&self, label: Label, value: &str) -> Self {
        let mut labels = self.labels.clone();
        labels.push((label, value.into()));
        Self { registry: self.registry, shard: self.shard, labels }
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Self {
        self.and(Label::Endpoint, endpoint.name.as_str()).and(Label::BackendRole, endpoint.role.as_str())
    }

    fn counter(&self, metric: &'static Metric) -> Counter {
        self.registry.counter(metric, self.labels.clone(), self.shard)
    }

    fn level(&self, metric: &'static Metric) -> Level {
        self.registry.level(metric, self.labels.clone(), self.shard)
    }

    fn gauge(&self, metric: &'static Metric) -> Gauge {
        self.registry.gauge(metric, self.labels.clone(), 0.0)
    }

    /// A gauge whose value is not known yet: a moment that has not come, a distance never measured.
    fn unknown(&self, metric: &'static Metric) -> Gauge {
        self.registry.gauge(metric, self.labels.clone(), f64::NAN)
    }

    fn histogram(&self, metric: &'static Metric) -> Histogram {
        self.registry.histogram(metric, self.labels.clone(), self.shard)
    }

    /// One handle for each word of a closed set.
    fn each<W: Word, T>(&self, label: Label, make: impl Fn(&Self) -> T) -> Each<W, T> {
        let handles = W::ALL.iter().map(|word| make(&self.and(label, word.as_str()))).collect();
        Each { handles, words: PhantomData }
    }
}

/// A handle for each word of a closed set.
struct Each<W, T> {
    handles: Box<[T]>,
    words: PhantomData<W>,
}

impl<W: Word, T> Each<W, T> {
    fn of(&self, word: W) -> &T {
        &self.handles[word.index()]
    }
}

impl<W: Word> Each<W, Gauge> {
    /// Exactly one state is 1.
    fn enter(&self, state: W) {
        for (at, gauge) in self.handles.iter().enumerate() {
            gauge.set(if at == state.index() { 1.0 } else { 0.0 });
        }
    }
}

/// Seconds since 1970, as Prometheus wants moments.
fn timestamp(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
