//! The scanner against a table of statements; [`oracle`] compares the scanner with PostgreSQL's grammar.

use super::*;

mod classify_reasons;
mod corpus;
mod hostile;
mod lexing;
mod oracle;

fn effects_of(text: &str) -> Effects {
    effects(text.as_bytes(), &StatefulNames::default())
}

fn names_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    find_setting_names(text.as_bytes(), &mut |name| {
        names.push(String::from_utf8(name.to_vec()).expect("ASCII"))
    });
    names
}

#[test]
fn ordinary_statements_leave_nothing() {
    for text in PLAIN {
        assert_eq!(effects_of(text), Effects::NONE, "{text}");
    }
}

#[test]
fn statements_have_exactly_these_effects() {
    for (wanted, text) in include_str!("tests/effects.txt").lines().filter_map(case) {
        assert_eq!(format!("{:?}", effects_of(&text)), wanted, "{text}");
    }
}

#[test]
fn settings_are_named_as_the_server_names_them() {
    for (wanted, text) in include_str!("tests/settings.txt").lines().filter_map(case) {
        assert_eq!(names_of(&text).join(" "), wanted, "{text}");
    }
}

/// A line of a table: expectation, two or more spaces, and the text with `\n`, `\r` and `\t` as escapes.
fn case(line: &str) -> Option<(String, String)> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (wanted, text) =
        line.split_once("  ").unwrap_or_else(|| panic!("two spaces are missing in `{line}`"));
    let wanted = if wanted == "-" { "" } else { wanted };
    let text = text.trim_start().replace(r"\n", "\n").replace(r"\r", "\r").replace(r"\t", "\t");
    Some((wanted.to_owned(), text))
}

const PLAIN: &[&str] = &[
    "",
    ";",
    "SELECT 1",
    "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
    "UPDATE t SET a = 1, b = 'set x = 1; listen y' WHERE set = 'RESET ALL'",
    "UPDATE \"t\" SET a = 1",
    "UPDATE t /* ; */ SET a = 1",
    "UPDATE t -- ;\n SET a = 1",
    "DELETE FROM t WHERE kind = 'load'",
    "SELECT close, load, temp, listen, execution FROM quotes WHERE state = 'DISCARD ALL'",
    "SELECT $$SET x = 1$$, $a$; LISTEN x; $a$, $1",
    "SELECT 'it''s' || E'\\n' || '; SET x = 1'",
    "SELECT \"SET\", \"a;b\" FROM \"LISTEN\"",
    "/* SET x = 1; */ SELECT 1 -- ; LISTEN x",
    "SELECT 1 /* a /* nested */ ; LISTEN x */",
    "SET LOCAL search_path = x",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION TRANSACTION READ ONLY",
    "SET CONSTRAINTS ALL DEFERRED",
    "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "COMMIT",
    "SAVEPOINT s",
    "PREPARE TRANSACTION 'x'",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH ALL FROM c",
    "COPY t TO STDOUT",
    "COPY s.t (a, b) TO STDOUT WITH (FORMAT csv)",
    "COPY (SELECT a FROM t) TO STDOUT",
    "SHOW search_path",
    "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2), current_setting('x')",
    "SELECT set_config('role', $1, true), set_config('request.jwt.claims', '{}', TRUE)",
    "SELECT name, setting FROM pg_settings",
    "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
    "NOTIFY x, 'y'",
    "LOCK TABLE t",
    "TRUNCATE t",
    "EXPLAIN ANALYZE SELECT 1",
    "VACUUM t",
    "GRANT SELECT ON t TO u",
];

#[test]
fn only_exact_forms_are_commands() {
    use SessionStatement::{
        Begin, Commit, Deallocate, DeallocateAll, DiscardAll, Execute, Other, Rollback, SetLocal, Show,
        StartTransaction,
    };
    let name = |name: &'static str| name.as_bytes().into();
    for (text, wanted) in [
        ("BEGIN", Begin),
        ("/* x */ begin work ; -- y", Begin),
        ("START TRANSACTION;", StartTransaction),
        ("BEGIN READ ONLY", Other),
        ("BEGIN; SELECT 1", Other),
        ("START", Other),
        ("COMMIT", Commit),
        ("end transaction", Commit),
        ("COMMIT AND CHAIN", Other),
        ("COMMIT PREPARED 'x'", Other),
        ("ROLLBACK", Rollback),
        ("ABORT WORK", Rollback),
        ("ROLLBACK TO s", Other),
        ("DISCARD ALL", DiscardAll),
        ("DISCARD PLANS", Other),
        ("DEALLOCATE ALL", DeallocateAll),
        ("DEALLOCATE PREPARE ALL", DeallocateAll),
        ("DEALLOCATE Abc", Deallocate { name: name("abc") }),
        ("DEALLOCATE prepare", Deallocate { name: name("prepare") }),
        ("DEALLOCATE PREPARE \"A\"\"b\";", Deallocate { name: name("A\"b") }),
        ("DEALLOCATE \"all\"", Deallocate { name: name("all") }),
        ("EXECUTE p", Execute { name: name("p"), arguments: b"" }),
        ("EXECUTE p (1, ';');", Execute { name: name("p"), arguments: b" (1, ';');" }),
        ("EXECUTE p(1); SELECT 1", Other),
        ("set /* x */ local work_mem = '1MB';", SetLocal),
        ("SET LOCAL ROLE joe", SetLocal),
        ("SET LOCAL a = ';'; SET LOCAL b = 1", Other),
        ("SET work_mem = '1MB'", Other),
        ("SET SESSION a = 1", Other),
        ("SHOW work_mem", Show),
        ("SHOW a; SELECT 1", Other),
        ("SELECT 1", Other),
        ("", Other),
    ] {
        assert_eq!(session_statement(text.as_bytes()), wanted, "{text}");
    }
}

#[test]
fn a_name_of_the_catalogue_counts_however_it_is_written() {
    let mut catalogue = StatefulNames::default();
    for name in ["public.my_lock", "Odd name", "@@@"] {
        catalogue.insert(name);
    }
    let calls_function = |text: &str| effects(text.as_bytes(), &catalogue).contains(Effects::FUNCTION);
    for text in ["SELECT My_Lock()", "SELECT public.\"my_lock\"()", "SELECT \"Odd name\"()", "SELECT a @@@ b"]
    {
        assert!(calls_function(text), "{text}");
    }
    for text in ["SELECT 'my_lock'", "SELECT my_locks()", "SELECT a @ b"] {
        assert!(!calls_function(text), "{text}");
    }
}

#[test]
fn a_definition_that_leaves_state_is_told_by_name() {
    for (text, wanted) in [
        (
            "CREATE OR REPLACE FUNCTION s.\"F\"(a int) RETURNS int LANGUAGE sql AS 'SELECT setseed(1)'",
            vec!["f"],
        ),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", vec![]),
        ("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE t (a int); END $$", vec!["p"]),
        ("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN EXECUTE x; END $$", vec!["p"]),
        ("CREATE VIEW v AS SELECT known()", vec!["v"]),
        (
            "CREATE TRIGGER t BEFORE INSERT ON s.tab FOR EACH ROW EXECUTE FUNCTION known()",
            vec!["tab", "known"],
        ),
        ("CREATE TABLE IF NOT EXISTS t (a int DEFAULT known())", vec!["t"]),
    ] {
        let mut catalogue = StatefulNames::default();
        catalogue.insert("known");
        let mut names = Vec::new();
        find_stateful_names(text.as_bytes(), &catalogue, &mut |name| names.push(name.to_owned()));
        assert_eq!(names, wanted, "{text}");
    }
}
