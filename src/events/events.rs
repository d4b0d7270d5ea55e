//! Where events are told, and where they are read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Event, EventKind, WriterPeriod, WriterPeriods, ring::Ring};
use crate::topology::{SnapshotChange, TopologySnapshot};

/// What happened lately. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub struct Events {
    kept: Arc<Mutex<RecentEvents>>,
}

#[derive(Default)]
struct RecentEvents {
    ring: Ring,
    terms: WriterPeriods,
}

impl Events {
    /// Something happened.
    pub fn tell(&self, what: EventKind) {
        let what = what.bounded();
        self.lock().ring.push(what, Timestamp::now());
    }

    /// The topology changed, and now is like this.
    pub fn topology_changed(&self, change: &SnapshotChange, snapshot: &TopologySnapshot) {
        let what = EventKind::Topology(change.clone()).bounded();
        let now = Timestamp::now();
        let mut kept = self.lock();
        kept.ring.push(what, now);
        kept.terms.follow(snapshot, now);
    }

    /// The topology is like this at the start.
    pub fn begin(&self, snapshot: &TopologySnapshot) {
        self.lock().terms.follow(snapshot, Timestamp::now());
    }

    /// Those with a greater `seq` than `after`, the newest first, `limit` at most.
    #[must_use]
    pub fn after(&self, after: u64, limit: usize) -> Vec<Event> {
        self.lock().ring.newest_first(after).take(limit).cloned().collect()
    }

    /// Who was the writer and until when, the newest first; the first goes on.
    #[must_use]
    pub fn terms(&self) -> Vec<(WriterPeriod, Option<Timestamp>)> {
        self.lock().terms.newest_first().map(|(term, until)| (term.clone(), until)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, RecentEvents> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
