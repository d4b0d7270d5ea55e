//! Catalog comparisons after a transaction, and the following state checks.

use std::sync::Arc;

use super::{
    super::{CatalogInstant, DatabaseState},
    RouteSide::{Client, Server},
    frame,
    sharing::{Talk, shown},
};
use crate::{
    sql::{StatefulNames, StatefulNamesBuilder},
    wire::Speaker,
};

/// Messages sent to the backend of a session with `change` during the statement.
fn sent_around(change: impl FnOnce(&DatabaseState)) -> String {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    let mut talk = Talk::knowing(Arc::clone(&database), None);
    talk.say(&Client, &frame(b'Q', b"SELECT a FROM t\0"), usize::MAX);
    change(&database);
    talk.say(&Server, &[frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat(), usize::MAX);
    shown(&talk.to_backend, Speaker::Client)
}

fn assert_is_checked(sent: &str) {
    assert!(sent.starts_with("QSELECT a FROM t | P") && sent.contains("pg_listening_channels"), "{sent}");
}

#[test]
fn an_expired_catalog_needs_no_state_check() {
    assert_eq!(sent_around(DatabaseState::expire_catalogue), "QSELECT a FROM t");
}

#[test]
fn changed_definitions_need_a_state_check() {
    assert_is_checked(&sent_around(DatabaseState::definitions_changed));
}

#[test]
fn a_catalog_read_meanwhile_needs_a_state_check() {
    assert_is_checked(&sent_around(|database| {
        database.definitions_changed();
        database.set_catalogue(StatefulNamesBuilder::new(), b"2", database.instant());
    }));
}
