//! Renews backends whose logins are out of date after changes to roles or databases.
//!
//! Sessions report their clients' changes. For other changes, an idle backend reads counters of the server's catalogs
//! every [`WATCH_INTERVAL`]. Standbys do not count replayed changes: the writer's counters stand for the whole cluster.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    Pool, Pools,
    maintenance::SlotGuard,
    pooled_backend::PooledBackend,
    slots::{Occupancy, SlotKey},
    state::DeferredActions,
};
use crate::{
    backend::{Columns, QueryError, query},
    names::ClusterName,
    telemetry::labels::CloseReason,
    topology::DeclaredRole,
    wire::DecodeError,
};

/// Last renewals of each cluster's backends, and due renewals.
#[derive(Default)]
pub(super) struct Renewals {
    clusters: Mutex<HashMap<ClusterName, ClusterRenewal>>,
}

#[derive(Default)]
struct ClusterRenewal {
    renewed: Option<Instant>,
    /// Renewals requested by sessions, less one for each [`RENEWAL_INTERVAL`] since `counted`.
    recent: u32,
    counted: Option<Instant>,
    /// Another renewal is due, once fewer than [`MAX_RENEWALS_AT_ONCE`] are recent.
    due: bool,
    /// Counters of the server's catalogs at the last reading.
    counters: Option<u64>,
    /// Start of the last reading.
    watched: Option<Instant>,
    /// The counters moved, and no renewal followed yet.
    moved: bool,
}

/// Renewals of a cluster's backends performed at once; further renewals wait.
const MAX_RENEWALS_AT_ONCE: u32 = 100;
/// Minimum interval between renewals in the long run: scripts may change thousands of roles, and every role may change
/// itself.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(500);
/// Interval between readings of a server's counters.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// Interval between renewals for unreported changes: some systems create and drop roles continuously.
const WATCH_RENEWAL_INTERVAL: Duration = Duration::from_secs(30);
/// Time limit of a reading.
const WATCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without new idle backends after a renewal: a statement that drops or copies a database waits 5 s for the
/// database's last connection to end.
pub(super) const IDLE_PAUSE: Duration = Duration::from_secs(6);

/// Counts changed rows of `pg_authid`, `pg_database`, `pg_db_role_setting` and `pg_auth_members` with an effect on
/// logins. Every role may read the counters. Names are qualified: a session's `search_path` may be in force.
/// <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-STATS-FUNCTIONS>
const COUNTERS_SQL: &str = "SELECT pg_catalog.pg_stat_get_tuples_updated(1260), pg_catalog.pg_stat_get_tuples_deleted(1260), \
     pg_catalog.pg_stat_get_tuples_updated(1262), pg_catalog.pg_stat_get_tuples_deleted(1262), \
     pg_catalog.pg_stat_get_tuples_inserted(2964), pg_catalog.pg_stat_get_tuples_updated(2964), \
     pg_catalog.pg_stat_get_tuples_deleted(2964), pg_catalog.pg_stat_get_tuples_deleted(1261)";
const COUNTER_COUNT: usize = 8;

fn read_counters(row: &[u8]) -> Result<u64, DecodeError> {
    let mut columns = Columns::of(row)?;
    (0..COUNTER_COUNT).try_fold(0_u64, |sum, _| {
        let counter = columns.next()?.and_then(|text| text.parse::<u64>().ok());
        counter.map(|counter| sum.wrapping_add(counter)).ok_or(DecodeError::Invalid("counter"))
    })
}

impl Pools {
    /// Closes the backends of `cluster` after changes to roles or databases: idle backends now, leased backends on
    /// return. Waits only after [`MAX_RENEWALS_AT_ONCE`] recent renewals.
    pub fn renew_cluster(&self, cluster: &ClusterName) {
        let now = Instant::now();
        {
            let mut clusters = self.renewals.lock();
            let renewal = clusters.entry(cluster.clone()).or_default();
            if !renewal.may_renew(now) {
                renewal.due = true;
                return;
            }
            renewal.note_renewal(now);
        }
        self.renew_pools(cluster);
    }

    /// Performs due renewals, and reads the counters of watched writers.
    pub(super) fn tick_renewals(&self, now: Instant) {
        let due: Vec<_> = {
            let mut clusters = self.renewals.lock();
            clusters
                .iter_mut()
                .filter_map(|(cluster, renewal)| {
                    let due = renewal.due && renewal.may_renew(now);
                    let past = |then| now.saturating_duration_since(then) >= WATCH_RENEWAL_INTERVAL;
                    let moved = renewal.moved && renewal.renewed.is_none_or(past);
                    (due || moved).then(|| {
                        renewal.note_renewal(now);
                        cluster.clone()
                    })
                })
                .collect()
        };
        for cluster in due {
            self.renew_pools(&cluster);
        }
        for pool in self.list() {
            let endpoint = pool.endpoint.endpoint();
            if endpoint.role == DeclaredRole::Primary && self.renewals.is_watch_due(&endpoint.cluster, now) {
                pool.watch_counters();
            }
        }
    }

    fn renew_pools(&self, cluster: &ClusterName) {
        for pool in self.list() {
            if pool.endpoint.endpoint().cluster == *cluster {
                pool.endpoint.judge_passwords_again();
                pool.renew_after_change();
            }
        }
    }
}

impl ClusterRenewal {
    fn may_renew(&mut self, now: Instant) -> bool {
        let counted = *self.counted.get_or_insert(now);
        let passed = now.saturating_duration_since(counted).as_millis() / RENEWAL_INTERVAL.as_millis();
        if passed > 0 {
            self.recent = self.recent.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
            self.counted = Some(now);
        }
        self.recent < MAX_RENEWALS_AT_ONCE
    }

    fn note_renewal(&mut self, now: Instant) {
        self.recent += 1;
        (self.renewed, self.due, self.moved) = (Some(now), false, false);
    }
}

impl Renewals {
    fn is_watch_due(&self, cluster: &ClusterName, now: Instant) -> bool {
        let mut clusters = self.lock();
        match clusters.get_mut(cluster) {
            Some(renewal) => {
                renewal.watched.is_none_or(|watched| now.saturating_duration_since(watched) >= WATCH_INTERVAL)
            }
            None => {
                clusters.insert(cluster.clone(), ClusterRenewal::default());
                true
            }
        }
    }

    fn note_watch(&self, cluster: &ClusterName, now: Instant) {
        self.lock().entry(cluster.clone()).or_default().watched = Some(now);
    }

    fn note_counters(&self, cluster: &ClusterName, counters: u64) {
        let mut clusters = self.lock();
        let renewal = clusters.entry(cluster.clone()).or_default();
        renewal.moved |= renewal.counters.is_some_and(|before| before != counters);
        renewal.counters = Some(counters);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterName, ClusterRenewal>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Backends logged in until now are not reused, and no backend is prepared within [`IDLE_PAUSE`].
    fn renew_after_change(self: &Arc<Self>) {
        let mut state = self.lock();
        state.idle_pause_until = Some(Instant::now() + IDLE_PAUSE);
        // Logins refused before may succeed now.
        state.login_backoff = None;
        drop(state);
        self.renew();
    }

    /// Reads the server's counters over an idle backend, if any; the backend keeps the position in the idle order.
    fn watch_counters(self: &Arc<Self>) {
        let Some(pools) = self.pools.upgrade() else { return };
        let cluster = self.endpoint.endpoint().cluster.clone();
        let mut state = self.lock();
        let now = state.now;
        let Some(since) = state.slots.longest_idle() else { return };
        let Some((place, mut member)) = state.slots.take_longest_idle(now) else { return };
        state.slots.work_on(place, Occupancy::Settling, now);
        drop(state);
        pools.renewals.note_watch(&cluster, now);
        let mut guard = SlotGuard { pool: Arc::clone(self), place: Some(place) };
        let worker = member.worker;
        self.spawn(worker, "login watch", async move {
            member.tracked_state.queried();
            let asked = timeout(WATCH_TIMEOUT, query(&mut member.stream, COUNTERS_SQL, read_counters)).await;
            let Some(place) = guard.take_slot() else { return };
            let pool = &guard.pool;
            match asked {
                Ok(Ok(counters)) => {
                    if let Some(pools) = pool.pools.upgrade() {
                        pools.renewals.note_counters(&cluster, counters);
                    }
                    pool.rest_again(place, member, since);
                }
                // Functions may be missing on a managed service.
                Ok(Err(QueryError::Refused { .. } | QueryError::Nothing)) => {
                    pool.rest_again(place, member, since)
                }
                Ok(Err(_)) | Err(_) => {
                    member.close();
                    pool.discard_lost(place, CloseReason::Broken);
                }
            }
        });
    }

    /// Returns a backend to the idle order after internal use, idle since `since`.
    fn rest_again(self: &Arc<Self>, place: SlotKey, member: PooledBackend, since: Instant) {
        let worker = member.worker;
        let mut after = DeferredActions::default();
        let mut state = self.lock();
        self.place_since(&mut state, place, member, Some(since), &mut after);
        drop(state);
        self.run_deferred(worker, after);
    }
}
