//! What sessions know together, by listener, database and user; and how that is kept true.
//!
//! Which names of a database leave session state is looked up before its first session is let in, again behind a
//! transaction that changed definitions, and behind some transaction after [`REFRESH`]: over a backend that was just given
//! back, so that no client waits. Where statements are split by what they may do, what the database has is read with it, and
//! once more when a statement uses a name that is not known. A statement that is said while nothing is known holds its session to its backend.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use super::{
    briefing::{Briefing, Briefings},
    catalogue::{self, Unlisted},
};
use crate::{
    blame::Chain,
    names::{DatabaseName, ListenerName, UserName},
    pool::{Disposition, Lease, Welcome},
    session::Common,
    sql::{Catalogue, ClassifierOptions, KnowledgeBuilder},
    tasks,
};

/// What the sessions of each listener, database and user know together.
#[derive(Default)]
pub struct Commons {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_key: HashMap<Key, Arc<Shared>, RandomState>,
    /// With so many entries those that nobody needs are forgotten.
    sweep_at: usize,
}

type Key = (ListenerName, DatabaseName, UserName);

/// What the sessions of one listener, database and user know together.
pub(super) struct Shared {
    pub(super) common: Arc<Common>,
    briefings: Mutex<Briefings>,
    database: DatabaseName,
    began: Instant,
    /// Milliseconds since `began` when the database is looked at again, and before which it is not even if definitions
    /// change.
    next: AtomicU64,
    not_before: AtomicU64,
    /// And before which it is not for the sake of a name that is not known.
    unknown_before: AtomicU64,
    /// [`Common::definitions`] when it was looked at last.
    definitions: AtomicU64,
    /// Held by whoever looks.
    looking: tokio::sync::Mutex<()>,
}

/// A function that was made elsewhere is known of this much later.
const REFRESH: Duration = Duration::from_secs(60);
/// Entries that are kept without a look for those that nobody needs: a client may name any database.
const MIN_SWEPT_ENTRIES: usize = 64;
/// What is known of a database is forgotten when no session has used it for so long.
const UNUSED: Duration = Duration::from_secs(3600);
/// Between two looks, whatever changes.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks for the sake of a name that is not known: there may be no such thing.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(10);

// === impl Commons ===

impl Commons {
    /// What the sessions of this listener, database and user know. `functions` hold a session to its backend; with `split`
    /// their statements are split by what they may do.
    pub(super) fn get(
        &self,
        listener: &ListenerName,
        database: &DatabaseName,
        user: &UserName,
        functions: &[String],
        split: Option<&ClassifierOptions>,
    ) -> Arc<Shared> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_key.len() >= known.sweep_at {
            known.by_key.retain(|_, shared| shared.is_needed());
            known.sweep_at = MIN_SWEPT_ENTRIES.max(2 * known.by_key.len());
        }
        let key = (listener.clone(), database.clone(), user.clone());
        let shared = known.by_key.entry(key).or_insert_with(|| {
            let mut always = Catalogue::default();
            for function in functions {
                always.insert(function);
            }
            Arc::new(Shared {
                common: Arc::new(match split {
                    Some(options) => Common::splitting(always, options),
                    None => Common::new(always),
                }),
                briefings: Mutex::default(),
                database: database.clone(),
                began: Instant::now(),
                next: AtomicU64::new(0),
                not_before: AtomicU64::new(0),
                unknown_before: AtomicU64::new(0),
                definitions: AtomicU64::new(0),
                looking: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(shared)
    }
}

// === impl Shared ===

impl Shared {
    /// True if a session uses it, or one may come whose database is known already.
    fn is_needed(self: &Arc<Self>) -> bool {
        let overdue = millis(self.began.elapsed()).saturating_sub(self.next.load(Ordering::Relaxed));
        Arc::strong_count(self) > 1
            || Arc::strong_count(&self.common) > 1
            || (self.common.knows_database() && overdue < millis(UNUSED))
    }

    /// What a client is told that calls itself `application`; `welcome` is the newest login of its pool.
    pub(super) fn briefing(&self, welcome: &Arc<Welcome>, application: Option<&[u8]>) -> Arc<Briefing> {
        let mut briefings = self.briefings.lock().unwrap_or_else(PoisonError::into_inner);
        briefings.of(welcome, application)
    }

    /// Sees to it that the database was looked at once; whoever comes while somebody looks waits for that. `lease` gets a
    /// backend.
    ///
    /// Cancel safety: dropped half-way, the next one looks.
    ///
    /// # Errors
    /// What `lease` fails with. A look that fails is no error: sessions are held to their backends until one succeeds.
    pub(super) async fn introduce<E>(&self, lease: impl Future<Output = Result<Lease, E>>) -> Result<(), E> {
        if self.common.knows_database() {
            return Ok(());
        }
        let _looking = self.looking.lock().await;
        if !self.common.knows_database() {
            self.look(lease.await?).await;
        }
        Ok(())
    }

    /// Gives a clean backend back; if it is time, not before the database was looked at.
    /// A backend that may be behind the writer is only asked when nobody else has been for a long time.
    pub(super) fn release(self: &Arc<Self>, now: Instant, lease: Lease, behind: bool) {
        let due = if behind { self.is_overdue(now) } else { self.is_due(now) };
        if !due {
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

    fn is_due(&self, now: Instant) -> bool {
        let now = millis(now.duration_since(self.began));
        now >= self.next.load(Ordering::Relaxed)
            || (self.common.definitions() != self.definitions.load(Ordering::Relaxed)
                && now >= self.not_before.load(Ordering::Relaxed))
            || (self.common.splits()
                && self.common.met_unknown()
                && now >= self.unknown_before.load(Ordering::Relaxed))
    }

    fn is_overdue(&self, now: Instant) -> bool {
        millis(now.duration_since(self.began)) >= self.next.load(Ordering::Relaxed) + millis(REFRESH)
    }

    async fn ask(&self, lease: &mut Lease) -> Result<(Vec<String>, Option<KnowledgeBuilder>), Unlisted> {
        let names = catalogue::list(lease).await?;
        let known = if self.common.splits() { Some(catalogue::know(lease).await?) } else { None };
        Ok((names, known))
    }

    async fn look(&self, mut lease: Lease) {
        let definitions = self.common.definitions();
        let listed = self.ask(&mut lease).await;
        let now = millis(self.began.elapsed());
        self.not_before.store(now + millis(PAUSE), Ordering::Relaxed);
        self.unknown_before.store(now + millis(UNKNOWN_PAUSE), Ordering::Relaxed);
        match listed {
            Ok((names, known)) => {
                lease.release(Disposition::Clean);
                self.common.set_catalogue(&names);
                if let Some(known) = known {
                    self.common.set_knowledge(known);
                }
                self.definitions.store(definitions, Ordering::Relaxed);
                self.next.store(now + millis(REFRESH), Ordering::Relaxed);
            }
            Err(why) => {
                self.next.store(now + millis(PAUSE), Ordering::Relaxed);
                let refused = matches!(why, Unlisted::Refused(_));
                lease.release(if refused { Disposition::Reset } else { Disposition::Discard });
                tracing::warn!(
                    database = %self.database,
                    error = %Chain(&why),
                    known = self.common.knows_database(),
                    "could not look up which functions leave session state"
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

    #[test]
    fn invented_databases_are_forgotten() {
        let commons = Commons::default();
        let (listener, user) = (ListenerName::new("app").unwrap(), UserName::new("alice").unwrap());
        let get =
            |database: &str| commons.get(&listener, &DatabaseName::new(database).unwrap(), &user, &[], None);
        let used = get("used");
        let known = get("known");
        known.common.set_catalogue(&[]);
        drop(known);
        for invented in 0..10_000 {
            drop(get(&format!("invented{invented}")));
        }
        let entries = commons.known.lock().unwrap().by_key.len();
        assert!(entries <= MIN_SWEPT_ENTRIES, "{entries}");
        assert!(Arc::ptr_eq(&get("used"), &used));
        assert!(get("known").common.knows_database());
    }
}
