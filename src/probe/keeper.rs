//! The only writer of the topology: folds what the probers see into snapshots, and publishes them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, mpsc};

use super::{Evidence, ProbeSettings, prober::Prober};
use crate::{
    backend::EndpointHandle,
    live::Publisher,
    names::EndpointName,
    tasks::Tasks,
    telemetry::{TopologyMetrics, labels::ChangeKind},
    topology::{Change, FoldRules, Health, Observation, Snapshot, WriterTrail, fold, reconfigure},
};

/// What the keeper is told.
pub(super) enum Message {
    /// A prober has looked.
    Observed {
        /// Which one: one that was replaced in the meantime is not believed any more.
        prober: u64,
        /// What it saw.
        observation: Observation,
    },
    /// Traffic noticed something.
    Evidence {
        /// About whom.
        endpoint: EndpointName,
        /// What.
        evidence: Evidence,
    },
    /// The configuration changed.
    Configure {
        /// All endpoints from now on.
        endpoints: Vec<EndpointHandle>,
        /// How they are looked at.
        settings: ProbeSettings,
    },
}

/// Folds, publishes, counts and tells.
pub(super) struct Keeper<F> {
    pub(super) publisher: Publisher<Snapshot>,
    pub(super) snapshot: Snapshot,
    pub(super) settings: ProbeSettings,
    pub(super) metrics: TopologyMetrics,
    pub(super) report: F,
    /// For the probers; the keeper itself never sends.
    pub(super) inbox: mpsc::WeakSender<Message>,
    pub(super) probers: HashMap<EndpointName, Running>,
    pub(super) started: u64,
    pub(super) trail: WriterTrail,
}

/// A prober at work.
pub(super) struct Running {
    id: u64,
    endpoint: EndpointHandle,
    wake: Arc<Notify>,
    /// Dropped with this, the prober stops.
    _task: Tasks,
}

/// How long a node behind a read pool's address is remembered: pools are scaled in minutes.
const FORGET_NODES_AFTER: Duration = Duration::from_secs(600);

// === impl Keeper ===

impl<F: FnMut(&Change, &Snapshot) + Send> Keeper<F> {
    /// Works until everybody who could tell it anything is gone.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<Message>) {
        while let Some(message) = told.recv().await {
            match message {
                Message::Observed { prober, observation } => self.observed(prober, &observation),
                Message::Evidence { endpoint, evidence } => self.evidence(&endpoint, evidence),
                Message::Configure { endpoints, settings } => self.configure(&endpoints, settings),
            }
        }
    }

    fn observed(&mut self, prober: u64, observation: &Observation) {
        if self.probers.get(&observation.endpoint).is_none_or(|running| running.id != prober) {
            return;
        }
        let rules = FoldRules { failures: self.settings.failures, forget_nodes_after: FORGET_NODES_AFTER };
        let (next, changes) = fold(&self.snapshot, observation, &rules);
        self.follow_writer(&next, observation);
        self.snapshot = next;
        self.publisher.publish(self.snapshot.clone());
        self.count(&observation.endpoint);
        for change in &changes {
            self.tell(change);
        }
    }

    /// Samples the writer's WAL position, from looks at the writer alone.
    fn follow_writer(&mut self, next: &Snapshot, observation: &Observation) {
        if next.writer != self.snapshot.writer {
            self.trail.clear();
        }
        if next.writer.as_ref() == Some(&observation.endpoint)
            && let Some(position) = next.get(&observation.endpoint).and_then(|status| status.position)
            && position.asked_at == observation.asked_at
        {
            self.trail.push(position);
        }
    }

    fn evidence(&self, endpoint: &EndpointName, evidence: Evidence) {
        let known = self.snapshot.get(endpoint).and_then(|status| status.observed);
        if matches!(evidence, Evidence::RoleReported(role) if Some(role) == known) {
            return;
        }
        if let Some(running) = self.probers.get(endpoint) {
            tracing::debug!(endpoint = %endpoint, ?evidence, "traffic noticed something: looking");
            running.wake.notify_one();
        }
    }

    pub(super) fn configure(&mut self, endpoints: &[EndpointHandle], settings: ProbeSettings) {
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
            reconfigure(&self.snapshot, endpoints.iter().map(|it| Arc::clone(it.endpoint())));
        if next.writer != self.snapshot.writer {
            self.trail.clear();
        }
        self.snapshot = next;
        self.publisher.publish(self.snapshot.clone());
        for endpoint in endpoints {
            self.count(endpoint.name());
        }
        for change in &changes {
            self.tell(change);
        }
    }

    fn start(&mut self, endpoint: &EndpointHandle) -> Option<Running> {
        // Without anybody who listens there is nothing to look for.
        let inbox = self.inbox.upgrade()?;
        self.started += 1;
        let (id, wake, tasks) = (self.started, Arc::new(Notify::new()), Tasks::new());
        let prober =
            Prober::new(id, endpoint.clone(), self.settings.clone(), inbox.downgrade(), Arc::clone(&wake));
        tasks.spawn("probe", prober.run());
        Some(Running { id, endpoint: endpoint.clone(), wake, _task: tasks })
    }

    fn count(&self, endpoint: &EndpointName) {
        let writable = self.snapshot.endpoints.iter().filter(|status| status.says_writable()).count();
        self.metrics.refreshed(writable, SystemTime::now());
        let (Some(status), Some(running)) = (self.snapshot.get(endpoint), self.probers.get(endpoint)) else {
            return;
        };
        let metrics = running.endpoint.metrics();
        metrics.state(status.health, status.observed, status.mismatch());
        let position = status.position.filter(|_| status.health == Health::Up);
        let behind = position.and_then(|position| self.trail.octets_behind(position.lsn));
        let fresh = position.and_then(|position| self.trail.fresh_as_of(position.lsn));
        let lag = match (position, fresh) {
            // Whoever has replayed all that the writer was last seen to have written is not behind.
            _ if behind == Some(0) => Some(Duration::ZERO),
            (Some(_), Some(fresh)) => Some(Instant::now().saturating_duration_since(fresh)),
            _ => None,
        };
        metrics.replication(position.map(|position| position.lsn), behind, lag);
    }

    fn tell(&mut self, change: &Change) {
        if let Some(kind) = kind(change) {
            self.metrics.changed(kind);
        }
        let endpoint = change.endpoint().map(tracing::field::display);
        if change.is_alarm() {
            tracing::error!(endpoint, change = change.kind(), "{change}");
        } else {
            tracing::info!(endpoint, change = change.kind(), "{change}");
        }
        (self.report)(change, &self.snapshot);
    }
}

/// The label of a change, for those that are counted.
fn kind(change: &Change) -> Option<ChangeKind> {
    Some(match change {
        Change::Health { to: Health::Up, .. } => ChangeKind::Up,
        Change::Health { to: Health::Down, .. } => ChangeKind::Down,
        Change::Role { .. } => ChangeKind::Role,
        Change::Writer { .. } => ChangeKind::Writer,
        Change::TwoWriters { .. } => ChangeKind::TwoWriters,
        Change::Mismatch { .. } => ChangeKind::Mismatch,
        Change::Health { to: Health::Unknown, .. }
        | Change::MismatchEnded { .. }
        | Change::Node { .. }
        | Change::TwoWritersEnded => return None,
    })
}
