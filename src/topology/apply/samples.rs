//! Samples of the writer, and nodes that do not replay the writer's WAL.

use std::sync::Arc;

use crate::topology::{
    EndpointStatus, Observation, ObservedRole, ProbeOutcome, TopologySnapshot, WalPosition,
};

/// Adds the position in `observation` to the samples of `next`. A new writer, or a new server at the same address,
/// drops the old samples: the new server may lack WAL of the old.
pub(super) fn follow_writer(
    before: &TopologySnapshot,
    next: &mut TopologySnapshot,
    observation: Option<&Observation>,
) {
    let same = next.writer == before.writer && same_history(writer(before), writer(next));
    if !same && !next.writer_samples.is_empty() {
        next.writer_samples = Arc::default();
    }
    let Some(observation) =
        observation.filter(|observation| next.writer.as_ref() == Some(&observation.endpoint))
    else {
        return;
    };
    let (ProbeOutcome::Answered(answer) | ProbeOutcome::Sampled(answer)) = &observation.outcome else {
        return;
    };
    let known = writer(next).is_some_and(|writer| writer.node == answer.node);
    let (Some(lsn), true, ObservedRole::Primary) = (answer.lsn, known, answer.role) else { return };
    let sample = WalPosition { lsn, asked_at: observation.asked_at };
    Arc::make_mut(&mut next.writer_samples).push(sample, observation.ended_at);
    find_strays(next, sample);
}

fn writer(snapshot: &TopologySnapshot) -> Option<&EndpointStatus> {
    snapshot.writer.as_ref().and_then(|name| snapshot.get(name))
}

/// True if, as far as reported, the writer is the same server on the same timeline.
fn same_history(before: Option<&EndpointStatus>, next: Option<&EndpointStatus>) -> bool {
    let identity = |status: &EndpointStatus| (status.node, status.timeline);
    before.map(identity) == next.map(identity)
}

/// Marks nodes that had replayed more, before the writer was queried, than the writer has now: their WAL comes from
/// another server.
fn find_strays(next: &mut TopologySnapshot, sample: WalPosition) {
    let nodes = next.endpoints.iter_mut().flat_map(|status| &mut status.nodes);
    for node in nodes.filter(|node| node.role == ObservedRole::Standby && node.last_seen <= sample.asked_at) {
        node.strayed |= node.position.is_some_and(|position| position.lsn > sample.lsn);
    }
}
