//! Computes the next snapshot from an observation, with the changes.

mod replay;
mod samples;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DecisionError, DeclaredRole, Endpoint, EndpointStatus, Fence, Health, NodeStatus, Observation,
    ObservedRole, OperatorDecision, ProbeAnswer, ProbeOutcome, ReplayProgress, ReplayReport, SnapshotChange,
    TopologySnapshot, WalPosition, WriterSamples, elect_writer, status::WritableAnswers,
};

/// Rules for applying observations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservationRules {
    /// Failed probes in a row before an endpoint counts as down; 0 counts as 1.
    pub failures: u32,
    /// How long a node behind a read pool's address is remembered without being seen again.
    pub forget_nodes_after: Duration,
    /// Lag beyond which an endpoint that serves reads is lagging; zero: never.
    pub lagging_after: Duration,
}

/// Returns the snapshot after `observation`, with the changes. An observation of an endpoint outside the snapshot
/// changes nothing.
#[must_use]
pub fn apply_observation(
    snapshot: &TopologySnapshot,
    observation: &Observation,
    rules: &ObservationRules,
) -> (TopologySnapshot, Vec<SnapshotChange>) {
    let mut next = snapshot.clone();
    let mut changes = Vec::new();
    let Some(status) = next.endpoints.iter_mut().find(|it| it.endpoint.name == observation.endpoint) else {
        return (next, changes);
    };
    let (before, samples) = (status.clone(), &*snapshot.writer_samples);
    if !matches!(observation.outcome, ProbeOutcome::Sampled(_)) {
        let is_late = matches!(observation.outcome, ProbeOutcome::Late);
        status.late_probe = is_late.then_some(observation.asked_at);
    }
    match &observation.outcome {
        ProbeOutcome::Late => {}
        ProbeOutcome::Answered(answer) => apply_answer(status, answer, observation, samples, rules),
        ProbeOutcome::Sampled(answer) => apply_sample(status, answer, observation),
        ProbeOutcome::Alive => note_success(status, observation),
        ProbeOutcome::NoCredentials { answer, reason } => {
            match answer {
                Some(answer) => apply_answer(status, answer, observation, samples, rules),
                None => note_reachable(status, observation),
            }
            status.last_error = Some(Arc::clone(reason));
        }
        ProbeOutcome::Failed(reason) => note_failure(status, reason, observation, rules),
        ProbeOutcome::Refused(reason) => {
            status.last_answer = Some(observation.ended_at);
            note_failure(status, reason, observation, rules);
        }
        ProbeOutcome::Unasked(reason) => status.last_error = Some(Arc::clone(reason)),
    }
    add_endpoint_changes(&before, status, &mut changes);
    let election = elect_writer(&next.endpoints, &next.control);
    next.control.follow_election(&next.endpoints, election.writer.as_ref());
    let mut elected = Vec::new();
    add_snapshot_changes(snapshot, &mut next, &mut elected);
    add_mismatch_changes(snapshot, &next, &mut changes);
    changes.extend(elected);
    samples::follow_writer(snapshot, &mut next, Some(observation));
    replay::follow_replay(&mut next, observation.ended_at, rules, &mut changes);
    (next, changes)
}

/// Returns the snapshot after a replay report of a session; `None` if the report adds nothing.
#[must_use]
pub fn apply_replay_report(
    snapshot: &TopologySnapshot,
    replayed: &ReplayReport,
    rules: &ObservationRules,
) -> Option<TopologySnapshot> {
    if !snapshot.is_news(replayed) {
        return None;
    }
    let mut next = snapshot.clone();
    let status = next.endpoints.iter_mut().find(|it| it.endpoint.name == replayed.endpoint)?;
    let ReplayReport { node: id, lsn, asked_at, answered_at, .. } = *replayed;
    let position = lsn.map(|lsn| WalPosition { lsn, asked_at });
    match status.nodes.iter_mut().find(|node| node.id == id) {
        Some(node) => {
            if let Some(position) = position {
                node.replay = node.replay.after(node.position, position, None, &snapshot.writer_samples);
            }
            node.position = later_position(node.position.filter(|_| lsn.is_some()), position);
            node.last_seen = node.last_seen.max(answered_at);
        }
        None => status.nodes.push(NodeStatus {
            id,
            role: ObservedRole::Standby,
            position,
            timeline: None,
            last_seen: answered_at,
            strayed: false,
            replay: ReplayProgress::default(),
        }),
    }
    forget_nodes(&mut status.nodes, answered_at, rules);
    Some(next)
}

/// Returns the snapshot for a changed configuration, with the changes. Endpoints with an unchanged declaration keep
/// their status.
#[must_use]
pub fn apply_configuration(
    snapshot: &TopologySnapshot,
    endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
) -> (TopologySnapshot, Vec<SnapshotChange>) {
    let kept = |endpoint: Arc<Endpoint>| match snapshot.get(&endpoint.name) {
        Some(status) if status.endpoint == endpoint => status.clone(),
        _ => EndpointStatus::unknown(endpoint),
    };
    let endpoints = endpoints.into_iter().map(kept).collect();
    let mut next = TopologySnapshot { endpoints, ..snapshot.clone() };
    next.control.follow_configuration(&snapshot.endpoints, &next.endpoints);
    let mut changes = Vec::new();
    add_snapshot_changes(snapshot, &mut next, &mut changes);
    samples::follow_writer(snapshot, &mut next, None);
    (next, changes)
}

/// Returns the snapshot after an operator's decision, with the changes.
///
/// # Errors
/// [`DecisionError`]: nothing changes.
pub fn apply_decision(
    snapshot: &TopologySnapshot,
    decision: &OperatorDecision,
) -> Result<(TopologySnapshot, Vec<SnapshotChange>), DecisionError> {
    let mut next = TopologySnapshot { control: decision.decide_control(snapshot)?, ..snapshot.clone() };
    let mut changes = Vec::new();
    add_snapshot_changes(snapshot, &mut next, &mut changes);
    add_mismatch_changes(snapshot, &next, &mut changes);
    samples::follow_writer(snapshot, &mut next, None);
    Ok((next, changes))
}

fn apply_answer(
    status: &mut EndpointStatus,
    answer: &ProbeAnswer,
    observation: &Observation,
    samples: &WriterSamples,
    rules: &ObservationRules,
) {
    note_success(status, observation);
    let position = answer.lsn.map(|lsn| WalPosition { lsn, asked_at: observation.asked_at });
    status.observed = Some(answer.role);
    status.writable = (answer.role == ObservedRole::Primary).then(|| WritableAnswers {
        first: status.writable.map_or(observation.ended_at, |known| known.first),
        last_asked: observation.asked_at,
    });
    status.read_only = Some(answer.read_only);
    status.position = position;
    status.timeline = answer.timeline;
    let Some(id) = answer.node else { return };
    status.node = Some(id);
    let seen = NodeStatus {
        id,
        role: answer.role,
        position,
        timeline: answer.timeline,
        last_seen: observation.ended_at,
        strayed: false,
        replay: ReplayProgress::default(),
    };
    let replay_after = |progress: ReplayProgress, before, position: Option<_>| match position {
        Some(position) if answer.role == ObservedRole::Standby => {
            progress.after(before, position, answer.standby, samples)
        }
        _ => ReplayProgress::default(),
    };
    match status.nodes.iter_mut().find(|node| node.id == id) {
        Some(node) => {
            let position = later_position(node.position.filter(|_| position.is_some()), position);
            let last_seen = node.last_seen.max(seen.last_seen);
            let replay = replay_after(node.replay, node.position, position);
            *node = NodeStatus { position, last_seen, strayed: node.strayed, replay, ..seen };
        }
        None => {
            let replay = replay_after(seen.replay, None, position);
            status.nodes.push(NodeStatus { replay, ..seen });
        }
    }
    if status.endpoint.role != DeclaredRole::ReadPool {
        status.nodes.retain(|node| node.id == id);
    }
    forget_nodes(&mut status.nodes, observation.ended_at, rules);
}

/// Removes nodes of a pool that were not seen for some time: a balancer may have one address for all nodes, so absence
/// is the only sign.
fn forget_nodes(nodes: &mut Vec<NodeStatus>, now: Instant, rules: &ObservationRules) {
    nodes.retain(|node| now.saturating_duration_since(node.last_seen) < rules.forget_nodes_after);
}

/// Updates the WAL position, if the same server answered and is still a primary.
fn apply_sample(status: &mut EndpointStatus, answer: &ProbeAnswer, observation: &Observation) {
    let same = answer.node == status.node && answer.role == ObservedRole::Primary;
    if same && let Some(lsn) = answer.lsn {
        status.position =
            later_position(status.position, Some(WalPosition { lsn, asked_at: observation.asked_at }));
    }
}

/// The later position of the same server: positions never go back, but answers may arrive out of order.
fn later_position(one: Option<WalPosition>, other: Option<WalPosition>) -> Option<WalPosition> {
    one.into_iter().chain(other).max_by_key(|position| (position.lsn, position.asked_at))
}

fn note_success(status: &mut EndpointStatus, observation: &Observation) {
    status.failures = 0;
    status.last_error = None;
    status.last_success = Some(observation.ended_at);
    status.last_answer = Some(observation.ended_at);
    set_health(status, Health::Up, observation);
}

/// Records a reachable server. The ability to log in stays as recorded; an endpoint down for silence becomes up.
fn note_reachable(status: &mut EndpointStatus, observation: &Observation) {
    status.failures = 0;
    status.last_answer = Some(observation.ended_at);
    if status.health == Health::Down {
        set_health(status, Health::Up, observation);
    }
}

fn note_failure(
    status: &mut EndpointStatus,
    reason: &Arc<str>,
    observation: &Observation,
    rules: &ObservationRules,
) {
    status.failures = status.failures.saturating_add(1);
    status.last_error = Some(Arc::clone(reason));
    if status.failures >= rules.failures {
        set_health(status, Health::Down, observation);
    }
}

fn set_health(status: &mut EndpointStatus, health: Health, observation: &Observation) {
    if status.health != health {
        status.health = health;
        status.since = Some(observation.ended_at);
    }
}

/// Adds the changes of an endpoint.
fn add_endpoint_changes(before: &EndpointStatus, after: &EndpointStatus, changes: &mut Vec<SnapshotChange>) {
    let endpoint = &after.endpoint.name;
    if before.health != after.health {
        changes.push(SnapshotChange::Health {
            endpoint: endpoint.clone(),
            from: before.health,
            to: after.health,
            reason: after.last_error.clone(),
        });
    }
    if let (Some(from), Some(to)) = (before.node, after.node)
        && from != to
        && after.endpoint.role != DeclaredRole::ReadPool
    {
        changes.push(SnapshotChange::Node { endpoint: endpoint.clone(), from, to });
    }
    let Some(observed) = after.observed else { return };
    if before.observed != after.observed {
        changes.push(SnapshotChange::Role {
            endpoint: endpoint.clone(),
            from: before.observed,
            to: observed,
        });
    }
}

/// Adds the begins and ends of contradictions between declared and observed roles.
fn add_mismatch_changes(
    before: &TopologySnapshot,
    next: &TopologySnapshot,
    changes: &mut Vec<SnapshotChange>,
) {
    for (before_status, status) in before.endpoints.iter().zip(&next.endpoints) {
        let endpoint = status.endpoint.name.clone();
        match (before.has_mismatch(before_status), next.has_mismatch(status), status.observed) {
            (false, true, Some(observed)) => {
                let declared = status.endpoint.role;
                changes.push(SnapshotChange::Mismatch { endpoint, declared, observed });
            }
            (true, false, _) => changes.push(SnapshotChange::MismatchEnded { endpoint }),
            _ => {}
        }
    }
}

/// Elects the writer, who is the incumbent from now on, and adds the changes of the whole snapshot.
fn add_snapshot_changes(
    before: &TopologySnapshot,
    next: &mut TopologySnapshot,
    changes: &mut Vec<SnapshotChange>,
) {
    let election = elect_writer(&next.endpoints, &next.control);
    if election.writer != before.writer {
        let (from, to) = (before.writer.clone(), election.writer.clone());
        changes.push(SnapshotChange::Writer { from, to, is_moving: next.control.is_held });
    }
    match (before.two_writers, election.two_writers) {
        (false, true) => changes.push(SnapshotChange::TwoWriters {
            endpoints: next
                .endpoints
                .iter()
                .filter(|status| status.says_writable())
                .map(|status| status.endpoint.name.clone())
                .collect(),
        }),
        (true, false) => changes.push(SnapshotChange::TwoWritersEnded),
        _ => {}
    }
    add_fence_changes(&before.control.fences, &next.control.fences, changes);
    if election.writer.is_some() {
        next.control.incumbent.clone_from(&election.writer);
    }
    next.writer = election.writer;
    next.two_writers = election.two_writers;
}

fn add_fence_changes(before: &[Fence], next: &[Fence], changes: &mut Vec<SnapshotChange>) {
    for Fence { endpoint, cause } in next.iter().filter(|fence| !before.contains(fence)) {
        changes.push(SnapshotChange::Fenced { endpoint: endpoint.clone(), cause: *cause });
    }
    for Fence { endpoint, .. } in before {
        if next.iter().all(|fence| fence.endpoint != *endpoint) {
            changes.push(SnapshotChange::FenceEnded { endpoint: endpoint.clone() });
        }
    }
}

#[cfg(test)]
mod tests;
