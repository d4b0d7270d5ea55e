//! Looks at every endpoint and keeps the topology snapshot: its only writer.
//!
//! One task for each endpoint logs in through the same connector as sessions do, so that "up" means "a login works", and
//! asks on a connection of its own what the server is and how far its WAL has come. Where no login is configured it
//! knocks: a server that answers a StartupMessage, be it with a refusal, is up. One more task, the keeper, folds what is
//! seen into the next [`TopologySnapshot`]. A third, the sampler, asks the writer where it stands while sessions want to know.
//!
//! Promises: the snapshot has one writer; traffic's [`Evidence`] leads to a look, never to a change by itself, but for how far
//! a node says it has replayed; what the sampler does delays no look. Refuses to
//! know: routes and sessions, and what others do about a [`SnapshotChange`].

mod evidence;
mod keeper;
mod knock;
mod line;
mod prober;
mod sampler;
mod settings;
mod wanted;

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
use keeper::{Keeper, Message};
pub use settings::ProbeSettings;
use wanted::Wanted;

/// The probe at work. It ends when this and every [`EvidenceSink`] is gone.
pub struct Probe {
    snapshot: Live<TopologySnapshot>,
    inbox: mpsc::Sender<Message>,
    wanted: Arc<Wanted>,
}

/// Observations and evidence that may wait for the keeper; it folds a hundred thousand in a second.
const INBOX: usize = 1024;

// === impl Probe ===

impl Probe {
    /// Starts to look at `endpoints`, on the current runtime, as tasks of `tasks`. Every change is logged, counted and
    /// given to `report` together with the snapshot that shows it.
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
        let (inbox, told) = mpsc::channel(INBOX);
        let wanted = Arc::new(Wanted::default());
        let first = TopologySnapshot::declared(endpoints.iter().map(|it| Arc::clone(it.endpoint())));
        let (publisher, snapshot) = live(first.clone());
        let mut keeper = Keeper {
            publisher,
            snapshot: first,
            settings: settings.clone(),
            metrics,
            report,
            inbox: inbox.downgrade(),
            probers: HashMap::new(),
            started: 0,
            wanted: Arc::clone(&wanted),
            sampling: None,
            unpublished: false,
        };
        keeper.configure(endpoints, settings);
        tasks.spawn("topology keeper", keeper.run(told));
        Self { snapshot, inbox, wanted }
    }

    /// The picture, always the newest.
    #[must_use]
    pub fn snapshot(&self) -> Live<TopologySnapshot> {
        self.snapshot.clone()
    }

    /// Where traffic hands in what it notices.
    #[must_use]
    pub fn evidence(&self) -> EvidenceSink {
        EvidenceSink { inbox: self.inbox.clone(), wanted: Arc::clone(&self.wanted) }
    }

    /// Looks at `endpoints` from now on. What is known of an endpoint whose declaration is the same is kept, and one whose
    /// handle is the same is not even disturbed.
    ///
    /// Cancel safety: when dropped half-way, nothing has changed.
    pub async fn reconfigure(&self, endpoints: Vec<EndpointHandle>, settings: ProbeSettings) {
        self.inbox.send(Message::Configure { endpoints, settings }).await.ok();
    }
}
