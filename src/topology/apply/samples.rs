//! Follows the writer through its positions, and finds those who do not follow it.

use std::sync::Arc;

use crate::topology::{
    EndpointStatus, Observation, ObservedRole, ProbeOutcome, TopologySnapshot, WalPosition,
};

/// Adds to the trail of `next` what `observation` says about the writer. Another writer begins a new trail, and so does
/// another server in its place: both may have lost what the old samples speak of.
pub(super) fn follow(
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

/// Whether the writer is the same server on the same timeline, as far as it says.
fn same_history(before: Option<&EndpointStatus>, next: Option<&EndpointStatus>) -> bool {
    let identity = |status: &EndpointStatus| (status.node, status.timeline);
    before.map(identity) == next.map(identity)
}

/// Whoever had replayed more, before the writer was asked, than the writer has now, has its WAL from somebody else.
fn find_strays(next: &mut TopologySnapshot, sample: WalPosition) {
    let nodes = next.endpoints.iter_mut().flat_map(|status| &mut status.nodes);
    for node in nodes.filter(|node| node.role == ObservedRole::Standby && node.last_seen <= sample.asked_at) {
        node.strayed |= node.position.is_some_and(|position| position.lsn > sample.lsn);
    }
}
