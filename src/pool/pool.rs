//! Backends of a pool key, with the waiters.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    AcquireOptions, BackendEvent, BackendHandle, Disposition, Lease, LeaseError, PoolKey, PoolPhase,
    PoolSettings, Pools, StartupResponse, WaitTerms, Waiter,
    absence::AbsenceState,
    budget::{Budget, BudgetPressure},
    maintenance::Maintenance,
    overload::OverloadDetector,
    pooled_backend::PooledBackend,
    queue::{Queue, WaitTimes},
    slots::{SlotKey, Slots},
    state::{ClosedBackend, DeferredActions, PoolState},
    waiter::Queued,
};
use crate::{
    backend::EndpointHandle,
    telemetry::{PathCounts, PathMetrics, labels::CloseReason},
    tls::Quiet,
};

/// Backends of a pool key, with the waiters.
pub struct Pool {
    pub(super) target: PoolKey,
    pub(super) endpoint: EndpointHandle,
    pub(super) pools: Weak<Pools>,
    pub(super) budget: Arc<Budget>,
    pub(super) pressure: Mutex<BudgetPressure>,
    pub(super) metrics: Arc<PathMetrics>,
    /// By worker.
    counts: Box<[Arc<PathCounts>]>,
    state: Mutex<PoolState>,
    /// Notified when the pool is withdrawn or closed: its logins have no waiter.
    pub(super) ended: Notify,
    /// Notified when the server answers again: older logins may never end.
    pub(super) redial: Notify,
    /// Total waiting time of sessions in microseconds, and the number of waits.
    pub(super) waited: AtomicU64,
    pub(super) waits: AtomicU64,
}

impl Pool {
    pub(super) fn new(
        target: PoolKey,
        endpoint: EndpointHandle,
        settings: Arc<PoolSettings>,
        phase: PoolPhase,
        home: &Arc<Pools>,
        budget: Arc<Budget>,
    ) -> Self {
        let metrics = home.metrics().path(&target.listener, endpoint.endpoint());
        let workers = home.workers();
        let now = Instant::now();
        let state = PoolState {
            settings,
            phase,
            slots: Slots::new(workers),
            queue: Queue::new(workers),
            overload: OverloadDetector::new(),
            now,
            epoch: 0,
            startup_response: None,
            login_backoff: None,
            absence: AbsenceState::new(now),
            answered: None,
            idle_pause_until: None,
            prepared: 0,
            leases: 0,
            empty_since: None,
        };
        Self {
            target,
            endpoint,
            pools: Arc::downgrade(home),
            budget,
            pressure: Mutex::new(BudgetPressure::None),
            counts: (0..workers).map(|worker| metrics.of(worker)).collect(),
            metrics,
            state: Mutex::new(state),
            ended: Notify::new(),
            redial: Notify::new(),
            waited: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// The pool key.
    #[must_use]
    pub fn target(&self) -> &PoolKey {
        &self.target
    }

    /// The endpoint's handle.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointHandle {
        &self.endpoint
    }

    /// The current settings.
    #[must_use]
    pub fn settings(&self) -> Arc<PoolSettings> {
        Arc::clone(&self.lock().settings)
    }

    /// True if the pool no longer serves sessions.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.lock().phase, PoolPhase::Withdrawn | PoolPhase::Closed)
    }

    /// Reports of the server at the newest login, as a greeting for clients. `None` before the first login, and after a
    /// backend has reported a change.
    #[must_use]
    pub fn startup_response(&self) -> Option<Arc<StartupResponse>> {
        self.lock().startup_response.clone()
    }

    /// An idle backend, if there is one without waiters. Call on the worker named by `want`.
    pub fn try_lease(self: &Arc<Self>, want: &AcquireOptions) -> Option<Lease> {
        let mut after = DeferredActions::default();
        let mut state = self.lock();
        let taken = self.take(&mut state, want, &mut after);
        drop(state);
        if !after.closed.is_empty() {
            self.run_deferred(want.worker, after);
        }
        let (place, member) = taken?;
        if let Some(counts) = self.counts.get(want.worker) {
            counts.pool_wait(Duration::ZERO);
        }
        Lease::new(Arc::clone(self), place, member).moved_to(want.worker)
    }

    /// Queues `waiter` up, which does not wait yet, and dials as needed. To be called on the worker that `want` names.
    pub fn wait(self: &Arc<Self>, waiter: &mut Waiter, want: &AcquireOptions) {
        let now = Instant::now();
        let times = WaitTimes::of(&want.terms, now);
        let terms = WaitTerms { since: Some(times.since), unserved_since: Some(times.rank), ..want.terms };
        let want = &AcquireOptions { terms, ..*want };
        let mut queued = Queued { pool: Arc::clone(self), want: *want, ticket: None };
        let mut after = DeferredActions::default();
        let mut state = self.lock();
        // The last absence may have ended since the last tick: a later one concerns the waiter.
        state.update_absence(now, &mut after);
        let absence = if want.terms.holds { state.absence() } else { None };
        let login_error = || state.login_error(now).filter(|_| absence.is_none());
        if let Some(error) = state.end_error().or_else(login_error) {
            // Not polled yet: there is no waker.
            waiter.wait_cell().fail_wait(error);
        } else if let Some((place, member)) = self.take(&mut state, want, &mut after) {
            waiter.wait_cell().grant_lease(Lease::new(Arc::clone(self), place, member));
        } else if want.terms.is_refusable
            && let Some(estimate) = state.wait_estimate(now, times.rank)
        {
            self.metrics.pool_wait_timed_out();
            let limit = state.settings.query_wait_timeout;
            waiter.wait_cell().fail_wait(LeaseError::Overloaded { estimate, limit });
        } else {
            if let Some(reason) = absence {
                // Not polled yet: there is no waker.
                waiter.wait_cell().notify_absence(reason);
            }
            if state.queue.is_empty() {
                state.restart_estimate(now);
            }
            let cell = Arc::clone(waiter.wait_cell());
            queued.ticket = Some(state.queue.join(want.worker, times, want.terms.holds, cell));
            // A full pool cannot grow.
            after.grow = state.slots.used_count() < state.settings.size;
        }
        drop(state);
        waiter.enqueue(queued);
        self.run_deferred(want.worker, after);
    }

    /// Takes an idle backend out that is still good.
    fn take(
        &self,
        state: &mut PoolState,
        want: &AcquireOptions,
        after: &mut DeferredActions,
    ) -> Option<(SlotKey, PooledBackend)> {
        if !state.queue.is_empty() || state.phase != PoolPhase::Open {
            return None;
        }
        let now = state.now;
        loop {
            let (place, member) = state.slots.take(&want.preferences(), now)?;
            let reason = match member.quiet() {
                Quiet::Yes => {
                    state.leases += 1;
                    return Some((place, member));
                }
                Quiet::Spoke => {
                    state.startup_response = None;
                    CloseReason::Broken
                }
                Quiet::Ended => CloseReason::Broken,
            };
            let record = state.slots.free_slot(place, now).flatten();
            after.add_closed(Some(member), record, reason);
        }
    }

    /// A lease ended in order.
    pub(super) fn give_back(
        self: &Arc<Self>,
        place: SlotKey,
        member: PooledBackend,
        disposition: Disposition,
    ) {
        let maintenance = match disposition {
            Disposition::Discard => {
                member.close();
                return self.discard_lost(place, CloseReason::Discarded);
            }
            Disposition::Reset => Maintenance::Reset,
            Disposition::Clean if member.running.was_cancelled() => Maintenance::Settle,
            Disposition::Clean => return self.put_back(place, member),
        };
        let mut state = self.lock();
        let now = state.now;
        if member.running.is_being_cancelled() {
            let running = Arc::clone(&member.running);
            let slot = place.index;
            state.slots.park_backend(place, member, now);
            if let Some(record) = state.slots.record_at_mut(slot) {
                record.maintenance = maintenance;
            }
            drop(state);
            // The last cancel request may have ended before the backend was parked.
            if !running.is_being_cancelled() {
                self.cancels_ended(slot, &running);
            }
            return;
        }
        state.slots.work_on(place, Self::occupancy_during(maintenance), now);
        drop(state);
        self.start_maintenance(place, member, maintenance, Vec::new());
    }

    /// Called after the last pending cancel request to the backend in the slot.
    pub(super) fn cancels_ended(self: &Arc<Self>, slot: u32, running: &Arc<BackendHandle>) {
        let mut state = self.lock();
        let Some(record) = state.slots.record_at(slot) else { return };
        let maintenance = record.maintenance;
        if !Arc::ptr_eq(&record.running, running) || running.is_being_cancelled() {
            return;
        }
        let Some((place, member)) = state.slots.resume(slot) else { return };
        let now = state.now;
        state.slots.work_on(place, Self::occupancy_during(maintenance), now);
        drop(state);
        self.start_maintenance(place, member, maintenance, Vec::new());
    }

    /// Hands a clean backend to the next waiter, or makes the backend idle.
    pub(super) fn put_back(self: &Arc<Self>, place: SlotKey, member: PooledBackend) {
        let worker = member.worker;
        let mut after = DeferredActions::default();
        let mut state = self.lock();
        self.place_backend(&mut state, place, member, &mut after);
        drop(state);
        self.run_deferred(worker, after);
    }

    /// Finds a place for a free backend.
    pub(super) fn place_backend(
        self: &Arc<Self>,
        state: &mut PoolState,
        place: SlotKey,
        member: PooledBackend,
        after: &mut DeferredActions,
    ) {
        self.place_since(state, place, member, None, after);
    }

    /// As [`Pool::place_backend`], for a backend at rest since `since` and not leased to a session meanwhile.
    pub(super) fn place_since(
        self: &Arc<Self>,
        state: &mut PoolState,
        place: SlotKey,
        member: PooledBackend,
        since: Option<Instant>,
        after: &mut DeferredActions,
    ) {
        let now = state.now;
        state.answered = Some(now);
        let unfit = match state.slots.record(place) {
            Some(record) => state.close_reason(record),
            None => Some(CloseReason::Discarded),
        };
        let serves = state.phase == PoolPhase::Open && !state.queue.is_empty();
        let reason = match unfit {
            Some(reason) => reason,
            None if serves && self.budget.is_wanted_badly() && state.slots.used_count() > 1 => {
                CloseReason::Shared
            }
            None if serves => {
                if let Some(entry) = state.queue.next(member.worker, Instant::now) {
                    state.leases += 1;
                    let backends = state.slots.live_count();
                    state.overload.note_grant(now, backends);
                    let place = state.slots.pass_on(place, now);
                    after.add_waker(entry.who.grant_lease(Lease::new(Arc::clone(self), place, member)));
                }
                return;
            }
            None if self.budget.is_wanted() && !self.is_under_pressure() => CloseReason::Shared,
            None => {
                let (worker, mark) = (member.worker, member.tracked_state.settings_mark());
                match since {
                    None => state.slots.make_idle(place, member, worker, mark, now),
                    Some(since) => state.slots.make_idle_since(place, member, worker, mark, since),
                }
                after.quiet = state.phase != PoolPhase::Open;
                return;
            }
        };
        let record = state.slots.free_slot(place, now).flatten();
        after.add_closed(Some(member), record, reason);
        after.grow = true;
        after.quiet = state.phase != PoolPhase::Open;
    }

    /// The backend of that use is closed.
    pub(super) fn discard_lost(self: &Arc<Self>, place: SlotKey, reason: CloseReason) {
        self.free_and_close(place, reason, DeferredActions { grow: true, ..DeferredActions::default() });
    }

    /// Called when work on a backend, or on a login, was dropped.
    pub(super) fn discard_abandoned(self: &Arc<Self>, place: SlotKey) {
        self.free_and_close(place, CloseReason::Broken, DeferredActions::default());
    }

    fn free_and_close(self: &Arc<Self>, place: SlotKey, reason: CloseReason, mut after: DeferredActions) {
        let mut state = self.lock();
        let now = state.now;
        if let Some(record) = state.slots.free_slot(place, now) {
            after.add_closed(None, record, reason);
        }
        after.quiet = state.phase != PoolPhase::Open;
        drop(state);
        self.run_deferred(crate::tasks::current_worker(), after);
    }

    /// A waiter left.
    pub(super) fn remove_waiter(&self, worker: usize, rank: Instant, ticket: u64) {
        self.lock().queue.leave(worker, rank, ticket);
    }

    /// Counts a session of `worker` that got a backend after waiting.
    pub(super) fn count_wait(&self, worker: usize, waited: Duration) {
        self.waits.fetch_add(1, Relaxed);
        self.waited.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Relaxed);
        if let Some(counts) = self.counts.get(worker) {
            counts.pool_wait(waited);
        }
    }

    /// The newest login's words are out of date.
    pub(super) fn forget_startup_response(&self) {
        self.lock().startup_response = None;
    }

    pub(super) fn report_event(&self, running: &BackendHandle, event: BackendEvent) {
        if let Some(pools) = self.pools.upgrade() {
            pools.report_event(&self.target, running, event);
        }
    }

    /// Runs the actions deferred until the lock is released.
    pub(super) fn run_deferred(self: &Arc<Self>, worker: usize, after: DeferredActions) {
        let DeferredActions { wake, wake_too, closed, grow, quiet } = after;
        for waker in wake.into_iter().chain(wake_too) {
            waker.wake();
        }
        let freed = !closed.is_empty();
        for ClosedBackend { member, record, reason } in closed {
            // A failed login has a counter of its own.
            if let Some(record) = &record {
                self.metrics.backend_closed(reason);
                self.report_event(&record.running, BackendEvent::Closed(reason));
            }
            if let Some(member) = member {
                member.close();
            }
        }
        // Other pools first: the backend may have been closed to serve another pool.
        if freed
            && self.budget.is_wanted()
            && let Some(pools) = self.pools.upgrade()
        {
            pools.redistribute(&self.target.endpoint, worker);
        }
        if grow {
            self.dial_needed(worker);
        }
        if quiet && let Some(pools) = self.pools.upgrade() {
            pools.notify_quiet();
        }
    }

    /// True if a session waits for a backend of the pool, or another pool of the endpoint waits for the budget.
    pub(super) fn is_wanted(&self) -> bool {
        self.budget.is_wanted() || !self.lock().queue.is_empty()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on `worker`; without effect at process shutdown.
    pub(super) fn spawn(
        &self,
        worker: usize,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        if let Some(pools) = self.pools.upgrade() {
            pools.spawn(worker, name, Box::pin(work));
        }
    }
}
