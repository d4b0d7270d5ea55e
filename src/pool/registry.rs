//! All pools of the process.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    BackendHandle, Filter, LeaseError, Pool, PoolKey, PoolPhase, PoolSettings,
    budget::{Budget, Permit},
    oldest_waits::OldestWaits,
    renewal::Renewals,
    replacement_pool::ReplacementPool,
    state::{DeferredActions, PoolState},
    status::Levels,
};
use crate::{
    backend::{ConnectError, EndpointHandle},
    names::{EndpointName, ListenerName},
    tasks::Workers,
    telemetry::{
        Metrics,
        labels::{CloseReason, PoolBackendState},
    },
    topology::ObservedRole,
};

/// All pools of the process.
pub struct Pools {
    registry: Mutex<PoolTable>,
    workers: usize,
    spawn: Spawn,
    events: BackendEventSink,
    login_reports: OnceLock<LoginReports>,
    pub(super) renewals: Renewals,
    metrics: Metrics,
    /// Notified when the last leased backend of a paused pool is returned.
    quiet: Notify,
}

#[derive(Default)]
pub(super) struct PoolTable {
    pub(super) pools: HashMap<PoolKey, PoolEntry, RandomState>,
    /// Replacement handles of endpoints: for a while, sessions may ask with replaced handles.
    pub(super) endpoints: HashMap<EndpointName, EndpointHandle>,
    /// By listener, where configured since the start: older sessions bring older settings.
    settings: HashMap<ListenerName, Arc<PoolSettings>>,
    budgets: HashMap<EndpointName, Arc<Budget>>,
    /// Phases of new pools by filter; the last match wins.
    orders: Vec<(Filter, PoolPhase)>,
    /// Waits last reported to the metrics.
    waits: OldestWaits,
    /// Another process has replaced this one.
    is_replaced: bool,
    closed: bool,
}

pub(super) struct PoolEntry {
    pub(super) pool: Arc<Pool>,
    /// Pool that will replace the pool.
    pub(super) replacement: Option<ReplacementPool>,
    /// Levels last reported to the metrics.
    pub(super) shown: Levels,
}

/// Receives events of backends, on the thread of the event: must not wait.
pub type BackendEventSink = Box<dyn Fn(&PoolKey, &BackendHandle, BackendEvent) + Send + Sync>;

/// Receives what a login of a pool has shown about its endpoint; must not wait.
pub type LoginReports = Box<dyn Fn(&EndpointName, LoginReport) + Send + Sync>;

/// Result of a login with a conclusion about the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginReport {
    /// The login failed, possibly through the endpoint's fault.
    Failed,
    /// The server reported this role (`in_hot_standby`).
    Role(ObservedRole),
}

/// Event of a pool's backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendEvent {
    /// Logged in, after the given time.
    Opened(Duration),
    /// Closed, with the reason.
    Closed(CloseReason),
}

/// Runs a task on a worker.
type Spawn = Box<dyn Fn(usize, &'static str, Work) + Send + Sync>;
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Interval of checks that depend on time.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(100);
/// An unreferenced pool is removed after this time without backends and waiters.
const UNUSED_POOL_LIFETIME: Duration = Duration::from_secs(60);
/// Idle limit of an empty, unreferenced pool without a successful login: a client may name any database.
const LOGINLESS_POOL_LIFETIME: Duration = Duration::from_secs(5);

/// Routine in PostgreSQL that enforces the role's `CONNECTION LIMIT`; the error field with its name is not translated.
pub(super) const ROLE_LIMIT: &[u8] = b"InitializeSessionUserId";
/// Routine in PostgreSQL that enforces the database's `CONNECTION LIMIT`.
pub(super) const DATABASE_LIMIT: &[u8] = b"CheckMyDatabase";

impl Pools {
    /// An empty registry for sessions on `workers`; `events` receives the events of all backends. Each worker maintains
    /// its own backends until the registry is dropped.
    #[must_use]
    pub fn new(workers: &Workers, metrics: &Metrics, events: BackendEventSink) -> Arc<Self> {
        let spawner = workers.clone();
        let pools = Self::with(
            workers.len(),
            Box::new(move |worker, name, work| spawner.spawn_on(worker, name, move || work)),
            metrics.clone(),
            events,
        );
        for worker in 0..workers.len() {
            let pools = Arc::downgrade(&pools);
            workers.spawn_on(worker, "pool upkeep", move || async move {
                let mut due = interval(MAINTENANCE_INTERVAL);
                due.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    due.tick().await;
                    let Some(pools) = pools.upgrade() else { return };
                    pools.tick(worker);
                }
            });
        }
        pools
    }

    pub(super) fn with(
        workers: usize,
        spawn: Spawn,
        metrics: Metrics,
        events: BackendEventSink,
    ) -> Arc<Self> {
        Arc::new(Self {
            registry: Mutex::default(),
            workers: workers.max(1),
            spawn,
            events,
            login_reports: OnceLock::new(),
            renewals: Renewals::default(),
            metrics,
            quiet: Notify::new(),
        })
    }

    /// Reports logins of the pools to `report` from now on; only the first call counts.
    pub fn report_logins(&self, report: LoginReports) {
        self.login_reports.set(report).ok();
    }

    pub(super) fn report_login(&self, endpoint: &EndpointName, login: LoginReport) {
        if let Some(report) = self.login_reports.get() {
            report(endpoint, login);
        }
    }

    /// The pool for `target`, created on first use. `endpoint` is the current handle: a pool created with an earlier
    /// handle, as before a reload, is withdrawn.
    #[must_use]
    pub fn pool(
        self: &Arc<Self>,
        endpoint: &EndpointHandle,
        target: &PoolKey,
        settings: &Arc<PoolSettings>,
    ) -> Arc<Pool> {
        let mut registry = self.lock();
        let current = registry.endpoints.get(&target.endpoint).cloned();
        let endpoint = current.as_ref().unwrap_or(endpoint);
        let newer = registry.settings.get(&target.listener).filter(|newer| newer.mode == target.mode);
        let settings = newer.map_or_else(|| Arc::clone(settings), Arc::clone);
        let settings = &if registry.is_replaced { settings.for_replaced_process().into() } else { settings };
        let known =
            registry.pools.get(target).map(|entry| (Arc::clone(&entry.pool), entry.leads_to(endpoint)));
        let withdrawn = match known {
            Some((pool, true)) => {
                drop(registry);
                pool.configure(settings);
                return pool;
            }
            other => other.map(|(pool, _)| pool),
        };
        let budget = Arc::clone(registry.budgets.entry(target.endpoint.clone()).or_default());
        let limit = endpoint.settings().pooled_backends();
        budget.set_limit(limit);
        endpoint.metrics().backends_limit(budget.taken_and_limit().1);
        let phase = match registry.closed {
            true => PoolPhase::Closed,
            false => {
                let mut orders = registry.orders.iter().rev();
                orders.find(|(filter, _)| filter.matches(target)).map_or(PoolPhase::Open, |(_, phase)| *phase)
            }
        };
        let pool = Pool::new(target.clone(), endpoint.clone(), Arc::clone(settings), phase, self, budget);
        let pool = Arc::new(pool);
        let entry = PoolEntry { pool: Arc::clone(&pool), replacement: None, shown: Levels::default() };
        let before = registry.pools.insert(target.clone(), entry);
        drop(registry);
        if let Some(before) = before {
            self.update_metrics(&before.pool, before.shown, Levels::default());
        }
        if let Some(withdrawn) = withdrawn {
            withdrawn.enter_phase(PoolPhase::Withdrawn);
        }
        pool
    }

    /// Sets the settings for all current and future pools of `listener`, regardless of the settings of requesting
    /// sessions.
    pub fn configure(&self, listener: &ListenerName, settings: &Arc<PoolSettings>) {
        self.lock().settings.insert(listener.clone(), Arc::clone(settings));
        let filter = Filter { listener: Some(listener.clone()), ..Filter::default() };
        for pool in self.matching_pools(&filter) {
            if pool.target().mode == settings.mode {
                pool.configure(settings);
            }
        }
    }

    /// Another process serves new clients, with pools of its own: from now on, idle backends are closed after a second.
    pub fn leave_to_successor(&self) {
        self.lock().is_replaced = true;
        for pool in self.matching_pools(&Filter::all()) {
            let settings = pool.lock().settings.for_replaced_process();
            pool.configure(&Arc::new(settings));
        }
    }

    /// How many backends of an endpoint sessions have leased.
    #[must_use]
    pub fn leased(&self, endpoint: &EndpointName) -> usize {
        let registry = self.lock();
        let pools = registry.pools.values().filter(|entry| entry.pool.target().endpoint == *endpoint);
        pools.map(|entry| entry.pool.levels().backends[PoolBackendState::Leased.index()]).sum()
    }

    /// True if a pool holds a backend of `endpoint`.
    #[must_use]
    pub fn has_backends(&self, endpoint: &EndpointName) -> bool {
        let registry = self.lock();
        let mut pools = registry.pools.values().filter(|entry| entry.pool.target().endpoint == *endpoint);
        pools.any(|entry| entry.pool.lock().slots.live_count() > 0)
    }

    /// All pools.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Pool>> {
        self.lock().pools.values().map(|entry| Arc::clone(&entry.pool)).collect()
    }

    /// Pauses current and future pools that match: sessions wait until resume. Returns the number of current pools.
    /// [`Pools::quiet`] waits until every backend is returned.
    pub fn pause(&self, filter: &Filter) -> usize {
        self.set_phase(filter, PoolPhase::Paused)
    }

    /// Like [`Pools::pause`], and closes returned backends.
    pub fn drain(&self, filter: &Filter) -> usize {
        self.set_phase(filter, PoolPhase::Draining)
    }

    /// Phases of new pools by filter, as set by operators; the last match wins.
    #[must_use]
    pub fn phases(&self) -> Vec<(Filter, PoolPhase)> {
        self.lock().orders.clone()
    }

    /// Sets a phase of [`Pools::phases`] of another process.
    pub fn restore_phase(&self, filter: &Filter, phase: PoolPhase) {
        self.set_phase(filter, phase);
    }

    /// Pools that match give out backends again. How many there are.
    pub fn resume(&self, filter: &Filter) -> usize {
        self.set_phase(filter, PoolPhase::Open)
    }

    /// Closes all backends of matching pools: idle backends now, leased backends on return. Returns the number of
    /// pools.
    pub fn reconnect(&self, filter: &Filter) -> usize {
        let pools = self.matching_pools(filter);
        for pool in &pools {
            pool.renew();
        }
        pools.len()
    }

    /// Removes the pools of an endpoint with changed settings, credentials, trust or role, or of a removed endpoint,
    /// and closes the backends as [`Pools::reconnect`] does. Waiters get [`LeaseError::Withdrawn`].
    pub fn withdraw(&self, endpoint: &EndpointName) -> usize {
        let filter = Filter::endpoint(endpoint.clone());
        let mut gone = Vec::new();
        let mut registry = self.lock();
        registry.endpoints.remove(endpoint);
        registry.pools.retain(|target, entry| {
            let stays = !filter.matches(target);
            if !stays {
                gone.push((Arc::clone(&entry.pool), entry.shown));
                gone.extend(
                    entry.replacement.take().map(|replacement| (replacement.pool, Levels::default())),
                );
            }
            stays
        });
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter_phase(PoolPhase::Withdrawn);
            self.update_metrics(pool, *shown, Levels::default());
        }
        gone.len()
    }

    /// Process shutdown: no more leases, and idle backends are closed.
    pub fn shutdown(&self) {
        self.lock().closed = true;
        for pool in self.matching_pools(&Filter::all()) {
            pool.enter_phase(PoolPhase::Closed);
        }
    }

    /// Waits until no backend of the matching paused pools is leased.
    ///
    /// Cancel safe.
    pub async fn quiet(&self, filter: &Filter) {
        loop {
            let next = self.quiet.notified();
            if self.matching_pools(filter).iter().all(|pool| pool.is_quiet()) {
                return;
            }
            next.await;
        }
    }

    /// Backends of an endpoint's pools, and the limit.
    #[must_use]
    pub fn budget(&self, endpoint: &EndpointName) -> (usize, Option<usize>) {
        let budget = self.lock().budgets.get(endpoint).map(Arc::clone);
        budget.map_or((0, None), |budget| budget.taken_and_limit())
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    pub(super) fn report_event(&self, target: &PoolKey, running: &BackendHandle, event: BackendEvent) {
        (self.events)(target, running, event);
    }

    pub(super) fn spawn(&self, worker: usize, name: &'static str, work: Work) {
        (self.spawn)(worker, name, work);
    }

    pub(super) fn notify_quiet(&self) {
        self.quiet.notify_waiters();
    }

    /// Takes the longest idle backend of another pool of the endpoint, for `pool`.
    pub(super) fn take_permit_from_others(&self, pool: &Arc<Pool>) -> Option<Permit> {
        self.steal_among(pool, &Filter::endpoint(pool.target.endpoint.clone()))
    }

    /// As [`Pools::take_permit_from_others`], for a login refused by a full server. For a limit of the role or the
    /// database, evicts only a backend of the role or database.
    pub(super) fn evict_for(&self, pool: &Arc<Pool>, full: &ConnectError) -> Option<Permit> {
        let mut among = Filter::endpoint(pool.target.endpoint.clone());
        match full
            .refused()
            .and_then(|refused| refused.response.fault().field(b'R').map(<[u8]>::to_vec))
            .as_deref()
        {
            Some(ROLE_LIMIT) => among.user = Some(pool.target.user.clone()),
            Some(DATABASE_LIMIT) => among.database = Some(pool.target.database.clone()),
            _ => {}
        }
        self.steal_among(pool, &among)
    }

    fn steal_among(&self, pool: &Arc<Pool>, among: &Filter) -> Option<Permit> {
        let others = self.matching_pools(among);
        let others = others.into_iter().filter(|other| !Arc::ptr_eq(other, pool));
        let (_, victim) = others
            .filter_map(|other| {
                let since = other.lock().slots.longest_idle()?;
                Some((since, other))
            })
            .min_by_key(|(since, _)| *since)?;
        victim.evict_idle()
    }

    /// Offers returned permits of the endpoint's budget to pools without backends, then to the pool with the longest
    /// wait.
    pub(super) fn redistribute(&self, endpoint: &EndpointName, worker: usize) {
        let mut hungry = self.matching_pools(&Filter::endpoint(endpoint.clone()));
        hungry.retain(|pool| pool.is_under_pressure());
        hungry.sort_by_cached_key(|pool| {
            let state = pool.lock();
            (state.slots.used_count() > 0, state.queue.longest_wait_start())
        });
        for pool in hungry {
            pool.dial_needed(worker);
        }
    }

    /// Maintains the backends and waiters of the current worker `worker`.
    pub(super) fn tick(&self, worker: usize) {
        let now = Instant::now();
        for pool in self.matching_pools(&Filter::all()) {
            pool.tick(worker, now);
        }
        if worker == 0 {
            self.hand_over(now);
            self.tick_renewals(now);
            self.remove_unused(now);
        }
    }

    /// Removes unused pools, and updates the metrics of the others.
    fn remove_unused(&self, now: Instant) {
        let mut registry = self.lock();
        let mut waits = OldestWaits::default();
        registry.pools.retain(|_, PoolEntry { pool, shown, replacement }| {
            let state = pool.lock();
            let limit = if state.answered.is_some() { UNUSED_POOL_LIFETIME } else { LOGINLESS_POOL_LIFETIME };
            let empty = state.empty_since.filter(|_| replacement.is_none());
            drop(state);
            let forgotten = empty.is_some_and(|since| now.saturating_duration_since(since) >= limit)
                && Arc::strong_count(pool) == 1;
            let levels = if forgotten { Levels::default() } else { pool.levels() };
            self.update_metrics(pool, *shown, levels);
            *shown = levels;
            waits.note_wait(&pool.metrics, levels.oldest_wait);
            !forgotten
        });
        waits.publish(&registry.waits, now);
        registry.waits = waits;
    }

    pub(super) fn update_metrics(&self, pool: &Pool, before: Levels, now: Levels) {
        if before == now {
            return;
        }
        pool.metrics.pool_levels(
            |state| (before.backends[state.index()], now.backends[state.index()]),
            (before.waiting, now.waiting),
            (before.limit, now.limit),
        );
    }

    fn set_phase(&self, filter: &Filter, phase: PoolPhase) -> usize {
        {
            let orders = &mut self.lock().orders;
            orders.retain(|(older, _)| !filter.covers(older));
            if phase != PoolPhase::Open || !orders.is_empty() {
                orders.push((filter.clone(), phase));
            }
        }
        let pools = self.matching_pools(filter);
        for pool in &pools {
            pool.enter_phase(phase);
        }
        pools.len()
    }

    pub(super) fn matching_pools(&self, filter: &Filter) -> Vec<Arc<Pool>> {
        let registry = self.lock();
        let matching = registry.pools.iter().filter(|(target, _)| filter.matches(target));
        matching
            .flat_map(|(_, entry)| {
                [Some(&entry.pool), entry.replacement.as_ref().map(|it| &it.pool)].into_iter().flatten()
            })
            .map(Arc::clone)
            .collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PoolTable> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Other settings, from now on.
    fn configure(self: &Arc<Self>, settings: &Arc<PoolSettings>) {
        let mut state = self.lock();
        if Arc::ptr_eq(&state.settings, settings) || state.settings == *settings {
            return;
        }
        state.settings = Arc::clone(settings);
        drop(state);
        self.run_deferred(
            crate::tasks::current_worker(),
            DeferredActions { grow: true, ..DeferredActions::default() },
        );
    }

    /// Enters another phase; the final phases are never left.
    pub(super) fn enter_phase(self: &Arc<Self>, phase: PoolPhase) {
        let mut after = DeferredActions { grow: true, quiet: true, ..DeferredActions::default() };
        let mut guard = self.lock();
        let state: &mut PoolState = &mut guard;
        if matches!(state.phase, PoolPhase::Withdrawn | PoolPhase::Closed) {
            return;
        }
        state.phase = phase;
        match phase {
            PoolPhase::Withdrawn => state.fail_waiters(&LeaseError::Withdrawn, &mut after),
            PoolPhase::Closed => state.fail_waiters(&LeaseError::Closed, &mut after),
            PoolPhase::Open => {
                state.restart_estimate(state.now);
                self.serve_waiters(state, &mut after);
            }
            PoolPhase::Paused | PoolPhase::Draining => {}
        }
        self.sort_out_all(state, &mut after);
        drop(guard);
        if matches!(phase, PoolPhase::Withdrawn | PoolPhase::Closed) {
            self.ended.notify_waiters();
        }
        self.run_deferred(crate::tasks::current_worker(), after);
    }

    /// Hands idle backends to waiters.
    fn serve_waiters(self: &Arc<Self>, state: &mut PoolState, after: &mut DeferredActions) {
        let now = state.now;
        while !state.queue.is_empty() {
            let Some((place, member)) = state.slots.take_longest_idle(now) else { return };
            self.place_backend(state, place, member, after);
        }
    }

    /// Backends logged in until now are not used again.
    pub(super) fn renew(self: &Arc<Self>) {
        let mut after = DeferredActions { grow: true, ..DeferredActions::default() };
        let mut guard = self.lock();
        let state: &mut PoolState = &mut guard;
        state.epoch += 1;
        state.startup_response = None;
        self.sort_out_all(state, &mut after);
        drop(guard);
        self.run_deferred(crate::tasks::current_worker(), after);
    }

    /// Closes the idle backend that was used longest ago, for another pool.
    fn evict_idle(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.lock();
        let now = state.now;
        let (place, member) = state.slots.take_longest_idle(now)?;
        let record = state.slots.free_slot(place, now).flatten();
        drop(state);
        self.metrics.backend_closed(CloseReason::Shared);
        self.report_event(&member.running, BackendEvent::Closed(CloseReason::Shared));
        member.close();
        record.map(|record| record.permit)
    }
}
