//! Replaces pools when an endpoint's settings or certificates change: new backends are made before old backends are
//! closed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Filter, Pool, PoolPhase, Pools, registry::PoolEntry, status::Levels};
use crate::{backend::EndpointHandle, names::EndpointName};

/// Pool that will replace a pool.
pub(super) struct Successor {
    pub(super) pool: Arc<Pool>,
    /// Backends made before the handover.
    wanted: usize,
    since: Instant,
}

/// Maximum number of backends made before the handover; later backends are made on demand.
const MAX_PREPARED_BACKENDS: usize = 8;
/// Delay before preparation: logins of earlier successors have then returned their permits to the budget. Without the
/// delay, new logins would take the permits of the old pool's backends.
const PREPARATION_DELAY: Duration = Duration::from_millis(50);
/// Time after which fewer backends are enough.
const PREPARATION_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which old backends are closed even if the new settings admit no login: the old settings may have been
/// withdrawn for a reason.
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);

impl PoolEntry {
    /// True if the pool, or the successor, uses `endpoint`.
    pub(super) fn leads_to(&self, endpoint: &EndpointHandle) -> bool {
        self.newest_pool().endpoint.same(endpoint)
    }

    /// Returns the successor, or the pool if there is none.
    fn newest_pool(&self) -> &Pool {
        self.successor.as_ref().map_or(&self.pool, |successor| &successor.pool)
    }
}

impl Pools {
    /// Replaces a handle of the same endpoint with `endpoint`. Each pool serves until a successor with new backends is
    /// ready, for [`HANDOVER_LIMIT`] at most.
    pub fn replace(self: &Arc<Self>, endpoint: &EndpointHandle) {
        self.lock().endpoints.insert(endpoint.name().clone(), endpoint.clone());
        self.replace_pools(endpoint.name(), |entry| (!entry.leads_to(endpoint)).then(|| endpoint.clone()));
    }

    /// Replaces backends after a change of certificates or authorities; the endpoint handle stays. Pools serve on as
    /// with [`Pools::replace`].
    pub fn replace_backends(self: &Arc<Self>, endpoint: &EndpointName) {
        self.replace_pools(endpoint, |entry| Some(entry.newest_pool().endpoint.clone()));
    }

    /// Creates successors of an endpoint's pools. `way` returns the successor's endpoint handle, or `None` to keep the
    /// pool.
    fn replace_pools(
        self: &Arc<Self>,
        endpoint: &EndpointName,
        way: impl Fn(&PoolEntry) -> Option<EndpointHandle>,
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
            let (live, phase, settings) =
                (state.slots.live_count(), state.phase, Arc::clone(&state.settings));
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
            pool.enter_phase(PoolPhase::Withdrawn);
            self.update_metrics(pool, *shown, Levels::default());
        }
    }

    /// Hands over to successors that are ready.
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
                let ready = state.slots.live_count();
                drop(state);
                ready >= successor.wanted
                    || (ready > 0 && waited >= PREPARATION_TIMEOUT)
                    || waited >= HANDOVER_LIMIT
                    || entry.pool.lock().slots.live_count() == 0
            }) else {
                continue;
            };
            successor.pool.lock().prepared = 0;
            gone.push((std::mem::replace(&mut entry.pool, successor.pool), entry.shown));
            entry.shown = Levels::default();
        }
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter_phase(PoolPhase::Withdrawn);
            self.update_metrics(pool, *shown, Levels::default());
        }
    }
}
