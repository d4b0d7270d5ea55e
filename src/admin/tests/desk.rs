//! An admin API in front of simulated endpoints.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::{
    admin::{
        AdminSettings, Api, ControlCommand, ServiceMonitor, context::AdminContext, control, guard::Client,
        router::build_router,
    },
    audit::{Audit, AuditLevel, AuditOutput, AuditSettings, OnFull, StatementText, SyncPolicy, record},
    backend::{EndpointHandle, EndpointSettings},
    credentials::{Login, PasswordLogin, Secret, TokenCommand, TokenLoginSettings, TokenOrigin, TokenUsers},
    events::Events,
    files::Files,
    frontend::{
        AccessList, Auth, Bind, CurrentBackend, Endpoints, ListenerContext, ListenerLimits, ListenerSettings,
        Observers, OwnBackend, Registered, Routing, SessionEntry,
    },
    live::{Live, Publisher, live},
    names::{ClusterName, DatabaseName, EndpointName, ListenerName, UserName},
    pool::{PoolMode, PoolSettings, Pools},
    probe::{Probe, ProbeSettings},
    route::{RoutePolicy, RouteReason, WhenNoReader},
    tasks::{Tasks, Workers},
    telemetry::{Metrics, traces::Tracer},
    tls::{EndpointTls, Negotiation, TlsMode},
    topology::{
        Endpoint, EndpointStatus, Health, ObservedRole, TopologySnapshot, WriterControl, elect_writer,
    },
    wire::BackendKey,
    writer_move::{MoverParts, WriterMover},
};

/// The key of every desk with a key.
pub(super) const KEY: &str = "correct-horse-battery-staple";
/// The key for viewers of every desk with a key.
pub(super) const VIEWER_KEY: &str = "may-look-and-not-touch";
/// A configured secret that no response may contain.
pub(super) const PASSWORD: &str = "s3cr3t-of-the-endpoint";

/// Address of the client.
pub(super) const CLIENT: &str = "192.0.2.7:4711";

/// An admin API in front of endpoints.
pub(super) struct Desk {
    pub(super) router: Router,
    pub(super) context: Arc<AdminContext>,
    pub(super) commands: mpsc::Receiver<ControlCommand>,
    snapshot: Publisher<TopologySnapshot>,
    audit_file: PathBuf,
    _folder: TempDir,
    _tasks: Tasks,
    _listeners: Vec<Publisher<ListenerContext>>,
}

/// A response of the API.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// A healthy primary and a healthy read pool.
pub(super) const WELL: &str = "primary primary up primary\nreads read-pool up standby";

// === impl Desk ===

impl Desk {
    /// On loopback, without a key; `endpoints` as in [`snapshot`]. Listeners: `app` with the route `primary`, `reports`
    /// with the route `read-pool`.
    pub(super) fn new(endpoints: &str) -> Self {
        Self::with("127.0.0.1:8080", None, endpoints)
    }

    /// Bound to `bind`, with or without a key.
    pub(super) fn with(bind: &str, key: Option<&str>, endpoints: &str) -> Self {
        Self::made(bind, key, false, endpoints)
    }

    /// With a key that health paths do not need.
    pub(super) fn open_health(bind: &str, key: &str) -> Self {
        Self::made(bind, Some(key), true, WELL)
    }

    fn made(bind: &str, key: Option<&str>, open_health: bool, endpoints: &str) -> Self {
        let (tasks, metrics, folder) = (Tasks::new(), Metrics::new(), tempfile::tempdir().unwrap());
        let first = snapshot(endpoints);
        let handles: Vec<_> =
            first.endpoints.iter().map(|status| handle(&status.endpoint, &metrics)).collect();
        let ways = Endpoints::new(handles);
        let listeners: Vec<_> = [
            ("app", RoutePolicy::Primary),
            ("reports", RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Refuse }),
        ]
        .into_iter()
        .map(|(name, route)| ListenerContext::new(listener(name, route), None, None, &metrics, &ways, None))
        .map(live)
        .collect();
        let (listeners, shown): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
        let audit_file = folder.path().join("audit.jsonl");
        let (publisher, topology) = live(first);
        let probe = Probe::start(&[], ProbeSettings::default(), metrics.topology(), &tasks, |_, _| {});
        let routing = Routing {
            topology,
            endpoints: Live::fixed(ways),
            outliers: crate::frontend::OutlierDetector::default(),
            pools: Pools::new(&Workers::start(1).unwrap(), &metrics, Box::new(|_, _, _| ())),
        };
        let observers = Observers {
            audit: Audit::open(audit(audit_file.clone()), metrics.audit()).unwrap(),
            traces: Tracer::off(),
            events: Events::default(),
            evidence: probe.evidence(),
            metrics: metrics.clone(),
            client_log: crate::frontend::ClientLog::default(),
        };
        let (control, commands) = control();
        let (routing, observers, sessions) = (Arc::new(routing), Arc::new(observers), Arc::default());
        let parts = MoverParts {
            routing: Arc::clone(&routing),
            sessions: Arc::clone(&sessions),
            observers: Arc::clone(&observers),
            decisions: probe.decisions(),
            workers: Workers::start(1).unwrap(),
        };
        let mover = WriterMover::start(parts, &tasks);
        let (shown, files) = (Live::fixed(shown), Files::new());
        let api = Api { routing, observers, sessions, listeners: shown, control, mover, metrics, files };
        let api_key = key.map(|key| Secret::new(key.to_owned()));
        let settings = AdminSettings {
            bind: bind.parse().unwrap(),
            viewer_key: api_key.is_some().then(|| Secret::new(VIEWER_KEY.to_owned())),
            api_key,
            open_health,
            metrics_prefix: "gatekeeper".into(),
            tls: None,
        };
        let monitor = ServiceMonitor::new(api, Some(&settings)).unwrap();
        let context = Arc::new(AdminContext::new(&settings, Arc::new(monitor)));
        Self {
            router: build_router(Arc::clone(&context)),
            context,
            commands,
            snapshot: publisher,
            audit_file,
            _folder: folder,
            _tasks: tasks,
            _listeners: listeners,
        }
    }

    /// Changes the state of the endpoints.
    pub(super) fn becomes(&mut self, endpoints: &str) {
        let snapshot = snapshot(endpoints);
        self.context.api.observers.events.begin(&snapshot);
        self.snapshot.publish(snapshot);
    }

    /// Changes the decisions that bind the election.
    pub(super) fn control(&mut self, control: WriterControl) {
        let before = (*self.context.api.routing.topology.load()).clone();
        let writer = elect_writer(&before.endpoints, &control).writer;
        self.snapshot.publish(TopologySnapshot { control, writer, ..before });
    }

    /// `GET path`
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    /// A request with headers.
    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.router.clone(), method, path, headers).await
    }

    /// Logs a client in to the endpoint `endpoint`.
    pub(super) fn session(&self, listener: &str, endpoint: &str) -> Registered {
        let api = &self.context.api;
        let id = api.sessions.next_id();
        let facts = record::Session {
            id,
            listener: ListenerName::new(listener).unwrap(),
            client: Some("192.0.2.1:1000".parse().unwrap()),
            tls: Some("TLSv1.3"),
            user: Some(UserName::new("alice").unwrap()),
            database_user: Some(UserName::new("alice@example.com").unwrap()),
            database: Some(DatabaseName::new("orders").unwrap()),
            method: Some("scram"),
            application: Some("psql".into()),
        };
        let endpoint =
            api.routing.endpoints.load().get(&EndpointName::new(endpoint).unwrap()).unwrap().clone();
        api.sessions.register(SessionEntry::new(
            Arc::new(facts),
            BackendKey::new(40, b"ours").unwrap(),
            Some(CurrentBackend::Own(Arc::new(OwnBackend {
                endpoint,
                server_key: Some(BackendKey::new(41, b"theirs").unwrap()),
                peer: Some("192.0.2.2:5432".parse().unwrap()),
                local: None,
            }))),
            RouteReason::Writer,
        ))
    }

    /// Audit records of requests, after the log is closed.
    pub(super) async fn audited(self) -> Vec<Value> {
        self.context.api.observers.audit.close().await;
        let lines = fs::read_to_string(&self.audit_file).unwrap();
        let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["event.action"] == "admin.request").collect()
    }
}

/// A request of `router`.
pub(super) async fn ask(router: Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let client: SocketAddr = CLIENT.parse().unwrap();
    let request = Request::builder().method(method).uri(path).extension(Client(client));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    answer(router, request.body(Body::empty()).unwrap()).await
}

/// The response of `router`, or the first event of a stream.
pub(super) async fn answer(router: Router, request: Request) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let streams = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let bytes = match streams {
        true => body.into_data_stream().next().await.unwrap().unwrap(),
        false => to_bytes(body, usize::MAX).await.unwrap(),
    };
    Answer { status: head.status, headers: head.headers, text: String::from_utf8(bytes.into()).unwrap() }
}

// === impl Answer ===

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of an error.
    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text)).to_owned()
    }
}

/// One endpoint per line: name, declared role, health, observed role.
fn snapshot(lines: &str) -> TopologySnapshot {
    let endpoints: Vec<_> = lines
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let endpoint = Arc::new(Endpoint {
                name: EndpointName::new(words[0]).unwrap(),
                cluster: ClusterName::new("orders").unwrap(),
                region: Some("us-central1".to_owned()),
                role: words[1].parse().unwrap(),
                address: "127.0.0.1:5432".parse().unwrap(),
            });
            let health = Health::ALL.into_iter().find(|health| health.as_str() == words[2]).unwrap();
            EndpointStatus {
                health,
                observed: ObservedRole::ALL.into_iter().find(|role| role.as_str() == words[3]),
                last_error: (health == Health::Down).then(|| "connection refused".into()),
                ..EndpointStatus::unknown(endpoint)
            }
        })
        .collect();
    let election = elect_writer(&endpoints, &WriterControl::default());
    TopologySnapshot {
        endpoints,
        writer: election.writer,
        two_writers: election.two_writers,
        ..TopologySnapshot::default()
    }
}

/// The primary has a password login, all others have tokens.
fn handle(endpoint: &Arc<Endpoint>, metrics: &Metrics) -> EndpointHandle {
    let token = TokenLoginSettings {
        origin: TokenOrigin::Command(TokenCommand::Shell(format!("echo {PASSWORD}"))),
        ttl: Some(Duration::from_secs(300)),
        timeout: Duration::from_secs(10),
        users: TokenUsers::Listed(Vec::new()),
        insecure_without_verification: true,
    };
    let password = PasswordLogin { user: None, password: Secret::new(PASSWORD.to_owned()) };
    let settings = EndpointSettings {
        endpoint: Arc::clone(endpoint),
        tls: EndpointTls {
            mode: TlsMode::Disable,
            negotiation: Negotiation::Postgres,
            ca_file: None,
            server_name: None,
            identity: None,
        },
        login: if endpoint.name.as_str() == "primary" {
            Login::Password(password)
        } else {
            Login::Token(token)
        },
        insecure_plaintext: false,
        connect_timeout: Duration::from_secs(10),
        connect_concurrency: 1,
        max_backends: None,
        reserve: 0,
        probe_login: None,
    };
    EndpointHandle::new(settings, metrics.endpoint(endpoint)).unwrap().0
}

fn listener(name: &str, route: RoutePolicy) -> ListenerSettings {
    ListenerSettings {
        name: ListenerName::new(name).unwrap(),
        bind: Bind::Tcp("127.0.0.1:15432".parse().unwrap()),
        socket_mode: 0o660,
        route,
        tls: None,
        auth: Auth::Trust,
        access: AccessList::default(),
        limits: ListenerLimits::default(),
        tags_sessions: false,
        pool: Arc::new(PoolSettings::new(PoolMode::Session, 100)),
    }
}

fn audit(file: PathBuf) -> AuditSettings {
    AuditSettings {
        output: AuditOutput::File(file),
        level: AuditLevel::Sessions,
        statements: StatementText::None,
        on_full: OnFull::Block,
        queue: 1024,
        block_timeout: Duration::from_secs(5),
        rotate_bytes: None,
        max_text: 1024,
        sync: SyncPolicy::Never,
        hash_chain: false,
    }
}
