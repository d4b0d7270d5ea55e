//! Acquires a backend: decides on an endpoint, tries it, waits, and decides again after a failure.
//!
//! Promises: one loop for dedicated and pooled sessions; a failing endpoint is replaced by another of the same route;
//! while a writer that was seen up is away, as in a failover, a session waits up to `hold`. Refuses to know: how a
//! backend is provided ([`provider::BackendProvider`]).
//!
//! A session with a split route keeps two decisions, one for the writer and one for the read pools. A read that must
//! see the session's own writes uses a read pool's backend only if the node is known to be fresh enough, or can be
//! queried in the same write.

pub(crate) mod catalog;
mod connect;
mod error;
mod hold;
mod lease;
pub(crate) mod outlier;
mod provider;
mod random;
pub(crate) mod shared_state;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use self::{
    connect::ConnectProvider,
    hold::{Hold, HoldBudget, Pause, writer_seen_up},
    provider::{AcquireContext, BackendProvider, TryProgress},
};
pub(crate) use self::{
    connect::Connected,
    error::AcquireError,
    lease::{AwaitedPool, PooledAcquirer},
    random::random_number,
};
use super::{
    ListenerSettings,
    context::{ClientServices, ListenerContext},
    registry::sessions::wall_clock,
};
use crate::{
    backend::{ConnectError, ConnectFailure, EndpointHandle, RoleReport},
    blame::Chain,
    names::EndpointName,
    pool::{Disposition, LeaseError, UnservedWaits, WaitTerms},
    probe::Evidence,
    route::{
        NoEndpoint, Outlier, RerunCause, RouteNeed, RoutePolicy, RouteReason, RouteRequest, RouteSide,
        WhenNoReader, decide, decide_split,
    },
    session::FreshnessCheck,
    telemetry::labels::HoldOutcome,
    topology::{NodeFreshness, ObservedRole, TopologySnapshot},
};

/// Acquires backends for one session.
pub(crate) struct BackendAcquirer<P: BackendProvider> {
    context: AcquireContext,
    provider: P,
    /// The last decision for the writer, and for the only side of a session that does not split.
    writer: Option<Decided<P::Place>>,
    /// The last decision for a read pool.
    reader: Option<Decided<P::Place>>,
    /// The current one of the two decisions.
    side: RouteSide,
    wait: Option<Wait>,
    hold_budget: HoldBudget,
    /// By side.
    unserved: [UnservedWaits; 2],
    /// Freshness of the backend that was acquired last.
    freshness: FreshnessCheck,
}

/// A decision, valid until the topology changes.
struct Decided<P> {
    snapshot: Arc<TopologySnapshot>,
    place: P,
    reason: RouteReason,
}

/// Properties of the backend that a session needs.
#[derive(Clone, Copy)]
pub(crate) struct AcquireRequest {
    /// The [`crate::session::Session::settings_mark`] of its settings.
    pub(crate) settings: u64,
    /// Eligible side, with the reason.
    pub(crate) need: RouteNeed,
    /// Freshness floor of a read.
    pub(crate) floor: Option<std::time::Instant>,
    /// True if the backend must have logged in with the session's own options.
    pub(crate) apart: bool,
}

/// An acquisition in progress.
#[derive(Default)]
struct Wait {
    hold: Hold,
    /// Endpoints that have failed the session.
    tried: Vec<EndpointName>,
    /// Backends passed over because of ejected nodes.
    passed_over: u8,
    /// Reason to send a read to the writer.
    turned: Option<RouteReason>,
    /// Deadline of a read in the queue of a read pool.
    read_deadline: Option<Pin<Box<Sleep>>>,
    /// The last failed try.
    failure: Option<AcquireError>,
}

/// A step of an acquisition.
pub(crate) enum Step<B> {
    /// A backend.
    Acquired(B),
    /// Time to notify the client of a long wait, which goes on.
    Notice(Duration),
}

/// Backends of ejected nodes that are passed over before the writer serves instead.
const MAX_PASSED_OVER_BACKENDS: u8 = 8;

/// Connects a dedicated backend with `connect`. Returns the backend and the reason for its endpoint.
///
/// Cancel safety: dropped half-way, the connection being made is closed.
///
/// # Errors
/// [`AcquireError`] with the last failure.
pub(crate) async fn acquire_dedicated<B, C, F>(
    services: &ClientServices,
    listener: &Arc<ListenerContext>,
    connect: C,
) -> Result<(Connected<B>, RouteReason), AcquireError>
where
    C: Fn(EndpointHandle) -> F,
    F: Future<Output = Result<B, ConnectError>>,
    B: RoleReport,
{
    let provider = ConnectProvider::new(connect, services.observers.evidence.clone());
    let mut acquirer = BackendAcquirer::new(services, listener, provider);
    let mut connected = acquirer.acquire(&AcquireRequest::FIRST).await?;
    connected.held = acquirer.hold_budget.spent();
    Ok((connected, acquirer.reason()))
}

// === impl AcquireRequest ===

impl AcquireRequest {
    /// Routing need of a session before its first statement.
    const FIRST: Self = Self {
        settings: 0,
        need: RouteNeed { side: RouteSide::Writer, reason: RouteReason::Writer },
        floor: None,
        apart: false,
    };
}

// === impl Wait ===

impl Wait {
    /// Stays with the endpoint tried last, whose deadline begins anew.
    fn stay(mut self, limit: Duration, cx: &mut Context<'_>) -> Self {
        self.tried.pop();
        if let Some(deadline) = &mut self.read_deadline {
            deadline.as_mut().reset(Instant::now() + limit);
            // The new time is polled, too: else nothing wakes the session.
            let _: Poll<()> = deadline.as_mut().poll(cx);
        }
        self
    }
}

// === impl BackendAcquirer ===

impl<P: BackendProvider> BackendAcquirer<P> {
    fn new(services: &ClientServices, listener: &Arc<ListenerContext>, provider: P) -> Self {
        let context = AcquireContext {
            routing: Arc::clone(&services.routing),
            observers: Arc::clone(&services.observers),
            sessions: Arc::clone(&services.sessions),
            listener: Arc::clone(listener),
        };
        Self {
            context,
            provider,
            writer: None,
            reader: None,
            side: RouteSide::Writer,
            wait: None,
            hold_budget: HoldBudget::default(),
            unserved: Default::default(),
            freshness: FreshnessCheck::Enough,
        }
    }

    /// A backend; long waits are not reported.
    async fn acquire(&mut self, request: &AcquireRequest) -> Result<P::Backend, AcquireError> {
        poll_fn(|cx| {
            loop {
                match ready!(self.poll_acquire(request, cx)) {
                    Ok(Step::Acquired(backend)) => return Poll::Ready(Ok(backend)),
                    Ok(Step::Notice(_)) => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// The next step towards a backend, if possible. Bounds the wait by the deadline of the hold.
    fn poll_acquire(
        &mut self,
        request: &AcquireRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step<P::Backend>, AcquireError>> {
        let progress = self.poll_tries(request, cx);
        match &progress {
            Poll::Ready(Ok(Step::Acquired(_))) => {
                self.unserved_waits().clear();
                self.end_wait(HoldOutcome::Served);
            }
            Poll::Ready(Ok(Step::Notice(_))) => {}
            Poll::Ready(Err(error)) => self.end_unserved(error.hold_outcome()),
            Poll::Pending => {
                let wait = self.wait.get_or_insert_default();
                wait.hold.begin_wait();
                ready!(wait.hold.poll_deadline(cx));
                if let Some(error) = self.expire_hold() {
                    return Poll::Ready(Err(error));
                }
            }
        }
        progress
    }

    fn poll_tries(
        &mut self,
        request: &AcquireRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step<P::Backend>, AcquireError>> {
        loop {
            if let Some(wait) = &mut self.wait
                && ready!(wait.hold.poll_pause(cx))
            {
                wait.tried.clear();
            }
            if !self.provider.is_trying() {
                if self.is_too_early(request) {
                    continue;
                }
                if let Err(none) = self.decide(request.need) {
                    let failure = AcquireError::NoEndpoint(none);
                    if self.pause(Pause::NoWriter) {
                        tracing::debug!(%none, "session waits for a writer");
                        self.wait.get_or_insert_default().failure = Some(failure);
                        continue;
                    }
                    return Poll::Ready(Err(self.final_error(failure)));
                }
                if let Some(backend) = self.begin_try(request) {
                    match self.end_try(request, backend) {
                        Some(step) => return Poll::Ready(step),
                        None => continue,
                    }
                }
            }
            let Poll::Ready(progress) = self.provider.poll(cx) else {
                if self.leaves_slow_reader(request.need, cx) {
                    continue;
                }
                return Poll::Pending;
            };
            match progress {
                TryProgress::Acquired(backend) => {
                    if let Some(step) = self.end_try(request, backend) {
                        return Poll::Ready(step);
                    }
                }
                TryProgress::Notice(waited) => return Poll::Ready(Ok(Step::Notice(waited))),
                TryProgress::Held(reason) => self.on_absence(reason),
                TryProgress::Failed(error) => {
                    if let Some(error) = self.on_failure(request.need, error) {
                        return Poll::Ready(Err(self.final_error(error)));
                    }
                }
            }
        }
    }

    /// Begins a try at the decided endpoint. Returns a backend that is available at once.
    fn begin_try(&mut self, request: &AcquireRequest) -> Option<P::Backend> {
        let hold = self.wait.as_ref().map(|wait| &wait.hold);
        let (began, counted_since) = (hold.and_then(Hold::began), hold.and_then(Hold::counted_since));
        let unserved_since = self.unserved_waits().since(Instant::now());
        let terms = WaitTerms {
            since: counted_since,
            // The place in the queue counts from the first wait.
            unserved_since: unserved_since.into_iter().chain(began).min(),
            is_refusable: self.is_refusable(),
            holds: self.side == RouteSide::Writer && self.may_hold(),
        };
        let place = match self.side {
            RouteSide::Writer => &self.writer,
            RouteSide::Reader => &self.reader,
        };
        place.as_ref().and_then(|decided| self.provider.begin(&decided.place, request, terms))
    }

    /// True if no node is known to be fresh enough yet. A read then waits for a while, or turns to the writer.
    fn is_too_early(&mut self, request: &AcquireRequest) -> bool {
        let Some(floor) = request.floor.filter(|_| self.side_of(request.need) == RouteSide::Reader) else {
            return false;
        };
        let now = std::time::Instant::now();
        match self.context.routing.topology.load().freshness_of(None, floor, now) {
            NodeFreshness::Unknown => {
                self.context.observers.evidence.want_sample();
                self.send_to_writer(RouteReason::NotSampled);
                self.wait.as_ref().is_some_and(|wait| wait.hold.is_paused())
            }
            NodeFreshness::Fresh | NodeFreshness::Ask { .. } | NodeFreshness::Stale => false,
        }
    }

    /// No suitable node is available: the read waits briefly, if the listener permits, or goes to the writer.
    fn send_to_writer(&mut self, reason: RouteReason) {
        let limit = match &self.context.listener.settings.route {
            RoutePolicy::Split(split) => split.freshness_wait,
            _ => Duration::ZERO,
        };
        let wait = self.wait.get_or_insert_default();
        if !wait.hold.wait_for_fresh_node(limit) {
            wait.turned = Some(reason);
        }
    }

    /// The side that a need leads to, after all failures.
    fn side_of(&self, need: RouteNeed) -> RouteSide {
        match self.wait.as_ref().and_then(|wait| wait.turned) {
            Some(_) => RouteSide::Writer,
            None => need.side,
        }
    }

    /// A try has failed; `None` if another try may succeed.
    fn on_failure(&mut self, need: RouteNeed, error: LeaseError) -> Option<AcquireError> {
        let decided = self.slot().take();
        match error {
            LeaseError::Withdrawn => None,
            LeaseError::Closed => Some(AcquireError::Closed),
            LeaseError::Timeout { waited } => {
                if decided.as_ref().is_some_and(|decided| self.goes_on_without(decided, need)) {
                    return None;
                }
                let pool = decided.map(|decided| P::describe(&decided.place)).unwrap_or_default();
                Some(AcquireError::Timeout { pool, waited })
            }
            LeaseError::Overloaded { estimate, limit } => {
                let pool = decided.map(|decided| P::describe(&decided.place)).unwrap_or_default();
                Some(AcquireError::Overloaded { pool, estimate, limit })
            }
            LeaseError::Down(error) => self.login_failed(&decided?, need, error),
            LeaseError::ProbedDown(reason) => {
                let decided = decided?;
                if self.goes_on_without(&decided, need) {
                    return None;
                }
                Some(AcquireError::probed_down(P::endpoint(&decided.place), reason))
            }
        }
    }

    /// The login at the endpoint of `decided` has failed; `None` if another try may succeed.
    fn login_failed(
        &mut self,
        decided: &Decided<P::Place>,
        need: RouteNeed,
        error: Arc<ConnectError>,
    ) -> Option<AcquireError> {
        let endpoint = P::endpoint(&decided.place);
        let retryable = error.is_retryable_elsewhere();
        // Without a token, further sessions fail too. A missing token is no evidence about the endpoint.
        if error.is_evidence() || retryable || matches!(error.failure(), ConnectFailure::Token(_)) {
            self.context.routing.outliers.failed(Outlier::Endpoint(endpoint.name().clone()));
        }
        // A standby may lack a new database, user or permission, so the writer decides.
        if self.side == RouteSide::Reader && error.refused().is_some() && !retryable {
            self.wait.get_or_insert_default().turned = Some(RouteReason::Rerun(RerunCause::StandbyRefused));
            return None;
        }
        let is_final = P::is_final(&error);
        let name = endpoint.name().clone();
        let failure = AcquireError::down(endpoint, error);
        if !is_final && self.goes_on_without(decided, need) {
            self.wait.get_or_insert_default().failure = Some(failure);
            return None;
        }
        if retryable {
            let pause = match &failure {
                AcquireError::Down(_, error) if error.is_absence() => {
                    Pause::Silent(name.clone(), std::time::Instant::now())
                }
                _ => Pause::Refused,
            };
            self.wait.get_or_insert_default().tried.push(name);
            if self.decide(need).is_ok() || self.pause(pause) {
                self.wait.get_or_insert_default().failure = Some(failure);
                return None;
            }
        }
        Some(failure)
    }

    /// The endpoint of the try is absent, and the try goes on: the client is on hold.
    fn on_absence(&mut self, reason: LeaseError) {
        let Some(decided) = self.decided() else { return };
        let endpoint = P::endpoint(&decided.place);
        let failure = match reason {
            LeaseError::Down(error) => AcquireError::down(endpoint, error),
            LeaseError::ProbedDown(reason) => AcquireError::probed_down(endpoint, reason),
            LeaseError::Timeout { .. }
            | LeaseError::Overloaded { .. }
            | LeaseError::Withdrawn
            | LeaseError::Closed => return,
        };
        tracing::debug!(error = %Chain(&failure), "session waits for a writer");
        self.wait.get_or_insert_default().failure = Some(failure);
        self.hold();
    }

    /// True if a read without a backend may be served by another read pool or by the writer.
    fn goes_on_without(&mut self, decided: &Decided<P::Place>, need: RouteNeed) -> bool {
        let is_reader = self.side == RouteSide::Reader || decided.reason == RouteReason::ReadPool;
        if !is_reader {
            return false;
        }
        let name = P::endpoint(&decided.place).name().clone();
        self.wait.get_or_insert_default().tried.push(name);
        self.decide(need).is_ok()
    }

    /// Leaves the queue of a read pool in which a read has waited for its deadline, if another endpoint may serve. All backends of
    /// the pool may be stuck, and a longer wait would not show if they are.
    fn leaves_slow_reader(&mut self, need: RouteNeed, cx: &mut Context<'_>) -> bool {
        let limit = self.read_deadline();
        if self.side != RouteSide::Reader || limit.is_zero() {
            return false;
        }
        let wait = self.wait.get_or_insert_default();
        let deadline = wait.read_deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        if deadline.as_mut().poll(cx).is_pending() {
            return false;
        }
        let Some(decided) = self.slot().take() else { return false };
        let endpoint = P::endpoint(&decided.place).name().clone();
        self.context.observers.evidence.submit(&endpoint, Evidence::Silent);
        let leaves = self.goes_on_without(&decided, need);
        if leaves {
            tracing::debug!(%endpoint, "a read leaves the queue of a read pool after its deadline");
            self.provider.leave();
        } else {
            // No other endpoint is left: the read keeps its place.
            self.side = RouteSide::Reader;
            *self.slot() = Some(decided);
            self.wait = self.wait.take().map(|wait| wait.stay(limit, cx));
        }
        leaves
    }

    /// Time within which a read pool begins to answer a read; zero without a limit.
    pub(crate) fn read_deadline(&self) -> Duration {
        match &self.context.listener.settings.route {
            RoutePolicy::Split(settings) => settings.read_deadline,
            _ => Duration::ZERO,
        }
    }

    /// Ends a try that has led to a backend; `None` if another try may succeed.
    fn end_try(
        &mut self,
        request: &AcquireRequest,
        backend: P::Backend,
    ) -> Option<Result<Step<P::Backend>, AcquireError>> {
        let Some(endpoint) = self.find_endpoint_in_recovery(&backend) else {
            return self.accept_backend(request, backend).map(Ok);
        };
        P::put_back(backend, Disposition::Discard);
        self.context
            .observers
            .evidence
            .submit(endpoint.name(), Evidence::RoleReported(ObservedRole::Standby));
        let error = ConnectError::new(Arc::clone(endpoint.endpoint()), ConnectFailure::InRecovery);
        let failure = self.on_failure(request.need, LeaseError::Down(Arc::new(error)))?;
        Some(Err(self.final_error(failure)))
    }

    /// The endpoint of a decision for the writer, if `backend` reported recovery. A report is outdated once the probe has
    /// seen that the server accepts writes.
    fn find_endpoint_in_recovery(&self, backend: &P::Backend) -> Option<EndpointHandle> {
        let reported_at = P::in_recovery_at(backend)?;
        let decided = self.decided().filter(|_| self.is_for_writer())?;
        let endpoint = P::endpoint(&decided.place);
        let snapshot = self.context.routing.topology.load();
        let seen =
            snapshot.get(endpoint.name()).filter(|status| status.observed == Some(ObservedRole::Primary));
        let seen_at = seen.and_then(|status| status.last_success).map(wall_clock);
        seen_at.is_none_or(|seen_at| seen_at <= reported_at).then(|| endpoint.clone())
    }

    /// True if the decision is for the writer.
    fn is_for_writer(&self) -> bool {
        match &self.context.listener.settings.route {
            RoutePolicy::Primary | RoutePolicy::Split(_) => self.side == RouteSide::Writer,
            RoutePolicy::ReadPool { .. } => self.reason() == RouteReason::NoReader,
            RoutePolicy::Secondary | RoutePolicy::Endpoint(_) => false,
        }
    }

    /// Accepts a backend; `None` if the node behind it is unsuitable.
    fn accept_backend(&mut self, request: &AcquireRequest, backend: P::Backend) -> Option<Step<P::Backend>> {
        self.freshness = FreshnessCheck::Enough;
        if self.side == RouteSide::Reader {
            let now = std::time::Instant::now();
            let node = P::node(&backend);
            if node.is_some_and(|node| self.context.routing.outliers.avoids_node(&node, now)) {
                P::put_back(backend, Disposition::Discard);
                let wait = self.wait.get_or_insert_default();
                wait.passed_over += 1;
                if wait.passed_over > MAX_PASSED_OVER_BACKENDS {
                    self.send_to_writer(RouteReason::Rerun(RerunCause::NodeLost));
                }
                return None;
            }
            let snapshot = self.context.routing.topology.load();
            let standing = match (request.floor, node) {
                (Some(floor), _) => Some(snapshot.freshness_of(node.as_ref(), floor, now)),
                (None, node) if !snapshot.may_serve(node.as_ref()) => Some(NodeFreshness::Stale),
                (None, _) => None,
            };
            match standing {
                None | Some(NodeFreshness::Fresh) => {}
                Some(NodeFreshness::Ask { lsn }) => self.freshness = FreshnessCheck::Ask { lsn },
                Some(NodeFreshness::Stale | NodeFreshness::Unknown) => {
                    P::put_back(backend, Disposition::Clean);
                    self.send_to_writer(RouteReason::NotFresh);
                    return None;
                }
            }
        }
        Some(Step::Acquired(backend))
    }

    /// The current decision.
    const fn decided(&self) -> Option<&Decided<P::Place>> {
        match self.side {
            RouteSide::Writer => self.writer.as_ref(),
            RouteSide::Reader => self.reader.as_ref(),
        }
    }

    const fn slot(&mut self) -> &mut Option<Decided<P::Place>> {
        match self.side {
            RouteSide::Writer => &mut self.writer,
            RouteSide::Reader => &mut self.reader,
        }
    }

    /// Forgets all decisions: the provider's handles have changed.
    fn forget_decisions(&mut self) {
        (self.writer, self.reader) = (None, None);
    }

    /// Reason for the last chosen endpoint.
    pub(crate) fn reason(&self) -> RouteReason {
        self.decided().map_or(RouteReason::Named, |decided| decided.reason)
    }

    /// Decides on an endpoint for `need`; the decision is in [`Self::decided`].
    fn decide(&mut self, need: RouteNeed) -> Result<(), NoEndpoint> {
        let routing = Arc::clone(&self.context.routing);
        let snapshot = routing.topology.load();
        let reason = self.wait.as_ref().and_then(|wait| wait.turned).unwrap_or(need.reason);
        self.side = self.side_of(need);
        let (keeps, split) = match &self.context.listener.settings.route {
            RoutePolicy::Primary | RoutePolicy::Endpoint(_) => (true, false),
            // Load is compared only when the topology changes, which happens a few times per second.
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
            return Ok(());
        }
        let (name, reason) = self.choose_endpoint(&snapshot, reason)?;
        let endpoints = routing.endpoints.load();
        let Some(endpoint) = endpoints.get(&name) else {
            return Err(NoEndpoint::Named);
        };
        if split && reason == RouteReason::NoReader {
            self.side = RouteSide::Writer;
        }
        if let Some(decided) = self.slot()
            && P::endpoint(&decided.place).same(endpoint)
        {
            (decided.snapshot, decided.reason) = (snapshot, reason);
            return Ok(());
        }
        let place = self.provider.place(&self.context, endpoint);
        *self.slot() = Some(Decided { snapshot, place, reason });
        Ok(())
    }

    /// Chooses an endpoint for the current side, without those that have failed the session.
    fn choose_endpoint(
        &self,
        snapshot: &TopologySnapshot,
        reason: RouteReason,
    ) -> Result<(EndpointName, RouteReason), NoEndpoint> {
        let AcquireContext { routing, sessions, listener, .. } = &self.context;
        let tried = self.wait.as_ref().map_or(&[][..], |wait| &wait.tried);
        let load = |name: &EndpointName| sessions.on_endpoint(name) + routing.pools.leased(name);
        let policy = &listener.settings.route;
        let decision = match policy {
            RoutePolicy::Split(settings) => {
                let now = std::time::Instant::now();
                let avoided = |name: &EndpointName| routing.outliers.avoids(name, now);
                let demand = RouteRequest { side: self.side, reason, tried };
                decide_split(settings, snapshot, &demand, load, avoided, random_number())?
            }
            _ => decide(policy, snapshot, load, random_number(), tried)?,
        };
        Ok((decision.endpoint.name.clone(), decision.reason))
    }

    /// True if the route leads to the writer, and the listener's `hold` leaves time to wait for one.
    fn may_hold(&mut self) -> bool {
        let ListenerSettings { route, limits, .. } = &self.context.listener.settings;
        let waits = matches!(route, RoutePolicy::Primary | RoutePolicy::Split(_)) && !limits.hold.is_zero();
        let budget = &mut self.hold_budget;
        waits
            && match &self.wait {
                Some(wait) => wait.hold.may_hold(|| budget.left(limits.hold)),
                None => !budget.left(limits.hold).is_zero(),
            }
    }

    /// The client is on hold, from now on.
    fn hold(&mut self) {
        let wait = self.wait.get_or_insert_default();
        if !wait.hold.is_held() {
            let AcquireContext { observers, listener, .. } = &self.context;
            let limit = self.hold_budget.left(listener.settings.limits.hold);
            wait.hold.begin_hold(limit, listener.metrics.hold_client(), observers.evidence.hold_client());
        }
    }

    /// Begins a pause on hold, if a writer that is absent may be waited for. A process that has never reached a writer
    /// waits only for a silent endpoint: anything else is more likely a mistake in the configuration.
    fn pause(&mut self, pause: Pause) -> bool {
        let topology = self.context.routing.topology.clone();
        let may_wait = matches!(pause, Pause::Silent(..)) || writer_seen_up(&topology.load());
        if !may_wait || !self.may_hold() {
            return false;
        }
        self.hold();
        self.wait.get_or_insert_default().hold.pause_for(pause, &topology);
        true
    }

    /// The deadline of the hold is over: the error, unless the writer is present and the session waits for its turn.
    fn expire_hold(&mut self) -> Option<AcquireError> {
        let is_present = self.provider.is_trying() && self.provider.has_endpoint();
        if is_present {
            let wait = self.wait.get_or_insert_default();
            wait.hold.end_hold(HoldOutcome::Served, &mut self.hold_budget);
            return None;
        }
        self.provider.leave();
        let failure = self.wait.as_mut().and_then(|wait| wait.failure.take());
        let error = self.final_error(failure.unwrap_or(AcquireError::NoEndpoint(NoEndpoint::Writer)));
        self.end_unserved(HoldOutcome::Expired);
        Some(error)
    }

    /// The error for the client: after a hold, that no writer was available, with the reason.
    fn final_error(&self, error: AcquireError) -> AcquireError {
        let Some(wait) = self.wait.as_ref().filter(|wait| wait.hold.is_held()) else { return error };
        let waited = wait.hold.began().map_or(Duration::ZERO, |began| began.elapsed());
        match error {
            AcquireError::Down(_, ref failure) if !failure.is_absence() => error,
            AcquireError::Timeout { .. }
            | AcquireError::Overloaded { .. }
            | AcquireError::Closed
            | AcquireError::HoldExpired { .. } => error,
            cause => AcquireError::HoldExpired { waited, cause: Box::new(cause) },
        }
    }

    /// Failed waits on the current side.
    const fn unserved_waits(&mut self) -> &mut UnservedWaits {
        match self.side {
            RouteSide::Writer => &mut self.unserved[0],
            RouteSide::Reader => &mut self.unserved[1],
        }
    }

    /// True if a wait at the decided endpoint may be refused at once. A read that the writer may serve waits first: an
    /// overloaded read pool must not send all its reads to the writer.
    fn is_refusable(&self) -> bool {
        match &self.context.listener.settings.route {
            RoutePolicy::Split(_) => self.side == RouteSide::Writer,
            RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Primary } => {
                self.reason() != RouteReason::ReadPool
            }
            RoutePolicy::ReadPool { when_no_reader: WhenNoReader::Refuse }
            | RoutePolicy::Primary
            | RoutePolicy::Secondary
            | RoutePolicy::Endpoint(_) => true,
        }
    }

    /// Ends an acquisition that has failed, or that the client has canceled: the next wait counts from its start.
    fn end_unserved(&mut self, outcome: HoldOutcome) {
        let now = Instant::now();
        let began = self.wait.as_ref().and_then(|wait| wait.hold.began()).unwrap_or(now);
        self.unserved_waits().note_failure(began, now);
        self.end_wait(outcome);
    }

    /// Ends the acquisition, and the hold with `outcome`.
    fn end_wait(&mut self, outcome: HoldOutcome) {
        if let Some(mut wait) = self.wait.take() {
            wait.hold.end_hold(outcome, &mut self.hold_budget);
        }
    }
}
