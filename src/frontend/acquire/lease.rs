//! Provider of pooled backends: each try is a lease.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use super::{
    AcquireError, AcquireRequest, BackendAcquirer, Step,
    hold::Pause,
    provider::{AcquireContext, BackendProvider, TryProgress},
    shared_state::SharedState,
};
use crate::{
    backend::{ConnectError, EndpointHandle},
    frontend::{
        context::{ClientServices, ListenerContext},
        observe::pool_load::PoolLoad,
    },
    names::{DatabaseName, UserName},
    pool::{self, Disposition, Lease, Pool, PoolKey, Trace, WaitTerms, Waited, Waiter},
    probe::Evidence,
    route::{NoEndpoint, Outlier, RouteNeed, RoutePolicy, RouteReason, RouteSide},
    session::AssignedBackend,
    tasks,
    telemetry::{PathCounts, RouteCounts, labels::HoldOutcome},
    topology::{NodeId, ReplayReport},
    wire::StartupMessage,
};

/// Leases backends of pools.
pub(crate) struct LeaseProvider {
    /// User of the client; an endpoint may have one user for all clients.
    user: UserName,
    database: DatabaseName,
    /// Remaining startup parameters of backend logins.
    startup: StartupMessage,
    /// Startup message with the session's own options for later logins, if different from `startup`.
    apart: Option<StartupMessage>,
    waiter: Waiter,
    /// Counters of decisions.
    routes: Arc<RouteCounts>,
    /// State shared by the sessions of the database, if backends are shared.
    shared: Option<Arc<SharedState>>,
    /// The pool of the last wait, with its metrics.
    awaited: Option<AwaitedPool>,
}

/// A pool in which the session waits or has waited.
#[derive(Clone)]
pub(crate) struct AwaitedPool {
    pub(crate) pool: Arc<Pool>,
    pub(crate) path: Arc<PathCounts>,
}

/// A pool, and its use by this session.
pub(crate) struct PoolPlace {
    pool: Arc<Pool>,
    path: Arc<PathCounts>,
    /// The backend that was given back last.
    last: Option<Trace>,
}

/// Acquires backends of pools.
pub(crate) type PooledAcquirer = BackendAcquirer<LeaseProvider>;

/// Routing need of a session before its first statement.
const FIRST: RouteNeed = RouteNeed { side: RouteSide::Writer, reason: RouteReason::Writer };

// === impl LeaseProvider ===

impl LeaseProvider {
    /// Provider for a client with these names; `startup` holds the remaining startup parameters.
    pub(crate) fn new(
        listener: &ListenerContext,
        user: UserName,
        database: DatabaseName,
        startup: StartupMessage,
    ) -> Self {
        Self {
            user,
            database,
            startup,
            apart: None,
            waiter: Waiter::new(),
            routes: listener.metrics.routes(tasks::current_worker()),
            shared: None,
            awaited: None,
        }
    }
}

impl BackendProvider for LeaseProvider {
    type Backend = Lease;
    type Place = PoolPlace;

    fn place(&self, context: &AcquireContext, endpoint: &EndpointHandle) -> PoolPlace {
        let settings = &context.listener.settings;
        let target = PoolKey {
            listener: settings.name.clone(),
            endpoint: endpoint.name().clone(),
            database: self.database.clone(),
            user: endpoint.database_user(&self.user),
            startup: self.startup.clone(),
            mode: settings.pool.mode,
        };
        let pool = context.routing.pools.pool(endpoint, &target, &settings.pool);
        let path = context.listener.path(&context.observers.metrics, endpoint);
        PoolPlace { pool, path, last: None }
    }

    fn endpoint(place: &PoolPlace) -> &EndpointHandle {
        place.pool.endpoint()
    }

    fn describe(place: &PoolPlace) -> String {
        place.pool.target().to_string()
    }

    fn is_trying(&self) -> bool {
        self.waiter.is_waiting()
    }

    fn begin(&mut self, place: &PoolPlace, request: &AcquireRequest, terms: WaitTerms) -> Option<Lease> {
        let wish = pool::AcquireOptions {
            worker: tasks::current_worker(),
            settings: request.settings,
            last: place.last,
            terms,
        };
        let lease = place.pool.try_lease(&wish);
        if lease.is_none() {
            self.awaited = Some(AwaitedPool { pool: Arc::clone(&place.pool), path: Arc::clone(&place.path) });
            place.pool.wait(&mut self.waiter, &wish);
        }
        lease
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TryProgress<Lease>> {
        Poll::Ready(match ready!(self.waiter.poll(cx)) {
            Waited::Lease(lease) => TryProgress::Acquired(lease),
            Waited::Notice(waited) => TryProgress::Notice(waited),
            Waited::Held(reason) => TryProgress::Held(reason),
            Waited::Failed(error) => TryProgress::Failed(error),
        })
    }

    fn leave(&mut self) {
        self.waiter.leave();
    }

    fn has_endpoint(&self) -> bool {
        self.waiter.absence().is_none()
    }

    fn is_final(_error: &ConnectError) -> bool {
        false
    }

    fn node(lease: &Lease) -> Option<NodeId> {
        lease.node()
    }

    fn in_recovery_at(lease: &Lease) -> Option<SystemTime> {
        lease.running().in_recovery_at()
    }

    fn put_back(lease: Lease, disposition: Disposition) {
        lease.release(disposition);
    }
}

// === impl PooledAcquirer ===

impl PooledAcquirer {
    /// Acquirer for a client with these names; `startup` holds the remaining startup parameters.
    pub(crate) fn pooled(
        services: &ClientServices,
        listener: &Arc<ListenerContext>,
        user: UserName,
        database: DatabaseName,
        startup: StartupMessage,
    ) -> Self {
        let provider = LeaseProvider::new(listener, user, database, startup);
        Self::new(services, listener, provider)
    }

    /// The next step towards a lease, if possible.
    pub(crate) fn poll_lease(
        &mut self,
        request: &AcquireRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step<Lease>, AcquireError>> {
        if request.apart {
            self.move_apart();
        }
        let step = ready!(self.poll_acquire(request, cx));
        if let Ok(Step::Acquired(_)) = &step {
            let reason = self.reason();
            self.provider.routes.record_decision(reason);
            if request.need.side == RouteSide::Reader && self.side == RouteSide::Writer {
                self.provider.routes.fell_back(reason);
            }
        }
        Poll::Ready(step)
    }

    /// A backend for a client that logs in.
    ///
    /// Cancel safety: dropped half-way, the wait for a backend ends.
    ///
    /// # Errors
    /// [`AcquireError`]
    pub(crate) async fn lease(&mut self) -> Result<Lease, AcquireError> {
        let request =
            AcquireRequest { need: RouteNeed { side: self.side, ..FIRST }, ..AcquireRequest::FIRST };
        std::future::poll_fn(|cx| {
            loop {
                match ready!(self.poll_lease(&request, cx)) {
                    Ok(Step::Acquired(lease)) => return Poll::Ready(Ok(lease)),
                    // Before its login, a client expects no notice.
                    Ok(Step::Notice(_)) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// Allows later logins with `startup`, see [`BackendAcquirer::move_apart`].
    pub(crate) fn may_move_apart(&mut self, startup: StartupMessage) {
        self.provider.apart = (startup != self.provider.startup).then_some(startup);
    }

    /// Switches later backend logins to the session's own options.
    pub(crate) fn move_apart(&mut self) {
        if let Some(startup) = self.provider.apart.take() {
            self.provider.startup = startup;
            self.forget_decisions();
        }
    }

    /// Marks the backends as shared by sessions with this state.
    pub(crate) fn share(&mut self, shared: Arc<SharedState>) {
        self.provider.shared = Some(shared);
    }

    /// Description of the backend leased last, for a session with a split route.
    pub(crate) fn assigned_backend<'l>(&self, lease: &'l Lease) -> Option<AssignedBackend<'l>> {
        matches!(self.context.listener.settings.route, RoutePolicy::Split(_)).then(|| AssignedBackend {
            side: self.side,
            reason: self.reason(),
            endpoint: lease.running().endpoint().name(),
            freshness: self.freshness,
        })
    }

    /// Records a read that failed because of its node.
    pub(crate) fn node_failed(&mut self, lease: &Lease) {
        if self.side == RouteSide::Reader
            && let Some(node) = lease.node()
        {
            self.context.routing.outliers.failed(Outlier::Node(node));
        }
        self.context.observers.evidence.submit(lease.running().endpoint().name(), Evidence::ConnectionLost);
        self.reader = None;
    }

    /// Requests a probe of the backend's endpoint, from which nothing is received for long.
    pub(crate) fn report_silence(&self, lease: &Lease) {
        self.context.observers.evidence.submit(lease.running().endpoint().name(), Evidence::Silent);
    }

    /// True if the backend's endpoint does not answer the probe: the last one has failed, or the running one is late.
    pub(crate) fn is_silent(&self, lease: &Lease) -> bool {
        let snapshot = self.context.routing.topology.load();
        let status = snapshot.get(lease.running().endpoint().name());
        status.is_some_and(|status| status.failures > 0 || status.late_probe.is_some())
    }

    /// True for a backend of the writer if the last probe has failed.
    pub(crate) fn is_suspect_writer(&self, lease: &Lease) -> bool {
        let snapshot = self.context.routing.topology.load();
        let status = snapshot.get(lease.running().endpoint().name());
        self.side == RouteSide::Writer && status.is_some_and(|status| status.failures > 0)
    }

    /// Records the replay position of a node.
    pub(crate) fn replayed(&self, lease: &Lease, lsn: Option<u64>, asked_at: std::time::Instant) {
        let (Some(decided), Some(node)) = (self.decided(), lease.node()) else { return };
        let endpoint = lease.running().endpoint().name().clone();
        let answered_at = std::time::Instant::now();
        let replayed = ReplayReport { endpoint, node, lsn, asked_at, answered_at };
        self.context.observers.evidence.replayed(&decided.snapshot, replayed);
    }

    /// Records a commit of the session and requests a WAL sample of the writer, so that the next reads soon find a
    /// fresh read pool.
    pub(crate) fn wrote(&self) {
        self.context.observers.evidence.want_sample();
    }

    /// Takes the pool of the last wait. A statement may fail without a wait, when no endpoint is eligible.
    pub(crate) fn take_awaited_pool(&mut self) -> Option<AwaitedPool> {
        self.provider.awaited.take()
    }

    /// The pool of the current wait.
    pub(crate) fn awaited_pool(&self) -> Option<&Arc<Pool>> {
        self.provider.awaited.as_ref().map(|awaited| &awaited.pool)
    }

    /// True while the client is on hold.
    pub(crate) const fn is_held(&self) -> bool {
        match &self.wait {
            Some(wait) => wait.hold.is_held(),
            None => false,
        }
    }

    /// Current load of a pool of the process.
    pub(crate) fn pool_load(&self, pool: &Pool) -> PoolLoad {
        PoolLoad::of(pool, &self.context.sessions)
    }

    /// Ends the wait after the client has canceled its statement.
    pub(crate) fn leave(&mut self) {
        self.provider.waiter.leave();
        self.end_unserved(HoldOutcome::Left);
    }

    /// True if the backend is the one returned last by this session, and unused since.
    pub(crate) fn follows(&self, lease: &Lease) -> bool {
        self.decided().and_then(|decided| decided.place.last).is_some_and(|last| lease.is_same_use_as(&last))
    }

    /// Expires the catalog if a comparison is due at `now`, on a backend of the writer.
    pub(crate) fn expire_catalog(&self, now: std::time::Instant) {
        if let (Some(shared), RouteSide::Writer) = (&self.provider.shared, self.side) {
            shared.expire_catalog(now);
        }
    }

    /// Time until the session may compare the catalog.
    pub(crate) fn renewal_pause(&self, now: std::time::Instant) -> Duration {
        self.provider.shared.as_ref().map_or(Duration::ZERO, |shared| shared.renewal_pause(now))
    }

    /// State shared by sessions of the listener, database and user, if backends are shared.
    pub(crate) fn shared(&self) -> Option<Arc<SharedState>> {
        self.provider.shared.clone()
    }

    /// Returns a clean backend.
    pub(crate) fn release(&mut self, now: std::time::Instant, lease: Lease) {
        if let Some(decided) = self.slot() {
            decided.place.last = Some(lease.trace());
        }
        match &self.provider.shared {
            Some(shared) => shared.release(now, lease, self.side == RouteSide::Reader),
            None => lease.release(Disposition::Clean),
        }
    }

    /// Metrics of the last endpoint.
    pub(crate) fn path(&self) -> Option<&Arc<PathCounts>> {
        self.decided().map(|decided| &decided.place.path)
    }

    /// As [`Self::pool`], and waits on hold for a writer.
    ///
    /// Cancel safety: dropped half-way, the wait ends.
    ///
    /// # Errors
    /// [`AcquireError`]
    pub(crate) async fn wait_for_pool(&mut self) -> Result<Arc<Pool>, AcquireError> {
        std::future::poll_fn(|cx| {
            loop {
                if let Some(wait) = &mut self.wait
                    && wait.hold.poll_pause(cx).is_pending()
                {
                    ready!(wait.hold.poll_deadline(cx));
                    return Poll::Ready(self.expire_hold().map_or_else(|| Err(AcquireError::Closed), Err));
                }
                let none = match self.pool() {
                    Ok(pool) => {
                        self.end_wait(HoldOutcome::Served);
                        return Poll::Ready(Ok(pool));
                    }
                    Err(none) => AcquireError::NoEndpoint(none),
                };
                if !self.pause(Pause::NoWriter) {
                    let error = self.final_error(none);
                    self.end_wait(error.hold_outcome());
                    return Poll::Ready(Err(error));
                }
                self.wait.get_or_insert_default().failure = Some(none);
            }
        })
        .await
    }

    /// True if the leased backend belongs to an endpoint that was the writer at the decision, and is not any more. The
    /// call belongs into the poll that attaches the backend: a session that was not seen on the endpoint after the
    /// publication of another writer then never uses the endpoint.
    pub(crate) fn has_writer_moved(&self, lease: &Lease) -> bool {
        let writer = || self.context.routing.topology.load().writer.clone();
        self.is_for_writer() && writer().as_ref() != Some(lease.running().endpoint().name())
    }

    /// Returns an unused backend of an endpoint that is not the writer any more; the next poll decides again.
    pub(crate) fn refuse_lease(&mut self, lease: Lease) {
        lease.release(Disposition::Clean);
        self.forget_decisions();
    }

    /// The pool of a first decision: the writer's, or a read pool's while no server accepts writes.
    pub(crate) fn pool(&mut self) -> Result<Arc<Pool>, NoEndpoint> {
        match self.decide(FIRST) {
            Err(none) if matches!(self.context.listener.settings.route, RoutePolicy::Split(_)) => {
                self.decide(RouteNeed { side: RouteSide::Reader, ..FIRST }).map_err(|_| none)
            }
            decided => decided,
        }?;
        self.decided().map(|decided| Arc::clone(&decided.place.pool)).ok_or(NoEndpoint::Named)
    }
}
