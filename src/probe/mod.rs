//! Probes every endpoint and maintains the topology snapshot as the only writer.
//!
//! A task per endpoint logs in through the same connector as sessions, so that "up" means "a login works", and queries
//! role and WAL position on a connection of its own. Without a configured login the task performs a liveness check: a
//! server that answers a StartupMessage, even with an error, is up. The publisher task applies observations to the next
//! [`TopologySnapshot`]. The sampler task queries the writer's WAL position while sessions need samples.
//!
//! Promises: the snapshot has a single writer; session [`Evidence`] causes a probe and no direct change, except replay
//! positions of nodes; sampling delays no probe. Refuses to know: routes, sessions, and reactions to a
//! [`SnapshotChange`].

mod evidence;
mod held_clients;
mod liveness;
mod prober;
mod publisher;
mod sample_connection;
mod sample_request;
mod sampler;
mod settings;
mod writer_decisions;

use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    backend::EndpointHandle,
    live::{Live, live},
    tasks::Tasks,
    telemetry::TopologyMetrics,
    topology::{SnapshotChange, TopologySnapshot},
};

#[cfg(test)]
pub(crate) use evidence::RecordedEvidence;
pub use evidence::{Evidence, EvidenceSink};
pub use held_clients::HeldClient;
use held_clients::HeldClients;
pub(crate) use prober::connect_request;
use publisher::{ProbeMessage, TopologyPublisher};
use sample_request::SampleRequest;
pub use settings::ProbeSettings;
pub use writer_decisions::{FreshAnswer, NoAnswer, WriterDecisions};

/// The running probe. Ends when the probe and every [`EvidenceSink`] are dropped.
pub struct Probe {
    snapshot: Live<TopologySnapshot>,
    inbox: mpsc::Sender<ProbeMessage>,
    wanted: Arc<SampleRequest>,
    held: Arc<HeldClients>,
}

/// Capacity of the publisher's queue; the publisher processes a hundred thousand messages per second.
const PUBLISHER_QUEUE_CAPACITY: usize = 1024;

// === impl Probe ===

impl Probe {
    /// Starts probing `endpoints` on the current runtime, as tasks of `tasks`. Every change is logged, counted and
    /// passed to `report` with the snapshot that shows the change.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        endpoints: &[EndpointHandle],
        settings: ProbeSettings,
        metrics: TopologyMetrics,
        tasks: &Tasks,
        report: impl FnMut(&SnapshotChange, &TopologySnapshot) + Send + 'static,
    ) -> Self {
        let (inbox, messages) = mpsc::channel(PUBLISHER_QUEUE_CAPACITY);
        let wanted = Arc::new(SampleRequest::default());
        let held = Arc::new(HeldClients::default());
        let first = TopologySnapshot::declared(endpoints.iter().map(|it| Arc::clone(it.endpoint())));
        let (publisher, snapshot) = live(first.clone());
        let mut keeper = TopologyPublisher {
            publisher,
            snapshot: first,
            settings: settings.clone(),
            metrics,
            report,
            inbox: inbox.downgrade(),
            probers: HashMap::new(),
            started: 0,
            wanted: Arc::clone(&wanted),
            held: Arc::clone(&held),
            sampling: None,
            unpublished: false,
        };
        keeper.apply_settings(endpoints, settings);
        tasks.spawn("topology keeper", keeper.run(messages));
        Self { snapshot, inbox, wanted, held }
    }

    /// The picture, always the newest.
    #[must_use]
    pub fn snapshot(&self) -> Live<TopologySnapshot> {
        self.snapshot.clone()
    }

    /// Sink for session evidence.
    #[must_use]
    pub fn evidence(&self) -> EvidenceSink {
        EvidenceSink {
            inbox: self.inbox.clone(),
            wanted: Arc::clone(&self.wanted),
            held: Arc::clone(&self.held),
        }
    }

    /// Passes decisions of an operator to the publisher.
    #[must_use]
    pub fn decisions(&self) -> WriterDecisions {
        WriterDecisions { inbox: self.inbox.clone() }
    }

    /// Probes `endpoints` from now on. Endpoints with an unchanged declaration keep the status; endpoints with the same
    /// handle keep the running prober.
    ///
    /// Cancel safety: a dropped call changes nothing.
    pub async fn reconfigure(&self, endpoints: Vec<EndpointHandle>, settings: ProbeSettings) {
        self.inbox.send(ProbeMessage::Configure { endpoints, settings }).await.ok();
    }
}
