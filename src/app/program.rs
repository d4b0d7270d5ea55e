//! The running program: every part of it, and what they share.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    build::{BuildError, Workshop},
    console::Configured,
    inherited::Inherited,
    report, shutdown,
};
use crate::{
    admin::{self, Command, control},
    audit::{Audit, AuditError},
    config::{Config, ConfigSource, Loaded},
    console::{Averages, Console, Office, keep_averages},
    events::Events,
    files::Files,
    frontend::{
        Bind, ClientServices, Endpoints, Listener, ListenerContext, Observers, OutlierDetector, Routing,
        SessionRegistry, SharedStateRegistry,
    },
    live::{Live, Publisher, live},
    names::{EndpointName, ListenerName},
    pool::{LoginReport, PoolMode, Pools},
    probe::{Evidence, Probe},
    tasks::{Tasks, Workers},
    telemetry::{LogError, Metrics, traces::Tracer},
    topology::SnapshotChange,
};

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error("starting the log")]
    Log(#[source] LogError),
    /// The system has no threads to give.
    #[error("starting threads")]
    Threads(#[source] io::Error),
    /// A file that the configuration names.
    #[error("reading what the configuration names")]
    Build(#[source] BuildError),
    /// The audit log.
    #[error("starting the audit log")]
    Audit(#[source] AuditError),
    /// A listener's address.
    #[error("listener `{0}` cannot listen on {1}")]
    Bind(ListenerName, Bind, #[source] io::Error),
    /// The admin API's address.
    #[error("starting the admin API")]
    Admin(#[source] admin::AdminError),
    /// Signals.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
    /// The system has no random numbers to give.
    #[error("no random numbers to be had")]
    Entropy,
}

/// Every part of the running program.
pub(super) struct Program {
    pub(super) config: Config,
    pub(super) source: ConfigSource,
    pub(super) metrics: Metrics,
    pub(super) files: Files,
    /// On the control runtime.
    pub(super) tasks: Tasks,
    pub(super) workers: Workers,
    pub(super) services: Arc<ClientServices>,
    pub(super) endpoints: Publisher<Endpoints>,
    pub(super) probe: Probe,
    /// By where they were configured to listen.
    pub(super) listeners: HashMap<Bind, Running>,
    pub(super) contexts: Publisher<Vec<Live<ListenerContext>>>,
    pub(super) configured: Configured,
    pub(super) admin: Option<admin::Server>,
    commands: mpsc::Receiver<Command>,
}

/// A listener that accepts clients.
pub(super) struct Running {
    pub(super) bind: Bind,
    pub(super) context: Publisher<ListenerContext>,
    /// Dropping it closes the socket.
    _accepting: oneshot::Sender<()>,
}

/// How often the ends of certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(10);

fn evidence_of(login: LoginReport) -> Evidence {
    match login {
        LoginReport::Failed => Evidence::LoginFailed,
        LoginReport::Role(role) => Evidence::RoleReported(role),
    }
}

impl Program {
    /// Builds and starts every part.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub(super) async fn start(loaded: Loaded, source: ConfigSource) -> Result<Self, StartError> {
        let (configured, console_settings, config_lines) = Configured::new(&loaded);
        let config = loaded.config;
        let metrics = Metrics::new();
        metrics.program().watch_panics();
        let files = Files::new();
        let tasks = Tasks::new();
        let audit = match &config.audit {
            Some(settings) => Audit::open(settings.clone(), metrics.audit()).map_err(StartError::Audit)?,
            None => Audit::off(),
        };
        let workers = config.runtime.workers.unwrap_or_else(cores);
        let workers = Workers::start(workers).map_err(StartError::Threads)?;
        let events = Events::default();
        let traces = start_tracer(&config, &metrics, &tasks);
        let told = audit.clone();
        let pools = Pools::new(
            &workers,
            &metrics,
            Box::new(move |target, running, event| report::pooled(target, running, event, &told)),
        );
        let workshop = Workshop {
            metrics: &metrics,
            files: &files,
            tasks: &tasks,
            audit: &audit,
            events: &events,
            pools: &pools,
        };
        let handles: Vec<_> = config
            .endpoints
            .iter()
            .map(|settings| workshop.endpoint(settings, None))
            .collect::<Result<_, _>>()
            .map_err(StartError::Build)?;
        let (told, seen, of_endpoints) = (audit.clone(), events.clone(), Arc::clone(&pools));
        let probe = Probe::start(
            &handles,
            config.probe.clone(),
            metrics.topology(),
            &tasks,
            move |change, snapshot| {
                report::topology_changed(change, snapshot, &told, &seen);
                if let Some(endpoint) = turned(change) {
                    of_endpoints.withdraw(endpoint);
                }
            },
        );
        events.begin(&probe.snapshot().load());
        let pooled = pooled_backends(&config);
        let (endpoints, ways) = live(Endpoints::new(handles));
        let mut mock_secret = [0; 32];
        aws_lc_rs::rand::fill(&mut mock_secret).map_err(|_| StartError::Entropy)?;
        let (control, commands) = control();
        let (mut contexts, shown) = live(Vec::new());
        let (keeper, averages) = live(Averages::default());
        tasks.spawn("console averages", keep_averages(metrics.clone(), keeper));
        let routing = Arc::new(Routing {
            topology: probe.snapshot(),
            endpoints: ways,
            outliers: OutlierDetector::default(),
            pools: Arc::clone(&pools),
        });
        let observers = Arc::new(Observers {
            audit: audit.clone(),
            traces,
            events: events.clone(),
            evidence: probe.evidence(),
            metrics: metrics.clone(),
        });
        let sessions = Arc::new(SessionRegistry::default());
        let console = Console::new(Office {
            routing: Arc::clone(&routing),
            observers: Arc::clone(&observers),
            sessions: Arc::clone(&sessions),
            settings: console_settings,
            config: config_lines,
            listeners: shown.clone(),
            averages,
            control: control.clone(),
            metrics: metrics.admin(),
        });
        // Weak: the probe holds the pools.
        let evidence = Arc::downgrade(&observers);
        pools.report_logins(Box::new(move |endpoint, login| {
            if let Some(observers) = evidence.upgrade() {
                observers.evidence.submit(endpoint, evidence_of(login));
            }
        }));
        let services = Arc::new(ClientServices {
            routing: Arc::clone(&routing),
            observers: Arc::clone(&observers),
            sessions: Arc::clone(&sessions),
            shared_states: SharedStateRegistry::default(),
            descriptors: Arc::new(Semaphore::new(descriptors_for_sessions(pooled))),
            mock_secret,
            console: Some(Arc::new(console)),
        });
        let made = config
            .listeners
            .iter()
            .map(|settings| workshop.listener(settings, &routing.endpoints.load(), None))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Build)?;
        let listeners = start_listeners(made, &services, &workers)?;
        contexts.publish(listeners.values().map(|running| running.context.reader()).collect());
        let admin = match &config.admin {
            Some(settings) => {
                let api = admin::Api {
                    routing: Arc::clone(&routing),
                    observers,
                    sessions,
                    listeners: shown.clone(),
                    control,
                    metrics: metrics.clone(),
                };
                Some(admin::Server::start(settings, api, &files, &tasks).map_err(StartError::Admin)?)
            }
            None => None,
        };
        let program = metrics.program();
        program.loaded(SystemTime::now());
        tasks.spawn(
            "file watcher",
            files.clone().run(move |reloaded| report::file_reloaded(&reloaded, &program, &events)),
        );
        tasks.spawn("metrics upkeep", metrics.clone().run_upkeep());
        tasks.spawn("certificate watcher", watch_certificates(routing, shown));
        Ok(Self {
            config,
            source,
            metrics,
            files,
            tasks,
            workers,
            services,
            endpoints,
            probe,
            listeners,
            contexts,
            configured,
            admin,
            commands,
        })
    }

    /// Serves until told to end, and ends in order.
    pub(super) async fn serve(mut self, mut signals: shutdown::Signals) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listeners = self.listeners.len(),
            endpoints = self.config.endpoints.len(),
            workers = self.workers.len(),
            "gatekeeper is ready"
        );
        for running in self.listeners.values() {
            let context = running.context.reader().load();
            tracing::info!(listener = %context.settings.name, bind = %running.bind, route = %context.settings.route, "listening");
        }
        sd_notify::notify(&[sd_notify::NotifyState::Ready]).ok();
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    shutdown::Signal::Reload => self.on_reload("signal", None).await,
                    shutdown::Signal::Stop => break,
                },
                command = self.commands.recv() => match command {
                    Some(Command::Reload { trigger, answer }) => self.on_reload(trigger, Some(answer)).await,
                    Some(Command::Stop) | None => break,
                },
            }
        }
        shutdown::drain(self, signals).await;
    }

    /// Makes parts like those that were made at the start.
    pub(super) fn workshop(&self) -> Workshop<'_> {
        Workshop {
            metrics: &self.metrics,
            files: &self.files,
            tasks: &self.tasks,
            audit: &self.services.observers.audit,
            events: &self.services.observers.events,
            pools: &self.services.routing.pools,
        }
    }
}

impl Running {
    /// Accepts on worker `worker` (modulo their number).
    pub(super) fn start(
        socket: Listener,
        context: ListenerContext,
        services: &Arc<ClientServices>,
        workers: &Workers,
        worker: usize,
    ) -> Self {
        let bind = socket.local_address().unwrap_or_else(|_| context.settings.bind.clone());
        let (context, shown) = live(context);
        let (accepting, closed) = oneshot::channel::<()>();
        let (services, others) = (Arc::clone(services), workers.clone());
        workers.spawn_on(worker, "listener", move || async move {
            tokio::select! {
                () = socket.run(shown, services, others) => {}
                _ = closed => {}
            }
        });
        Self { bind, context, _accepting: accepting }
    }
}

/// The tracer of the configuration; its exporter runs on the control runtime.
fn start_tracer(config: &Config, metrics: &Metrics, tasks: &Tasks) -> Tracer {
    let spans = metrics.traces();
    let Some(settings) = &config.traces else { return Tracer::off() };
    let (tracer, exporter) = Tracer::new(settings, spans);
    tasks.spawn("traces", exporter.run());
    tracer
}

/// Binds the sockets of the listeners, or takes over sockets that came with the process, and accepts clients.
fn start_listeners(
    contexts: Vec<ListenerContext>,
    services: &Arc<ClientServices>,
    workers: &Workers,
) -> Result<HashMap<Bind, Running>, StartError> {
    let mut inherited = Inherited::take();
    let mut listeners = HashMap::new();
    for context in contexts {
        let (name, bind) = (context.settings.name.clone(), context.settings.bind.clone());
        let mode = context.settings.socket_mode;
        let socket = match inherited.claim(&bind) {
            Some(socket) => Listener::inherit(socket, bind.clone()),
            None => Listener::bind(&bind, mode),
        };
        let socket = socket.map_err(|error| StartError::Bind(name, bind.clone(), error))?;
        let worker = listeners.len();
        listeners.insert(bind, Running::start(socket, context, services, workers, worker));
    }
    for bind in inherited.unclaimed() {
        tracing::warn!(%bind, "a socket came with the process that no listener is configured for");
    }
    Ok(listeners)
}

/// The endpoint whose backends must not be used again: its server has turned from a primary into a standby or the other way
/// round, or another server answers at its address.
fn turned(change: &SnapshotChange) -> Option<&EndpointName> {
    match change {
        SnapshotChange::Role { endpoint, from: Some(from), to } if from != to => Some(endpoint),
        SnapshotChange::Node { endpoint, .. } => Some(endpoint),
        _ => None,
    }
}

async fn watch_certificates(routing: Arc<Routing>, listeners: Live<Vec<Live<ListenerContext>>>) {
    let mut ticks = tokio::time::interval(CERTIFICATES);
    loop {
        ticks.tick().await;
        report::certificates(routing.endpoints.load().iter(), listeners.load().iter().map(Live::load));
    }
}

/// How many backends sessions may share, as far as the configuration says: an endpoint without a limit of its own has a pool
/// of each listener.
fn pooled_backends(config: &Config) -> usize {
    let shared = config.listeners.iter().filter(|listener| listener.pool.mode == PoolMode::Transaction);
    match shared.map(|listener| listener.pool.size).sum() {
        0 => 0,
        sizes => config.endpoints.iter().map(|endpoint| endpoint.pooled_backends().unwrap_or(sizes)).sum(),
    }
}

/// How many descriptors there are for sessions, beside what `pooled` backends, everything else and clients to be refused
/// need. However many backends are pooled, half of what is left is for clients.
fn descriptors_for_sessions(pooled: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let left = limit.saturating_sub(32 + limit / 16);
    (left - pooled.min(left / 2)).min(Semaphore::MAX_PERMITS)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
