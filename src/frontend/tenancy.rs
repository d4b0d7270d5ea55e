//! How a session that shares backends gets one for each transaction: decide, lease, wait, and decide again when that
//! fails.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{
    assign::{random, trouble, writer_was_there},
    commons::Shared,
    context::{ListenerContext, World},
};
use crate::{
    backend::{ConnectError, EndpointHandle},
    credentials,
    names::{DatabaseName, EndpointName, UserName},
    pool::{Disposition, Filter, Lease, LeaseError, Pool, Target, Trace, Waited, Waiter, Want},
    route::{NoEndpoint, Reason, RoutePolicy, decide},
    session::Refusal,
    tasks,
    telemetry::PathCounts,
    topology::Snapshot,
    wire::StartupMessage,
};

/// What a session needs to lease backends.
pub(super) struct Tenancy {
    world: Arc<World>,
    context: Arc<ListenerContext>,
    /// As the client said; an endpoint may have a user of its own for all.
    user: UserName,
    database: DatabaseName,
    /// What a backend is logged in with besides.
    startup: StartupMessage,
    /// Where the last decision led.
    decided: Option<Decided>,
    waiter: Waiter,
    last: Option<Trace>,
    wait: Option<Wait>,
    /// What its backends' database is known by, when they are shared.
    shared: Option<Arc<Shared>>,
}

/// A decision, good until the topology changes.
struct Decided {
    snapshot: Arc<Snapshot>,
    pool: Arc<Pool>,
    reason: Reason,
    path: Arc<PathCounts>,
}

/// A wait under way.
#[derive(Default)]
struct Wait {
    /// Since when no endpoint can serve.
    held: Option<Instant>,
    /// Endpoints that have failed it.
    tried: Vec<EndpointName>,
    /// Until the next try, while no endpoint can serve.
    pause: Option<Pin<Box<Sleep>>>,
}

/// A step of a wait.
pub(super) enum Step {
    /// A backend.
    Leased(Lease),
    /// It has taken so long, and goes on.
    Notice(Duration),
}

/// Why there is no backend.
pub(super) enum Unleased {
    /// No endpoint may serve now.
    NoEndpoint(NoEndpoint),
    /// The endpoint takes no logins, or not this one.
    Down(EndpointHandle, Arc<ConnectError>),
    /// No backend came free in time.
    Timeout { pool: String, waited: Duration },
    /// The program ends.
    Closed,
}

/// Between two tries while no endpoint can serve.
const RETRY: Duration = Duration::from_millis(200);

// === impl Tenancy ===

impl Tenancy {
    pub(super) fn new(
        world: Arc<World>,
        context: Arc<ListenerContext>,
        user: UserName,
        database: DatabaseName,
        startup: StartupMessage,
    ) -> Self {
        Self {
            world,
            context,
            user,
            database,
            startup,
            decided: None,
            waiter: Waiter::new(),
            last: None,
            wait: None,
            shared: None,
        }
    }

    /// Its backends are shared by sessions that know this.
    pub(super) fn share(&mut self, shared: Arc<Shared>) {
        self.shared = Some(shared);
    }

    /// The next step towards a backend that holds the settings with the mark `settings`, if possible.
    pub(super) fn poll_lease(&mut self, settings: u64, cx: &mut Context<'_>) -> Poll<Result<Step, Unleased>> {
        loop {
            if let Some(pause) = self.wait.as_mut().and_then(|wait| wait.pause.as_mut()) {
                ready!(pause.as_mut().poll(cx));
                if let Some(wait) = &mut self.wait {
                    wait.pause = None;
                    wait.tried.clear();
                }
            }
            if !self.waiter.is_waiting() {
                let pool = match self.decide() {
                    Ok(pool) => pool,
                    Err(none) if self.may_hold() => {
                        tracing::debug!(%none, "a transaction is held");
                        self.hold();
                        continue;
                    }
                    Err(none) => return self.over(Unleased::NoEndpoint(none)),
                };
                let want = Want { worker: tasks::current_worker(), settings, last: self.last };
                if let Some(lease) = pool.try_lease(&want) {
                    return Poll::Ready(Ok(self.leased(lease)));
                }
                if self.wait.is_none() {
                    self.wait = Some(Wait::default());
                }
                pool.wait(&mut self.waiter, &want);
            }
            match ready!(self.waiter.poll(cx)) {
                Waited::Lease(lease) => return Poll::Ready(Ok(self.leased(lease))),
                Waited::Notice(waited) => return Poll::Ready(Ok(Step::Notice(waited))),
                Waited::Failed(error) => {
                    if let Some(over) = self.failed(error) {
                        return self.over(over);
                    }
                }
            }
        }
    }

    /// The wait is over; `None` when it is worth another try.
    fn failed(&mut self, error: LeaseError) -> Option<Unleased> {
        let decided = self.decided.take();
        match error {
            LeaseError::Withdrawn => None,
            LeaseError::Closed => Some(Unleased::Closed),
            LeaseError::Timeout { waited } => {
                let pool = decided.map(|decided| decided.pool.target().to_string()).unwrap_or_default();
                Some(Unleased::Timeout { pool, waited })
            }
            LeaseError::Down(error) => {
                let endpoint = decided?.pool.endpoint().clone();
                let elsewhere = super::assign::elsewhere_may_do(&error);
                if elsewhere && let Some(wait) = &mut self.wait {
                    wait.tried.push(endpoint.name().clone());
                    if self.decide().is_ok() {
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

    fn over(&mut self, why: Unleased) -> Poll<Result<Step, Unleased>> {
        self.wait = None;
        Poll::Ready(Err(why))
    }

    fn leased(&mut self, lease: Lease) -> Step {
        self.wait = None;
        Step::Leased(lease)
    }

    /// A statement about whole databases is on its way: idle backends must not be what it fails for. Those in use are closed
    /// when they come back.
    pub(super) fn clear_the_way(&self) {
        if let Some(decided) = &self.decided {
            self.world.pools.reconnect(&Filter::endpoint(decided.pool.endpoint().name().clone()));
        }
    }

    /// The client has cancelled its statement: it waits no longer.
    pub(super) fn leave(&mut self) {
        self.waiter.leave();
        self.wait = None;
    }

    /// Whether the backend is the one that was given back last, and nobody has used it since.
    pub(super) fn follows(&self, lease: &Lease) -> bool {
        self.last.is_some_and(|last| lease.follows(&last))
    }

    /// Gives a clean backend back.
    pub(super) fn release(&mut self, now: std::time::Instant, lease: Lease) {
        self.last = Some(lease.trace());
        match &self.shared {
            Some(shared) => shared.release(now, lease),
            None => lease.release(Disposition::Clean),
        }
    }

    /// Why the last endpoint was chosen.
    pub(super) fn reason(&self) -> Reason {
        self.decided.as_ref().map_or(Reason::Named, |decided| decided.reason)
    }

    /// The numbers of what is done on the last endpoint.
    pub(super) fn path(&self) -> Option<&Arc<PathCounts>> {
        self.decided.as_ref().map(|decided| &decided.path)
    }

    /// The pool of the last decision.
    pub(super) fn pool(&mut self) -> Result<Arc<Pool>, NoEndpoint> {
        self.decide()
    }

    fn decide(&mut self) -> Result<Arc<Pool>, NoEndpoint> {
        let policy = &self.context.settings.route;
        let snapshot = self.world.topology.load();
        let tried = self.wait.as_ref().map_or(&[][..], |wait| &wait.tried);
        if let Some(decided) = &self.decided
            && Arc::ptr_eq(&decided.snapshot, &snapshot)
            && tried.is_empty()
            && matches!(policy, RoutePolicy::Primary | RoutePolicy::Split(_) | RoutePolicy::Endpoint(_))
        {
            return Ok(Arc::clone(&decided.pool));
        }
        let load =
            |name: &EndpointName| self.world.sessions.on_endpoint(name) + self.world.pools.leased(name);
        let decision = decide(policy, &snapshot, load, random(), tried)?;
        let endpoints = self.world.endpoints.load();
        let Some(endpoint) = endpoints.get(&decision.endpoint.name) else {
            return Err(NoEndpoint::NoNamed);
        };
        if let Some(decided) = &mut self.decided
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
        let pool = self.world.pools.pool(endpoint, &target, &settings.pool);
        self.last = None;
        self.decided = Some(Decided {
            snapshot,
            pool: Arc::clone(&pool),
            reason: decision.reason,
            path: self.context.path(&self.world, endpoint),
        });
        Ok(pool)
    }

    /// The user to log in as: the client's own, unless the endpoint has one for all.
    pub(super) fn database_user(&self, endpoint: &EndpointHandle) -> UserName {
        match &endpoint.settings().login {
            credentials::Login::Password(login) => login.user.clone().unwrap_or_else(|| self.user.clone()),
            credentials::Login::Passthrough | credentials::Login::Token(_) => self.user.clone(),
        }
    }

    /// Whether a writer that is away is waited for.
    fn may_hold(&self) -> bool {
        let held = self.wait.as_ref().and_then(|wait| wait.held);
        let held = held.map_or(Duration::ZERO, |since| since.elapsed());
        matches!(self.context.settings.route, RoutePolicy::Primary | RoutePolicy::Split(_))
            && writer_was_there(&self.world.topology.load())
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
    pub(super) fn refusal(&self) -> Refusal {
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
