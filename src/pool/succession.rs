//! Pools that take the places of others when an endpoint's settings or certificates change: new backends are made before old
//! ones go.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Filter, Pool, PoolPhase, Pools, registry::Entry, status::Levels};
use crate::{backend::EndpointHandle, names::EndpointName};

/// A pool that is to take another one's place.
pub(super) struct Successor {
    pub(super) pool: Arc<Pool>,
    /// Backends that it makes before.
    wanted: usize,
    since: Instant,
}

/// Backends that a successor makes at most before it takes over: it makes the others as they are needed.
const MAX_PREPARED_BACKENDS: usize = 8;
/// After so long it begins to: logins of earlier successors have given their room in the budget back by then. Until they have,
/// new ones would take that of the old pool's backends.
const PREPARATION_DELAY: Duration = Duration::from_millis(50);
/// After so long fewer are enough.
const PREPARATION: Duration = Duration::from_secs(5);
/// After so long old backends go though the new settings let nobody in: they may have been taken back for a reason.
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);

impl Entry {
    /// True if the pool, or the one that is to take its place, goes that way to its endpoint.
    pub(super) fn leads_to(&self, endpoint: &EndpointHandle) -> bool {
        self.newest().endpoint.same(endpoint)
    }

    /// The pool, or the one that is to take its place.
    fn newest(&self) -> &Pool {
        self.successor.as_ref().map_or(&self.pool, |successor| &successor.pool)
    }
}

impl Pools {
    /// `endpoint` takes the place of another way to the same endpoint. Each of its pools serves on until one with new
    /// backends can take its place, for [`HANDOVER_LIMIT`] at most.
    pub fn replace(self: &Arc<Self>, endpoint: &EndpointHandle) {
        self.lock().endpoints.insert(endpoint.name().clone(), endpoint.clone());
        self.replace_pools(endpoint.name(), |entry| (!entry.leads_to(endpoint)).then(|| endpoint.clone()));
    }

    /// Logins to the endpoint rely on other certificates or authorities from now on, on the same way to it. Its pools serve on as
    /// with [`Pools::replace`].
    pub fn replace_backends(self: &Arc<Self>, endpoint: &EndpointName) {
        self.replace_pools(endpoint, |entry| Some(entry.newest().endpoint.clone()));
    }

    /// Makes successors of an endpoint's pools, with the way to it that `way` gives for those that are to have one.
    fn replace_pools(
        self: &Arc<Self>,
        endpoint: &EndpointName,
        way: impl Fn(&Entry) -> Option<EndpointHandle>,
    ) {
        let now = Instant::now();
        let filter = Filter::endpoint(endpoint.clone());
        let mut gone = Vec::new();
        let mut registry = self.lock();
        registry.pools.retain(|target, entry| {
            if !filter.matches(target) {
                return true;
            }
            let Some(endpoint) = way(entry) else { return true };
            gone.extend(entry.successor.take().map(|successor| (successor.pool, Levels::default())));
            let state = entry.pool.lock();
            let (live, phase, settings) = (state.slots.live(), state.phase, Arc::clone(&state.settings));
            drop(state);
            if phase != PoolPhase::Open || live == 0 {
                gone.push((Arc::clone(&entry.pool), entry.shown));
                return false;
            }
            let budget = Arc::clone(&entry.pool.budget);
            budget.set_limit(endpoint.settings().pooled_backends());
            let wanted = live.min(MAX_PREPARED_BACKENDS).min(settings.size);
            let pool = Pool::new(target.clone(), endpoint, settings, phase, self, budget);
            entry.successor = Some(Successor { pool: Arc::new(pool), wanted, since: now });
            true
        });
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter(PoolPhase::Withdrawn);
            self.show(pool, *shown, Levels::default());
        }
    }

    /// Lets successors take over that are ready.
    pub(super) fn hand_over(&self, now: Instant) {
        let mut gone = Vec::new();
        let mut registry = self.lock();
        for entry in registry.pools.values_mut() {
            let Some(successor) = entry.successor.take_if(|successor| {
                let waited = now.saturating_duration_since(successor.since);
                let mut state = successor.pool.lock();
                if waited >= PREPARATION_DELAY {
                    state.prepared = successor.wanted;
                }
                let ready = state.slots.live();
                drop(state);
                ready >= successor.wanted
                    || (ready > 0 && waited >= PREPARATION)
                    || waited >= HANDOVER_LIMIT
                    || entry.pool.lock().slots.live() == 0
            }) else {
                continue;
            };
            successor.pool.lock().prepared = 0;
            gone.push((std::mem::replace(&mut entry.pool, successor.pool), entry.shown));
            entry.shown = Levels::default();
        }
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter(PoolPhase::Withdrawn);
            self.show(pool, *shown, Levels::default());
        }
    }
}
