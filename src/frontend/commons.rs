//! What sessions know together, by listener, database and user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    names::{DatabaseName, ListenerName, UserName},
    session::Common,
    sql::Catalogue,
};

/// What the sessions of each listener, database and user know together.
#[derive(Default)]
pub struct Commons {
    known: Mutex<HashMap<(ListenerName, DatabaseName, UserName), Arc<Common>>>,
}

impl Commons {
    /// What the sessions of this listener, database and user know. `functions` hold a session to its backend.
    pub(super) fn get(
        &self,
        listener: &ListenerName,
        database: &DatabaseName,
        user: &UserName,
        functions: &[String],
    ) -> Arc<Common> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (listener.clone(), database.clone(), user.clone());
        let common = known.entry(key).or_insert_with(|| {
            let mut catalogue = Catalogue::default();
            for function in functions {
                catalogue.insert(function);
            }
            Arc::new(Common::new(catalogue))
        });
        Arc::clone(common)
    }
}
