//! How a session that shares backends gets one for each transaction: decide, lease, wait, and decide again when that
//! fails.
//!
//! A session that splits has two ways, one to the writer and one to the read pools. A read that must see its session's own
//! writes takes a backend of a read pool only if the node behind it is known to show them, or can be asked in the same write.

pub(crate) mod assign;
pub(crate) mod catalog;
pub(crate) mod outlier;
pub(crate) mod shared_state;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use self::{
    assign::{is_about_the_endpoint, is_retryable_elsewhere, random, trouble, writer_seen_up},
    shared_state::SharedState,
};
use super::{
    context::{ClientServices, ListenerContext, Observers, Routing},
    registry::sessions::SessionRegistry,
};
use crate::{
    backend::{ConnectError, ConnectFailure, EndpointHandle},
    credentials,
    names::{DatabaseName, EndpointName, UserName},
    pool::{self, Disposition, Lease, LeaseError, Pool, Target, Trace, Waited, Waiter},
    probe::Evidence,
    route::{Demand, Need, NoEndpoint, Reason, RerunCause, RoutePolicy, Side, Suspect, decide, decide_split},
    session::{Assignment, Freshness, Refusal},
    tasks,
    telemetry::{PathCounts, RouteCounts},
    topology::{Replayed, Snapshot, Standing},
    wire::StartupMessage,
};

/// Acquires backends for one session.
pub(crate) struct BackendAcquirer {
    routing: Arc<Routing>,
    observers: Arc<Observers>,
    sessions: Arc<SessionRegistry>,
    context: Arc<ListenerContext>,
    /// As the client said; an endpoint may have a user of its own for all.
    user: UserName,
    database: DatabaseName,
    /// What a backend is logged in with besides.
    startup: StartupMessage,
    /// Startup message with the session's own options for later logins, if different from `startup`.
    apart: Option<StartupMessage>,
    /// Where the last decision for the writer led, and for the one side of a session that does not split.
    writer: Option<Decided>,
    /// Where the last decision for a read pool led.
    reader: Option<Decided>,
    /// Which of the two counts now.
    side: Side,
    waiter: Waiter,
    wait: Option<Wait>,
    /// How the backend that was leased last stands towards what the session must see.
    freshness: Freshness,
    /// Where decisions are counted.
    routes: Arc<RouteCounts>,
    /// What its backends' database is known by, when they are shared.
    shared: Option<Arc<SharedState>>,
}

/// A decision, good until the topology changes.
struct Decided {
    snapshot: Arc<Snapshot>,
    pool: Arc<Pool>,
    reason: Reason,
    path: Arc<PathCounts>,
    /// The backend that was given back last.
    last: Option<Trace>,
}

/// Properties of the backend that a session needs.
#[derive(Clone, Copy)]
pub(crate) struct AcquireRequest {
    /// The [`crate::session::Session::settings_mark`] of its settings.
    pub(crate) settings: u64,
    /// Which side may serve it, and why.
    pub(crate) need: Need,
    /// What a read must not be older than.
    pub(crate) floor: Option<std::time::Instant>,
    /// True if the backend must have logged in with the session's own options.
    pub(crate) apart: bool,
}

/// A wait under way.
#[derive(Default)]
struct Wait {
    /// Since when no endpoint can serve.
    held: Option<Instant>,
    /// Endpoints that have failed it.
    tried: Vec<EndpointName>,
    /// Until the next try, while no endpoint can serve, or none is fresh enough.
    pause: Option<Pin<Box<Sleep>>>,
    /// Since when no node is fresh enough.
    stale: Option<Instant>,
    /// Backends that were passed over, since the nodes behind them have just failed a session.
    passed_over: u8,
    /// Why a read goes to the writer.
    turned: Option<Reason>,
}

/// A step of a wait.
pub(crate) enum Step {
    /// A backend.
    Leased(Lease),
    /// It has taken so long, and goes on.
    Notice(Duration),
}

/// Why there is no backend.
pub(crate) enum Unleased {
    /// No endpoint may serve now.
    NoEndpoint(NoEndpoint),
    /// The endpoint takes no logins, or not this one.
    Down(EndpointHandle, Arc<ConnectError>),
    /// No backend came free in time.
    Timeout { pool: String, waited: Duration },
    /// The program ends.
    Closed,
}

/// What a session needs before its client has said anything.
const FIRST: Need = Need { side: Side::Writer, reason: Reason::Writer };

/// Between two tries while no endpoint can serve.
const RETRY: Duration = Duration::from_millis(200);
/// Backends of failing nodes that are passed over before the writer serves instead.
const PASSED_OVER_MAX: u8 = 8;
/// Between two looks for a node that is fresh enough.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

// === impl BackendAcquirer ===

impl BackendAcquirer {
    pub(crate) fn new(
        services: &ClientServices,
        context: Arc<ListenerContext>,
        user: UserName,
        database: DatabaseName,
        startup: StartupMessage,
    ) -> Self {
        let routes = context.metrics.routes(tasks::current_worker());
        Self {
            routing: Arc::clone(&services.routing),
            observers: Arc::clone(&services.observers),
            sessions: Arc::clone(&services.sessions),
            context,
            user,
            database,
            startup,
            apart: None,
            writer: None,
            reader: None,
            side: Side::Writer,
            waiter: Waiter::new(),
            wait: None,
            freshness: Freshness::Enough,
            routes,
            shared: None,
        }
    }

    /// Allows later logins with `startup`, see [`BackendAcquirer::move_apart`].
    pub(crate) fn may_move_apart(&mut self, startup: StartupMessage) {
        self.apart = (startup != self.startup).then_some(startup);
    }

    /// Switches later backend logins to the session's own options.
    pub(crate) fn move_apart(&mut self) {
        if let Some(startup) = self.apart.take() {
            (self.startup, self.writer, self.reader) = (startup, None, None);
        }
    }

    /// Its backends are shared by sessions that know this.
    pub(crate) fn share(&mut self, shared: Arc<SharedState>) {
        self.shared = Some(shared);
    }

    /// The next step towards a backend, if possible.
    pub(crate) fn poll_lease(
        &mut self,
        request: &AcquireRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step, Unleased>> {
        if request.apart {
            self.move_apart();
        }
        loop {
            if let Some(pause) = self.wait.as_mut().and_then(|wait| wait.pause.as_mut()) {
                ready!(pause.as_mut().poll(cx));
                if let Some(wait) = &mut self.wait {
                    wait.pause = None;
                    wait.tried.clear();
                }
            }
            if !self.waiter.is_waiting() {
                if self.is_too_early(request) {
                    continue;
                }
                let pool = match self.decide(request.need) {
                    Ok(pool) => pool,
                    Err(none) if self.may_hold() => {
                        tracing::debug!(%none, "a transaction is held");
                        self.hold();
                        continue;
                    }
                    Err(none) => return self.over(Unleased::NoEndpoint(none)),
                };
                let last = self.decided().and_then(|decided| decided.last);
                let wish = pool::Want { worker: tasks::current_worker(), settings: request.settings, last };
                if let Some(lease) = pool.try_lease(&wish) {
                    match self.leased(request, lease) {
                        Some(step) => return Poll::Ready(Ok(step)),
                        None => continue,
                    }
                }
                if self.wait.is_none() {
                    self.wait = Some(Wait::default());
                }
                pool.wait(&mut self.waiter, &wish);
            }
            match ready!(self.waiter.poll(cx)) {
                Waited::Lease(lease) => {
                    if let Some(step) = self.leased(request, lease) {
                        return Poll::Ready(Ok(step));
                    }
                }
                Waited::Notice(waited) => return Poll::Ready(Ok(Step::Notice(waited))),
                Waited::Failed(error) => {
                    if let Some(over) = self.failed(request.need, error) {
                        return self.over(over);
                    }
                }
            }
        }
    }

    /// Whether no node can be known to be fresh enough yet. Then a read waits for a while, or turns to the writer.
    fn is_too_early(&mut self, request: &AcquireRequest) -> bool {
        let Some(floor) = request.floor.filter(|_| self.side_of(request.need) == Side::Reader) else {
            return false;
        };
        let now = std::time::Instant::now();
        match self.routing.topology.load().standing(None, floor, now) {
            Standing::Unknown => {
                self.observers.evidence.want_sample();
                self.turn(Reason::NotSampled);
                self.wait.as_ref().is_some_and(|wait| wait.pause.is_some())
            }
            Standing::Fresh | Standing::Ask { .. } | Standing::Stale => false,
        }
    }

    /// No node that would do is at hand: the read waits for a moment, if the listener lets it, or turns to the writer.
    fn turn(&mut self, reason: Reason) {
        let patience = match &self.context.settings.route {
            RoutePolicy::Split(split) => split.freshness_wait,
            _ => Duration::ZERO,
        };
        let wait = self.wait.get_or_insert_default();
        let since = *wait.stale.get_or_insert_with(Instant::now);
        if since.elapsed() < patience {
            wait.pause = Some(Box::pin(sleep(LOOK_AGAIN)));
        } else {
            wait.turned = Some(reason);
        }
    }

    /// The side that a need leads to, after all that has happened to it.
    fn side_of(&self, need: Need) -> Side {
        match self.wait.as_ref().and_then(|wait| wait.turned) {
            Some(_) => Side::Writer,
            None => need.side,
        }
    }

    /// The wait is over; `None` when it is worth another try.
    fn failed(&mut self, need: Need, error: LeaseError) -> Option<Unleased> {
        let decided = self.slot().take();
        match error {
            LeaseError::Withdrawn => None,
            LeaseError::Closed => Some(Unleased::Closed),
            LeaseError::Timeout { waited } => {
                if let Some(decided) = &decided
                    && self.goes_on_without(decided, need)
                {
                    return None;
                }
                let pool = decided.map(|decided| decided.pool.target().to_string()).unwrap_or_default();
                Some(Unleased::Timeout { pool, waited })
            }
            LeaseError::Down(error) => {
                let decided = decided?;
                let endpoint = decided.pool.endpoint().clone();
                let elsewhere = is_retryable_elsewhere(&error);
                // Without a token, further sessions wait in vain, too. A missing token is no evidence about the
                // endpoint.
                let has_no_token = matches!(error.failure(), ConnectFailure::Token(_));
                let is_its_own = is_about_the_endpoint(&error);
                let is_news = (is_its_own || has_no_token)
                    && self.routing.outliers.failed(Suspect::Endpoint(endpoint.name().clone()));
                if is_its_own && is_news {
                    self.observers.evidence.submit(endpoint.name(), Evidence::LoginFailed);
                }
                // A standby may not have the database or the user yet, or what lets them in: the writer has the last word.
                if self.side == Side::Reader && error.refused().is_some() && !elsewhere {
                    self.wait.get_or_insert_default().turned =
                        Some(Reason::Rerun(RerunCause::StandbyRefused));
                    return None;
                }
                if self.goes_on_without(&decided, need) {
                    return None;
                }
                if elsewhere {
                    self.wait.get_or_insert_default().tried.push(endpoint.name().clone());
                    if self.decide(need).is_ok() {
                        return None;
                    }
                    if self.may_hold() {
                        self.hold();
                        return None;
                    }
                }
                Some(Unleased::Down(endpoint, error))
            }
        }
    }

    /// True if a read without a backend may be served by another read pool or by the writer.
    fn goes_on_without(&mut self, decided: &Decided, need: Need) -> bool {
        let is_reader = self.side == Side::Reader || decided.reason == Reason::ReadPool;
        if !is_reader {
            return false;
        }
        self.wait.get_or_insert_default().tried.push(decided.pool.endpoint().name().clone());
        self.decide(need).is_ok()
    }

    fn over(&mut self, why: Unleased) -> Poll<Result<Step, Unleased>> {
        self.wait = None;
        Poll::Ready(Err(why))
    }

    /// A backend is there; `None` when the node behind it will not do.
    fn leased(&mut self, request: &AcquireRequest, lease: Lease) -> Option<Step> {
        self.freshness = Freshness::Enough;
        if self.side == Side::Reader {
            let now = std::time::Instant::now();
            let node = lease.node();
            if node.is_some_and(|node| self.routing.outliers.avoids_node(&node, now)) {
                lease.release(Disposition::Discard);
                let wait = self.wait.get_or_insert_default();
                wait.passed_over += 1;
                if wait.passed_over > PASSED_OVER_MAX {
                    self.turn(Reason::Rerun(RerunCause::NodeLost));
                }
                return None;
            }
            let snapshot = self.routing.topology.load();
            let standing = match (request.floor, node) {
                (Some(floor), _) => Some(snapshot.standing(node.as_ref(), floor, now)),
                (None, node) if !snapshot.may_serve(node.as_ref()) => Some(Standing::Stale),
                (None, _) => None,
            };
            match standing {
                None | Some(Standing::Fresh) => {}
                Some(Standing::Ask { lsn }) => self.freshness = Freshness::Ask { lsn },
                Some(Standing::Stale | Standing::Unknown) => {
                    lease.release(Disposition::Clean);
                    self.turn(Reason::NotFresh);
                    return None;
                }
            }
        }
        self.wait = None;
        let reason = self.reason();
        self.routes.decided(reason);
        if request.need.side == Side::Reader && self.side == Side::Writer {
            self.routes.fell_back(reason);
        }
        Some(Step::Leased(lease))
    }

    /// The decision that counts now.
    fn decided(&self) -> Option<&Decided> {
        match self.side {
            Side::Writer => self.writer.as_ref(),
            Side::Reader => self.reader.as_ref(),
        }
    }

    fn slot(&mut self) -> &mut Option<Decided> {
        match self.side {
            Side::Writer => &mut self.writer,
            Side::Reader => &mut self.reader,
        }
    }

    /// What a session that splits is to know of the backend that was leased last.
    pub(crate) fn assignment<'l>(&self, lease: &'l Lease) -> Option<Assignment<'l>> {
        matches!(self.context.settings.route, RoutePolicy::Split(_)).then(|| Assignment {
            side: self.side,
            reason: self.reason(),
            endpoint: lease.running().endpoint().name(),
            freshness: self.freshness,
        })
    }

    /// The node behind a backend that a read was sent to has failed it.
    pub(crate) fn node_failed(&mut self, lease: &Lease) {
        if let Some(node) = lease.node() {
            self.routing.outliers.failed(Suspect::Node(node));
        }
        self.observers.evidence.submit(lease.running().endpoint().name(), Evidence::ConnectionLost);
        self.reader = None;
    }

    /// A node has said how far it has replayed.
    pub(crate) fn replayed(&self, lease: &Lease, lsn: Option<u64>, asked_at: std::time::Instant) {
        let (Some(decided), Some(node)) = (self.decided(), lease.node()) else { return };
        let endpoint = lease.running().endpoint().name().clone();
        let answered_at = std::time::Instant::now();
        let replayed = Replayed { endpoint, node, lsn, asked_at, answered_at };
        self.observers.evidence.replayed(&decided.snapshot, replayed);
    }

    /// The session has committed what its next reads must show: the sooner the writer is asked where it stands, the sooner
    /// they find a read pool that does.
    pub(crate) fn wrote(&self) {
        self.observers.evidence.want_sample();
    }

    /// The client has cancelled its statement: it waits no longer.
    pub(crate) fn leave(&mut self) {
        self.waiter.leave();
        self.wait = None;
    }

    /// Whether the backend is the one that was given back last, and nobody has used it since.
    pub(crate) fn follows(&self, lease: &Lease) -> bool {
        self.decided().and_then(|decided| decided.last).is_some_and(|last| lease.follows(&last))
    }

    /// A backend was leased at `now`.
    pub(crate) fn note_lease(&self, now: std::time::Instant) {
        if let (Some(shared), Side::Writer) = (&self.shared, self.side) {
            shared.leased(now);
        }
    }

    /// Time until the session may compare the catalog.
    pub(crate) fn renewal_pause(&self, now: std::time::Instant) -> Duration {
        self.shared.as_ref().map_or(Duration::ZERO, |shared| shared.renewal_pause(now))
    }

    /// State shared by sessions of the listener, database and user, if backends are shared.
    pub(crate) fn shared(&self) -> Option<Arc<SharedState>> {
        self.shared.clone()
    }

    /// Gives a clean backend back.
    pub(crate) fn release(&mut self, now: std::time::Instant, lease: Lease) {
        if let Some(decided) = self.slot() {
            decided.last = Some(lease.trace());
        }
        match &self.shared {
            Some(shared) => shared.release(now, lease, self.side == Side::Reader),
            None => lease.release(Disposition::Clean),
        }
    }

    /// Why the last endpoint was chosen.
    pub(crate) fn reason(&self) -> Reason {
        self.decided().map_or(Reason::Named, |decided| decided.reason)
    }

    /// The numbers of what is done on the last endpoint.
    pub(crate) fn path(&self) -> Option<&Arc<PathCounts>> {
        self.decided().map(|decided| &decided.path)
    }

    /// The pool of a first decision: the writer's, or a read pool's while no server takes writes.
    pub(crate) fn pool(&mut self) -> Result<Arc<Pool>, NoEndpoint> {
        match self.decide(FIRST) {
            Err(none) if matches!(self.context.settings.route, RoutePolicy::Split(_)) => {
                self.decide(Need { side: Side::Reader, ..FIRST }).map_err(|_| none)
            }
            decided => decided,
        }
    }

    fn decide(&mut self, need: Need) -> Result<Arc<Pool>, NoEndpoint> {
        let snapshot = self.routing.topology.load();
        let reason = self.wait.as_ref().and_then(|wait| wait.turned).unwrap_or(need.reason);
        self.side = self.side_of(need);
        let (keeps, split) = match &self.context.settings.route {
            RoutePolicy::Primary | RoutePolicy::Endpoint(_) => (true, false),
            // The load is looked at whenever anything is news, which is some times in a second.
            RoutePolicy::Split(_) => (true, true),
            RoutePolicy::ReadPool { .. } | RoutePolicy::Secondary => (false, false),
        };
        if keeps
            && self.wait.as_ref().is_none_or(|wait| wait.tried.is_empty())
            && let Some(decided) = self.slot()
            && Arc::ptr_eq(&decided.snapshot, &snapshot)
        {
            if split {
                decided.reason = reason;
            }
            return Ok(Arc::clone(&decided.pool));
        }
        let policy = &self.context.settings.route;
        let tried = self.wait.as_ref().map_or(&[][..], |wait| &wait.tried);
        let load = |name: &EndpointName| self.sessions.on_endpoint(name) + self.routing.pools.leased(name);
        let decision = match policy {
            RoutePolicy::Split(settings) => {
                let now = std::time::Instant::now();
                let avoided = |name: &EndpointName| self.routing.outliers.avoids(name, now);
                let demand = Demand { side: self.side, reason, tried };
                decide_split(settings, &snapshot, &demand, load, avoided, random())?
            }
            _ => decide(policy, &snapshot, load, random(), tried)?,
        };
        let endpoints = self.routing.endpoints.load();
        let Some(endpoint) = endpoints.get(&decision.endpoint.name) else {
            return Err(NoEndpoint::Named);
        };
        if split && decision.reason == Reason::NoReader {
            self.side = Side::Writer;
        }
        if let Some(decided) = self.slot()
            && decided.pool.endpoint().same(endpoint)
        {
            decided.snapshot = snapshot;
            decided.reason = decision.reason;
            return Ok(Arc::clone(&decided.pool));
        }
        let settings = &self.context.settings;
        let target = Target {
            listener: settings.name.clone(),
            endpoint: endpoint.name().clone(),
            database: self.database.clone(),
            user: self.database_user(endpoint),
            startup: self.startup.clone(),
            mode: settings.pool.mode,
        };
        let pool = self.routing.pools.pool(endpoint, &target, &settings.pool);
        let path = self.context.path(&self.observers.metrics, endpoint);
        let decided =
            Decided { snapshot, pool: Arc::clone(&pool), reason: decision.reason, path, last: None };
        *self.slot() = Some(decided);
        Ok(pool)
    }

    /// The user to log in as: the client's own, unless the endpoint has one for all.
    pub(crate) fn database_user(&self, endpoint: &EndpointHandle) -> UserName {
        match &endpoint.settings().login {
            credentials::Login::Password(login) => login.user.clone().unwrap_or_else(|| self.user.clone()),
            credentials::Login::Passthrough | credentials::Login::Token(_) => self.user.clone(),
        }
    }

    /// What the session needs first, as [`Self::pool`] has decided.
    pub(crate) fn first_need(&self) -> Need {
        Need { side: self.side, ..FIRST }
    }

    /// Whether a writer that is away is waited for.
    fn may_hold(&self) -> bool {
        let held = self.wait.as_ref().and_then(|wait| wait.held);
        let held = held.map_or(Duration::ZERO, |since| since.elapsed());
        matches!(self.context.settings.route, RoutePolicy::Primary | RoutePolicy::Split(_))
            && writer_seen_up(&self.routing.topology.load())
            && held < self.context.settings.limits.hold
    }

    fn hold(&mut self) {
        let wait = self.wait.get_or_insert_default();
        wait.held.get_or_insert_with(Instant::now);
        wait.pause = Some(Box::pin(sleep(RETRY)));
    }
}

// === impl Unleased ===

impl Unleased {
    /// What the client is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::NoEndpoint(none) => Refusal::no_endpoint(none.to_string()),
            Self::Timeout { pool, waited } => Refusal::pool_timeout(pool, *waited),
            Self::Closed => Refusal::shutdown(),
            Self::Down(endpoint, error) => match error.refused() {
                Some(refused) => {
                    let fault = refused.said.fault();
                    Refusal::by_server(error.blame(), fault.sqlstate(), fault.message().into_owned())
                }
                None => {
                    let what = format!("endpoint \"{}\" {}", endpoint.name(), trouble(error));
                    Refusal::endpoint(error.blame(), what)
                }
            },
        }
    }
}
