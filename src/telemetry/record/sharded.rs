//! The handles that keep numbers by worker, and that somebody has to empty.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{ListenerMetrics, PathMetrics, PathTotals};
use crate::{
    names::{EndpointName, ListenerName},
    telemetry::{catalog, distribution},
    topology::DeclaredRole,
};

/// Every such handle ever made. They are kept, as the exporter keeps their series: whoever asks for them again goes on
/// with the same ones, and a session that outlives its listener's configuration is still counted.
#[derive(Default)]
pub(super) struct Sharded {
    paths: Mutex<HashMap<PathKey, Arc<PathMetrics>>>,
    listeners: Mutex<HashMap<ListenerName, Arc<ListenerMetrics>>>,
    /// Held by who flushes: who comes second must not show a page while numbers are under way to it.
    flushing: Mutex<()>,
}

/// What a path's labels say.
pub(super) type PathKey = (ListenerName, EndpointName, DeclaredRole);

impl Sharded {
    pub(super) fn path(&self, key: PathKey, make: impl FnOnce() -> PathMetrics) -> Arc<PathMetrics> {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(paths.entry(key).or_insert_with(|| Arc::new(make())))
    }

    pub(super) fn listener(
        &self,
        name: &ListenerName,
        make: impl FnOnce() -> ListenerMetrics,
    ) -> Arc<ListenerMetrics> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(listeners.entry(name.clone()).or_insert_with(|| Arc::new(make())))
    }

    /// Moves what all workers counted to where it is shown. Holds no lock that a session asks for.
    pub(super) fn flush(&self) {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners: Vec<_> =
            self.listeners.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        self.paths().iter().for_each(|path| path.flush());
        listeners.iter().for_each(|listener| listener.flush());
    }

    /// What was counted ever, up to the last flush.
    pub(super) fn totals(&self) -> Vec<PathTotals> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        paths.into_iter().map(|((listener, endpoint, _), path)| path.totals(listener, endpoint)).collect()
    }

    /// Adds to a page what stays in the shards.
    pub(super) fn show(&self, page: &mut String) {
        let paths = self.paths();
        distribution::show(page, &catalog::STATEMENT_DURATION, paths.iter().map(|path| path.duration()));
        distribution::show(page, &catalog::PROXY_OVERHEAD, paths.iter().map(|path| path.overhead()));
        distribution::show(page, &catalog::POOL_WAIT_DURATION, paths.iter().map(|path| path.wait()));
    }

    /// A copy of the list, so that nobody waits for its reader.
    fn paths(&self) -> Vec<Arc<PathMetrics>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
