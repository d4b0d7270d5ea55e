//! What all sessions of one database and user know together.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use memchr::memmem::Finder;

use super::{
    own::Phrases,
    settings::Settings,
    statement::{Circumstances, Statement, Statements},
};
use crate::sql::{self, Catalogue};

/// What all sessions know together that share the backends of one database and user: the prepared statements, and what
/// in that database leaves state behind.
pub struct Common {
    statements: Statements,
    pub(super) phrases: Phrases,
    catalogue: ArcSwap<Catalogue>,
    reads_sequences: AtomicBool,
    sessions: AtomicU64,
    /// Finds the view and the function that list prepared statements.
    listing: Finder<'static>,
    /// Grows whenever definitions may have changed.
    definitions: AtomicU64,
}

// === impl Common ===

impl Common {
    /// Nothing is prepared yet; of the database `catalogue` is known.
    #[must_use]
    pub fn new(catalogue: Catalogue) -> Self {
        let statements = Statements::default();
        let nothing = Catalogue::default();
        let phrases = Phrases::new(|definition| statements.get(definition, &nothing));
        Self {
            statements,
            phrases,
            catalogue: ArcSwap::from_pointee(catalogue),
            reads_sequences: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
            definitions: AtomicU64::new(0),
            listing: Finder::new("pg_prepared_statement"),
        }
    }

    /// What is known of the database.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// The database was looked at again.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        self.catalogue.store(Arc::new(catalogue));
    }

    /// A statement was said that may make functions, some of which may leave state behind.
    pub(super) fn learn(&self, statement: &[u8]) {
        let mut names: Vec<String> = Vec::new();
        sql::stateful_names(statement, &self.catalogue.load(), &mut |name| names.push(name.to_owned()));
        if names.is_empty() {
            return;
        }
        self.catalogue.rcu(|known| {
            let mut catalogue = Catalogue::clone(known);
            for name in &names {
                catalogue.insert(name);
            }
            catalogue
        });
    }

    pub(super) fn statement(&self, definition: &[u8]) -> Arc<Statement> {
        self.statements.get(definition, &self.catalogue.load())
    }

    /// The statement with this definition, if a server has accepted it in these circumstances.
    pub(super) fn accepted(&self, definition: &[u8], settings: &Settings) -> Option<Arc<Statement>> {
        let now = self.circumstances(settings);
        self.statements.known(definition).filter(|statement| statement.is_accepted(now))
    }

    /// What decides whether a server accepts a statement of a session with these settings.
    pub(super) fn circumstances(&self, settings: &Settings) -> Circumstances {
        let definitions = self.definitions.load(Ordering::Relaxed);
        Circumstances(FixedState::default().hash_one((definitions, settings.mark())) | 1)
    }

    /// Definitions may have changed.
    pub(super) fn definitions_changed(&self) {
        self.definitions.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls `look` with what is known of the database.
    pub(super) fn with_catalogue<T>(&self, look: impl FnOnce(&Catalogue) -> T) -> T {
        look(&self.catalogue.load())
    }

    /// Whether some session has relied on `currval` or `lastval`: then each one is held to its backend from the first
    /// statement that may move a sequence.
    pub(super) fn reads_sequences(&self) -> bool {
        self.reads_sequences.load(Ordering::Relaxed)
    }

    /// Whether a text may list prepared statements.
    pub(super) fn may_list_prepared(&self, text: &[u8]) -> bool {
        self.listing.find(text).is_some()
    }

    /// A number for one more session.
    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn sequences_are_read(&self) {
        self.reads_sequences.store(true, Ordering::Relaxed);
    }
}
