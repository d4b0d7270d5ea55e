//! Services, listeners and endpoints for unit tests of the frontend, without a network.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use super::{
    AccessList, Auth, Bind, ClientLog, ClientServices, Endpoints, ListenerContext, ListenerLimits,
    ListenerSettings, Observers, OutlierDetector, Routing, SharedStateRegistry,
    registry::{
        current_backend::{CurrentBackend, OwnBackend},
        entry::SessionEntry,
        sessions::Registered,
    },
};
use crate::{
    audit::{Audit, record},
    backend::{EndpointHandle, EndpointSettings},
    credentials::Login,
    events::Events,
    live::{Publisher, live},
    names::{ClusterName, EndpointName, ListenerName},
    pool::{PoolMode, PoolSettings, Pools},
    probe::{EvidenceSink, RecordedEvidence},
    route::{RoutePolicy, RouteReason},
    tasks::Workers,
    telemetry::{Metrics, traces::Tracer},
    tls::{EndpointTls, Negotiation, TlsMode},
    topology::{
        Endpoint, EndpointStatus, Health, ObservedRole, TopologySnapshot, WriterControl, elect_writer,
    },
    wire::BackendKey,
};

/// Services of a scripted process.
pub(super) struct Stand {
    pub(super) services: Arc<ClientServices>,
    pub(super) topology: Publisher<TopologySnapshot>,
    pub(super) evidence: RecordedEvidence,
}

/// One endpoint a line: name, declared role, health, observed role. An endpoint in health `up` was seen up.
pub(super) fn snapshot(lines: &str) -> TopologySnapshot {
    let endpoints: Vec<_> = lines
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let endpoint = Arc::new(Endpoint {
                name: EndpointName::new(words[0]).unwrap(),
                cluster: ClusterName::new("orders").unwrap(),
                region: None,
                role: words[1].parse().unwrap(),
                // Nothing listens there.
                address: "127.0.0.1:1".parse().unwrap(),
            });
            let health = Health::ALL.into_iter().find(|health| health.as_str() == words[2]).unwrap();
            EndpointStatus {
                health,
                observed: ObservedRole::ALL.into_iter().find(|role| role.as_str() == words[3]),
                last_success: (health == Health::Up).then(Instant::now),
                ..EndpointStatus::unknown(endpoint)
            }
        })
        .collect();
    let election = elect_writer(&endpoints, &WriterControl::default());
    TopologySnapshot { endpoints, writer: election.writer, ..TopologySnapshot::default() }
}

fn handle(endpoint: &Arc<Endpoint>, metrics: &Metrics) -> EndpointHandle {
    let settings = EndpointSettings {
        endpoint: Arc::clone(endpoint),
        tls: EndpointTls {
            mode: TlsMode::Disable,
            negotiation: Negotiation::Postgres,
            ca_file: None,
            server_name: None,
            identity: None,
        },
        login: Login::Passthrough,
        insecure_plaintext: false,
        connect_timeout: Duration::from_secs(10),
        connect_concurrency: 1,
        max_backends: None,
        reserve: 0,
        probe_login: None,
    };
    let metrics = metrics.endpoint(endpoint);
    EndpointHandle::new(settings, metrics).unwrap().0
}

// === impl Stand ===

impl Stand {
    /// With `endpoints` as in [`snapshot`].
    pub(super) fn new(endpoints: &str) -> Self {
        let metrics = Metrics::new();
        let first = snapshot(endpoints);
        let handles = first.endpoints.iter().map(|status| handle(&status.endpoint, &metrics));
        let endpoints = live(Endpoints::new(handles)).1;
        let (topology, shown) = live(first);
        let (sink, evidence) = EvidenceSink::recording();
        let routing = Routing {
            topology: shown,
            endpoints,
            outliers: OutlierDetector::default(),
            pools: Pools::new(&Workers::start(1).unwrap(), &metrics, Box::new(|_, _, _| ())),
        };
        let observers = Observers {
            audit: Audit::off(),
            traces: Tracer::off(),
            events: Events::default(),
            evidence: sink,
            metrics,
            client_log: ClientLog::default(),
        };
        let services = ClientServices {
            routing: Arc::new(routing),
            observers: Arc::new(observers),
            sessions: Arc::default(),
            shared_states: SharedStateRegistry::default(),
            descriptors: Arc::new(Semaphore::new(8)),
            mock_secret: [0; 32],
            console: None,
            predecessor: crate::frontend::PredecessorSessions::new().0,
        };
        Self { services: Arc::new(services), topology, evidence }
    }

    /// Registers a dedicated session at the endpoint `p`, which waits 90 s for a lost server.
    pub(super) fn dedicated_session(&self, id: u64, reason: RouteReason) -> Registered {
        self.dedicated_session_of(id, reason, 1)
    }

    /// Dedicated session, served by the server's process `pid`.
    pub(super) fn dedicated_session_of(&self, id: u64, reason: RouteReason, pid: i32) -> Registered {
        let facts = record::Session {
            id,
            listener: ListenerName::new("app").unwrap(),
            client: None,
            tls: None,
            user: None,
            database_user: None,
            database: None,
            method: None,
            application: None,
        };
        let endpoint = self.services.routing.endpoints.load().get(&"p".parse().unwrap()).unwrap().clone();
        let server_key = BackendKey::new(pid, &[7; 4]).ok();
        let own = OwnBackend { endpoint, server_key, peer: None, local: None };
        let key = BackendKey::new(1, &id.to_be_bytes()).unwrap();
        let backend = Some(CurrentBackend::Own(Arc::new(own)));
        let entry = SessionEntry::new(Arc::new(facts), key, backend, reason);
        self.services.sessions.register(entry.with_loss_limit(Duration::from_secs(90)))
    }

    /// A listener with `route`, whose sessions wait up to `hold` for a writer.
    pub(super) fn listener(&self, route: RoutePolicy, hold: Duration) -> Arc<ListenerContext> {
        self.listener_with(route, hold, Auth::Trust, AccessList::default())
    }

    /// As [`Self::listener`], with authentication and an access list.
    pub(super) fn listener_with(
        &self,
        route: RoutePolicy,
        hold: Duration,
        auth: Auth,
        access: AccessList,
    ) -> Arc<ListenerContext> {
        let settings = ListenerSettings {
            name: ListenerName::new("app").unwrap(),
            bind: Bind::Unix("/run/app".into()),
            socket_mode: 0o660,
            route,
            tls: None,
            auth,
            access,
            limits: ListenerLimits { hold, ..ListenerLimits::default() },
            tags_sessions: false,
            pool: Arc::new(PoolSettings::new(PoolMode::Session, 10)),
        };
        let metrics = &self.services.observers.metrics;
        let endpoints = self.services.routing.endpoints.load();
        Arc::new(ListenerContext::new(settings, None, None, metrics, &endpoints, None))
    }
}
