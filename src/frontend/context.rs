//! Parts of the process that clients and sessions use, and the context of a listener.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use tokio::sync::Semaphore;

use super::{
    ClientLog, Console, ListenerSettings, SharedStateRegistry, Users,
    accept::admission::Admission,
    acquire::outlier::OutlierDetector,
    registry::{predecessor::PredecessorSessions, sessions::SessionRegistry},
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

/// Endpoints and pools, with their state.
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
    /// Log lines about clients.
    pub client_log: ClientLog,
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
    /// Sessions of the process that this one has replaced.
    pub predecessor: PredecessorSessions,
}

/// Handles of all endpoints, replaced as a whole by a reload.
#[derive(Default)]
pub struct Endpoints {
    by_name: HashMap<EndpointName, EndpointHandle, RandomState>,
}

/// One listener in its current configuration. A reload creates a new context; sessions keep theirs.
pub struct ListenerContext {
    /// Settings of the listener.
    pub settings: ListenerSettings,
    /// TLS for clients.
    pub tls: Option<ServerTls>,
    /// Users file, for authentication by Gatekeeper.
    pub users: Option<Arc<Users>>,
    /// Metrics of the listener.
    pub metrics: Arc<ListenerMetrics>,
    /// Metrics of its sessions, by endpoint.
    pub paths: HashMap<EndpointName, Arc<PathMetrics>, RandomState>,
    /// Clients of the listener, counted across reloads.
    pub(crate) admission: Arc<Admission>,
}

// === impl Endpoints ===

impl Endpoints {
    /// From the handles of all endpoints.
    #[must_use]
    pub fn new(handles: impl IntoIterator<Item = EndpointHandle>) -> Self {
        Self { by_name: handles.into_iter().map(|handle| (handle.name().clone(), handle)).collect() }
    }

    /// Handle of the endpoint `name`.
    #[must_use]
    pub fn get(&self, name: &EndpointName) -> Option<&EndpointHandle> {
        self.by_name.get(name)
    }

    /// All handles, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &EndpointHandle> {
        self.by_name.values()
    }
}

// === impl ListenerContext ===

impl ListenerContext {
    /// Context of a listener with a route to `endpoints`. `before` is the context before a reload, whose client counts
    /// are kept.
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

    /// Number of clients, logged in or not.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.admission.clients()
    }

    /// Metrics of sessions on `endpoint`, for the calling worker.
    pub(crate) fn path(&self, metrics: &Metrics, endpoint: &EndpointHandle) -> Arc<PathCounts> {
        let worker = tasks::current_worker();
        match self.paths.get(endpoint.name()) {
            Some(path) => path.of(worker),
            // An endpoint added by a later reload, or with a changed role.
            None => metrics.path(&self.settings.name, endpoint.endpoint()).of(worker),
        }
    }
}
