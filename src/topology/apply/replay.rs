//! Replay and lag of all endpoints after an observation.

use std::time::Instant;

use super::ObservationRules;
use crate::topology::{Health, SnapshotChange, TopologySnapshot};

/// Updates replay and lag of each endpoint, and adds the begins and ends of faults. An endpoint that is not up keeps its
/// replay, because only an answer changes the knowledge.
pub(super) fn follow_replay(
    next: &mut TopologySnapshot,
    now: Instant,
    rules: &ObservationRules,
    changes: &mut Vec<SnapshotChange>,
) {
    for at in 0..next.endpoints.len() {
        let (lag, replay) = (next.lag_of(&next.endpoints[at]), next.replay_of(&next.endpoints[at]));
        let status = &mut next.endpoints[at];
        status.lag = lag;
        status.is_lagging = status.endpoint.role.serves_reads()
            && !rules.lagging_after.is_zero()
            && lag.is_some_and(|lag| lag.certain > rules.lagging_after);
        let from = status.replay;
        if status.health != Health::Up || from == replay {
            continue;
        }
        (status.replay, status.replay_since) = (replay, Some(now));
        if from.is_fault() || replay.is_fault() {
            let endpoint = status.endpoint.name.clone();
            changes.push(SnapshotChange::Replay { endpoint, from, to: replay });
        }
    }
}
