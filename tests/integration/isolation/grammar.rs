//! Random statements of clients: all kinds of statements that leave session state, remove state, or show state.

use std::fmt;

use crate::harness::{
    draw::Draw,
    frames::{bind, close, copy_data, copy_done, copy_fail, describe, execute, parse, query, sync},
};

/// A turn of a client.
#[derive(Clone)]
pub(super) enum Step {
    /// Sends `bytes`, and reads up to the given number of ReadyForQuery.
    Say { what: String, bytes: Vec<u8>, ready: usize },
    /// Closes the socket without a message; the next turn has a new client.
    Vanish,
    /// Sends Terminate; the next turn has a new client.
    Leave,
    /// Sends a request and closes the socket without reading; the next turn has a new client.
    Break { what: String, bytes: Vec<u8> },
}

/// A kind of statements. A trial draws a few: with all kinds at once every session would be pinned all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Settings,
    Identity,
    Temporary,
    Listen,
    Locks,
    Cursors,
    SqlPrepared,
    Prepared,
    Discard,
    Blocks,
    Sequences,
    Copy,
    Functions,
}

pub(super) const KINDS: [Kind; 13] = [
    Kind::Settings,
    Kind::Identity,
    Kind::Temporary,
    Kind::Listen,
    Kind::Locks,
    Kind::Cursors,
    Kind::SqlPrepared,
    Kind::Prepared,
    Kind::Discard,
    Kind::Blocks,
    Kind::Sequences,
    Kind::Copy,
    Kind::Functions,
];

/// Shows all session state that the session itself can see, in one row.
pub(super) const PEEK: &str = "SELECT pg_catalog.concat_ws('; ', session_user, current_user, \
(SELECT pg_catalog.string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_catalog.pg_settings WHERE name = ANY \
('{TimeZone,DateStyle,work_mem,search_path,application_name,statement_timeout,client_min_messages,extra_float_digits,\
bytea_output,default_transaction_isolation,default_transaction_read_only,default_transaction_deferrable,client_encoding,\
standard_conforming_strings,IntervalStyle,row_security,enable_seqscan,xmloption,log_statement}')), \
'one=' || NULLIF(pg_catalog.current_setting('my.one', true), ''), 'two=' || NULLIF(pg_catalog.current_setting('my.two', true), ''), \
'listens ' || (SELECT pg_catalog.string_agg(c, ',' ORDER BY c) FROM pg_catalog.pg_listening_channels() c), \
'locks ' || (SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', classid, objid, mode), ',' ORDER BY classid, objid, mode) \
FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()), \
'temporary ' || (SELECT pg_catalog.string_agg(relname, ',' ORDER BY relname) FROM pg_catalog.pg_class \
WHERE relnamespace = pg_catalog.pg_my_temp_schema()), \
'functions ' || (SELECT pg_catalog.string_agg(proname, ',' ORDER BY proname) FROM pg_catalog.pg_proc \
WHERE pronamespace = pg_catalog.pg_my_temp_schema()), \
'cursors ' || (SELECT pg_catalog.string_agg(name || is_holdable, ',' ORDER BY name) FROM pg_catalog.pg_cursors WHERE name <> ''))";

/// Signs of statements whose effect outlives the session: execution for a departed client is a matter of chance.
const LASTING: [&str; 5] = ["kept", "INSERT", "CREATE OR REPLACE", "NOTIFY", "notify"];

const LIST_PREPARED: &str =
    "SELECT name, statement, from_sql FROM pg_catalog.pg_prepared_statements ORDER BY name";

const SETTINGS: [(&str, &[&str]); 16] = [
    ("timezone", &["'Asia/Tokyo'", "'UTC'", "'Europe/Berlin'", "DEFAULT"]),
    ("work_mem", &["'1MB'", "'64kB'", "'1234kB'", "DEFAULT"]),
    ("search_path", &["public", "pg_temp, public", "'$user', public", "''", "DEFAULT"]),
    ("application_name", &["'one'", "'it''s \"two\"'", "''", "DEFAULT"]),
    ("statement_timeout", &["'61s'", "120000", "0", "DEFAULT"]),
    ("client_min_messages", &["warning", "error", "debug1", "DEFAULT"]),
    ("extra_float_digits", &["0", "3", "DEFAULT"]),
    ("bytea_output", &["'escape'", "hex", "DEFAULT"]),
    ("default_transaction_isolation", &["'repeatable read'", "'read committed'", "DEFAULT"]),
    ("default_transaction_read_only", &["on", "off", "DEFAULT"]),
    ("datestyle", &["'German'", "ISO, DMY", "'SQL, MDY'", "DEFAULT"]),
    ("standard_conforming_strings", &["off", "on", "DEFAULT"]),
    ("enable_seqscan", &["off", "on", "DEFAULT"]),
    ("log_statement", &["'mod'", "'none'", "DEFAULT"]),
    ("my.one", &["'x'", "'a ''quoted'' one'", "''"]),
    ("my.two", &["1", "'2'"]),
];

/// Next turn of the client `me`. `status` is the transaction status of its last ReadyForQuery.
pub(super) fn step(draw: &mut Draw, kinds: &[Kind], me: usize, status: u8) -> Step {
    if draw.once_in(30) {
        return match draw.below(3) {
            0 => Step::Vanish,
            1 => Step::Leave,
            _ => {
                let mut sql = statement(draw, kinds, me);
                if LASTING.iter().any(|lasting| sql.contains(lasting)) {
                    sql = "SELECT pg_sleep(0.01)".into();
                }
                let bytes = if draw.once_in(2) { query(&sql) } else { extended(&sql, false) };
                Step::Break { what: sql, bytes }
            }
        };
    }
    let sql = match status {
        b'E' if !draw.once_in(3) => {
            draw.one(&["ROLLBACK", "ROLLBACK", "COMMIT", "ROLLBACK TO a", "ROLLBACK TO b"]).into()
        }
        b'T' if draw.once_in(4) => {
            draw.one(&["COMMIT", "COMMIT", "END", "ROLLBACK", "ABORT", "COMMIT AND CHAIN"]).into()
        }
        b'T' if draw.once_in(5) => draw
            .one(&[
                "SAVEPOINT a",
                "SAVEPOINT b",
                "ROLLBACK TO a",
                "ROLLBACK TO SAVEPOINT b",
                "RELEASE a",
                "RELEASE b",
            ])
            .into(),
        b'I' if draw.once_in(6) => draw
            .one(&[
                "BEGIN",
                "BEGIN",
                "begin work",
                "START TRANSACTION",
                "BEGIN READ ONLY",
                "BEGIN ISOLATION LEVEL REPEATABLE READ",
            ])
            .into(),
        _ if draw.once_in(6) => {
            draw.one(&[PEEK, PEEK, "SELECT 1", "SELECT 1/0", "SELEC", LIST_PREPARED, ""]).into()
        }
        _ => return any(draw, kinds, me),
    };
    in_random_form(draw, sql)
}

/// Sends `sql` in one of the available forms.
fn in_random_form(draw: &mut Draw, sql: String) -> Step {
    match draw.below(8) {
        0..4 => simple(sql),
        4..7 => Step::Say { bytes: extended(&sql, true), what: format!("[extended] {sql}"), ready: 1 },
        _ => {
            // Two batches, without waiting for the response to the first.
            let bytes = [extended(&sql, true), query(PEEK)].concat();
            Step::Say { bytes, what: format!("[extended] {sql} [and at once] peek"), ready: 2 }
        }
    }
}

fn simple(sql: String) -> Step {
    Step::Say { bytes: query(&sql), what: sql, ready: 1 }
}

fn extended(sql: &str, synced: bool) -> Vec<u8> {
    let batch = [parse("", sql), bind("", "", &[]), describe(b'P', ""), execute("", 0)].concat();
    if synced { [batch, sync()].concat() } else { batch }
}

fn any(draw: &mut Draw, kinds: &[Kind], me: usize) -> Step {
    let kind = draw.one(kinds);
    match kind {
        Kind::Prepared => prepared(draw, kinds, me),
        Kind::Copy => copy(draw, me),
        _ if draw.once_in(8) => {
            // Several statements in one text are one transaction.
            let (one, two) = (of_kind(draw, kind, me), statement(draw, kinds, me));
            let end = draw.one(&["", "; SELECT 1/0", "; ROLLBACK", "; COMMIT", "; BEGIN"]);
            simple(format!("{one}; {two}{end}"))
        }
        _ => {
            let sql = of_kind(draw, kind, me);
            in_random_form(draw, sql)
        }
    }
}

/// A statement of one of the given kinds.
fn statement(draw: &mut Draw, kinds: &[Kind], me: usize) -> String {
    let kind = draw.one(kinds);
    of_kind(draw, kind, me)
}

fn of_kind(draw: &mut Draw, kind: Kind, me: usize) -> String {
    match kind {
        Kind::Settings => setting(draw),
        Kind::Identity => draw
            .one(&[
                "SET ROLE joe",
                "SET ROLE 'ann'",
                "SET LOCAL ROLE joe",
                "RESET ROLE",
                "SET ROLE NONE",
                "SET SESSION AUTHORIZATION joe",
                "SET LOCAL SESSION AUTHORIZATION ann",
                "RESET SESSION AUTHORIZATION",
                "SET SESSION AUTHORIZATION DEFAULT",
                "SELECT pg_catalog.set_config('role', 'joe', false)",
                "SELECT session_user, current_user",
            ])
            .into(),
        Kind::Temporary => temporary(draw),
        Kind::Listen => draw
            .one(&[
                "LISTEN a",
                "LISTEN b",
                "UNLISTEN a",
                "UNLISTEN *",
                "NOTIFY a, 'hello'",
                "NOTIFY b",
                "SELECT pg_notify('a', 'by function')",
            ])
            .into(),
        Kind::Locks => draw
            .one(&[
                "SELECT pg_try_advisory_lock(1)",
                "SELECT pg_try_advisory_lock(2, 3)",
                "SELECT pg_try_advisory_lock_shared(1)",
                "SELECT pg_try_advisory_xact_lock(1)",
                "SELECT pg_advisory_unlock(1)",
                "SELECT pg_advisory_unlock(2, 3)",
                "SELECT pg_advisory_unlock_shared(1)",
                "SELECT pg_advisory_unlock_all()",
                "SELECT CASE WHEN pg_try_advisory_lock(4) THEN 1/0 END",
            ])
            .into(),
        Kind::Cursors => draw
            .one(&[
                "DECLARE c CURSOR FOR SELECT generate_series(1, 9)",
                "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 9)",
                "DECLARE d SCROLL CURSOR WITH HOLD FOR SELECT 'd'",
                "FETCH 2 FROM c",
                "FETCH ALL FROM d",
                "CLOSE c",
                "CLOSE d",
                "CLOSE ALL",
            ])
            .into(),
        Kind::SqlPrepared => draw
            .one(&[
                "PREPARE p AS SELECT 'p'",
                "PREPARE q (int) AS SELECT $1 + 1",
                "PREPARE s1 AS SELECT 'by SQL'",
                "PREPARE l AS SELECT pg_try_advisory_lock(5)",
                "EXECUTE p",
                "EXECUTE q (1)",
                "EXECUTE s1",
                "EXECUTE s2",
                "EXECUTE l",
                "DEALLOCATE p",
                "DEALLOCATE PREPARE q",
                "DEALLOCATE s1",
                "DEALLOCATE s2",
                "DEALLOCATE ALL",
                LIST_PREPARED,
            ])
            .into(),
        Kind::Discard => draw
            .one(&[
                "DISCARD ALL",
                "DISCARD ALL",
                "discard /* all */ all",
                "DISCARD PLANS",
                "DISCARD SEQUENCES",
                "DISCARD TEMP",
                "RESET ALL",
            ])
            .into(),
        Kind::Blocks => block(draw, me),
        Kind::Sequences => draw
            .one(&[
                "SELECT nextval('kept')",
                "SELECT currval('kept')",
                "SELECT lastval()",
                "SELECT setval('kept', 7)",
                "DISCARD SEQUENCES",
            ])
            .into(),
        Kind::Functions => draw
            .one(&[
                "SELECT leaves_setting()",
                "SELECT leaves_lock()",
                "SELECT leaves_lock_by_another()",
                "SELECT leaves_table()",
                "CALL leaves_channel()",
                "INSERT INTO triggering VALUES (1)",
                "SELECT * FROM leaving_view",
                "SELECT 2 <+> 3",
                "SELECT set_config('my.o' || 'ne', 'computed', false)",
            ])
            .into(),
        Kind::Prepared | Kind::Copy => format!("INSERT INTO own_{me} VALUES ({})", draw.below(9)),
    }
}

fn setting(draw: &mut Draw) -> String {
    let (name, values) = draw.one(&SETTINGS);
    let value = draw.one(values);
    match draw.below(14) {
        0..5 => format!("SET {name} = {value}"),
        5 => format!("SET SESSION {name} TO {value}"),
        6 => format!("SET LOCAL {name} = {value}"),
        7 => format!("RESET {name}"),
        // A backend that knows a custom setting shows an empty value, and others do not know the setting.
        8 => format!("SELECT NULLIF(pg_catalog.current_setting('{name}', true), '')"),
        9 if value.starts_with('\'') => format!("SELECT set_config('{name}', {value}, false)"),
        10 if value.starts_with('\'') => format!("SELECT set_config('{name}', {value}, true)"),
        11 => draw
            .one(&[
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, ISOLATION LEVEL REPEATABLE READ",
                "SET TRANSACTION READ ONLY",
                "SET CONSTRAINTS ALL DEFERRED",
            ])
            .into(),
        12 => draw
            .one(&[
                "SET TIME ZONE 'Asia/Tokyo'",
                "SET NAMES 'LATIN1'",
                "SET SCHEMA 'public'",
                "SET XML OPTION DOCUMENT",
                "SET NAMES DEFAULT",
                "SET TIME ZONE LOCAL",
            ])
            .into(),
        _ => "RESET ALL".into(),
    }
}

/// Errors about objects looked up in `pg_temp` by name are caught: their texts depend on earlier use of the schema on a
/// backend.
fn temporary(draw: &mut Draw) -> String {
    draw.one(&[
        "CREATE TEMP TABLE t (a int)",
        "CREATE TEMPORARY TABLE IF NOT EXISTS t AS SELECT 1 AS a",
        "CREATE TEMP TABLE gone (a int) ON COMMIT DROP",
        "CREATE TABLE pg_temp.u (a int)",
        "CREATE TABLE t2 (a int); DROP TABLE t2",
        "SELECT 1 AS a INTO TEMP t",
        "SELECT 1 AS a INTO pg_temp.u",
        "CREATE TEMP VIEW v AS SELECT 'mine'::text AS x",
        "CREATE TEMP SEQUENCE s",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE pg_temp.y AS ENUM ('a')",
        "INSERT INTO t VALUES (2)",
        "SELECT * FROM t ORDER BY a",
        "SELECT * FROM v",
        "DO $$ BEGIN PERFORM pg_temp.f(); EXCEPTION WHEN OTHERS THEN NULL; END $$",
        "DROP TABLE t",
        "DROP TABLE IF EXISTS t, u",
        "DROP VIEW IF EXISTS v",
        "DROP SEQUENCE IF EXISTS s",
        "DO $$ BEGIN DROP FUNCTION pg_temp.f(); EXCEPTION WHEN OTHERS THEN NULL; END $$",
        "DO $$ BEGIN DROP TYPE pg_temp.y; EXCEPTION WHEN OTHERS THEN NULL; END $$",
        "DISCARD TEMP",
        "ALTER TABLE t RENAME TO u",
    ])
    .into()
}

fn block(draw: &mut Draw, me: usize) -> String {
    match draw.below(8) {
        0 => "DO $$ BEGIN PERFORM set_config('my.one', 'do', false); END $$".into(),
        1 => "DO $$ BEGIN SET work_mem = '2MB'; END $$".into(),
        2 => "DO $$ BEGIN PERFORM pg_try_advisory_lock(6); END $$".into(),
        3 => "DO 'BEGIN EXECUTE ''CREATE TEMP TABLE IF NOT EXISTS t (a int)''; END'".into(),
        4 => "DO $d$ BEGIN PERFORM pg_try_advisory_lock(7); RAISE EXCEPTION 'no'; END $d$".into(),
        5 => format!(
            "CREATE OR REPLACE FUNCTION made_{me}() RETURNS text LANGUAGE sql AS $$ SELECT set_config('my.two', 'made', false) $$"
        ),
        6 => format!("SELECT made_{me}()"),
        _ => "DO $$ BEGIN EXECUTE format('SET %s = %L', 'my.two', 'formatted'); END $$".into(),
    }
}

fn prepared(draw: &mut Draw, kinds: &[Kind], me: usize) -> Step {
    let name = draw.one(&["s1", "s2", "s3"]);
    let (what, bytes) = match draw.below(6) {
        0 | 1 => {
            let sql = match draw.below(3) {
                0 => "SELECT set_config($1, $2, false)".to_owned(),
                1 => format!("SELECT {} + $1::int, $2::text", draw.below(3)),
                _ => statement(draw, kinds, me),
            };
            (format!("[parse {name}] {sql}"), parse(name, &sql))
        }
        2 | 3 => {
            let parameters = draw.one::<&[&[u8]]>(&[
                &[],
                &[],
                &[b"my.one", b"bound"],
                &[b"work_mem", b"3MB"],
                &[b"1", b"x"],
            ]);
            (
                format!("[execute {name}] {parameters:?}"),
                [bind("", name, parameters), execute("", 0)].concat(),
            )
        }
        4 => (format!("[describe {name}]"), describe(b'S', name)),
        _ => (format!("[close {name}]"), close(b'S', name)),
    };
    Step::Say { what, bytes: [bytes, sync()].concat(), ready: 1 }
}

fn copy(draw: &mut Draw, me: usize) -> Step {
    let table = if draw.once_in(3) { "t".to_owned() } else { format!("own_{me}") };
    let start = query(&format!("COPY {table} FROM STDIN"));
    let (what, bytes) = match draw.below(5) {
        0 => return simple(format!("COPY {table} TO STDOUT")),
        1 => ("a failed COPY", [start, copy_data(b"1\n"), copy_fail("enough")].concat()),
        2 => ("COPY of nonsense", [start, copy_data(b"nonsense\n"), copy_done()].concat()),
        3 => {
            return Step::Break {
                what: "COPY that breaks off".into(),
                bytes: [start, copy_data(b"1\n")].concat(),
            };
        }
        _ => ("COPY", [start, copy_data(b"1\n2\n"), copy_done()].concat()),
    };
    Step::Say { what: format!("{what} {table}"), bytes, ready: 1 }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say { what, .. } => out.write_str(what),
            Self::Vanish => out.write_str("[vanishes]"),
            Self::Leave => out.write_str("[leaves]"),
            Self::Break { what, .. } => write!(out, "{what} [and vanishes]"),
        }
    }
}
