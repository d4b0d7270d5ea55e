//! Freshness of a node relative to a floor: decides if the node may serve a read that must see all writes up to the
//! floor.

use std::time::{Duration, Instant};

use super::{EndpointStatus, NodeId, NodeStatus, ObservedRole, TopologySnapshot, WalPosition, WriterSamples};
use crate::names::ClusterName;

/// Freshness of a node relative to a floor, an instant whose committed writes a read must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFreshness {
    /// The node shows all transactions committed before the floor.
    Fresh,
    /// Unknown. The node is fresh if the node is in recovery and has replayed `lsn`.
    Ask {
        /// Where the writer stood at the floor or a little later.
        lsn: u64,
    },
    /// The node is not fresh, or was so far behind recently that another query is not worthwhile.
    Stale,
    /// The writer was not sampled since the floor: freshness cannot be determined.
    Unknown,
}

/// Interval before a node that lacked a requested position is queried again.
///
/// The cost of a query is the read behind the query, discarded if the node is stale. A lagging node costs at most 50
/// discarded reads per second, at any load. A node that has caught up gets reads again within 20 ms, less than the
/// usual lag of a read pool under load (0.1 s).
pub const NODE_RETRY_INTERVAL: Duration = Duration::from_millis(20);

// === impl TopologySnapshot ===

impl TopologySnapshot {
    /// Freshness of `node` relative to `floor`. `None` stands for a server that does not report an identity.
    #[must_use]
    pub fn freshness_of(&self, node: Option<&NodeId>, floor: Instant, now: Instant) -> NodeFreshness {
        let Some(wanted) = self.writer_samples.first_sample_since(floor) else {
            return NodeFreshness::Unknown;
        };
        let ask = NodeFreshness::Ask { lsn: wanted.lsn };
        if !self.may_serve(node) {
            return NodeFreshness::Stale;
        }
        let Some((_, node)) = node.and_then(|id| self.node(id)) else { return ask };
        let hopeless = match node.position {
            Some(position) if position.lsn >= wanted.lsn => return NodeFreshness::Fresh,
            Some(position) => probably_lacks(&self.writer_samples, position, wanted, floor, now),
            // In recovery without a reported position: as stale as possible.
            None => now.saturating_duration_since(node.last_seen) < NODE_RETRY_INTERVAL,
        };
        if hopeless { NodeFreshness::Stale } else { ask }
    }

    /// True if `node` may serve reads of any age: the node is, as far as known, a standby that replays the writer's
    /// WAL. An unknown node qualifies.
    #[must_use]
    pub fn may_serve(&self, node: Option<&NodeId>) -> bool {
        node.and_then(|id| self.node(id)).is_none_or(|(status, node)| {
            node.replays_the_writer() && self.follows_writer(&status.endpoint.cluster)
        })
    }

    /// Latest instant as of which a node with replay position `lsn` is fresh; `None` if `lsn` is older than all
    /// samples.
    #[must_use]
    pub fn fresh_as_of(&self, lsn: u64) -> Option<Instant> {
        self.writer_samples.fresh_as_of(lsn)
    }

    /// State of the node `id`, with the endpoint that showed the node last.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<(&EndpointStatus, &NodeStatus)> {
        let seen =
            self.endpoints.iter().flat_map(|status| status.nodes.iter().map(move |node| (status, node)));
        seen.filter(|(_, node)| node.id == *id).max_by_key(|(_, node)| node.last_seen)
    }

    /// True if, as far as known, the standbys of `cluster` replay the writer's WAL. The standbys of a cluster with
    /// another primary that accepts writes, or did before falling silent, replay that primary's WAL: their positions
    /// cannot be compared with the writer's.
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

/// True if a node that lacked `wanted` at the last known `position` probably still lacks `wanted`.
fn probably_lacks(
    writer_samples: &WriterSamples,
    position: WalPosition,
    wanted: WalPosition,
    floor: Instant,
    now: Instant,
) -> bool {
    if now.saturating_duration_since(position.asked_at) >= NODE_RETRY_INTERVAL {
        return false;
    }
    // The node was queried for the same position or a later position, and lacked the position.
    if position.asked_at >= wanted.asked_at {
        return true;
    }
    // The query was earlier. If the lag at that time exceeds the age of the floor, the node probably lacks `wanted`.
    let Some(lacked) = writer_samples.first_sample_beyond(position.lsn) else { return false };
    position
        .asked_at
        .checked_duration_since(lacked.asked_at)
        .is_some_and(|lag| lag > now.saturating_duration_since(floor))
}

// === impl NodeStatus ===

impl NodeStatus {
    /// True if the node's answers show a standby of the writer: in recovery, and never ahead of the writer.
    #[must_use]
    pub const fn replays_the_writer(&self) -> bool {
        matches!(self.role, ObservedRole::Standby) && !self.strayed
    }
}

#[cfg(test)]
mod tests;
