//! State that outlives a transaction pins the backend until the state is gone.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    conversation::Turn,
    frames::{bind, describe, execute, function_call, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk},
};

#[tokio::test]
async fn notifications_reach_listening_sessions() {
    let shared = Shared::start().await;
    let channels = "SELECT pg_listening_channels()";
    shared
        .agree([
            talk(
                "while nothing is asked",
                [
                    q("LISTEN news"),
                    vec![Turn::Meanwhile("NOTIFY news, 'first'"), Turn::Hear(b::NOTIFICATION_RESPONSE)],
                    q("SELECT 'still in step'"),
                    vec![Turn::Meanwhile("NOTIFY news, 'second'"), Turn::Hear(b::NOTIFICATION_RESPONSE)],
                    q(channels),
                    q("UNLISTEN news"),
                    vec![Turn::Meanwhile("NOTIFY news, 'unheard'")],
                    q(channels),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "in transactions",
                [
                    q("BEGIN"),
                    q("LISTEN news"),
                    q("ROLLBACK"),
                    q(channels),
                    q("BEGIN"),
                    q("LISTEN news"),
                    q("COMMIT"),
                    q("BEGIN"),
                    vec![Turn::Meanwhile("NOTIFY news, 'held back'")],
                    q("SELECT 1"),
                    q("COMMIT"),
                    q("UNLISTEN *"),
                    q(channels),
                ],
            ),
            talk(
                "to oneself",
                [
                    q("LISTEN a; LISTEN b"),
                    q("NOTIFY a; NOTIFY b, 'x'"),
                    q("SELECT pg_notify('a', 'y')"),
                    q("UNLISTEN a"),
                    q("NOTIFY a"),
                    q("NOTIFY b"),
                    q("DISCARD ALL"),
                    q("NOTIFY b"),
                ],
            ),
            talk(
                "by the extended protocol",
                [
                    batch([statement("LISTEN news", &[])]),
                    batch([statement("SELECT pg_notify('news', $1)", &[b"payload"])]),
                    batch([statement("UNLISTEN *", &[])]),
                    batch([statement("NOTIFY news", &[])]),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn temporary_objects_stay_with_their_session() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "tables",
                [
                    q("CREATE TEMP TABLE t (a int)"),
                    q("INSERT INTO t VALUES (1), (2)"),
                    q("SELECT sum(a) FROM t"),
                    q("DROP TABLE t"),
                    q("SELECT sum(a) FROM t"),
                ],
            ),
            talk(
                "tables that come and go with transactions",
                [
                    q("BEGIN"),
                    q("CREATE TEMP TABLE t (a int) ON COMMIT DROP"),
                    q("INSERT INTO t VALUES (1)"),
                    q("COMMIT"),
                    q("SELECT sum(a) FROM t"),
                    q("BEGIN; CREATE TEMP TABLE u (a int); ROLLBACK"),
                    q("SELECT sum(a) FROM u"),
                    q("BEGIN; CREATE TEMP TABLE v (a int); INSERT INTO v VALUES (3); COMMIT"),
                    q("SELECT sum(a) FROM v"),
                    q("DISCARD TEMP"),
                    q("SELECT sum(a) FROM v"),
                ],
            ),
            talk(
                "other ways to make one",
                [
                    q("SELECT id + 0 AS a INTO TEMP i FROM notes"),
                    q("SELECT sum(a) FROM i"),
                    q("CREATE TABLE pg_temp.j AS SELECT 1 AS a"),
                    q("SELECT sum(a) FROM j"),
                    q("CREATE TEMPORARY VIEW w AS SELECT 1 AS a"),
                    q("SELECT a + 0 FROM w"),
                    q("CREATE TEMP SEQUENCE s"),
                    q("SELECT nextval('s')"),
                    q("SELECT nextval('s')"),
                    q("DROP SEQUENCE s; DROP VIEW w; DROP TABLE i, j"),
                    q("SELECT a + 0 FROM w"),
                    q("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 5'"),
                    q("SELECT pg_temp.f()"),
                    q("SELECT pg_temp.f()"),
                    q("DROP FUNCTION pg_temp.f()"),
                    q("SET search_path = pg_temp, public"),
                    q("CREATE TABLE hidden (a int)"),
                    q("SELECT count(*) FROM hidden"),
                    q("SELECT count(*) FROM hidden"),
                ],
            ),
            talk(
                "in batches",
                [
                    batch([statement("CREATE TEMP TABLE t (a int)", &[])]),
                    batch([parse("i", "INSERT INTO t VALUES ($1)")]),
                    batch([bind("", "i", &[b"5"]), execute("", 0)]),
                    batch([statement("SELECT a + 0 FROM t", &[])]),
                ],
            ),
            talk(
                "made by a block and by a function",
                [
                    q("DO $$ BEGIN CREATE TEMP TABLE by_block (a int); END $$"),
                    q("SELECT count(*) FROM by_block"),
                    q("DROP TABLE by_block"),
                    q("CREATE FUNCTION makes() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE \
                       TEMP TABLE made (a int); END $$"),
                    q("SELECT makes()"),
                    q("SELECT count(*) FROM made"),
                    q("DROP FUNCTION makes()"),
                ],
            ),
            talk(
                "cursors WITH HOLD",
                [
                    q("DECLARE c CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 5) i"),
                    q("FETCH 2 c"),
                    q("SELECT 1"),
                    q("FETCH 2 c"),
                    batch([describe(b'P', "c"), execute("c", 0)]),
                    q("CLOSE c"),
                    q("FETCH 1 c"),
                    q("BEGIN"),
                    q("DECLARE d CURSOR WITH HOLD FOR SELECT 1"),
                    q("COMMIT"),
                    q("FETCH ALL d"),
                    q("CLOSE ALL"),
                    q("FETCH ALL d"),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn locks_sequences_and_functions_keep_their_state() {
    let shared = Shared::start().await;
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    shared
        .agree([
            talk(
                "advisory locks",
                [
                    q("SELECT pg_advisory_lock(7)"),
                    q(held),
                    q("SELECT pg_try_advisory_lock(7), pg_try_advisory_lock_shared(8)"),
                    q(held),
                    q("SELECT pg_advisory_unlock(7)"),
                    q("SELECT pg_advisory_unlock(7)"),
                    q("SELECT pg_advisory_unlock(7)"),
                    q("SELECT pg_advisory_unlock_all()"),
                    q(held),
                    q("BEGIN; SELECT pg_advisory_xact_lock(9)"),
                    q(held),
                    q("COMMIT"),
                    q(held),
                    q("BEGIN; SELECT pg_advisory_lock(10); ROLLBACK"),
                    q(held),
                ],
            ),
            talk(
                "advisory locks by FunctionCall and by batches",
                [
                    answered(1, [function_call(PG_ADVISORY_LOCK, &[b"11"])]),
                    q(held),
                    batch([statement("SELECT pg_advisory_lock($1)", &[b"12"])]),
                    q(held),
                    batch([parse("u", "SELECT pg_advisory_unlock_all()")]),
                    batch([bind("", "u", &[]), execute("", 0)]),
                    q(held),
                ],
            ),
            talk(
                "currval and lastval",
                [
                    q("SELECT currval('numbers')"),
                    q("SELECT lastval()"),
                    q("SELECT nextval('numbers')"),
                    q("SELECT currval('numbers')"),
                    q("SELECT 1"),
                    q("SELECT lastval()"),
                    q("DISCARD SEQUENCES"),
                    q("SELECT lastval()"),
                ],
            ),
            talk(
                "currval and lastval behind an INSERT",
                [
                    q("INSERT INTO notes (word) VALUES ('x')"),
                    q("SELECT lastval()"),
                    q("SELECT currval(pg_get_serial_sequence('notes', 'id'))"),
                    batch([statement("INSERT INTO notes (word) VALUES ($1)", &[b"y"])]),
                    batch([statement("SELECT lastval()", &[])]),
                    q("SELECT setval('numbers', 40)"),
                    q("SELECT currval('numbers')"),
                ],
            ),
            talk(
                "nobody's lastval in a batch",
                [
                    batch([statement("SELECT lastval()", &[])]),
                    batch([statement("SELECT currval('numbers')", &[])]),
                ],
            ),
            talk(
                "setseed",
                [
                    q("SELECT setseed(0.5)"),
                    q("SELECT random()"),
                    q("SELECT random()"),
                    q("SET SEED TO 0.25"),
                    q("SELECT random()"),
                ],
            ),
            talk(
                "LOAD",
                [
                    q("LOAD 'plpgsql'"),
                    q("SELECT 1"),
                    q("LOAD 'no_such_library'").into_iter().take(0).collect(),
                ],
            ),
            talk(
                "large objects",
                [
                    q("BEGIN"),
                    q("SELECT lo_create(4711)"),
                    q("SELECT lo_open(4711, 131072)"),
                    q("SELECT lowrite(0, '\\x010203')"),
                    q("SELECT lo_close(0)"),
                    q("SELECT lo_get(4711)"),
                    q("ROLLBACK"),
                    q("SELECT lo_get(4711)"),
                ],
            ),
            talk(
                "functions that set",
                [
                    q("CREATE FUNCTION sets(v text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
                       PERFORM set_config('work_mem', v, false); END $$"),
                    q("SELECT sets('2MB')"),
                    q("SHOW work_mem"),
                    q("SELECT sets('3MB')"),
                    answered(
                        3,
                        [
                            query("SHOW work_mem"),
                            statement("SELECT sets($1)", &[b"5MB"]),
                            sync(),
                            query("SHOW work_mem"),
                        ],
                    ),
                    q("DROP FUNCTION sets"),
                    q("SHOW work_mem"),
                ],
            ),
            talk(
                "functions with settings of their own",
                [
                    q("CREATE FUNCTION shows() RETURNS text LANGUAGE sql SET work_mem = '9MB' AS \
                       $$ SELECT current_setting('work_mem') $$"),
                    q("SELECT shows()"),
                    q("SHOW work_mem"),
                    q("DROP FUNCTION shows"),
                ],
            ),
        ])
        .await;
}

/// `pg_advisory_lock(bigint)`.
const PG_ADVISORY_LOCK: u32 = 2880;
