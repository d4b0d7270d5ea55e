//! What a session may know of the process it lives in.

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
    topology::Snapshot,
};

/// What all sessions of the process share.
pub struct World {
    /// The sessions that are logged in.
    pub sessions: Arc<SessionRegistry>,
    /// What is known of the endpoints.
    pub topology: Live<Snapshot>,
    /// The ways to the endpoints.
    pub endpoints: Live<Endpoints>,
    /// The backends that sessions share.
    pub pools: Arc<Pools>,
    /// State shared by pooled sessions.
    pub shared_states: SharedStateRegistry,
    /// The audit log.
    pub audit: Audit,
    /// The traces.
    pub traces: Tracer,
    /// What happened lately.
    pub events: Events,
    /// Where sessions tell what they notice about endpoints.
    pub evidence: EvidenceSink,
    /// Endpoints and nodes ejected after session failures.
    pub outliers: OutlierDetector,
    /// The makers of metrics.
    pub metrics: Metrics,
    /// How many more descriptors there are for sessions: one with a backend of its own needs two, one that shares them one.
    pub descriptors: Arc<Semaphore>,
    /// What users who do not exist are challenged with; drawn at the start and never shown.
    pub mock_secret: [u8; 32],
    /// What answers in place of a database, if anything does.
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
    pub(crate) fn path(&self, world: &World, endpoint: &EndpointHandle) -> Arc<PathCounts> {
        let worker = tasks::current_worker();
        match self.paths.get(endpoint.name()) {
            Some(path) => path.of(worker),
            // An endpoint that a reload brought after this listener was made, or gave another role.
            None => world.metrics.path(&self.settings.name, endpoint.endpoint()).of(worker),
        }
    }
}
