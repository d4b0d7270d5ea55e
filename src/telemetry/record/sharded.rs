//! The handles with shards per worker, which must be collected.

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

/// Every such handle ever created. Handles are kept like the exporter's series: repeated requests return the same
/// handle, and a session that outlives its listener's configuration is still counted.
#[derive(Default)]
pub(super) struct Sharded {
    paths: Mutex<HashMap<PathKey, Arc<PathMetrics>>>,
    listeners: Mutex<HashMap<ListenerName, Arc<ListenerMetrics>>>,
    /// Held during a flush: a concurrent reader must not render a page while numbers are being moved.
    flushing: Mutex<()>,
}

/// Labels of a path.
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

    /// Moves the counts of all workers to the exporter. Holds no lock that sessions need.
    pub(super) fn flush(&self) {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners: Vec<_> =
            self.listeners.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        self.list_paths().iter().for_each(|path| path.flush());
        listeners.iter().for_each(|listener| listener.flush());
    }

    /// Totals since the start, up to the last flush.
    pub(super) fn totals(&self) -> Vec<PathTotals> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        paths.into_iter().map(|((listener, endpoint, _), path)| path.totals(listener, endpoint)).collect()
    }

    /// Adds the numbers that stay in the shards to a page.
    pub(super) fn show(&self, page: &mut String) {
        let paths = self.list_paths();
        distribution::write_histogram(
            page,
            &catalog::STATEMENT_DURATION,
            paths.iter().map(|path| path.duration()),
        );
        distribution::write_histogram(
            page,
            &catalog::PROXY_OVERHEAD,
            paths.iter().map(|path| path.overhead()),
        );
        distribution::write_histogram(
            page,
            &catalog::POOL_WAIT_DURATION,
            paths.iter().map(|path| path.wait()),
        );
    }

    /// A copy of the list, so that readers hold no lock.
    fn list_paths(&self) -> Vec<Arc<PathMetrics>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
