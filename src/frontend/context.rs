//! Parts of the process that clients and sessions use, and the context of a listener.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use tokio::sync::Semaphore;

use super::{
    Console, ListenerSettings, SharedStateRegistry, Users, accept::admission::Admission,
    acquire::outlier::OutlierDetector, registry::sessions::SessionRegistry,
};
use crate::{
    audit::Audit,
    backend::EndpointHandle,
    events::Events,
    live::Live,
    names::EndpointName,
    pool::Pools,
    probe::EvidenceSink,
    tasks,
    telemetry::{ListenerMetrics, Metrics, PathCounts, PathMetrics, traces::Tracer},
    tls::ServerTls,
    topology::TopologySnapshot,
};

/// Endpoints and pools, and what is known of both.
pub struct Routing {
    /// State of the endpoints.
    pub topology: Live<TopologySnapshot>,
    /// Handles of the endpoints.
    pub endpoints: Live<Endpoints>,
    /// Endpoints and nodes ejected after session failures.
    pub outliers: OutlierDetector,
    /// Pools of backends.
    pub pools: Arc<Pools>,
}

/// Receivers of reports about sessions.
pub struct Observers {
    /// The audit log.
    pub audit: Audit,
    /// The traces.
    pub traces: Tracer,
    /// Recent events.
    pub events: Events,
    /// Evidence about endpoints, for the probe.
    pub evidence: EvidenceSink,
    /// Factory of metrics.
    pub metrics: Metrics,
}

/// Parts of the process that a client needs until its session begins.
pub struct ClientServices {
    /// Endpoints and pools.
    pub routing: Arc<Routing>,
    /// Receivers of reports.
    pub observers: Arc<Observers>,
    /// Logged-in sessions.
    pub sessions: Arc<SessionRegistry>,
    /// State shared by pooled sessions.
    pub shared_states: SharedStateRegistry,
    /// File descriptors left for sessions: a dedicated session needs two, a pooled session one.
    pub descriptors: Arc<Semaphore>,
    /// Secret for challenges to unknown users; drawn at the start and never shown.
    pub mock_secret: [u8; 32],
    /// The console, if there is one.
    pub console: Option<Arc<dyn Console>>,
}

/// The ways to the endpoints, swapped whole by a reload.
#[derive(Default)]
pub struct Endpoints {
    by_name: HashMap<EndpointName, EndpointHandle, RandomState>,
}

/// One listener as it is configured now; a reload makes a new one, and sessions keep theirs.
pub struct ListenerContext {
    /// What the operator said.
    pub settings: ListenerSettings,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Who may log in, where we check it ourselves.
    pub users: Option<Arc<Users>>,
    /// The listener's numbers.
    pub metrics: Arc<ListenerMetrics>,
    /// The numbers of what its sessions do, by endpoint.
    pub paths: HashMap<EndpointName, Arc<PathMetrics>, RandomState>,
    /// Its clients, counted across reloads.
    pub(crate) admission: Arc<Admission>,
}

// === impl Endpoints ===

impl Endpoints {
    /// From the handles of all endpoints.
    #[must_use]
    pub fn new(handles: impl IntoIterator<Item = EndpointHandle>) -> Self {
        Self { by_name: handles.into_iter().map(|handle| (handle.name().clone(), handle)).collect() }
    }

    /// The way to the endpoint called `name`.
    #[must_use]
    pub fn get(&self, name: &EndpointName) -> Option<&EndpointHandle> {
        self.by_name.get(name)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &EndpointHandle> {
        self.by_name.values()
    }
}

// === impl ListenerContext ===

impl ListenerContext {
    /// A listener that sends its sessions to `endpoints`. `before` is the same listener before a reload: its clients
    /// count on.
    #[must_use]
    pub fn new(
        settings: ListenerSettings,
        tls: Option<ServerTls>,
        users: Option<Arc<Users>>,
        metrics: &Metrics,
        endpoints: &Endpoints,
        before: Option<&Self>,
    ) -> Self {
        let path = |handle: &EndpointHandle| metrics.path(&settings.name, handle.endpoint());
        let reached = endpoints.iter().filter(|handle| settings.route.may_reach(handle.endpoint()));
        let paths = reached.map(|handle| (handle.name().clone(), path(handle))).collect();
        let own = metrics.listener(&settings.name);
        own.limit(settings.limits.max_clients);
        let admission = before.map_or_else(Arc::default, |before| Arc::clone(&before.admission));
        Self { settings, tls, users, metrics: own, paths, admission }
    }

    /// How many clients it has, logged in or not.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.admission.clients()
    }

    /// The numbers of its sessions on `endpoint`, for those that live on the worker that this is called on.
    pub(crate) fn path(&self, metrics: &Metrics, endpoint: &EndpointHandle) -> Arc<PathCounts> {
        let worker = tasks::current_worker();
        match self.paths.get(endpoint.name()) {
            Some(path) => path.of(worker),
            // An endpoint that a reload brought after this listener was made, or gave another role.
            None => metrics.path(&self.settings.name, endpoint.endpoint()).of(worker),
        }
    }
}
