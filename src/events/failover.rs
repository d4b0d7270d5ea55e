//! Failovers: from the absence of the writer, or its replacement, to a writer that accepts writes; with the fates of the
//! transactions whose backend was lost.
//!
//! Promises: each failover begins once and ends once; memory is bounded. Refuses to know: who records and shows them.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::{
    names::EndpointName,
    session::Fate,
    topology::{Health, NodeId, TopologySnapshot},
};

/// Counts of lost transactions by fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FateCounts([u64; Fate::ALL.len()]);

/// Beginning or end of a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverChange {
    /// The lost writer at the beginning, the new one at the end; `None` if there was none.
    pub writer: Option<EndpointName>,
    /// Time between the beginning and the end; `None` at the beginning.
    pub duration: Option<SignedDuration>,
    /// Fates of the transactions lost so far.
    pub fates: FateCounts,
}

/// Follows the writer, and counts fates.
#[derive(Default)]
pub(super) struct FailoverTracker {
    /// The last writer that was up.
    last: Option<(EndpointName, Option<NodeId>)>,
    /// Beginning of the current failover.
    began: Option<Timestamp>,
    /// Fates by second, oldest first.
    fates: VecDeque<(i64, FateCounts)>,
}

/// Time before the detection whose fates belong to the failover: sessions notice before the probe.
const DETECTION: SignedDuration = SignedDuration::from_secs(30);
/// Seconds with fates that are kept: longer than any hold.
const MAX_SECONDS: usize = 600;

// === impl FateCounts ===

impl FateCounts {
    /// Count of a fate.
    #[must_use]
    pub const fn of(&self, fate: Fate) -> u64 {
        self.0[fate.index()]
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

impl std::fmt::Display for FateCounts {
    /// `2 rolled back, 1 unknown`, or `no transaction`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for fate in Fate::ALL.iter().filter(|fate| self.of(**fate) > 0) {
            write!(f, "{separator}{} {}", self.of(*fate), fate.as_str().replace('_', " "))?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("no transaction") } else { Ok(()) }
    }
}

// === impl FailoverTracker ===

impl FailoverTracker {
    /// Counts a lost transaction at `now`.
    pub(super) fn record_fate(&mut self, fate: Fate, now: Timestamp) {
        let second = now.as_second();
        if self.fates.back().is_none_or(|(last, _)| *last != second) {
            if self.fates.len() >= MAX_SECONDS {
                self.fates.pop_front();
            }
            self.fates.push_back((second, FateCounts::default()));
        }
        if let Some((_, counts)) = self.fates.back_mut() {
            counts.0[fate.index()] += 1;
        }
    }

    /// Follows the topology at `now`. Returns the changes, in their order: a writer that was replaced without an absence begins
    /// and ends a failover.
    pub(super) fn follow(&mut self, snapshot: &TopologySnapshot, now: Timestamp) -> Vec<FailoverChange> {
        let status = snapshot.writer.as_ref().and_then(|name| snapshot.get(name));
        let up = status.filter(|status| status.health == Health::Up);
        let writer = up.map(|status| (status.endpoint.name.clone(), status.node));
        let mut changes = Vec::new();
        if self.began.is_none() && self.is_lost(writer.as_ref()) {
            self.began = Some(now);
            let lost = self.last.as_ref().map(|(name, _)| name.clone());
            changes.push(FailoverChange { writer: lost, duration: None, fates: self.fates_of(now) });
        }
        if let Some(writer) = writer {
            if let Some(began) = self.began.take() {
                let (fates, duration) = (self.fates_of(began), Some(now.duration_since(began)));
                changes.push(FailoverChange { writer: Some(writer.0.clone()), duration, fates });
            }
            self.last = Some(writer);
        }
        changes
    }

    /// True if the last writer is absent, or was replaced by `writer`.
    fn is_lost(&self, writer: Option<&(EndpointName, Option<NodeId>)>) -> bool {
        match (&self.last, writer) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((last, node)), Some((name, now))) => {
                last != name || (node.is_some() && now.is_some() && node != now)
            }
        }
    }

    /// Fates that belong to a failover detected at `began`.
    fn fates_of(&self, began: Timestamp) -> FateCounts {
        let first = began.checked_sub(DETECTION).unwrap_or(Timestamp::MIN).as_second();
        let mut sum = FateCounts::default();
        for (_, counts) in self.fates.iter().filter(|(second, _)| *second >= first) {
            sum.add(counts);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        names::ClusterName,
        topology::{Endpoint, EndpointStatus},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn snapshot(name: &str, health: Health, started_us: i64) -> TopologySnapshot {
        let endpoint = Arc::new(Endpoint {
            name: EndpointName::new(name).unwrap(),
            cluster: ClusterName::new("orders").unwrap(),
            region: None,
            role: "primary".parse().unwrap(),
            address: "127.0.0.1:5432".parse().unwrap(),
        });
        let node = Some(NodeId { started_us, address: None, port: None });
        let status = EndpointStatus { health, node, ..EndpointStatus::unknown(endpoint) };
        let writer = Some(status.endpoint.name.clone());
        TopologySnapshot { endpoints: vec![status], writer, ..TopologySnapshot::default() }
    }

    /// The changes as `writer duration fates`.
    fn changes(tracker: &mut FailoverTracker, snapshot: &TopologySnapshot, second: i64) -> Vec<String> {
        let describe = |change: &FailoverChange| {
            let writer = change.writer.as_ref().map_or("-", |name| name.as_str());
            let duration = change.duration.map_or(-1, |duration| duration.as_secs());
            format!("{writer} {duration} {}", change.fates)
        };
        tracker.follow(snapshot, at(second)).iter().map(describe).collect()
    }

    #[test]
    fn an_absence_is_a_failover() {
        let mut tracker = FailoverTracker::default();
        assert!(changes(&mut tracker, &snapshot("a", Health::Unknown, 1), 0).is_empty());
        assert!(changes(&mut tracker, &snapshot("a", Health::Up, 1), 1).is_empty());
        tracker.record_fate(Fate::RolledBack, at(70));
        tracker.record_fate(Fate::RolledBack, at(100));
        let down = snapshot("a", Health::Down, 1);
        assert_eq!(changes(&mut tracker, &down, 110), ["a -1 1 rolled back"], "an old fate is another loss");
        assert!(changes(&mut tracker, &down, 111).is_empty());
        tracker.record_fate(Fate::Unknown, at(112));
        let up = snapshot("a", Health::Up, 2);
        assert_eq!(changes(&mut tracker, &up, 115), ["a 5 1 rolled back, 1 unknown"]);
        assert!(changes(&mut tracker, &up, 116).is_empty());
    }

    #[test]
    fn a_replaced_writer_is_a_failover() {
        let mut tracker = FailoverTracker::default();
        changes(&mut tracker, &snapshot("a", Health::Up, 1), 0);
        let wanted = ["a -1 no transaction", "a 0 no transaction"];
        assert_eq!(changes(&mut tracker, &snapshot("a", Health::Up, 2), 1), wanted);
        let wanted = ["a -1 no transaction", "b 0 no transaction"];
        assert_eq!(changes(&mut tracker, &snapshot("b", Health::Up, 3), 2), wanted);
    }

    #[test]
    fn fates_are_bounded() {
        let mut tracker = FailoverTracker::default();
        for second in 0..10_000 {
            tracker.record_fate(Fate::Committed, at(second));
        }
        assert_eq!(tracker.fates.len(), MAX_SECONDS);
    }
}
