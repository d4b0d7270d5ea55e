//! The store of recent events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{
    Event, EventKind, FailoverChange, WriterPeriod, WriterPeriods,
    failover::FailoverTracker,
    refusals::{RecentRefusals, RefusalCounts},
    ring::Ring,
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
    refusals: RefusalCounts,
    /// The failed reloads since the last successful one.
    failed_reload: Option<FailedReload>,
}

/// Failed reloads of the configuration without a successful one since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedReload {
    /// Time of the first failure.
    pub since: Timestamp,
    /// The first mistake of the last failure.
    pub error: String,
}

impl Events {
    /// Records an event.
    pub fn record_event(&self, what: EventKind) {
        let (what, now) = (what.with_bounded_texts(), Timestamp::now());
        let mut kept = self.lock();
        kept.refusals.note(&what, now);
        match &what {
            EventKind::Reloaded { .. } => kept.failed_reload = None,
            EventKind::ReloadFailed { error, .. } => {
                let since = kept.failed_reload.as_ref().map_or(now, |failed| failed.since);
                kept.failed_reload = Some(FailedReload { since, error: error.clone() });
            }
            _ => {}
        }
        kept.ring.push(what, now);
    }

    /// Refused clients and statements of the last minute.
    #[must_use]
    pub fn recent_refusals(&self) -> Vec<RecentRefusals> {
        self.lock().refusals.recent(Timestamp::now())
    }

    /// The failed reloads since the last successful one.
    #[must_use]
    pub fn failed_reload(&self) -> Option<FailedReload> {
        self.lock().failed_reload.clone()
    }

    /// Time of the last change of the topology that is `wanted`, as far as kept.
    #[must_use]
    pub fn last_change(&self, wanted: impl Fn(&SnapshotChange) -> bool) -> Option<Timestamp> {
        let is_wanted = |event: &&Event| matches!(&event.what, EventKind::Topology(change) if wanted(change));
        self.lock().ring.newest_first(0).find(is_wanted).map(|event| event.first)
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
