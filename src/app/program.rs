//! The running program: all components and their construction.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    net::UnixStream,
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    build::{BuildError, ComponentBuilder},
    cancel_forwarding::{forward_cancels, serve_cancels},
    console::Configured,
    handed_state::HandedState,
    handover::{self, HandedSocket, HandoverEvent, HandoverServer, Predecessor, Successor},
    inherited::Inherited,
    probed_health, report,
    service_manager::ServiceManager,
    shutdown::{self, Ending},
};
use crate::{
    admin::{self, ControlCommand, ProgramControl, RestartError, control},
    audit::{Audit, AuditError},
    backend::EndpointHandle,
    config::{Config, ConfigSource, LoadedConfig},
    console::{Averages, ConfigLine, Console, ConsoleContext, ConsoleSettings, keep_averages},
    events::EventKind,
    frontend::{
        Bind, ClientServices, Endpoints, ForwardedCancel, Listener, ListenerContext, Observers,
        OutlierDetector, PredecessorSessions, Routing, SessionRegistry, SharedStateRegistry, SocketFile,
        Watchdog,
    },
    live::{Live, Publisher, live},
    names::{EndpointName, ListenerName},
    pool::{Filter, LoginReport, PoolMode, Pools},
    probe::{Evidence, Probe},
    tasks::Workers,
    telemetry::{AdminMetrics, LogError, LogFilter, MetricExporter, Metrics},
    topology::{Health, SnapshotChange, TopologySnapshot},
    writer_move::{MoverParts, WriterMover},
};

/// Reason for a failed start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error("starting the log")]
    Log(#[source] LogError),
    /// Threads cannot be started.
    #[error("starting threads")]
    Threads(#[source] io::Error),
    /// A file named by the configuration.
    #[error("reading files that the configuration refers to")]
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
    /// The system provides no random numbers.
    #[error("the system provides no random numbers")]
    Entropy,
}

/// All components of the running program.
pub(super) struct Program {
    pub(super) config: Config,
    pub(super) source: ConfigSource,
    /// Also builds components added by a reload.
    pub(super) builder: ComponentBuilder,
    pub(super) workers: Workers,
    pub(super) services: Arc<ClientServices>,
    pub(super) endpoints: Publisher<Endpoints>,
    pub(super) probe: Probe,
    /// By the configured address.
    pub(super) listeners: HashMap<Bind, RunningListener>,
    pub(super) contexts: Publisher<Vec<Live<ListenerContext>>>,
    pub(super) configured: Configured,
    pub(super) admin: Option<admin::AdminServer>,
    pub(super) log: LogFilter,
    /// Filter of the log that an operator has set since the last reload with another one.
    pub(super) log_override: Option<String>,
    /// The process that this one replaces, until this one serves.
    predecessor: Option<Predecessor>,
    /// Cancel requests for its sessions, until this one serves.
    forwarded: Option<mpsc::Receiver<ForwardedCancel>>,
    commands: mpsc::Receiver<ControlCommand>,
}

/// A listener that accepts clients.
pub(super) struct RunningListener {
    pub(super) bind: Bind,
    pub(super) context: Publisher<ListenerContext>,
    /// A second descriptor of the socket, for a successor; `None` without a free descriptor.
    handed: Option<OwnedFd>,
    file: Option<SocketFile>,
    /// Dropping it closes the socket.
    _accepting: oneshot::Sender<()>,
}

/// Interval of updates of certificate expiry metrics.
/// Interval of checks for errors of clients without a log line.
const LOG_REPORT_INTERVAL: Duration = Duration::from_secs(1);
const CERTIFICATE_METRICS_INTERVAL: Duration = Duration::from_secs(10);
/// Limit on the wait of a successor for the first answers of the endpoints; the sockets are handed over before, and the
/// report of readiness has a minute.
const FIRST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_ANSWERS_INTERVAL: Duration = Duration::from_millis(10);

fn evidence_of(login: LoginReport) -> Evidence {
    match login {
        LoginReport::Failed => Evidence::LoginFailed,
        LoginReport::Role(role) => Evidence::RoleReported(role),
    }
}

impl Program {
    /// Builds and starts all components, in the order of their dependencies.
    ///
    /// # Errors
    /// [`StartError`]; no component is left running.
    pub(super) async fn start(
        loaded: LoadedConfig,
        source: ConfigSource,
        log: LogFilter,
    ) -> Result<Self, StartError> {
        let (configured, console_settings, config_lines) = Configured::new(&loaded);
        let config = loaded.config;
        let metrics = Metrics::new();
        metrics.program().watch_panics();
        let audit = open_audit(&config, &metrics)?;
        let workers = config.runtime.workers.unwrap_or_else(core_count);
        let workers = Workers::start(workers).map_err(StartError::Threads)?;
        let builder = ComponentBuilder::new(metrics, audit, &workers);
        let handles = builder.endpoints(&config.endpoints).map_err(StartError::Build)?;
        let probe = start_probe(&builder, &handles, &config);
        let (endpoints, handles) = live(Endpoints::new(handles));
        let routing = build_routing(&builder, &probe, handles);
        let observers = builder.observers(config.traces.as_ref(), &config.log, probe.evidence());
        report_logins_of_pools(&builder.pools, &observers);
        let (mut contexts, listener_contexts) = live(Vec::new());
        let (control, commands) = control();
        let api = build_api(&builder, (routing, observers), listener_contexts, control, (&probe, &workers));
        let monitor = build_monitor(&api, &config)?;
        let console = build_console(&builder, &monitor, &api, console_settings, config_lines);
        let (services, forwarded) = client_services(&config, &api, console)?;
        let listeners = builder.listeners(&config.listeners, &services.routing.endpoints.load());
        let mut inherited = Inherited::take(config.runtime.handover.as_deref());
        let log_override = restore_decisions(&inherited, &probe, &builder, &log).await;
        let listeners = start_listeners(listeners, &services, &workers, &mut inherited)?;
        contexts.publish(listeners.values().map(|listener| listener.context.reader()).collect());
        let admin = start_admin(&builder, &config, &monitor, &mut inherited)?;
        builder.metrics.program().record_load(SystemTime::now());
        spawn_upkeep(&builder, &config, &services, contexts.reader(), monitor);
        Ok(Self {
            config,
            source,
            builder,
            workers,
            services,
            endpoints,
            probe,
            listeners,
            contexts,
            configured,
            admin,
            log,
            log_override,
            predecessor: inherited.finish(),
            forwarded: Some(forwarded),
            commands,
        })
    }

    /// Serves until shutdown, then drains.
    pub(super) async fn serve(mut self, mut signals: shutdown::Signals) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listeners = self.listeners.len(),
            endpoints = self.config.endpoints.len(),
            workers = self.workers.len(),
            "gatekeeper is ready"
        );
        for listener in self.listeners.values() {
            let context = listener.context.reader().load();
            tracing::info!(listener = %context.settings.name, bind = %listener.bind, route = %context.settings.route, "listening");
        }
        let mut handover = self.open_handover();
        let mut service = ServiceManager::ready();
        let ending = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    shutdown::Signal::Reload => self.on_reload("signal", None).await,
                    shutdown::Signal::ReopenFiles => self.reopen_files().await,
                    shutdown::Signal::Resume => self.resume_pools(),
                    shutdown::Signal::Stop => break Ending::Stopped,
                },
                command = self.commands.recv() => match command {
                    Some(ControlCommand::Reload { trigger, answer }) => self.on_reload(trigger, Some(answer)).await,
                    Some(ControlCommand::SetLogFilter { filter, answer }) => {
                        // The requester may have left.
                        answer.send(self.set_log_filter(&filter)).ok();
                    }
                    Some(ControlCommand::Restart { answer }) => {
                        // The requester may have left.
                        answer.send(start_successor(handover.as_ref(), self.is_moving_writer())).ok();
                    }
                    Some(ControlCommand::Stop) | None => break Ending::Stopped,
                },
                event = next_event(handover.as_mut()) => match event {
                    HandoverEvent::Requested(successor) => self.hand_over(handover.as_mut(), successor),
                    HandoverEvent::Failed => {
                        tracing::error!("the process that took over the sockets has failed; this one goes on");
                    }
                    HandoverEvent::Ready(Successor { pid: successor, stream }) => {
                        let cancels = serve_cancels(stream, Arc::clone(&self.services));
                        self.builder.tasks.spawn("cancels of the successor", cancels);
                        break Ending::HandedOver { successor };
                    }
                },
                () = service.tick() => service.report(&self.describe_state(), &self.workers).await,
            }
        };
        if let (Ending::HandedOver { .. }, Some(handover)) = (&ending, handover) {
            handover.leave_to_successor();
        }
        shutdown::drain_and_stop(self, signals, ending).await;
    }

    /// Reports to the process before this one that this one serves, and waits for the next one.
    fn open_handover(&mut self) -> Option<HandoverServer> {
        let forwarded = self.forwarded.take();
        let (files, stream) = self.predecessor.take().map(Predecessor::report_ready).unwrap_or_default();
        // Dropped without a predecessor: no key is forwarded.
        if let (Some(stream), Some(forwarded)) = (stream, forwarded) {
            self.builder.tasks.spawn("cancels for the predecessor", forward_cancels(stream, forwarded));
        }
        for bind in files {
            if let (Bind::Unix(path), Some(listener)) = (&bind, self.listeners.get_mut(&bind)) {
                listener.file = Some(SocketFile::new(path));
            }
        }
        let path = self.config.runtime.handover.as_ref()?;
        let server = HandoverServer::bind(path);
        let failed = |error: &io::Error| {
            tracing::error!(path = %path.display(), %error, "no other process can take over the listeners");
        };
        server.inspect_err(failed).ok()
    }

    /// Hands all listening sockets to `successor`.
    fn hand_over(&self, handover: Option<&mut HandoverServer>, successor: UnixStream) {
        if self.is_moving_writer() {
            // The successor would not hold its clients. Its start fails.
            tracing::error!("listening sockets are not handed over while the writer moves");
            return;
        }
        let listeners = self.listeners.values().filter_map(RunningListener::handed_socket);
        let admin = self.admin.as_ref().map(|admin| admin.listening_socket());
        let admin = admin.map(|socket| HandedSocket { socket, owns_file: false });
        let sockets: Vec<_> = listeners.chain(admin).collect();
        if let Some(handover) = handover {
            let snapshot = self.services.routing.topology.load();
            let state = HandedState::collect(&snapshot, &self.builder.pools, self.log_override.as_deref());
            handover.hand_over(successor, &sockets, &state);
        }
    }

    /// True while clients wait for an operator's move of the writer.
    fn is_moving_writer(&self) -> bool {
        self.services.routing.topology.load().control.is_held
    }

    /// One line for the service manager.
    fn describe_state(&self) -> String {
        let writer = self.services.routing.topology.load();
        let writer = writer.writer.as_ref().map_or("none", EndpointName::as_str);
        let (sessions, listeners) = (self.services.sessions.count(), self.listeners.len());
        format!("{sessions} sessions, {listeners} listeners, writer: {writer}")
    }

    /// Opens the audit log again: another program has renamed the file.
    async fn reopen_files(&self) {
        match self.services.observers.audit.reopen().await {
            Ok(()) => tracing::info!("files opened again"),
            Err(error) => tracing::error!(%error, "the audit log cannot be opened again"),
        }
    }

    /// Resumes all pools that an operator has paused.
    fn resume_pools(&self) {
        let pools = self.services.routing.pools.resume(&Filter::all());
        tracing::info!(pools, "pools resumed");
        let what = "resumed all pools".to_owned();
        self.services.observers.events.record_event(EventKind::Operated { through: "signal", what });
    }

    /// Replaces the filter of the log until the next start, for the admin API.
    fn set_log_filter(&mut self, filter: &str) -> Result<(), String> {
        self.log.replace(filter).map_err(|error| error.to_string())?;
        self.log_override = Some(filter.to_owned());
        tracing::info!(filter, "log filter replaced");
        let what = format!("log filter `{filter}`");
        self.services.observers.events.record_event(EventKind::Operated { through: "admin", what });
        Ok(())
    }
}

impl RunningListener {
    /// Accepts clients on worker `worker`, modulo the number of workers.
    pub(super) fn start(
        mut socket: Listener,
        context: ListenerContext,
        services: &Arc<ClientServices>,
        workers: &Workers,
        worker: usize,
    ) -> Self {
        let (handed, file) = (socket.duplicate_socket().ok(), socket.take_file());
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
        Self { bind, context, handed, file, _accepting: accepting }
    }

    /// The socket for a successor.
    fn handed_socket(&self) -> Option<HandedSocket<BorrowedFd<'_>>> {
        let socket = self.handed.as_ref()?.as_fd();
        Some(HandedSocket { socket, owns_file: self.file.is_some() })
    }

    /// Stops accepting clients; another process has the socket and its file.
    pub(super) fn leave_to_successor(self) {
        if let Some(file) = self.file {
            file.keep();
        }
    }
}

fn open_audit(config: &Config, metrics: &Metrics) -> Result<Audit, StartError> {
    match &config.audit {
        Some(settings) => Audit::open(settings.clone(), metrics.audit()).map_err(StartError::Audit),
        None => Ok(Audit::off()),
    }
}

/// The probe reports topology changes, and closes the pooled backends of an endpoint whose server has changed.
fn start_probe(builder: &ComponentBuilder, handles: &[EndpointHandle], config: &Config) -> Probe {
    let (audit, events, pools) = (builder.audit.clone(), builder.events.clone(), Arc::clone(&builder.pools));
    let on_change = move |change: &SnapshotChange, snapshot: &TopologySnapshot| {
        report::topology_changed(change, snapshot, &audit, &events);
        if let Some(endpoint) = endpoint_to_withdraw(change) {
            pools.withdraw(endpoint);
        }
    };
    let metrics = builder.metrics.topology();
    let probe = Probe::start(handles, config.probe.clone(), metrics, &builder.tasks, on_change);
    builder.events.begin(&probe.snapshot().load());
    probe
}

/// Logins of the pools are evidence for the probe. Weak, because the probe holds the pools.
fn report_logins_of_pools(pools: &Pools, observers: &Arc<Observers>) {
    let observers = Arc::downgrade(observers);
    pools.report_logins(Box::new(move |endpoint, login| {
        if let Some(observers) = observers.upgrade() {
            observers.evidence.submit(endpoint, evidence_of(login));
        }
    }));
}

fn build_routing(builder: &ComponentBuilder, probe: &Probe, endpoints: Live<Endpoints>) -> Arc<Routing> {
    Arc::new(Routing {
        topology: probe.snapshot(),
        endpoints,
        outliers: OutlierDetector::default(),
        pools: Arc::clone(&builder.pools),
    })
}

/// State of the service for diagnoses, with the certificate of the admin API.
fn build_monitor(api: &admin::Api, config: &Config) -> Result<Arc<admin::ServiceMonitor>, StartError> {
    let monitor = admin::ServiceMonitor::new(api.clone(), config.admin.as_ref());
    monitor.map(Arc::new).map_err(|error| StartError::Admin(admin::AdminError::Tls(error)))
}

/// Puts the decisions of operators in force that the process before this one has handed over. Returns the filter of the log
/// among them.
async fn restore_decisions(
    inherited: &Inherited,
    probe: &Probe,
    builder: &ComponentBuilder,
    log: &LogFilter,
) -> Option<String> {
    let state = inherited.state()?;
    state.restore(probe, &builder.pools, log).await;
    // The process before this one serves meanwhile: no health check meets a process that knows nothing yet.
    timeout(FIRST_ANSWERS_TIMEOUT, wait_for_first_answers(probe)).await.ok();
    state.log_filter.clone()
}

/// Returns when each endpoint is known to be up or down.
async fn wait_for_first_answers(probe: &Probe) {
    let snapshot = probe.snapshot();
    while snapshot.load().endpoints.iter().any(|status| status.health == Health::Unknown) {
        sleep(FIRST_ANSWERS_INTERVAL).await;
    }
}

/// The parts that admin API and console share, with the mover of the writer.
fn build_api(
    builder: &ComponentBuilder,
    (routing, observers): (Arc<Routing>, Arc<Observers>),
    listeners: Live<Vec<Live<ListenerContext>>>,
    control: ProgramControl,
    (probe, workers): (&Probe, &Workers),
) -> admin::Api {
    let sessions = Arc::<SessionRegistry>::default();
    let parts = MoverParts {
        routing: Arc::clone(&routing),
        sessions: Arc::clone(&sessions),
        observers: Arc::clone(&observers),
        decisions: probe.decisions(),
        workers: workers.clone(),
    };
    let mover = WriterMover::start(parts, &builder.tasks);
    let metrics = builder.metrics.clone();
    let files = builder.files.clone();
    admin::Api { routing, observers, sessions, listeners, control, mover, metrics, files }
}

fn build_console(
    builder: &ComponentBuilder,
    monitor: &Arc<admin::ServiceMonitor>,
    api: &admin::Api,
    settings: Live<ConsoleSettings>,
    config: Live<Vec<ConfigLine>>,
) -> Console {
    let (keeper, averages) = live(Averages::default());
    builder.tasks.spawn("console averages", keep_averages(builder.metrics.clone(), keeper));
    Console::new(ConsoleContext {
        routing: Arc::clone(&api.routing),
        observers: Arc::clone(&api.observers),
        sessions: Arc::clone(&api.sessions),
        settings,
        config,
        listeners: api.listeners.clone(),
        averages,
        control: api.control.clone(),
        mover: Arc::clone(&api.mover),
        metrics: builder.metrics.admin(),
        monitor: Arc::clone(monitor),
    })
}

fn client_services(
    config: &Config,
    api: &admin::Api,
    console: Console,
) -> Result<(Arc<ClientServices>, mpsc::Receiver<ForwardedCancel>), StartError> {
    let mut mock_secret = [0; 32];
    aws_lc_rs::rand::fill(&mut mock_secret).map_err(|_| StartError::Entropy)?;
    let (predecessor, forwarded) = PredecessorSessions::new();
    let services = ClientServices {
        routing: Arc::clone(&api.routing),
        observers: Arc::clone(&api.observers),
        sessions: Arc::clone(&api.sessions),
        shared_states: SharedStateRegistry::default(),
        descriptors: Arc::new(Semaphore::new(descriptors_for_sessions(pooled_backends(config)))),
        mock_secret,
        console: Some(Arc::new(console)),
        predecessor,
    };
    Ok((Arc::new(services), forwarded))
}

fn start_admin(
    builder: &ComponentBuilder,
    config: &Config,
    monitor: &Arc<admin::ServiceMonitor>,
    inherited: &mut Inherited,
) -> Result<Option<admin::AdminServer>, StartError> {
    admin::start_diagnoses(monitor, &builder.tasks);
    let Some(settings) = &config.admin else { return Ok(None) };
    let socket = inherited.claim(&Bind::Tcp(settings.bind));
    let server = admin::AdminServer::start(settings, Arc::clone(monitor), socket, &builder.tasks);
    server.map(Some).map_err(StartError::Admin)
}

/// Background tasks: file watcher, metrics, certificate expiry.
fn spawn_upkeep(
    builder: &ComponentBuilder,
    config: &Config,
    services: &ClientServices,
    listeners: Live<Vec<Live<ListenerContext>>>,
    monitor: Arc<admin::ServiceMonitor>,
) {
    let routing = &services.routing;
    let follow_health = probed_health::follow(
        routing.topology.clone(),
        routing.endpoints.clone(),
        Arc::clone(&routing.pools),
        Arc::clone(&services.sessions),
    );
    builder.tasks.spawn("probed health", follow_health);
    let (sessions, observers) = (Arc::clone(&services.sessions), Arc::clone(&services.observers));
    let watchdog = Watchdog::new(sessions, Arc::clone(routing), observers);
    builder.tasks.spawn("watchdog", watchdog.run());
    let (program, events) = (builder.metrics.program(), builder.events.clone());
    let watch_files =
        builder.files.clone().run(move |reloaded| report::file_reloaded(&reloaded, &program, &events));
    builder.tasks.spawn("file watcher", watch_files);
    builder.tasks.spawn("metrics upkeep", builder.metrics.clone().run_upkeep());
    if let Some(settings) = &config.metrics {
        let exporter = MetricExporter::new(settings, builder.metrics.clone());
        builder.tasks.spawn("metric export", exporter.run());
    }
    builder.tasks.spawn("client log", report_unlogged_errors(Arc::clone(&services.observers)));
    let admin = builder.metrics.admin();
    let watch_certificates = watch_certificates(Arc::clone(routing), listeners, monitor, admin);
    builder.tasks.spawn("certificate watcher", watch_certificates);
}

/// Binds the listeners' sockets, or takes over inherited sockets, and accepts clients.
fn start_listeners(
    contexts: Result<Vec<ListenerContext>, BuildError>,
    services: &Arc<ClientServices>,
    workers: &Workers,
    inherited: &mut Inherited,
) -> Result<HashMap<Bind, RunningListener>, StartError> {
    let mut listeners = HashMap::new();
    for context in contexts.map_err(StartError::Build)? {
        let (name, bind) = (context.settings.name.clone(), context.settings.bind.clone());
        let mode = context.settings.socket_mode;
        let socket = match inherited.claim(&bind) {
            Some(socket) => Listener::from_inherited(socket, bind.clone()),
            None => Listener::bind(&bind, mode),
        };
        let socket = socket.map_err(|error| StartError::Bind(name, bind.clone(), error))?;
        let worker = listeners.len();
        listeners.insert(bind, RunningListener::start(socket, context, services, workers, worker));
    }
    Ok(listeners)
}

/// The next event of a handover; never without a socket for it.
async fn next_event(handover: Option<&mut HandoverServer>) -> HandoverEvent {
    match handover {
        Some(handover) => handover.next().await,
        None => std::future::pending().await,
    }
}

fn start_successor(handover: Option<&HandoverServer>, is_moving: bool) -> Result<u32, RestartError> {
    if handover.is_none() {
        return Err(RestartError::NotConfigured);
    }
    if is_moving {
        return Err(RestartError::WriterMoves);
    }
    let successor = handover::start_successor().map_err(|error| RestartError::Start(error.to_string()))?;
    tracing::info!(successor, "another process starts and takes over the listeners");
    Ok(successor)
}

/// The endpoint whose backends must not be reused: its server changed between primary and standby, or another server
/// answers at its address.
fn endpoint_to_withdraw(change: &SnapshotChange) -> Option<&EndpointName> {
    match change {
        SnapshotChange::Role { endpoint, from: Some(from), to } if from != to => Some(endpoint),
        SnapshotChange::Node { endpoint, .. } => Some(endpoint),
        _ => None,
    }
}

/// Logs the numbers of the errors of clients that have no line of their own.
async fn report_unlogged_errors(observers: Arc<Observers>) {
    let mut ticks = tokio::time::interval(LOG_REPORT_INTERVAL);
    loop {
        ticks.tick().await;
        observers.client_log.report_unlogged();
    }
}

async fn watch_certificates(
    routing: Arc<Routing>,
    listeners: Live<Vec<Live<ListenerContext>>>,
    monitor: Arc<admin::ServiceMonitor>,
    admin: AdminMetrics,
) {
    let mut ticks = tokio::time::interval(CERTIFICATE_METRICS_INTERVAL);
    loop {
        ticks.tick().await;
        report::update_certificate_metrics(
            routing.endpoints.load().iter(),
            listeners.load().iter().map(Live::load),
        );
        if let Some(end) = monitor.certificate_end() {
            admin.certificate_ends(end.into());
        }
    }
}

/// Upper bound of pooled backends according to the configuration. An endpoint without a limit has one pool per
/// listener.
fn pooled_backends(config: &Config) -> usize {
    let shared = config.listeners.iter().filter(|listener| listener.pool.mode == PoolMode::Transaction);
    match shared.map(|listener| listener.pool.size).sum() {
        0 => 0,
        sizes => config.endpoints.iter().map(|endpoint| endpoint.pooled_backends().unwrap_or(sizes)).sum(),
    }
}

/// Number of descriptors for sessions: the process limit minus a reserve and minus `pooled` backends. At least half of
/// the rest after the reserve is for sessions.
fn descriptors_for_sessions(pooled: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let left = limit.saturating_sub(32 + limit / 16);
    (left - pooled.min(left / 2)).min(Semaphore::MAX_PERMITS)
}

fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
