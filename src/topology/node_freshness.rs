//! How a node stands towards a floor: may a read that must see everything up to then be answered there?

use std::time::{Duration, Instant};

use super::{EndpointStatus, NodeId, NodeStatus, ObservedRole, TopologySnapshot, WalPosition, WriterSamples};
use crate::names::ClusterName;

/// How a node stands towards a floor: a moment of ours that a read must not be older than.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFreshness {
    /// It is known to show all that committed before the floor.
    Fresh,
    /// It is not known whether it does: it does if it is in recovery and has replayed up to `lsn`.
    Ask {
        /// Where the writer stood at the floor or a little later.
        lsn: u64,
    },
    /// It does not, or was asked so short a time ago and is so far behind that to ask again is not worth it.
    Stale,
    /// The writer was not asked since the floor: nobody can tell.
    Unknown,
}

/// For how long a node that lacked what it was asked for is not asked again.
///
/// A question costs nothing but the read behind it, which is thrown away when the answer is too old. With this a node that
/// lags costs 50 such reads in a second, however many there are, and one that has caught up gets its reads back after 20 ms
/// at most: less than the tenth of a second that nodes of a read pool usually lag by under load.
pub const NODE_RETRY_INTERVAL: Duration = Duration::from_millis(20);

// === impl TopologySnapshot ===

impl TopologySnapshot {
    /// How `node` stands towards `floor`; without a node that of a server that does not say which one it is.
    #[must_use]
    pub fn freshness_of(&self, node: Option<&NodeId>, floor: Instant, now: Instant) -> NodeFreshness {
        let Some(wanted) = self.writer_samples.since(floor) else { return NodeFreshness::Unknown };
        let ask = NodeFreshness::Ask { lsn: wanted.lsn };
        if !self.may_serve(node) {
            return NodeFreshness::Stale;
        }
        let Some((_, node)) = node.and_then(|id| self.node(id)) else { return ask };
        let hopeless = match node.position {
            Some(position) if position.lsn >= wanted.lsn => return NodeFreshness::Fresh,
            Some(position) => lags(&self.writer_samples, position, wanted, floor, now),
            // In recovery, and it cannot say how far: as stale as can be.
            None => now.saturating_duration_since(node.last_seen) < NODE_RETRY_INTERVAL,
        };
        if hopeless { NodeFreshness::Stale } else { ask }
    }

    /// Whether `node` may answer reads at all, however old they may be: as far as is known it is a standby, and what it replays
    /// is the writer's. A node that nobody has met gets the benefit of the doubt.
    #[must_use]
    pub fn may_serve(&self, node: Option<&NodeId>) -> bool {
        node.and_then(|id| self.node(id)).is_none_or(|(status, node)| {
            node.replays_the_writer() && self.follows_writer(&status.endpoint.cluster)
        })
    }

    /// The latest moment that a node which has replayed up to `lsn` is fresh as of; `None` when it is behind all that is
    /// remembered of the writer.
    #[must_use]
    pub fn fresh_as_of(&self, lsn: u64) -> Option<Instant> {
        self.writer_samples.fresh_as_of(lsn)
    }

    /// What is known of the node `id`, and the endpoint it was last seen behind.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<(&EndpointStatus, &NodeStatus)> {
        let seen =
            self.endpoints.iter().flat_map(|status| status.nodes.iter().map(move |node| (status, node)));
        seen.filter(|(_, node)| node.id == *id).max_by_key(|(_, node)| node.last_seen)
    }

    /// Whether the standbys of `cluster` replay what the writer writes, as far as is known. Those of a cluster whose own
    /// primary takes writes and is not the writer replay that one's, be it silent by now: their positions say nothing about
    /// the writer's.
    #[must_use]
    pub fn follows_writer(&self, cluster: &ClusterName) -> bool {
        let writer = self.writer.as_ref().and_then(|name| self.get(name));
        let heads = self
            .endpoints
            .iter()
            .filter(|status| status.endpoint.cluster == *cluster && !status.endpoint.role.serves_reads());
        let mut apart = heads.filter(|head| {
            head.observed == Some(ObservedRole::Primary)
                && !writer.is_some_and(|writer| writer.is_same_server(head))
        });
        apart.next().is_none()
    }
}

/// Whether a node that lacks `wanted` still does, as far as its last answer, at `position`, lets anybody say.
fn lags(
    writer_samples: &WriterSamples,
    position: WalPosition,
    wanted: WalPosition,
    floor: Instant,
    now: Instant,
) -> bool {
    if now.saturating_duration_since(position.asked_at) >= NODE_RETRY_INTERVAL {
        return false;
    }
    // It was asked for this very position, or a later one, and did not have it.
    if position.asked_at >= wanted.asked_at {
        return true;
    }
    // It was asked before. If it lagged then by more than the floor is old now, it will hardly have what is wanted.
    let Some(lacked) = writer_samples.beyond(position.lsn) else { return false };
    position
        .asked_at
        .checked_duration_since(lacked.asked_at)
        .is_some_and(|lag| lag > now.saturating_duration_since(floor))
}

// === impl NodeStatus ===

impl NodeStatus {
    /// Whether it replays what the writer writes, as far as its own answers say: it is in recovery, and has never been ahead
    /// of the writer.
    #[must_use]
    pub const fn replays_the_writer(&self) -> bool {
        matches!(self.role, ObservedRole::Standby) && !self.strayed
    }
}

#[cfg(test)]
mod tests;
