use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{
    session::database_state::CatalogInstant,
    sql::{StatefulNames, StatefulNamesBuilder},
};

/// Database with a known catalog.
fn database() -> DatabaseState {
    let database = DatabaseState::new(StatefulNames::default());
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    database
}

fn cleanup(database: &DatabaseState) -> Cleanup {
    let mut cleanup = Cleanup::default();
    cleanup.on_lease(database.edition());
    cleanup
}

/// Step after a transaction of a session without settings.
fn settle(cleanup: &mut Cleanup, database: &DatabaseState) -> SettleStep {
    settle_with(cleanup, database, &SettingValues::default(), &SettingValues::default(), false)
}

fn settle_with(
    cleanup: &mut Cleanup,
    database: &DatabaseState,
    settings: &SettingValues,
    startup: &SettingValues,
    has_client_named: bool,
) -> SettleStep {
    cleanup.settle(&SettleContext {
        database,
        settings,
        startup,
        held: settings,
        has_client_named,
        is_writer: true,
        is_compared: true,
    })
}

/// Names of the queries of a check.
fn queries(step: &SettleStep) -> Vec<String> {
    let SettleStep::Check(queries, _) = step else { panic!("there is no check") };
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    queries
        .iter()
        .map(|query| match query {
            StateQuery::Pins => "pins".into(),
            StateQuery::Settings => "settings".into(),
            StateQuery::Statements => "statements".into(),
            StateQuery::Setting(setting) => name(setting),
            StateQuery::HiddenSetting(setting) => format!("hidden {}", name(setting)),
        })
        .collect()
}

fn note(cleanup: &mut Cleanup, database: &DatabaseState, statement: &str) {
    let effects = database.text_effects(statement.as_bytes());
    cleanup.note(effects, statement.as_bytes(), None, database);
    answer(cleanup);
}

/// Settles the request noted last.
fn answer(cleanup: &mut Cleanup) {
    let noted = cleanup.take_noted();
    cleanup.on_response(noted);
}

#[test]
fn a_read_needs_no_check() {
    let database = database();
    let mut cleanup = cleanup(&database);
    note(&mut cleanup, &database, "SELECT 1");
    assert!(cleanup.is_clean());
    assert!(matches!(settle(&mut cleanup, &database), SettleStep::Clean));
}

#[test]
fn each_trace_is_checked() {
    let database = database();
    for (statement, expected) in [
        ("SET work_mem = '1MB'", &["work_mem"][..]),
        ("LISTEN a", &["pins"]),
        ("CREATE TEMP TABLE t ()", &["pins"]),
        ("SELECT pg_advisory_lock(1)", &["pins"]),
        ("PREPARE p AS SELECT 1", &["pins"]),
        ("RESET ALL", &["settings"]),
    ] {
        let mut cleanup = cleanup(&database);
        note(&mut cleanup, &database, statement);
        assert!(!cleanup.is_clean(), "{statement}");
        let step = settle(&mut cleanup, &database);
        assert!(matches!(step, SettleStep::Check(..)), "{statement}");
        assert_eq!(queries(&step), expected, "{statement}");
        assert!(cleanup.is_clean(), "{statement} is checked once");
    }
}

#[test]
fn unproved_statements_are_checked_for_all_state() {
    let database = database();
    let mut cleanup = cleanup(&database);
    cleanup.note(Effects::UNPROVED, b"SELECT f()", None, &database);
    answer(&mut cleanup);
    let settings = SettingValues::default().with(b"role", Some(b"joe")).with(b"work_mem", Some(b"1MB"));
    let step = settle_with(&mut cleanup, &database, &settings, &SettingValues::default(), false);
    assert_eq!(queries(&step), ["pins", "settings", "hidden session_authorization", "role"]);
}

#[test]
fn a_setting_bound_as_a_parameter_is_checked() {
    let database = database();
    let mut cleanup = cleanup(&database);
    let parameters = b"\0\0\0\x02\0\0\0\x08Work_Mem\0\0\0\x01x";
    cleanup.note(Effects::SETTINGS_BOUND, b"SELECT set_config($1, $2, false)", Some(parameters), &database);
    answer(&mut cleanup);
    assert_eq!(queries(&settle(&mut cleanup, &database)), ["work_mem", "x"]);
    assert!(cleanup.pins().is_empty());
    cleanup.note(Effects::SETTINGS_BOUND, b"SELECT set_config($1, $2, false)", None, &database);
    answer(&mut cleanup);
    assert!(cleanup.pins().contains(Pin::HiddenSetting), "nobody can follow a setting without a name");
}

#[test]
fn an_executed_statement_is_checked_for_prepared_settings() {
    let database = database();
    let mut cleanup = cleanup(&database);
    note(&mut cleanup, &database, "PREPARE p AS SELECT set_config('a.b', 'x', false)");
    let _ = settle(&mut cleanup, &database);
    note(&mut cleanup, &database, "EXECUTE p");
    assert!(queries(&settle(&mut cleanup, &database)).contains(&"a.b".to_owned()));
}

#[test]
fn an_error_widens_the_check_of_settings() {
    let database = database();
    let mut cleanup = cleanup(&database);
    note(&mut cleanup, &database, "SET work_mem = 'x'");
    cleanup.on_error();
    assert_eq!(queries(&settle(&mut cleanup, &database)), ["settings"]);
    note(&mut cleanup, &database, "LISTEN a");
    cleanup.on_error();
    assert_eq!(queries(&settle(&mut cleanup, &database)), ["pins"]);
}

#[test]
fn messages_wait_for_a_check_that_decides_about_them() {
    let database = database();
    let startup = SettingValues::default().with(b"application_name", Some(b"a"));
    for (statement, startup, has_client_named, expected) in [
        ("RESET ALL", &startup, false, true),
        ("RESET ALL", &SettingValues::default(), false, false),
        ("PREPARE p AS SELECT 1", &startup, true, true),
        ("PREPARE p AS SELECT 1", &startup, false, false),
    ] {
        let mut cleanup = cleanup(&database);
        note(&mut cleanup, &database, statement);
        let step = settle_with(&mut cleanup, &database, &SettingValues::default(), startup, has_client_named);
        let SettleStep::Check(_, is_awaited) = step else { panic!("{statement} is checked") };
        assert_eq!(is_awaited, expected, "{statement}");
    }
}

#[test]
fn an_unknown_catalog_is_compared_first() {
    let definitions = Arc::new(AtomicU64::new(0));
    let database = database().with_definitions(Arc::clone(&definitions));
    let mut cleanup = cleanup(&database);
    definitions.fetch_add(1, Ordering::Relaxed);
    note(&mut cleanup, &database, "SELECT f()");
    let nothing = SettingValues::default();
    let mut context = SettleContext {
        database: &database,
        settings: &nothing,
        startup: &nothing,
        held: &nothing,
        has_client_named: false,
        is_writer: false,
        is_compared: false,
    };
    let step = cleanup.settle(&context);
    assert!(!matches!(step, SettleStep::Compare), "a standby's catalog may be behind");
    note(&mut cleanup, &database, "SELECT f()");
    context.is_writer = true;
    assert!(matches!(cleanup.settle(&context), SettleStep::Compare));
    assert!(cleanup.is_comparison_due() && !cleanup.is_clean());
    let (texts, is_complete) = cleanup.on_compared(database.edition());
    assert_eq!((texts, is_complete), (vec![b"SELECT f()".as_slice().into()], true));
    assert!(!cleanup.is_comparison_due());
}

#[test]
fn a_check_replaces_visible_pins_only() {
    let mut cleanup = Cleanup::default();
    cleanup.pin(Pin::Sequence);
    cleanup.on_check_answered(Some(Pins::NONE.with(Pin::Listen)));
    assert_eq!(cleanup.pins(), Pins::NONE.with(Pin::Sequence).with(Pin::Listen));
    cleanup.on_check_answered(Some(Pins::NONE));
    assert_eq!(cleanup.pins(), Pins::NONE.with(Pin::Sequence));
    let reported: Vec<_> = std::iter::from_fn(|| cleanup.poll_pin()).collect();
    assert_eq!(reported, [Pin::Sequence, Pin::Listen]);
}

#[test]
fn several_failed_checks_pin_the_session() {
    let database = database();
    let mut cleanup = cleanup(&database);
    let check = StateCheck::new(vec![StateQuery::Setting((*b"a.b").into())]);
    for _ in 0..FAILED_CHECKS_MAX {
        cleanup.on_check_failed(&check);
        assert!(cleanup.pins().is_empty());
        assert!(queries(&settle(&mut cleanup, &database)).contains(&"a.b".to_owned()));
    }
    cleanup.on_check_failed(&check);
    assert!(cleanup.pins().contains(Pin::Unproved));
}

#[test]
fn discard_all_clears_all_but_what_it_keeps() {
    let database = database();
    let mut cleanup = cleanup(&database);
    cleanup.pin(Pin::Load);
    note(&mut cleanup, &database, "LISTEN a");
    cleanup.on_discard_all();
    assert!(cleanup.is_clean() && cleanup.spoils_backend());
    cleanup.on_lease(database.edition());
    assert!(!cleanup.spoils_backend());
}

#[test]
fn a_reset_forgets_nothing_sent_behind_it() {
    let database = database();
    let mut cleanup = cleanup(&database);
    note(&mut cleanup, &database, "LISTEN a");
    let effects = database.text_effects(b"LOAD 'l'");
    cleanup.note(effects, b"LOAD 'l'", None, &database);
    let behind = cleanup.take_noted();
    cleanup.on_discard_all();
    assert!(cleanup.is_clean(), "what was sent behind the reset is not answered yet");
    cleanup.on_response(behind);
    assert!(cleanup.pins().contains(Pin::Load) && !cleanup.may_have_left(Effects::LISTEN));
}

#[test]
fn a_skipped_request_leaves_nothing() {
    let database = database();
    let mut cleanup = cleanup(&database);
    cleanup.note(Effects::LISTEN, b"LISTEN a", None, &database);
    cleanup.note_pin(Pin::HiddenSetting);
    assert!(cleanup.take_noted().is_some() && cleanup.take_noted().is_none());
    assert!(cleanup.is_clean());
}

#[test]
fn a_refused_request_is_checked_and_pins_nothing() {
    let database = database();
    let mut cleanup = cleanup(&database);
    cleanup.note(Effects::ADVISORY, b"SELECT pg_advisory_lock(1)", None, &database);
    cleanup.note_pin(Pin::HiddenSetting);
    let noted = cleanup.take_noted();
    cleanup.on_refused(noted);
    assert!(cleanup.pins().is_empty());
    assert_eq!(queries(&settle(&mut cleanup, &database)), ["pins"]);
}

/// True if a text with the table `t` counts as stateful.
fn is_stateful(database: &DatabaseState) -> bool {
    database.text_effects(b"SELECT a FROM t").contains(Effects::FUNCTION)
}

#[test]
fn learned_names_last_until_a_later_read() {
    let database = database();
    let text = b"DO $$BEGIN PERFORM 1; END$$; CREATE TEMP TABLE t (a int)";
    let read = |epoch: &[u8]| {
        let instant = database.instant();
        // The epoch does not tell of temporary tables, or of what was rolled back.
        if !database.is_epoch(epoch, instant) {
            database.set_catalogue(StatefulNamesBuilder::new(), epoch, instant);
        }
    };
    let (mut first, mut second) = (cleanup(&database), cleanup(&database));
    for cleanup in [&mut first, &mut second] {
        let effects = database.text_effects(text);
        cleanup.note(effects, text, None, &database);
    }
    assert!(is_stateful(&database));
    settle(&mut first, &database);
    read(b"1");
    assert!(is_stateful(&database), "the other transaction is not over");
    settle(&mut second, &database);
    assert!(is_stateful(&database), "not read since");
    read(b"1");
    assert!(!is_stateful(&database));
}

#[test]
fn skipped_texts_are_not_classified_again() {
    let database = database();
    database.expire_catalogue();
    let mut cleanup = cleanup(&database);
    let mut note = |text: &[u8]| {
        cleanup.note(Effects::UNPROVED, text, None, &database);
        cleanup.take_noted()
    };
    let (answered, _skipped) = (note(b"SELECT f()"), note(b"SELECT g()"));
    cleanup.on_response(answered);
    let (texts, is_complete) = cleanup.on_compared(database.edition());
    assert_eq!((texts, is_complete), (vec![Box::from(&b"SELECT f()"[..])], true));
}
