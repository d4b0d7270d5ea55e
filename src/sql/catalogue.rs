//! The names of one database that decide what a text may leave in the session.

use std::sync::Arc;

use super::name_set::NameSet;

/// Names of one database by what their use may leave in the session, without schema.
///
/// Empty by default: then every function that PostgreSQL does not have is unknown. Meant to be shared in an `Arc` and
/// swapped whole.
#[derive(Clone, Default)]
pub struct Catalogue {
    /// Functions, relations and operators that may leave state which the catalogs of the server do not show in full: found by
    /// [`super::STATEFUL_SQL`], by [`super::stateful_names`] since, and `pin_on_functions`.
    pub(super) stateful: NameSet,
    /// Names whose use is not proved to leave nothing: a state check shows what was left.
    pub(super) unproved: Arc<NameSet>,
    /// All functions of the database besides PostgreSQL's own.
    pub(super) functions: Arc<NameSet>,
    /// Settings with a dot in their names that the source of some function sets. `pg_settings` does not list such settings
    /// before a module defines them.
    pub(super) custom_settings: Arc<[Arc<[u8]>]>,
}

// === impl Catalogue ===

impl Catalogue {
    /// Adds a name that may leave state; its case does not count. `schema.name` adds `name` too.
    pub fn insert(&mut self, name: &str) {
        if let Some((_, last)) = name.rsplit_once('.') {
            self.stateful.insert(last);
        }
        self.stateful.insert(name);
    }

    /// True if no name may leave state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stateful.is_empty()
    }

    /// True if the identifier `name`, as written in a text, may be one that leaves state.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.stateful.contains(name)
    }

    /// Settings with a dot in their names that the source of some function sets.
    #[must_use]
    pub fn custom_settings(&self) -> Arc<[Arc<[u8]>]> {
        Arc::clone(&self.custom_settings)
    }
}
