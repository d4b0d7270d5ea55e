//! WAL replay of standbys: how far a node is behind the writer, and if replay goes on.
//!
//! Promises: the lag of a node whose position stands still never shrinks, also when the samples of the writer begin
//! anew; replay counts as stalled only if WAL for it exists. Refuses to know: clocks.

use std::time::{Duration, Instant};

use super::{
    EndpointStatus, Health, NodeStatus, ObservedRole, StandbyWal, TopologySnapshot, WalPosition,
    WriterSamples,
};
use crate::closed_set::closed_set;

closed_set! {
    /// Replay of a standby's WAL.
    pub enum ReplayState(
        /// True if replay has stopped, and an operator must act.
        is_fault: bool,
    ) {
        /// No standby, or a standby with an unknown position.
        Unknown = "unknown" { is_fault: false },
        /// Received WAL is replayed.
        Replaying = "replaying" { is_fault: false },
        /// The position stands still, although the writer has written more WAL.
        Stalled = "stalled" { is_fault: true },
        /// Paused on request (`pg_wal_replay_pause()`), or because of too small settings of the standby.
        Paused = "paused" { is_fault: true },
        /// The WAL comes from another server than the writer.
        Diverged = "diverged" { is_fault: true },
    }
}

/// How far a standby is behind the writer, as of the query of its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicationLag {
    /// WAL written and not replayed; `None` while the writer's position is unknown.
    pub bytes: Option<u64>,
    /// Time since the standby was last known to be level; if [`Self::is_lower_bound`], it was not level for at least this
    /// time.
    pub time: Duration,
    /// The standby was behind all known positions of the writer.
    pub is_lower_bound: bool,
    /// Time for which the standby certainly lacked WAL: at most [`Self::time`].
    pub certain: Duration,
}

/// Replay of a node, as shown by consecutive answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayProgress {
    /// Time since which the node certainly lacks WAL; `None` if level. Kept while the position stands still.
    lacks_since: Option<Instant>,
    standing: Option<Standing>,
    /// `pg_is_wal_replay_paused()`.
    is_paused: bool,
}

/// A position that stands still while WAL waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    since: Instant,
    /// Greatest position at that time that the writer had written or the node had received.
    target: u64,
    /// When `target` was first exceeded.
    advanced_at: Option<Instant>,
    /// The position has stood still for [`STALL_AFTER`].
    is_stalled: bool,
}

/// Standing still for this time is a stall. A replay conflict may last longer: PostgreSQL lets queries of a standby delay
/// replay for 30 s (`max_standby_streaming_delay`), and reads are old meanwhile.
const STALL_AFTER: Duration = Duration::from_secs(10);

/// Samples of a writer that answers are not older: the default interval of probes is 2 s.
const MAX_LIVE_SAMPLE_AGE: Duration = Duration::from_secs(10);

/// Nodes behind an address count for this long after their last answer: a probe's new login, each 30 s, may show another
/// node.
const NODE_RELEVANCE: Duration = Duration::from_secs(60);

// === impl WriterSamples ===

impl WriterSamples {
    /// Lag of a standby with `position`, compared with what was known when its query began; `None` without earlier
    /// samples.
    #[must_use]
    pub fn lag_of(&self, position: WalPosition) -> Option<ReplicationLag> {
        let WalPosition { lsn, asked_at } = position;
        let latest = self.last_answered_before(asked_at)?;
        if latest.lsn <= lsn {
            return Some(ReplicationLag { bytes: Some(0), ..ReplicationLag::default() });
        }
        let certain = asked_at.saturating_duration_since(self.written_beyond(lsn)?);
        let level = self.fresh_as_of(lsn).map(|level| asked_at.saturating_duration_since(level));
        Some(ReplicationLag {
            bytes: Some(latest.lsn - lsn),
            time: level.unwrap_or(certain),
            is_lower_bound: level.is_none(),
            certain,
        })
    }
}

// === impl ReplayProgress ===

impl ReplayProgress {
    /// The progress after an answer with `position`, where the answer before had `before`. `wal` is `None` if the answer did
    /// not include it.
    #[must_use]
    pub(super) fn after(
        mut self,
        before: Option<WalPosition>,
        position: WalPosition,
        wal: Option<StandbyWal>,
        samples: &WriterSamples,
    ) -> Self {
        if let Some(wal) = wal {
            self.is_paused = wal.is_paused;
        }
        let stands = before.is_some_and(|before| before.lsn == position.lsn);
        if !stands {
            (self.lacks_since, self.standing) = (None, None);
        }
        let lag = samples.lag_of(position);
        if lag.is_some_and(|lag| lag.bytes == Some(0)) {
            self.lacks_since = None;
        } else if self.lacks_since.is_none() {
            self.lacks_since = lag.and_then(|lag| position.asked_at.checked_sub(lag.certain));
        }
        self.note_standing(position, wal.and_then(|wal| wal.received), samples);
        self
    }

    fn note_standing(&mut self, position: WalPosition, received: Option<u64>, samples: &WriterSamples) {
        let WalPosition { lsn, asked_at } = position;
        let written = samples.last_answered_before(asked_at);
        let target = written.map(|sample| sample.lsn).max(received).filter(|target| *target > lsn);
        let Some(target) = target else {
            self.standing = None;
            return;
        };
        let first = Standing { since: asked_at, target, advanced_at: None, is_stalled: false };
        let standing = self.standing.get_or_insert(first);
        if target > standing.target {
            standing.advanced_at.get_or_insert(asked_at);
        }
        // WAL of a writer that died may be lost and proves nothing; WAL of a new history waits since its first sample.
        let is_live = written.is_some_and(|sample| {
            sample.lsn > lsn && asked_at.saturating_duration_since(sample.asked_at) <= MAX_LIVE_SAMPLE_AGE
        });
        let live_since =
            samples.oldest().filter(|_| is_live).map(|oldest| oldest.asked_at.max(standing.since));
        let waits_since = live_since.into_iter().chain(standing.advanced_at).min();
        standing.is_stalled |=
            waits_since.is_some_and(|since| asked_at.saturating_duration_since(since) >= STALL_AFTER);
    }

    /// Progress with an unchanged position, whose lag must not shrink.
    fn lag_at(&self, position: WalPosition) -> Option<ReplicationLag> {
        let certain = position.asked_at.saturating_duration_since(self.lacks_since?);
        Some(ReplicationLag { bytes: None, time: certain, is_lower_bound: true, certain })
    }
}

// === impl NodeStatus ===

impl NodeStatus {
    /// Lag of the node; `None` while unknown.
    #[must_use]
    pub fn lag(&self, samples: &WriterSamples) -> Option<ReplicationLag> {
        let position = self.position.filter(|_| self.replays_the_writer())?;
        let (measured, kept) = (samples.lag_of(position), self.replay.lag_at(position));
        match (measured, kept) {
            (Some(measured), Some(kept)) if measured.bytes != Some(0) && kept.certain > measured.certain => {
                let time = measured.time.max(kept.time);
                Some(ReplicationLag { time, certain: kept.certain, ..measured })
            }
            (Some(measured), _) => Some(measured),
            (None, kept) => kept,
        }
    }

    /// Replay of the node, which replays the writer's WAL if `follows_writer`.
    #[must_use]
    fn replay_state(&self, follows_writer: bool) -> ReplayState {
        match self.role {
            ObservedRole::Primary => ReplayState::Unknown,
            ObservedRole::Standby if self.strayed || !follows_writer => ReplayState::Diverged,
            ObservedRole::Standby if self.replay.is_paused => ReplayState::Paused,
            ObservedRole::Standby => match (self.replay.standing, self.position) {
                (Some(Standing { is_stalled: true, .. }), _) => ReplayState::Stalled,
                (_, Some(_)) => ReplayState::Replaying,
                (_, None) => ReplayState::Unknown,
            },
        }
    }
}

// === impl TopologySnapshot ===

impl TopologySnapshot {
    /// Lag of an endpoint that is up: of the node that is furthest behind. Zero for the writer; `None` while unknown.
    #[must_use]
    pub fn lag_of(&self, status: &EndpointStatus) -> Option<ReplicationLag> {
        if status.health != Health::Up {
            return None;
        }
        if self.writer.as_ref() == Some(&status.endpoint.name) {
            return status.position.map(|_| ReplicationLag { bytes: Some(0), ..ReplicationLag::default() });
        }
        if status.observed != Some(ObservedRole::Standby) || !self.may_follow_writer(status) {
            return None;
        }
        if status.nodes.is_empty() {
            return self.writer_samples.lag_of(status.position?);
        }
        let lags = relevant_nodes(status).filter_map(|node| node.lag(&self.writer_samples));
        lags.max_by_key(|lag| (lag.time, lag.bytes))
    }

    /// Replay of an endpoint's standbys: the worst state of the nodes seen lately.
    #[must_use]
    pub(super) fn replay_of(&self, status: &EndpointStatus) -> ReplayState {
        let follows_writer = self.may_follow_writer(status);
        let states = relevant_nodes(status).map(|node| node.replay_state(follows_writer));
        states.max_by_key(|state| state.index()).unwrap_or(ReplayState::Unknown)
    }

    /// False if the standbys behind the address replay another server's WAL. Without a writer nothing is known.
    fn may_follow_writer(&self, status: &EndpointStatus) -> bool {
        self.writer.is_none() || self.follows_writer(&status.endpoint.cluster)
    }
}

fn relevant_nodes(status: &EndpointStatus) -> impl Iterator<Item = &NodeStatus> {
    let latest = status.nodes.iter().map(|node| node.last_seen).max();
    let is_relevant = move |node: &&NodeStatus| {
        latest.is_none_or(|latest| latest.saturating_duration_since(node.last_seen) < NODE_RELEVANCE)
    };
    status.nodes.iter().filter(is_relevant)
}

#[cfg(test)]
mod tests;
