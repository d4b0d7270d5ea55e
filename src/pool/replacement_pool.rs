//! Replaces pools when an endpoint's settings or certificates change: new backends are made before old backends are
//! closed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Filter, Pool, PoolPhase, Pools, registry::PoolEntry, status::Levels};
use crate::{backend::EndpointHandle, names::EndpointName};

/// Pool that will replace a pool.
pub(super) struct ReplacementPool {
    pub(super) pool: Arc<Pool>,
    /// Backends made before the handover.
    wanted: usize,
    since: Instant,
}

/// Maximum number of backends made before the handover; later backends are made on demand.
const MAX_PREPARED_BACKENDS: usize = 8;
/// Delay before preparation: logins of earlier replacements have then returned their permits to the budget. Without the
/// delay, new logins would take the permits of the old pool's backends.
const PREPARATION_DELAY: Duration = Duration::from_millis(50);
/// Time after which fewer backends are enough.
const PREPARATION_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which old backends are closed even if the new settings admit no login: the old settings may have been
/// withdrawn for a reason.
const HANDOVER_LIMIT: Duration = Duration::from_secs(60);

impl PoolEntry {
    /// True if the pool, or the replacement, uses `endpoint`.
    pub(super) fn leads_to(&self, endpoint: &EndpointHandle) -> bool {
        self.newest_pool().endpoint.same(endpoint)
    }

    /// Returns the replacement, or the pool if there is none.
    fn newest_pool(&self) -> &Pool {
        self.replacement.as_ref().map_or(&self.pool, |replacement| &replacement.pool)
    }
}

impl Pools {
    /// Replaces a handle of the same endpoint with `endpoint`. Each pool serves until a replacement with new backends
    /// is ready, for [`HANDOVER_LIMIT`] at most.
    pub fn replace(self: &Arc<Self>, endpoint: &EndpointHandle) {
        self.lock().endpoints.insert(endpoint.name().clone(), endpoint.clone());
        self.replace_pools(endpoint.name(), |entry| (!entry.leads_to(endpoint)).then(|| endpoint.clone()));
    }

    /// Replaces backends after a change of certificates or authorities; the endpoint handle stays. Pools serve on as
    /// with [`Pools::replace`].
    pub fn replace_backends(self: &Arc<Self>, endpoint: &EndpointName) {
        self.replace_pools(endpoint, |entry| Some(entry.newest_pool().endpoint.clone()));
    }

    /// Creates replacements of an endpoint's pools. `way` returns the replacement's endpoint handle, or `None` to keep
    /// the pool.
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
            gone.extend(entry.replacement.take().map(|replacement| (replacement.pool, Levels::default())));
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
            entry.replacement = Some(ReplacementPool { pool: Arc::new(pool), wanted, since: now });
            true
        });
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter_phase(PoolPhase::Withdrawn);
            self.update_metrics(pool, *shown, Levels::default());
        }
    }

    /// Hands over to replacements that are ready.
    pub(super) fn hand_over(&self, now: Instant) {
        let mut gone = Vec::new();
        let mut registry = self.lock();
        for entry in registry.pools.values_mut() {
            let Some(replacement) = entry.replacement.take_if(|replacement| {
                let waited = now.saturating_duration_since(replacement.since);
                let mut state = replacement.pool.lock();
                if waited >= PREPARATION_DELAY {
                    state.prepared = replacement.wanted;
                }
                let ready = state.slots.live_count();
                drop(state);
                ready >= replacement.wanted
                    || (ready > 0 && waited >= PREPARATION_TIMEOUT)
                    || waited >= HANDOVER_LIMIT
                    || entry.pool.lock().slots.live_count() == 0
            }) else {
                continue;
            };
            replacement.pool.lock().prepared = 0;
            gone.push((std::mem::replace(&mut entry.pool, replacement.pool), entry.shown));
            entry.shown = Levels::default();
        }
        drop(registry);
        for (pool, shown) in &gone {
            pool.enter_phase(PoolPhase::Withdrawn);
            self.update_metrics(pool, *shown, Levels::default());
        }
    }
}
