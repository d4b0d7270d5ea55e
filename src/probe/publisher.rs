//! Publisher of the topology, the only writer: applies observations to the snapshot and publishes the result.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Evidence, ProbeSettings, held_clients::HeldClients, prober::Prober, sample_connection::WriterConnection,
    sample_request::SampleRequest, sampler::Sampler,
};
use crate::{
    backend::EndpointHandle,
    live::Publisher,
    names::EndpointName,
    tasks::Tasks,
    telemetry::{TopologyMetrics, labels::ChangeKind},
    topology::{
        DecisionError, DeclaredRole, EndpointStatus, Health, Observation, ObservationRules, ObservedRole,
        OperatorDecision, ProbeOutcome, ReplayReport, SnapshotChange, TopologySnapshot, apply_configuration,
        apply_decision, apply_observation, apply_replay_report,
    },
};

/// Message for the publisher.
pub(super) enum ProbeMessage {
    /// Result of a probe.
    Observed {
        /// Identity of the prober: results of a replaced prober are ignored.
        prober: u64,
        /// The observation.
        observation: Observation,
    },
    /// Evidence from session traffic.
    Evidence {
        /// The endpoint.
        endpoint: EndpointName,
        /// The evidence.
        evidence: Evidence,
    },
    /// Result of a WAL sample.
    Sampled {
        /// Identity of the sampler, as with probers.
        sampler: u64,
        /// The observation.
        observation: Observation,
    },
    /// Replay position of a node, reported by a session.
    Replayed(ReplayReport),
    /// The configuration changed.
    Configure {
        /// All endpoints from now on.
        endpoints: Vec<EndpointHandle>,
        /// Probe settings.
        settings: ProbeSettings,
    },
    /// A decision of an operator about the writer.
    Decided {
        /// The decision.
        decision: OperatorDecision,
        /// An answer of a server that the decision depends on; applied first.
        seen: Option<Observation>,
        /// Receives the result after the publication; `None` if nobody waits.
        answer: Option<oneshot::Sender<Result<(), DecisionError>>>,
    },
}

/// Applies observations, publishes snapshots, and reports changes.
pub(super) struct TopologyPublisher<F> {
    pub(super) publisher: Publisher<TopologySnapshot>,
    pub(super) snapshot: TopologySnapshot,
    pub(super) settings: ProbeSettings,
    pub(super) metrics: TopologyMetrics,
    pub(super) report: F,
    /// Sender for probers; the publisher never sends.
    pub(super) inbox: mpsc::WeakSender<ProbeMessage>,
    pub(super) probers: HashMap<EndpointName, RunningProber>,
    pub(super) started: u64,
    pub(super) wanted: Arc<SampleRequest>,
    pub(super) held: Arc<HeldClients>,
    pub(super) sampling: Option<Sampling>,
    /// `snapshot` has unpublished changes.
    pub(super) unpublished: bool,
}

/// A sampler at work.
pub(super) struct Sampling {
    id: u64,
    endpoint: EndpointHandle,
    /// Stops the sampler when dropped.
    _task: Tasks,
}

/// A prober at work.
pub(super) struct RunningProber {
    id: u64,
    endpoint: EndpointHandle,
    wake: Arc<Notify>,
    /// Stops the prober when dropped.
    _task: Tasks,
}

/// Maximum number of messages applied before replay reports are published: a publication covers many reports.
const MAX_BATCH_MESSAGES: usize = 64;

/// Delay of a new sampler that replaces a sampler connected to another server than the prober.
const NEW_SAMPLER_DELAY: Duration = Duration::from_millis(500);

/// How long a node behind a read pool's address is remembered: pools are scaled in minutes.
const FORGET_NODES_AFTER: Duration = Duration::from_secs(600);

// === impl TopologyPublisher ===

impl<F: FnMut(&SnapshotChange, &TopologySnapshot) + Send> TopologyPublisher<F> {
    /// Runs until all senders are dropped.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<ProbeMessage>) {
        while let Some(message) = inbox.recv().await {
            self.on_message(message);
            for _ in 1..MAX_BATCH_MESSAGES {
                let Ok(message) = inbox.try_recv() else { break };
                self.on_message(message);
            }
            if self.unpublished {
                self.publish();
            }
        }
    }

    fn on_message(&mut self, message: ProbeMessage) {
        match message {
            ProbeMessage::Observed { prober, observation } => self.apply_probe(prober, &observation),
            ProbeMessage::Sampled { sampler, observation } => self.apply_sample(sampler, &observation),
            ProbeMessage::Replayed(replayed) => self.replayed(&replayed),
            ProbeMessage::Evidence { endpoint, evidence } => self.evidence(&endpoint, evidence),
            ProbeMessage::Configure { endpoints, settings } => self.apply_settings(&endpoints, settings),
            ProbeMessage::Decided { decision, seen, answer } => {
                let done = self.apply_decision(&decision, seen.as_ref());
                if let Some(answer) = answer {
                    answer.send(done).ok();
                }
            }
        }
    }

    fn apply_probe(&mut self, prober: u64, observation: &Observation) {
        if self.probers.get(&observation.endpoint).is_none_or(|running| running.id != prober) {
            return;
        }
        let before = self.snapshot.get(&observation.endpoint).cloned();
        let changes = self.apply_and_report(observation);
        if let Some(before) = before {
            self.record_absence(&before);
        }
        self.count(&observation.endpoint);
        for change in &changes {
            let other = change.endpoint().filter(|endpoint| **endpoint != observation.endpoint);
            if let Some(endpoint) = other {
                self.count(endpoint);
            }
            self.report_change(change);
        }
    }

    /// Records the end of the writer's absence, if the endpoint with the status `before` has answered as the writer.
    fn record_absence(&self, before: &EndpointStatus) {
        let name = &before.endpoint.name;
        let after = self.snapshot.get(name).filter(|_| self.snapshot.writer.as_ref() == Some(name));
        if before.failures > 0
            && let Some(last) = before.last_success
            && let Some(next) = after.and_then(|after| after.last_success.filter(|next| *next > last))
        {
            self.metrics.record_writer_absence(next - last);
        }
    }

    /// A sample counts only for the server that the prober saw: a name or balancer may lead to several servers. On a
    /// difference both probe again.
    fn apply_sample(&mut self, sampler: u64, observation: &Observation) {
        if self.sampling.as_ref().is_none_or(|sampling| sampling.id != sampler) {
            return;
        }
        let ProbeOutcome::Sampled(answer) = &observation.outcome else { return };
        let seen = self.snapshot.get(&observation.endpoint).and_then(|status| status.node);
        if answer.role == ObservedRole::Primary && answer.node == seen {
            self.apply_and_report(observation);
            return;
        }
        tracing::debug!(endpoint = %observation.endpoint, "WAL sample from another server than before: probing early");
        self.sampling = None;
        self.sample_writer(NEW_SAMPLER_DELAY);
        if let Some(running) = self.probers.get(&observation.endpoint) {
            running.wake.notify_one();
        }
    }

    fn replayed(&mut self, replayed: &ReplayReport) {
        if let Some(next) = apply_replay_report(&self.snapshot, replayed, &self.observation_rules()) {
            self.snapshot = next;
            self.unpublished = true;
        }
    }

    fn apply_and_report(&mut self, observation: &Observation) -> Vec<SnapshotChange> {
        let (next, changes) = apply_observation(&self.snapshot, observation, &self.observation_rules());
        self.snapshot = next;
        self.publish();
        self.sample_writer(Duration::ZERO);
        changes
    }

    fn apply_decision(
        &mut self,
        decision: &OperatorDecision,
        seen: Option<&Observation>,
    ) -> Result<(), DecisionError> {
        let rules = self.observation_rules();
        let (seen_next, mut changes) = match seen {
            Some(seen) => apply_observation(&self.snapshot, seen, &rules),
            None => (self.snapshot.clone(), Vec::new()),
        };
        let (next, decided) = apply_decision(&seen_next, decision)?;
        changes.extend(decided);
        self.snapshot = next;
        if let OperatorDecision::Move(endpoint) = decision {
            self.probe_as_writer(endpoint);
        }
        self.publish();
        self.sample_writer(Duration::ZERO);
        for change in &changes {
            if let Some(endpoint) = change.endpoint() {
                self.count(endpoint);
            }
            self.report_change(change);
        }
        Ok(())
    }

    fn observation_rules(&self) -> ObservationRules {
        ObservationRules {
            failures: self.settings.failures,
            forget_nodes_after: FORGET_NODES_AFTER,
            lagging_after: self.settings.lagging_after,
        }
    }

    fn publish(&mut self) {
        self.publisher.publish(self.snapshot.clone());
        self.unpublished = false;
    }

    /// Starts sampling the current writer; a new sampler starts after `patience`.
    fn sample_writer(&mut self, patience: Duration) {
        let writer = self.snapshot.writer.as_ref().and_then(|name| self.probers.get(name));
        let Some(endpoint) = writer.map(|running| &running.endpoint) else {
            self.sampling = None;
            return;
        };
        if self.sampling.as_ref().is_some_and(|sampling| sampling.endpoint.same(endpoint)) {
            return;
        }
        let (endpoint, inbox) = (endpoint.clone(), self.inbox.clone());
        // Without a probe login there is no sampling.
        let Some(login) = endpoint.settings().probe_login.clone() else {
            self.sampling = None;
            return;
        };
        self.started += 1;
        let (id, tasks) = (self.started, Tasks::new());
        let sampler = Sampler {
            id,
            endpoint: endpoint.name().clone(),
            metrics: Arc::clone(endpoint.metrics()),
            line: WriterConnection { endpoint: endpoint.clone(), login, kept: None },
            limit: self.settings.timeout,
            wanted: Arc::clone(&self.wanted),
            inbox,
        };
        tasks.spawn("writer sampler", sampler.run(patience));
        self.sampling = Some(Sampling { id, endpoint, _task: tasks });
    }

    fn evidence(&self, endpoint: &EndpointName, evidence: Evidence) {
        let known = self.snapshot.get(endpoint).and_then(|status| status.observed);
        if matches!(evidence, Evidence::RoleReported(role) if known.is_none_or(|known| known == role)) {
            return;
        }
        if let Some(running) = self.probers.get(endpoint) {
            tracing::debug!(endpoint = %endpoint, ?evidence, "probing early: session traffic reported a problem");
            running.wake.notify_one();
        }
    }

    pub(super) fn apply_settings(&mut self, endpoints: &[EndpointHandle], settings: ProbeSettings) {
        let unchanged = self.settings == settings;
        self.settings = settings;
        let mut before = std::mem::take(&mut self.probers);
        for endpoint in endpoints {
            let before = before.remove(endpoint.name());
            if let Some(before) = &before {
                before.endpoint.metrics().replaced(Some(endpoint.endpoint()));
            }
            let running = before
                .filter(|running| unchanged && running.endpoint.same(endpoint))
                .or_else(|| self.start(endpoint));
            if let Some(running) = running {
                self.probers.insert(endpoint.name().clone(), running);
            }
        }
        for gone in before.into_values() {
            gone.endpoint.metrics().replaced(None);
        }
        let (next, changes) =
            apply_configuration(&self.snapshot, endpoints.iter().map(|it| Arc::clone(it.endpoint())));
        self.snapshot = next;
        self.publish();
        self.sample_writer(Duration::ZERO);
        for endpoint in endpoints {
            self.count(endpoint.name());
        }
        for change in &changes {
            self.report_change(change);
        }
    }

    /// Replaces the prober of an endpoint that was not declared primary: held clients make a prober of the writer hurry.
    fn probe_as_writer(&mut self, endpoint: &EndpointName) {
        let handle = self.probers.get(endpoint).map(|running| running.endpoint.clone());
        if let Some(running) = handle.and_then(|handle| self.start(&handle)) {
            self.probers.insert(endpoint.clone(), running);
        }
    }

    fn start(&mut self, endpoint: &EndpointHandle) -> Option<RunningProber> {
        // Without senders there is nothing to probe.
        let inbox = self.inbox.upgrade()?;
        self.started += 1;
        let (id, wake, tasks) = (self.started, Arc::new(Notify::new()), Tasks::new());
        let may_write = endpoint.endpoint().role == DeclaredRole::Primary
            || self.snapshot.control.appointed.as_ref() == Some(endpoint.name());
        let held = may_write.then(|| Arc::clone(&self.held));
        let settings = self.settings.clone();
        let prober = Prober::new(id, endpoint.clone(), settings, inbox.downgrade(), Arc::clone(&wake), held);
        tasks.spawn("probe", prober.run());
        Some(RunningProber { id, endpoint: endpoint.clone(), wake, _task: tasks })
    }

    fn count(&self, endpoint: &EndpointName) {
        let writable = self.snapshot.endpoints.iter().filter(|status| status.says_writable()).count();
        self.metrics.record_refresh(writable, SystemTime::now());
        let (Some(status), Some(running)) = (self.snapshot.get(endpoint), self.probers.get(endpoint)) else {
            return;
        };
        let metrics = running.endpoint.metrics();
        metrics.state(status.health, status.observed, self.snapshot.has_mismatch(status));
        metrics.set_fenced(self.snapshot.control.fence_of(endpoint).is_some());
        let position = status.position.filter(|_| status.health == Health::Up);
        metrics.set_replication(position.map(|position| position.lsn), status.lag);
        metrics.set_replay(position.map(|_| status.replay), status.is_lagging);
    }

    fn report_change(&mut self, change: &SnapshotChange) {
        if let Some(kind) = change_kind(change) {
            self.metrics.record_change(kind);
        }
        let endpoint = change.endpoint().map(tracing::field::display);
        if change.is_alarm() {
            tracing::error!(endpoint, change = change.kind(), "{change}");
        } else if change.is_warning() {
            tracing::warn!(endpoint, change = change.kind(), "{change}");
        } else {
            tracing::info!(endpoint, change = change.kind(), "{change}");
        }
        (self.report)(change, &self.snapshot);
    }
}

/// Metric label of a change, for counted changes.
fn change_kind(change: &SnapshotChange) -> Option<ChangeKind> {
    Some(match change {
        SnapshotChange::Health { to: Health::Up, .. } => ChangeKind::Up,
        SnapshotChange::Health { to: Health::Down, .. } => ChangeKind::Down,
        SnapshotChange::Role { .. } => ChangeKind::Role,
        SnapshotChange::Writer { .. } => ChangeKind::Writer,
        SnapshotChange::TwoWriters { .. } => ChangeKind::TwoWriters,
        SnapshotChange::Mismatch { .. } => ChangeKind::Mismatch,
        SnapshotChange::Fenced { .. } => ChangeKind::Fenced,
        SnapshotChange::Replay { to, .. } if to.is_fault() => ChangeKind::Replay,
        SnapshotChange::Health { to: Health::Unknown, .. }
        | SnapshotChange::FenceEnded { .. }
        | SnapshotChange::MismatchEnded { .. }
        | SnapshotChange::Node { .. }
        | SnapshotChange::Replay { .. }
        | SnapshotChange::TwoWritersEnded => return None,
    })
}
