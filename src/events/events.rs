//! The store of recent events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{
    Event, EventKind, FailoverChange, WriterPeriod, WriterPeriods, failover::FailoverTracker, ring::Ring,
};
use crate::{
    session::Fate,
    topology::{SnapshotChange, TopologySnapshot},
};

/// Recent events. Cheap to clone; all clones share the store.
#[derive(Clone, Default)]
pub struct Events {
    kept: Arc<Mutex<RecentEvents>>,
}

#[derive(Default)]
struct RecentEvents {
    ring: Ring,
    terms: WriterPeriods,
    failovers: FailoverTracker,
}

impl Events {
    /// Records an event.
    pub fn record_event(&self, what: EventKind) {
        let what = what.with_bounded_texts();
        self.lock().ring.push(what, Timestamp::now());
    }

    /// Counts a transaction whose backend was lost.
    pub fn record_fate(&self, fate: Fate) {
        self.lock().failovers.record_fate(fate, Timestamp::now());
    }

    /// Records a topology change and the topology after the change. Returns the failovers that begin or end with it.
    pub fn topology_changed(
        &self,
        change: &SnapshotChange,
        snapshot: &TopologySnapshot,
    ) -> Vec<FailoverChange> {
        let what = EventKind::Topology(change.clone()).with_bounded_texts();
        let now = Timestamp::now();
        let mut kept = self.lock();
        kept.ring.push(what, now);
        kept.terms.follow(snapshot, now);
        let failovers = kept.failovers.follow(snapshot, now);
        for failover in &failovers {
            kept.ring.push(EventKind::Failover(failover.clone()), now);
        }
        failovers
    }

    /// Records the topology at the start.
    pub fn begin(&self, snapshot: &TopologySnapshot) {
        let now = Timestamp::now();
        let mut kept = self.lock();
        kept.terms.follow(snapshot, now);
        kept.failovers.follow(snapshot, now);
    }

    /// At most `limit` events with a `seq` greater than `after`, newest first.
    #[must_use]
    pub fn events_after(&self, after: u64, limit: usize) -> Vec<Event> {
        self.lock().ring.newest_first(after).take(limit).cloned().collect()
    }

    /// Writer periods with their ends, newest first; the current period has no end.
    #[must_use]
    pub fn writer_periods(&self) -> Vec<(WriterPeriod, Option<Timestamp>)> {
        self.lock().terms.newest_first().map(|(term, until)| (term.clone(), until)).collect()
    }

    /// Begin of the writer's absence, if the writer was up before.
    #[must_use]
    pub fn writer_absence_start(&self) -> Option<Timestamp> {
        self.lock().terms.absence_start()
    }

    fn lock(&self) -> MutexGuard<'_, RecentEvents> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
