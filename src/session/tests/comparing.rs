//! Catalog comparisons after a transaction, and the following state checks.

use std::sync::Arc;

use super::{
    super::{CatalogInstant, ClusterEvent, DatabaseState, Pin},
    RouteSide::{Client, Server},
    executions,
    sharing::{Talk, shown},
};
use crate::{
    sql::{StatefulNames, StatefulNamesBuilder},
    wire::Speaker,
};

const READ: &str = "SELECT a FROM t";

/// Messages sent to the backend of a session behind the statement, executed in each way, with the first change before the
/// statement and the second one before its response.
fn sent_with(before: impl Fn(&DatabaseState), meanwhile: impl Fn(&DatabaseState)) -> [String; 3] {
    executions(READ).map(|(messages, answers)| {
        let database = Arc::new(DatabaseState::new(StatefulNames::default()));
        database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
        before(&database);
        let mut talk = Talk::knowing(Arc::clone(&database), None);
        talk.say(&Client, &messages, usize::MAX);
        meanwhile(&database);
        talk.to_backend.clear();
        talk.say(&Server, &answers, usize::MAX);
        shown(&talk.to_backend, Speaker::Client)
    })
}

/// The messages behind the statement, with `change` before the response.
fn sent_behind(change: impl Fn(&DatabaseState)) -> [String; 3] {
    sent_with(|_| (), change)
}

/// The messages behind the statement, with `change` before the statement.
fn sent_after(change: impl Fn(&DatabaseState)) -> [String; 3] {
    sent_with(change, |_| ())
}

fn assert_is_checked(sent: &[String; 3]) {
    for sent in sent {
        assert!(sent.contains("pg_listening_channels"), "{sent:?}");
    }
}

#[test]
fn an_expired_catalog_needs_no_state_check() {
    assert_eq!(sent_behind(DatabaseState::expire_catalogue), ["", "", ""]);
}

#[test]
fn changed_definitions_need_a_state_check() {
    assert_is_checked(&sent_behind(DatabaseState::definitions_changed));
}

#[test]
fn a_catalog_read_meanwhile_needs_a_state_check() {
    assert_is_checked(&sent_behind(|database| {
        database.definitions_changed();
        database.set_catalogue(StatefulNamesBuilder::new(), b"2", database.instant());
    }));
}

#[test]
fn strict_isolation_checks_each_transaction() {
    assert_is_checked(&sent_after(|database| database.set_strict_isolation(true)));
}

#[test]
fn texts_are_judged_again_by_the_next_catalog() {
    for (messages, answers) in executions(READ) {
        let database = Arc::new(DatabaseState::new(StatefulNames::default()));
        database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
        database.expire_catalogue();
        let mut talk = Talk::knowing(Arc::clone(&database), None);
        talk.say(&Client, &messages, usize::MAX);
        // Another process has made `t` stateful: the comparison behind the transaction shows it.
        database.hold_for(&["t".to_owned()]);
        talk.say(&Server, &answers, usize::MAX);
        assert!(talk.session.pins().contains(Pin::Function), "{:?}", talk.session.pins());
    }
}

#[test]
fn a_grant_on_a_database_is_noted() {
    for (messages, _) in executions("GRANT ALL ON DATABASE d TO u") {
        let mut talk = Talk::new(None);
        talk.say(&Client, &messages, usize::MAX);
        assert_eq!(talk.session.poll_cluster_event(), Some(ClusterEvent::DatabaseNamed), "{messages:?}");
    }
}
