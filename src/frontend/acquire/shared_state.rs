//! State shared by the sessions of one listener, database and user.
//!
//! Names needed to predict leftover session state are read before the first session of a database is admitted. A
//! session compares the catalog's epoch with the server's every [`EPOCH_CHECK_INTERVAL`], after any listener's
//! statement with changed definitions, and after a call of an unknown function. The comparison uses the session's own
//! backend, before the session returns the backend. On a difference, the names are read again and the session's texts
//! are classified anew. No client response waits for a comparison. With statement splitting, the database contents are
//! read together with the names. A statement sent without known names pins the session.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use super::catalog;
use crate::{
    backend::QueryError,
    blame::Chain,
    frontend::login::{
        initial_parameter_status::{InitialParameterStatus, InitialParameterStatusCache},
        startup_values::{self, KnownValues, RequestedSettings, StartupValues},
    },
    names::{DatabaseName, ListenerName, UserName},
    pool::{Disposition, Lease, PoolSettings, StartupResponse},
    session::{CatalogInstant, DatabaseState},
    sql::{ClassifierOptions, StatefulNames},
    tasks,
};

/// Shared state by listener, database and user.
#[derive(Default)]
pub struct SharedStateRegistry {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_key: HashMap<Key, Arc<SharedState>, RandomState>,
    /// Counts changes of definitions by database, for all listeners and users together.
    definitions: HashMap<DatabaseName, Arc<AtomicU64>, RandomState>,
    /// Entry count at which unneeded entries are removed.
    sweep_at: usize,
}

type Key = (ListenerName, DatabaseName, UserName);

/// State shared by the sessions of one listener, database and user.
pub(crate) struct SharedState {
    /// Part that the session machines use.
    pub(crate) database_state: Arc<DatabaseState>,
    initial_statuses: Mutex<InitialParameterStatusCache>,
    /// Startup settings as interpreted by the server.
    startup: Mutex<KnownValues>,
    listed: Mutex<Listed>,
    database: DatabaseName,
    began: Instant,
    /// Milliseconds since `began` when the epoch is compared again.
    next: AtomicU64,
    /// Comparisons started so far, and the number of the latest successful comparison.
    comparisons: AtomicU64,
    compared: AtomicU64,
    /// Earliest time of the next reading of the names, in milliseconds since `began`.
    renew_after: AtomicU64,
    /// Held by the session that reads the names.
    looking: tokio::sync::Mutex<()>,
}

/// Listener settings about the database.
#[derive(Clone, PartialEq, Eq)]
struct Listed {
    /// Functions configured to pin a session to the backend.
    functions: Vec<String>,
    /// Classifier options, if statements are split.
    split: Option<ClassifierOptions>,
}

/// Maximum delay until a definition changed outside of the process applies to all new transactions.
const EPOCH_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum delay of a definition change while only backends possibly behind the writer are returned.
const STALE_EPOCH_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Pause between two readings of the names, as a multiple of the reading time; at most [`EPOCH_CHECK_INTERVAL`].
const READ_PAUSE_FACTOR: u32 = 10;
/// Entries kept without a sweep of unneeded entries: a client may name any database.
const MIN_SWEPT_ENTRIES: usize = 64;
/// Time without a session until the entry of a database is removed.
const UNUSED_ENTRY_LIFETIME: Duration = Duration::from_secs(3600);

// === impl SharedStateRegistry ===

impl SharedStateRegistry {
    /// Shared state of the sessions of this listener, database and user. `functions` pin a session; `split` classifies
    /// statements for routing.
    pub(crate) fn get(
        &self,
        listener: &ListenerName,
        database: &DatabaseName,
        user: &UserName,
        functions: &[String],
        split: Option<&ClassifierOptions>,
    ) -> Arc<SharedState> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_key.len() >= known.sweep_at {
            known.by_key.retain(|_, shared| shared.is_needed());
            known.definitions.retain(|_, definitions| Arc::strong_count(definitions) > 1);
            known.sweep_at = MIN_SWEPT_ENTRIES.max(2 * known.by_key.len());
        }
        let definitions = Arc::clone(known.definitions.entry(database.clone()).or_default());
        let key = (listener.clone(), database.clone(), user.clone());
        let shared = known.by_key.entry(key).or_insert_with(|| {
            let mut always = StatefulNames::default();
            for function in functions {
                always.insert(function);
            }
            Arc::new(SharedState {
                database_state: Arc::new(
                    match split {
                        Some(options) => DatabaseState::splitting(always, options),
                        None => DatabaseState::new(always),
                    }
                    .with_definitions(definitions),
                ),
                initial_statuses: Mutex::default(),
                startup: Mutex::default(),
                listed: Mutex::new(Listed { functions: functions.to_vec(), split: split.cloned() }),
                database: database.clone(),
                began: Instant::now(),
                next: AtomicU64::new(0),
                comparisons: AtomicU64::new(0),
                compared: AtomicU64::new(0),
                renew_after: AtomicU64::new(0),
                looking: tokio::sync::Mutex::default(),
            })
        });
        shared.follow(functions, split);
        Arc::clone(shared)
    }

    /// Applies changed settings of `listener` to the listener's sessions from now on, known databases included.
    pub(crate) fn configure(
        &self,
        listener: &ListenerName,
        pool: &PoolSettings,
        split: Option<&ClassifierOptions>,
    ) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, shared) in known.by_key.iter().filter(|((name, ..), _)| name == listener) {
            shared.follow(&pool.pin_on_functions, split);
            shared.database_state.set_strict_isolation(pool.strict_isolation);
        }
    }
}

// === impl SharedState ===

impl SharedState {
    /// True if the entry is in use, or the database is known and was used recently.
    fn is_needed(self: &Arc<Self>) -> bool {
        let overdue = millis(self.began.elapsed()).saturating_sub(self.next.load(Ordering::Relaxed));
        Arc::strong_count(self) > 1
            || Arc::strong_count(&self.database_state) > 1
            || (self.database_state.knows_database() && overdue < millis(UNUSED_ENTRY_LIFETIME))
    }

    /// Returns the initial ParameterStatus for `application` and the startup settings in `startup`. `startup_response`
    /// is the newest login of the client's pool.
    pub(crate) fn initial_status(
        &self,
        startup_response: &Arc<StartupResponse>,
        application: Option<&[u8]>,
        startup: Option<&Arc<StartupValues>>,
    ) -> Arc<InitialParameterStatus> {
        let mut initial_statuses = self.initial_statuses.lock().unwrap_or_else(PoisonError::into_inner);
        initial_statuses.of(startup_response, application, startup)
    }

    /// Returns startup settings as interpreted by the server; `None` if a login must decide. `startup_response` is the
    /// newest login of the client's pool; `lease` gets a backend of the pool.
    ///
    /// Cancel safety: dropped half-way, a leased backend is closed.
    ///
    /// # Errors
    /// Errors of `lease`.
    pub(crate) async fn startup_values<E>(
        &self,
        requested: &RequestedSettings,
        startup_response: &StartupResponse,
        lease: impl Future<Output = Result<Lease, E>>,
    ) -> Result<Option<Arc<StartupValues>>, E> {
        let known = || self.startup.lock().unwrap_or_else(PoisonError::into_inner);
        let values = known().get(requested, &startup_response.parameters);
        if let Some(values) = values {
            return Ok(values);
        }
        let mut lease = lease.await?;
        let mut unasked = Vec::new();
        let values = startup_values::query_values(&mut lease, requested, &mut unasked).await;
        if matches!(values, Ok(_) | Err(QueryError::Refused { .. })) {
            // Asynchronous messages of the server reached no session.
            lease.release(if unasked.is_empty() { Disposition::Clean } else { Disposition::Discard });
        }
        match values {
            Ok(values) => {
                let values = values.map(Arc::new);
                known().insert(requested, &startup_response.parameters, values.clone());
                Ok(values)
            }
            // The client gets the server's own error.
            Err(QueryError::Refused { .. }) => Ok(None),
            Err(why) => {
                tracing::debug!(database = %self.database, error = %Chain(&why), "cannot read the effective values of startup options");
                Ok(None)
            }
        }
    }

    /// Ensures that the names of the database were read once; concurrent callers wait for the reader. `lease` gets a
    /// backend.
    ///
    /// Cancel safety: if dropped, the next caller reads.
    ///
    /// # Errors
    /// Errors of `lease`. A failed read is not an error: sessions are pinned until a read succeeds.
    pub(crate) async fn introduce<E>(&self, lease: impl Future<Output = Result<Lease, E>>) -> Result<(), E> {
        if self.database_state.knows_database() {
            return Ok(());
        }
        let _looking = self.looking.lock().await;
        if !self.database_state.knows_database() {
            self.look(lease.await?).await;
        }
        Ok(())
    }

    /// Returns a clean backend. If the backend may be behind the writer and the writer was not queried for a long time,
    /// the database is read first.
    pub(crate) fn release(self: &Arc<Self>, now: Instant, lease: Lease, behind: bool) {
        if !(behind && self.is_overdue(now)) {
            return lease.release(Disposition::Clean);
        }
        let shared = Arc::clone(self);
        tasks::spawn_here("catalogue", async move {
            match shared.looking.try_lock() {
                Ok(_looking) => shared.look(lease).await,
                Err(_) => lease.release(Disposition::Clean),
            }
        });
    }

    /// Expires the catalog if a comparison is due at `now`: a session with a writer backend compares the catalog before
    /// returning the backend. Later texts of the session are then classified by a newer catalog.
    pub(crate) fn expire_catalog(&self, now: Instant) {
        if self.is_due(now) {
            self.next.store(millis(now.duration_since(self.began) + EPOCH_CHECK_INTERVAL), Ordering::Relaxed);
            self.database_state.expire_catalogue();
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        millis(now.duration_since(self.began)) >= self.next.load(Ordering::Relaxed)
    }

    fn is_overdue(&self, now: Instant) -> bool {
        millis(now.duration_since(self.began))
            >= self.next.load(Ordering::Relaxed) + millis(STALE_EPOCH_CHECK_INTERVAL)
    }

    /// Applies the settings. Derived database contents are read again.
    fn follow(&self, functions: &[String], split: Option<&ClassifierOptions>) {
        let mut listed = self.lock_listed();
        if listed.functions != functions {
            self.database_state.hold_for(functions);
            listed.functions = functions.to_vec();
            self.database_state.forget_epoch();
            self.next.store(0, Ordering::Relaxed);
        }
        if let Some(options) = split
            && listed.split.as_ref() != Some(options)
        {
            self.database_state.split_by(options);
            listed.split = Some(options.clone());
            self.database_state.forget_epoch();
            self.next.store(0, Ordering::Relaxed);
        }
    }

    fn lock_listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the catalog to at least the time of the call, over the backend of a session. `unasked` receives the
    /// server's asynchronous messages for the session.
    ///
    /// Cancel safety: dropped half-way, the lease is discarded.
    ///
    /// # Errors
    /// [`QueryError::Refused`] leaves the backend idle; all remaining errors make the backend unusable.
    pub(crate) async fn renew(&self, lease: &mut Lease, unasked: &mut Vec<u8>) -> Result<(), QueryError> {
        let begun = self.comparisons.load(Ordering::Relaxed);
        let _looking = self.looking.lock().await;
        if self.compared.load(Ordering::Relaxed) > begun {
            // A newer comparison of another session has already succeeded.
            return Ok(());
        }
        self.compare(lease, unasked).await
    }

    /// Time until the session may renew the catalog. Reading a large database is expensive, so changes in a row are
    /// read together.
    pub(crate) fn renewal_pause(&self, now: Instant) -> Duration {
        let now = millis(now.duration_since(self.began));
        Duration::from_millis(self.renew_after.load(Ordering::Relaxed).saturating_sub(now))
    }

    /// Compares the epoch with the server's, and reads the names again on a difference.
    async fn compare(&self, lease: &mut Lease, unasked: &mut Vec<u8>) -> Result<(), QueryError> {
        let number = self.comparisons.fetch_add(1, Ordering::Relaxed) + 1;
        let instant = self.database_state.instant();
        let began = Instant::now();
        let epoch = catalog::read_epoch(lease, unasked).await?;
        if !self.database_state.is_epoch(&epoch, instant) {
            self.read(lease, &epoch, instant, unasked).await?;
            let pause = (began.elapsed() * READ_PAUSE_FACTOR).min(EPOCH_CHECK_INTERVAL);
            self.renew_after.store(millis(self.began.elapsed() + pause), Ordering::Relaxed);
        }
        self.compared.store(number, Ordering::Relaxed);
        Ok(())
    }

    async fn read(
        &self,
        lease: &mut Lease,
        epoch: &[u8],
        instant: CatalogInstant,
        unasked: &mut Vec<u8>,
    ) -> Result<(), QueryError> {
        let names = catalog::read_stateful_names(lease, unasked).await?;
        let followed = self.lock_listed().clone();
        let options = followed.split.as_ref().filter(|_| self.database_state.splits());
        let known = match options {
            Some(options) => Some(catalog::read_schema(lease, &options.primary_only, unasked).await?),
            None => None,
        };
        // The next comparison finds a change between the two readings, because the stored epoch is older.
        self.database_state.set_catalogue(names, epoch, instant);
        if *self.lock_listed() != followed {
            // The settings have changed meanwhile.
            self.database_state.forget_epoch();
        }
        if let Some(known) = known {
            self.database_state.set_knowledge(known);
        }
        Ok(())
    }

    async fn look(&self, mut lease: Lease) {
        let mut unasked = Vec::new();
        let compared = self.compare(&mut lease, &mut unasked).await;
        self.next.store(millis(self.began.elapsed() + EPOCH_CHECK_INTERVAL), Ordering::Relaxed);
        match compared {
            // Asynchronous messages of the server reach no session.
            Ok(()) if !unasked.is_empty() => lease.release(Disposition::Discard),
            Ok(()) => lease.release(Disposition::Clean),
            Err(why) => {
                let refused = matches!(why, QueryError::Refused { .. }) && unasked.is_empty();
                lease.release(if refused { Disposition::Reset } else { Disposition::Discard });
                tracing::warn!(
                    database = %self.database,
                    error = %Chain(&why),
                    known = self.database_state.knows_database(),
                    "cannot read which functions leave session state"
                );
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatefulNamesBuilder;

    #[test]
    fn an_expired_catalog_leaves_other_users_alone() {
        let shared_states = SharedStateRegistry::default();
        let listener = ListenerName::new("app").unwrap();
        let database = DatabaseName::new("orders").unwrap();
        let of =
            |user: &str| shared_states.get(&listener, &database, &UserName::new(user).unwrap(), &[], None);
        let (alice, bob) = (of("alice"), of("bob"));
        alice.expire_catalog(Instant::now());
        assert!(!alice.database_state.is_current() && bob.database_state.is_current());
        alice.database_state.definitions_changed();
        assert!(!bob.database_state.is_current());
    }

    #[test]
    fn invented_databases_are_forgotten() {
        let shared_states = SharedStateRegistry::default();
        let (listener, user) = (ListenerName::new("app").unwrap(), UserName::new("alice").unwrap());
        let get = |database: &str| {
            shared_states.get(&listener, &DatabaseName::new(database).unwrap(), &user, &[], None)
        };
        let used = get("used");
        let known = get("known");
        known.database_state.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
        drop(known);
        for invented in 0..10_000 {
            drop(get(&format!("invented{invented}")));
        }
        let entries = shared_states.known.lock().unwrap().by_key.len();
        assert!(entries <= MIN_SWEPT_ENTRIES, "{entries}");
        assert!(Arc::ptr_eq(&get("used"), &used));
        assert!(get("known").database_state.knows_database());
    }
}
