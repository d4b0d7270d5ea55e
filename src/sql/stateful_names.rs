//! Names of a database needed to predict session state left by a text.

use std::sync::Arc;

use super::name_set::NameSet;

/// Names of a database, without schema, grouped by the session state left by a use.
///
/// Empty by default: only PostgreSQL's own functions are known then. Meant to be shared in an `Arc` and swapped whole.
#[derive(Clone, Default)]
pub struct StatefulNames {
    /// Functions, relations and operators with possible state not fully visible in the server's catalogs: found by
    /// [`super::STATEFUL_SQL`], later by [`super::find_stateful_names`], and `pin_on_functions`.
    pub(super) stateful: NameSet,
    /// Names without proof of leaving no state: a state check finds the state.
    pub(super) unproved: Arc<NameSet>,
    /// All functions of the database besides PostgreSQL's own.
    pub(super) functions: Arc<NameSet>,
    /// Settings with a dot in the name, set by the source of a function. `pg_settings` does not list dotted settings
    /// before a module defines the setting.
    pub(super) custom_settings: Arc<[Arc<[u8]>]>,
}

// === impl StatefulNames ===

impl StatefulNames {
    /// Adds a name with possible state, regardless of case. `schema.name` adds `name` too.
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

    /// True if the identifier `name`, as written in a text, may leave state.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.stateful.contains(name)
    }

    /// Settings with a dot in the name, set by the source of a function.
    #[must_use]
    pub fn custom_settings(&self) -> Arc<[Arc<[u8]>]> {
        Arc::clone(&self.custom_settings)
    }
}
