//! Turns waiters of an endpoint away, without closing its pools.

use super::{
    Filter, LeaseError, Pool, Pools,
    state::{DeferredActions, PoolState},
};
use crate::names::EndpointName;

// === impl Pools ===

impl Pools {
    /// Ends all waits for backends of `endpoint` with [`LeaseError::Withdrawn`]: the sessions decide on an endpoint again.
    /// The pools keep their backends.
    pub fn turn_waiters_away(&self, endpoint: &EndpointName) {
        for pool in self.matching_pools(&Filter::endpoint(endpoint.clone())) {
            pool.turn_waiters_away();
        }
    }
}

// === impl Pool ===

impl Pool {
    fn turn_waiters_away(self: &std::sync::Arc<Self>) {
        let mut after = DeferredActions::default();
        let mut guard = self.lock();
        let state: &mut PoolState = &mut guard;
        state.fail_waiters(&LeaseError::Withdrawn, &mut after);
        drop(guard);
        self.run_deferred(crate::tasks::current_worker(), after);
    }
}
