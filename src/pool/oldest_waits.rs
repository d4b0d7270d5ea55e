//! Longest current waits for a backend, by path: several pools share the metrics of one path.
//!
//! Promises: a path without waiting clients shows zero, also after its pools are gone. Refuses to know: queues.

use std::sync::Arc;

use tokio::time::Instant;

use crate::telemetry::PathMetrics;

/// Paths with waiting clients, each with the start of its longest wait.
#[derive(Default)]
pub(super) struct OldestWaits {
    /// Few paths: searched linearly.
    paths: Vec<(Arc<PathMetrics>, Instant)>,
}

// === impl OldestWaits ===

impl OldestWaits {
    /// Notes the longest wait of one pool of `path`; `None` without waiting clients.
    pub(super) fn note_wait(&mut self, path: &Arc<PathMetrics>, start: Option<Instant>) {
        let Some(start) = start else { return };
        match self.find_path(path) {
            Some(at) => self.paths[at].1 = self.paths[at].1.min(start),
            None => self.paths.push((Arc::clone(path), start)),
        }
    }

    /// Publishes the waits at `now`; paths of `before` without waits show zero.
    pub(super) fn publish(&self, before: &Self, now: Instant) {
        for (path, _) in before.paths.iter().filter(|(path, _)| self.find_path(path).is_none()) {
            path.set_oldest_wait(std::time::Duration::ZERO);
        }
        for (path, start) in &self.paths {
            path.set_oldest_wait(now.saturating_duration_since(*start));
        }
    }

    fn find_path(&self, path: &Arc<PathMetrics>) -> Option<usize> {
        self.paths.iter().position(|(known, _)| Arc::ptr_eq(known, path))
    }
}
