//! SQL's PREPARE, EXECUTE and DEALLOCATE, beside the statements of the extended protocol.

use crate::harness::{
    frames::{bind, close, describe, execute, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk},
};

const LISTED: &str = "SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY name";

#[tokio::test]
async fn statements_prepared_by_sql_stay_with_their_session() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "PREPARE, EXECUTE, DEALLOCATE",
                [
                    q("PREPARE p (int) AS SELECT $1 + 1"),
                    q("EXECUTE p (1)"),
                    q("SELECT 1"),
                    q("EXECUTE p (2)"),
                    q("PREPARE p AS SELECT 2"),
                    q("DEALLOCATE p"),
                    q("EXECUTE p (3)"),
                    q("DEALLOCATE p"),
                    q("DEALLOCATE PREPARE nobody"),
                ],
            ),
            talk(
                "PREPARE survives a rollback",
                [
                    q("BEGIN"),
                    q("PREPARE p AS SELECT 1"),
                    q("ROLLBACK"),
                    q("EXECUTE p"),
                    q("DEALLOCATE ALL"),
                    q("EXECUTE p"),
                ],
            ),
            talk(
                "one prepared by SQL, bound by message",
                [
                    q("PREPARE p (int) AS SELECT $1 + 1 AS a"),
                    batch([bind("", "p", &[b"1"]), describe(b'P', ""), execute("", 0)]),
                    batch([describe(b'S', "p")]),
                    batch([parse("p", "SELECT 2")]),
                    batch([close(b'S', "p")]),
                    q("EXECUTE p (1)"),
                ],
            ),
            talk(
                "one prepared by message, executed by SQL",
                [
                    batch([parse("s", "SELECT $1::int + 1 AS a")]),
                    q("EXECUTE s (1)"),
                    q("EXECUTE s (2)"),
                    batch([bind("", "s", &[b"3"]), execute("", 0)]),
                    q("EXECUTE s ('x')"),
                    q("DEALLOCATE s"),
                    q("EXECUTE s (4)"),
                    batch([bind("", "s", &[b"3"]), execute("", 0)]),
                ],
            ),
            talk(
                "the same, in batches",
                [
                    batch([parse("s", "SELECT $1::int + 1 AS a")]),
                    batch([statement("EXECUTE s (1)", &[])]),
                    batch([statement("DEALLOCATE s", &[])]),
                    batch([bind("", "s", &[b"3"]), execute("", 0)]),
                    batch([parse("s", "SELECT 'new'"), bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "one prepared by message, executed by SQL behind others",
                [
                    batch([parse("s", "SELECT $1::int + 1 AS a")]),
                    answered(2, [query("SELECT 1"), query("EXECUTE s (1)")]),
                    answered(3, [query("BEGIN"), query("SELECT 1/0"), query("EXECUTE s (1)")]),
                    answered(3, [query("ROLLBACK"), query("EXECUTE s (1)"), query("EXECUTE s (2)")]),
                    answered(2, [statement("SELECT 1", &[]), sync(), query("EXECUTE s (3)")]),
                    answered(2, [parse("t", "SELECT 't'"), query("EXECUTE t"), sync()]),
                    answered(3, [query("SELECT 2"), query("DEALLOCATE s"), query("EXECUTE s (4)")]),
                ],
            ),
            talk(
                "DEALLOCATE by message that comes to nothing",
                [
                    batch([parse("s", "SELECT 's'"), parse("d", "DEALLOCATE s")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([parse("", "DEALLOCATE s")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([bind("", "d", &[])]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([bind("", "d", &[]), statement("SELECT 1/0", &[]), execute("", 0)]),
                    batch([statement("SELECT 1/0", &[]), bind("", "d", &[]), execute("", 0)]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("BEGIN"),
                    batch([bind("", "d", &[]), execute("", 0), bind("", "s", &[])]),
                    batch([bind("", "s", &[])]),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[])]),
                    batch([parse("s", "SELECT 'new'"), bind("", "s", &[]), execute("", 0)]),
                    batch([bind("", "d", &[]), execute("", 0), parse("s", "SELECT 'newer'")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DEALLOCATE of one prepared by message",
                [
                    batch([parse("s", "SELECT 1"), parse("t", "SELECT 2"), parse("Quoted Name", "SELECT 3")]),
                    q("DEALLOCATE s"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([bind("", "t", &[]), execute("", 0)]),
                    q("DEALLOCATE quoted"),
                    q("DEALLOCATE \"Quoted Name\""),
                    batch([bind("", "Quoted Name", &[]), execute("", 0)]),
                    q("DEALLOCATE T"),
                    batch([bind("", "t", &[]), execute("", 0)]),
                    batch([parse("s", "SELECT 'again'"), bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DEALLOCATE in transactions",
                [
                    batch([parse("s", "SELECT 1"), parse("t", "SELECT 2")]),
                    q("BEGIN"),
                    q("DEALLOCATE s"),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("BEGIN"),
                    q("SELECT 1/0"),
                    q("DEALLOCATE t"),
                    q("ROLLBACK"),
                    batch([bind("", "t", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DEALLOCATE among other statements",
                [
                    batch([parse("s", "SELECT 1"), parse("t", "SELECT 2"), parse("u", "SELECT 3")]),
                    q("SELECT 1; DEALLOCATE s; SELECT 2"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("EXECUTE t; EXECUTE u"),
                    q("SELECT 1; DEALLOCATE nobody"),
                    batch([bind("", "t", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DEALLOCATE ALL",
                [
                    batch([parse("s", "SELECT 1"), parse("", "SELECT 'unnamed'")]),
                    batch([statement("DEALLOCATE ALL", &[])]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([parse("s", "SELECT 2")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("DEALLOCATE ALL"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([parse("s", "SELECT 3"), bind("", "s", &[]), execute("", 0)]),
                    q("BEGIN; DEALLOCATE ALL; ROLLBACK"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DEALLOCATE ALL within a pipeline",
                [
                    batch([parse("s", "SELECT 1")]),
                    answered(
                        3,
                        [
                            query("DEALLOCATE ALL"),
                            parse("s", "SELECT 'anew'"),
                            sync(),
                            bind("", "s", &[]),
                            execute("", 0),
                            sync(),
                        ],
                    ),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "DISCARD ALL",
                [
                    batch([parse("s", "SELECT 1")]),
                    q("SET work_mem = '2MB'; PREPARE p AS SELECT 1"),
                    q("DISCARD ALL"),
                    q("SHOW work_mem"),
                    q("EXECUTE p"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([parse("s", "SELECT 2")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("BEGIN"),
                    q("DISCARD ALL"),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("DISCARD PLANS"),
                    q("DISCARD TEMP"),
                    q("DISCARD SEQUENCES"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([statement("DISCARD ALL", &[])]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a list of them",
                [
                    q(LISTED),
                    batch([parse("s", "SELECT 1"), parse("t", "SELECT $1::int")]),
                    q(LISTED),
                    q("PREPARE p AS SELECT 3"),
                    q(LISTED),
                    batch([statement(LISTED, &[])]),
                    q("DEALLOCATE p"),
                    q("DEALLOCATE t"),
                    q(LISTED),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("BEGIN"),
                    q(LISTED),
                    q("COMMIT"),
                ],
            ),
            talk(
                "CREATE TABLE AS EXECUTE, EXPLAIN EXECUTE",
                [
                    batch([parse("s", "SELECT 1 AS a")]),
                    q("EXPLAIN (COSTS OFF) EXECUTE s"),
                    q("CREATE TEMP TABLE made AS EXECUTE s"),
                    q("SELECT a + 0 FROM made"),
                    q("PREPARE p AS SELECT 2 AS b"),
                    q("EXPLAIN (COSTS OFF) EXECUTE p"),
                ],
            ),
            talk(
                "EXECUTE of a statement that leaves state",
                [
                    batch([parse("s", "SELECT set_config('work_mem', '3MB', false)")]),
                    q("EXECUTE s"),
                    q("SHOW work_mem"),
                    q("PREPARE p AS SELECT set_config('work_mem', '5MB', false)"),
                    q("EXECUTE p"),
                    q("DEALLOCATE ALL"),
                    q("SHOW work_mem"),
                ],
            ),
        ])
        .await;
}
