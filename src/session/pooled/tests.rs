//! Sessions for unit tests of the types that borrow components.

use super::*;
use crate::{
    session::{CatalogInstant, tests::fresh_backend},
    sql::{StatefulNames, StatefulNamesBuilder},
};

/// Session of a client without settings.
pub(super) fn session() -> Pooled {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    Pooled::new(
        database,
        ReportedParameters::new(Arc::default()),
        SettingValues::default(),
        SessionOptions::default(),
    )
}

/// Session that holds a new backend.
pub(super) fn session_with_backend() -> Pooled {
    let mut session = session();
    session.backend.on(BackendEvent::Needed).unwrap();
    session.attach(fresh_backend(), false);
    session
}

/// Session on a split route, without a backend.
pub(super) fn split_session() -> Pooled {
    let mut session = session();
    session.split(Arc::default(), RouteOptions::default());
    session
}

#[test]
fn learned_names_end_with_their_session() {
    let mut session = session();
    let database = Arc::clone(&session.database);
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    let text = b"DO $$BEGIN PERFORM 1; END$$; CREATE TEMP TABLE t (a int)";
    let effects = database.text_effects(text);
    session.cleanup.note(effects, text, None, &database);
    assert!(database.is_epoch(b"1", database.instant()), "the transaction is not over");
    drop(session);
    assert!(!database.is_epoch(b"1", database.instant()), "the next comparison reads the catalog again");
}
