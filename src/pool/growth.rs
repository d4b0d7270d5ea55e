//! Dials backends: as many at a time as there are waiters, within the size of the pool and the budget of the endpoint.

use std::{
    pin::pin,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    BackendEvent, BackendHandle, LeaseError, Pool, StartupResponse,
    budget::{BudgetPressure, Permit},
    login_backoff::LoginBackoff,
    maintenance::{Maintenance, SlotGuard},
    pooled_backend::{BackendRecord, PooledBackend},
    registry::{DATABASE_LIMIT, LoginReport, ROLE_LIMIT},
    slots::SlotKey,
    state::{DeferredActions, GrowthReason},
};
use crate::{
    backend::{Backend, ConnectError},
    blame::Chain,
    session::{ServerIdentity, TrackedBackendState},
    topology::{DeclaredRole, NodeId},
};

/// <https://www.postgresql.org/docs/current/runtime-config-client.html>
const READ_ONLY: &str = "default_transaction_read_only";

impl Pool {
    /// Dials the needed backends from `worker`.
    pub(super) fn dial_needed(self: &Arc<Self>, worker: usize) {
        let at_once = self.endpoint.settings().connect_concurrency.max(1);
        let now = Instant::now();
        // Decided once: at process shutdown the work never runs, and a loop would not end.
        let mut reserved = Vec::new();
        let mut state = self.lock();
        while let Some(need) = state.growth_reason(now, at_once) {
            reserved.push((need, state.slots.reserve_slot(now)));
        }
        let epoch = state.epoch;
        // A replacement may take backends of its predecessor.
        let prepares = state.prepared > 0;
        let mut pressure = BudgetPressure::None;
        drop(state);
        for (need, place) in reserved {
            let permit = self.budget.take(now).or_else(|| match need {
                GrowthReason::Idle if !prepares => None,
                GrowthReason::Waiters | GrowthReason::Idle => {
                    self.pools.upgrade()?.take_permit_from_others(self)
                }
            });
            if let Some(permit) = permit {
                self.dial_slot(worker, place, permit, epoch);
                continue;
            }
            let mut state = self.lock();
            state.slots.free_slot(place, now);
            pressure = match need {
                GrowthReason::Idle if !prepares => pressure,
                GrowthReason::Waiters | GrowthReason::Idle if state.slots.used_count() == 0 => {
                    BudgetPressure::NoBackends
                }
                GrowthReason::Waiters => BudgetPressure::Waiters,
                GrowthReason::Idle => pressure,
            };
        }
        self.set_pressure(pressure);
    }

    /// True if the pool waits for the budget.
    pub(super) fn is_under_pressure(&self) -> bool {
        *self.pressure.lock().unwrap_or_else(PoisonError::into_inner) != BudgetPressure::None
    }

    /// Publishes the pool's pressure to the other pools of the endpoint.
    pub(super) fn set_pressure(&self, pressure: BudgetPressure) {
        let mut own = self.pressure.lock().unwrap_or_else(PoisonError::into_inner);
        if *own != pressure {
            self.budget.update_pressure(*own, pressure);
            *own = pressure;
        }
    }

    /// Dials for `place`. `epoch` is the pool's current epoch: changes during the login count for the new backend, too.
    fn dial_slot(self: &Arc<Self>, worker: usize, place: SlotKey, permit: Permit, epoch: u64) {
        let pool = Arc::clone(self);
        let begun = Instant::now();
        let mut guard = SlotGuard { pool: Arc::clone(self), place: Some(place) };
        self.spawn(worker, "pool dial", async move {
            let mut ended = pin!(pool.ended.notified());
            ended.as_mut().enable();
            let mut redial = pin!(pool.redial.notified());
            redial.as_mut().enable();
            if pool.has_ended() {
                return;
            }
            let (dialed, permit) = tokio::select! {
                greeted = pool.greet_evicting(permit) => greeted,
                // A login may wait for a token; another pool may need the permit.
                () = ended => return,
                () = redial => {
                    drop(guard);
                    pool.dial_needed(worker);
                    return;
                }
            };
            let Some(place) = guard.take_slot() else { return };
            match dialed {
                Ok(Greeted::Backend(new)) => pool.add_new_backend((place, epoch), permit, *new, worker),
                Ok(Greeted::Full(error)) => {
                    drop(permit);
                    pool.note_no_room(place, &error, worker);
                }
                Err(error) => {
                    drop(permit);
                    pool.note_failed_login(place, error, begun, worker);
                }
            }
        });
    }

    /// Logs in. While the server has no room, an idle backend of another pool makes way.
    ///
    /// Cancel safety: dropping the future closes the unfinished connection.
    async fn greet_evicting(self: &Arc<Self>, mut permit: Permit) -> (Result<Greeted, ConnectError>, Permit) {
        // With a full server, the permit comes from a backend closed before.
        let mut evicted = self.budget.is_full();
        let mut pause = MIN_EVICTION_PAUSE;
        loop {
            let error = match self.log_in_and_identify().await {
                Err(error) if is_full(&error) => error,
                greeted => return (greeted.map(|greeted| Greeted::Backend(Box::new(greeted))), permit),
            };
            let general = !is_limit_of_login(&error);
            if general && !self.budget.note_full(Instant::now()) {
                return (Err(error), permit);
            }
            if !evicted {
                match self.pools.upgrade().and_then(|pools| pools.evict_for(self, &error)) {
                    Some(of_evicted) => permit = of_evicted,
                    None if general => return (Ok(Greeted::Full(error)), permit),
                    None => return (Err(error), permit),
                }
            } else if pause > MAX_EVICTION_PAUSE {
                return (if general { Ok(Greeted::Full(error)) } else { Err(error) }, permit);
            }
            // The server counts a closed connection until the server process has ended.
            evicted = true;
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Logs in; for a splitting listener also reads the identity of a server that serves reads, and for one that resolves
    /// commits the identity of a server that accepts writes.
    ///
    /// A backend for reads starts read-only. After an accidental promotion of the server, a write misjudged as a read
    /// fails as on a standby, and is not lost. Clients do not see the setting.
    ///
    /// Cancel safety: a dropped call closes the new connection.
    async fn log_in_and_identify(&self) -> Result<NewBackend, ConnectError> {
        let mut request = self.target.request();
        let settings = self.settings();
        if !self.endpoint.endpoint().role.serves_reads() || !settings.splits {
            let mut backend = self.endpoint.connect(request).await?;
            self.derive_limit(&mut backend).await?;
            let server =
                if settings.resolves_commits { self.identify_server(&mut backend).await? } else { None };
            return Ok(NewBackend { backend, node: None, server });
        }
        let asked = request.startup.get(READ_ONLY).unwrap_or(b"off").to_vec();
        request.startup.set(READ_ONLY, "on");
        let mut backend = self.endpoint.connect(request).await?;
        backend.logged_in.parameters.pretend(READ_ONLY, &asked);
        let node = self.endpoint.identify_standby(&mut backend).await?;
        self.derive_limit(&mut backend).await?;
        Ok(NewBackend { backend, node, server: None })
    }

    /// Reads the identity of a server that accepts writes; `None` without permission.
    async fn identify_server(&self, backend: &mut Backend) -> Result<Option<ServerIdentity>, ConnectError> {
        let state = self.endpoint.read_state(backend).await?;
        Ok(state.and_then(|state| Some(ServerIdentity::new(state.timeline?, state.node?.started_us))))
    }

    /// Reads the server's `max_connections` for the endpoint's budget, if no limit is configured and the address stands
    /// for a single server.
    async fn derive_limit(&self, backend: &mut Backend) -> Result<(), ConnectError> {
        let single = matches!(self.endpoint.endpoint().role, DeclaredRole::Primary | DeclaredRole::Replica);
        if !single || !self.budget.is_limit_due(Instant::now()) {
            return Ok(());
        }
        if let Some(connections) = self.endpoint.read_connection_limit(backend).await? {
            let limit = connections.saturating_sub(self.endpoint.settings().reserve).max(1);
            self.budget.set_derived_limit(limit);
            self.endpoint.metrics().backends_limit(Some(limit));
        }
        Ok(())
    }

    /// A backend has logged in on `worker`.
    fn add_new_backend(
        self: &Arc<Self>,
        (place, epoch): (SlotKey, u64),
        permit: Permit,
        new: NewBackend,
        worker: usize,
    ) {
        let NewBackend { mut backend, node, server } = new;
        let Some(pools) = self.pools.upgrade() else { return };
        let running = Arc::new(BackendHandle::new(self, place.index, &backend, node));
        let presence = backend.presence.take();
        let now = Instant::now();
        let mut after = DeferredActions::default();
        if let Some(role) = backend.observed_role() {
            pools.report_login(&self.target.endpoint, LoginReport::Role(role));
        }
        self.report_event(
            &running,
            BackendEvent::Opened(backend.durations.iter().map(|(_, took)| took).sum()),
        );
        let mut state = self.lock();
        state.login_backoff = None;
        self.budget.note_room();
        let login = match &state.startup_response {
            Some(startup_response) if startup_response.has_same_reports(&backend.logged_in) => {
                Arc::clone(startup_response)
            }
            _ => Arc::new(StartupResponse::new(&backend.logged_in)),
        };
        state.startup_response = (epoch == state.epoch).then(|| Arc::clone(&login));
        let lifetime = state.settings.max_lifetime;
        let record = BackendRecord {
            running: Arc::clone(&running),
            permit,
            presence,
            // Up to a tenth earlier.
            expires: (!lifetime.is_zero()).then(|| {
                now + lifetime - lifetime / 1000 * u32::try_from(random_number() % 101).unwrap_or_default()
            }),
            epoch,
            maintenance: Maintenance::Settle,
        };
        state.slots.fill_reserved(place, record, now);
        let tracked_state = TrackedBackendState::new(Arc::clone(&login.parameters), random_key());
        let tracked_state = Box::new(tracked_state.on_server(server));
        let member = PooledBackend { stream: backend.stream, tracked_state, running, login, worker };
        if backend.unread.is_empty() {
            self.place_backend(&mut state, place, member, &mut after);
            // A single backend may not satisfy all waiters.
            after.grow = true;
            drop(state);
            self.run_deferred(worker, after);
        } else {
            state.slots.work_on(place, Self::occupancy_during(Maintenance::Settle), now);
            drop(state);
            self.start_maintenance(place, member, Maintenance::Settle, backend.unread);
        }
    }

    /// Handles a full server while pools hold evictable backends: sessions keep waiting.
    fn note_no_room(self: &Arc<Self>, place: SlotKey, error: &ConnectError, worker: usize) {
        tracing::debug!(
            listener = %self.target.listener,
            endpoint = %self.target.endpoint,
            error = %Chain(error),
            "server has no free connection slot"
        );
        let mut state = self.lock();
        let now = state.now;
        state.slots.free_slot(place, now);
        drop(state);
        self.run_deferred(worker, DeferredActions { grow: true, ..DeferredActions::default() });
    }

    /// A login failed.
    fn note_failed_login(
        self: &Arc<Self>,
        place: SlotKey,
        error: ConnectError,
        begun: Instant,
        worker: usize,
    ) {
        let now = Instant::now();
        let error = Arc::new(error);
        let mut after = DeferredActions::default();
        let mut state = self.lock();
        state.slots.free_slot(place, now);
        let login_backoff = LoginBackoff::after_failure(
            state.login_backoff.take(),
            Arc::clone(&error),
            begun,
            now,
            random_number(),
        );
        let news = login_backoff.is_news();
        if login_backoff.is_hopeless(state.slots.live_count(), state.answered) {
            let error = LeaseError::Down(Arc::clone(&error));
            if login_backoff.is_silence() {
                state.begin_absence(&error, &mut after);
            } else {
                state.fail_waiters(&error, &mut after);
            }
        }
        state.login_backoff = Some(login_backoff);
        drop(state);
        if let Some(pools) = self.pools.upgrade()
            && error.is_evidence()
        {
            pools.report_login(&self.target.endpoint, LoginReport::Failed);
        }
        if news {
            tracing::warn!(
                listener = %self.target.listener,
                endpoint = %self.target.endpoint,
                error = %Chain(&*error),
                remedy = error.remedy().as_deref(),
                "pool login failed"
            );
        }
        self.run_deferred(worker, after);
        // Another pool may use the returned permit.
        if self.budget.is_wanted()
            && let Some(pools) = self.pools.upgrade()
        {
            pools.redistribute(&self.target.endpoint, worker);
        }
    }
}

/// Generates an unpredictable key.
fn random_key() -> [u8; 16] {
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).expect("the program does not start without random numbers");
    key
}

/// A backend after the login.
struct NewBackend {
    backend: Backend,
    /// Known for a server that serves reads, if the listener splits.
    node: Option<NodeId>,
    /// Known for a server that accepts writes, if the listener resolves commits.
    server: Option<ServerIdentity>,
}

/// Result of a login.
enum Greeted {
    /// A backend.
    Backend(Box<NewBackend>),
    /// The server is full, and pools hold backends.
    Full(ConnectError),
}

/// Pause before the login after an eviction; doubled for each further login.
const MIN_EVICTION_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause; afterwards the server counts as full of foreign connections.
const MAX_EVICTION_PAUSE: Duration = Duration::from_millis(80);

/// True if the server has no connection left, in total or for the role or database.
fn is_full(error: &ConnectError) -> bool {
    error.refused().and_then(|refused| refused.sqlstate()).is_some_and(|state| state.as_str() == "53300")
}

/// True if the login hit the connection limit of the role or the database.
fn is_limit_of_login(error: &ConnectError) -> bool {
    let routine =
        error.refused().and_then(|refused| refused.response.fault().field(b'R').map(<[u8]>::to_vec));
    routine.is_some_and(|routine| [ROLE_LIMIT, DATABASE_LIMIT].contains(&routine.as_slice()))
}

/// Random number for jitter.
fn random_number() -> u64 {
    let mut bytes = [0; 8];
    // Without entropy there is less jitter.
    aws_lc_rs::rand::fill(&mut bytes).ok();
    u64::from_ne_bytes(bytes)
}
