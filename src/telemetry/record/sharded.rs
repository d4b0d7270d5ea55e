//! The handles that keep numbers by worker, and that somebody has to empty.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{ListenerMetrics, PathMetrics};
use crate::{
    names::{EndpointName, ListenerName},
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
        let paths: Vec<_> =
            self.paths.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let listeners: Vec<_> =
            self.listeners.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        paths.iter().for_each(|path| path.flush());
        listeners.iter().for_each(|listener| listener.flush());
    }
}
