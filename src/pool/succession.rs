//! Pools that take the places of others when an endpoint's settings change: new backends are made before old ones go.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Filter, Pool, PoolPhase, Pools, registry::Entry, state::Afterwards, status::Levels};
use crate::backend::EndpointHandle;

/// A pool that is to take another one's place.
pub(super) struct Successor {
    pub(super) pool: Arc<Pool>,
    /// Backends that it makes before.
    wanted: usize,
    since: Instant,
}

/// Backends that a successor makes at most before it takes over: it makes the others as they are needed.
const MAX_PREPARED_BACKENDS: usize = 8;
/// After so long fewer are enough.
const PREPARATION: Duration = Duration::from_secs(5);
/// After so long old backends go though the new settings let nobody in: they may have been taken back for a reason.
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);

impl Entry {
    /// True if the pool, or the one that is to take its place, goes that way to its endpoint.
    pub(super) fn leads_to(&self, endpoint: &EndpointHandle) -> bool {
        let newest = self.successor.as_ref().map_or(&self.pool, |successor| &successor.pool);
        newest.endpoint.same(endpoint)
    }
}

impl Pools {
    /// `endpoint` takes the place of another way to the same endpoint. Each of its pools serves on until one with new
    /// backends can take its place, for [`HANDOVER_LIMIT`] at most.
    pub fn replace(self: &Arc<Self>, endpoint: &EndpointHandle) {
        let now = Instant::now();
        let filter = Filter::endpoint(endpoint.name().clone());
        let (mut made, mut gone) = (Vec::new(), Vec::new());
        let mut registry = self.lock();
        registry.endpoints.insert(endpoint.name().clone(), endpoint.clone());
        registry.pools.retain(|target, entry| {
            if !filter.matches(target) || entry.leads_to(endpoint) {
                return true;
            }
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
            let pool = Pool::new(target.clone(), endpoint.clone(), settings, phase, self, budget);
            pool.lock().prepared = wanted;
            let pool = Arc::new(pool);
            made.push(Arc::clone(&pool));
            entry.successor = Some(Successor { pool, wanted, since: now });
            true
        });
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter(PoolPhase::Withdrawn);
            self.show(pool, *shown, Levels::default());
        }
        for pool in made {
            pool.finish(crate::tasks::current_worker(), Afterwards { grow: true, ..Afterwards::default() });
        }
    }

    /// Lets successors take over that are ready.
    pub(super) fn hand_over(&self, now: Instant) {
        let mut gone = Vec::new();
        let mut registry = self.lock();
        for entry in registry.pools.values_mut() {
            let Some(successor) = entry.successor.take_if(|successor| {
                let ready = successor.pool.lock().slots.live();
                let waited = now.saturating_duration_since(successor.since);
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
