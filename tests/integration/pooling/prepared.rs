//! Prepared statements of the extended protocol, whichever backend has them.

use crate::harness::{
    conversation::Turn,
    frames::{bind, close, describe, execute, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk},
};

#[tokio::test]
async fn named_statements_are_there_on_every_backend() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "Parse in one batch, Bind and Describe in others",
                [
                    batch([parse("s", "SELECT $1::int + 1 AS one")]),
                    batch([bind("", "s", &[b"1"]), describe(b'P', ""), execute("", 0)]),
                    batch([describe(b'S', "s")]),
                    batch([bind("p", "s", &[b"x"]), execute("p", 0)]),
                    batch([bind("p", "s", &[b"3"]), execute("p", 0)]),
                ],
            ),
            talk(
                "a name that exists already",
                [
                    batch([parse("s", "SELECT 1")]),
                    batch([parse("s", "SELECT 2")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([parse("s", "SELECT 1")]),
                    batch([close(b'S', "s"), parse("s", "SELECT 3"), bind("", "s", &[]), execute("", 0)]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a name that exists already, in one batch and in a transaction",
                [
                    batch([
                        parse("s", "SELECT 1"),
                        parse("s", "SELECT 2"),
                        bind("", "s", &[]),
                        execute("", 0),
                    ]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("BEGIN"),
                    batch([parse("s", "SELECT 2")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "unknown names",
                [
                    batch([bind("", "nobody", &[]), execute("", 0)]),
                    batch([describe(b'S', "nobody")]),
                    batch([describe(b'P', "nobody")]),
                    batch([execute("nobody", 0)]),
                    batch([close(b'S', "nobody"), close(b'P', "nobody")]),
                ],
            ),
            talk(
                "a name closed",
                [
                    batch([parse("s", "SELECT 1")]),
                    batch([close(b'S', "s")]),
                    batch([bind("", "s", &[])]),
                    batch([describe(b'S', "s")]),
                    batch([close(b'S', "s")]),
                    batch([parse("s", "SELECT 2"), bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "two names for one text, and one closed",
                [
                    batch([parse("a", "SELECT $1::text"), parse("b", "SELECT $1::text")]),
                    batch([close(b'S', "a"), bind("", "b", &[b"b"]), execute("", 0)]),
                    batch([bind("", "b", &[b"again"]), execute("", 0)]),
                    batch([bind("", "a", &[b"gone"]), execute("", 0)]),
                ],
            ),
            talk(
                "the same text as the neighbours', under the same name as theirs",
                [
                    batch([parse("t", "SELECT 'theirs'"), parse("s", "SELECT 'ours'")]),
                    batch([bind("", "t", &[]), execute("", 0), bind("", "s", &[]), execute("", 0)]),
                    batch([describe(b'S', "t"), describe(b'S', "s")]),
                ],
            ),
            talk(
                "a name of another session",
                [batch([bind("", "s", &[]), execute("", 0)]), batch([describe(b'S', "t")])],
            ),
            talk(
                "a Parse and a Close that an error skips",
                [
                    batch([bind("", "nobody", &[]), parse("a", "SELECT 'skipped'")]),
                    batch([bind("", "a", &[]), execute("", 0)]),
                    batch([parse("a", "SELECT 'made'")]),
                    batch([describe(b'S', "nobody"), close(b'S', "a"), parse("a", "SELECT 'skipped'")]),
                    batch([bind("", "a", &[]), execute("", 0)]),
                    batch([parse("a", "SELECT 'there already'")]),
                    q("EXECUTE a"),
                    batch([describe(b'S', "nobody"), close(b'S', "a")]),
                    q("EXECUTE a"),
                    batch([bind("", "a", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a Parse that fails later than others",
                [
                    batch([parse("a", "SELECT * FROM no_such_table")]),
                    batch([bind("", "a", &[])]),
                    batch([parse("a", "SELECT 'now'")]),
                    batch([bind("", "a", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "statements made in a transaction that is rolled back stay",
                [
                    q("BEGIN"),
                    batch([parse("s", "SELECT 1")]),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a statement in a failed transaction",
                [
                    batch([parse("s", "SELECT 1"), parse("r", "ROLLBACK")]),
                    q("BEGIN"),
                    q("SELECT 1/0"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    batch([parse("n", "SELECT 2")]),
                    batch([describe(b'S', "s")]),
                    batch([bind("", "r", &[]), execute("", 0)]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "statements prepared in a failed transaction",
                [
                    q("BEGIN"),
                    q("SELECT 1/0"),
                    batch([parse("r", "ROLLBACK")]),
                    batch([bind("", "r", &[]), execute("", 0)]),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "empty statements with a name",
                [
                    batch([parse("e", "")]),
                    batch([describe(b'S', "e"), bind("", "e", &[]), describe(b'P', ""), execute("", 0)]),
                ],
            ),
            talk(
                "names that look like our own",
                [
                    batch([bind("", "__gatekeeper_x", &[])]),
                    batch([parse("__gatekeeper_x", "SELECT 1")]),
                    batch([bind("", "__gatekeeper_x", &[]), execute("", 0)]),
                    batch([parse("__gatekeeper_x", "SELECT 1")]),
                    batch([close(b'S', "__gatekeeper_x")]),
                ],
            ),
            talk(
                "a name longer than an identifier",
                [
                    batch([parse(LONG, "SELECT 1")]),
                    batch([bind("", LONG, &[]), execute("", 0)]),
                    batch([parse(LONG, "SELECT 2")]),
                ],
            ),
        ])
        .await;
}

const LONG: &str =
    "a_name_that_is_longer_than_sixty_three_bytes_which_is_where_identifiers_of_sql_are_cut_off";

#[tokio::test]
async fn the_unnamed_statement_is_the_sessions_own() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "Parse in one batch, Bind in the next",
                [
                    batch([parse("", "SELECT $1::int + 1")]),
                    batch([describe(b'S', "")]),
                    batch([bind("", "", &[b"1"]), execute("", 0)]),
                    batch([bind("", "", &[b"2"]), execute("", 0)]),
                    batch([parse("", "SELECT 'new'"), bind("", "", &[]), execute("", 0)]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk("none yet", [batch([bind("", "", &[])]), batch([describe(b'S', "")])]),
            talk(
                "closed",
                [
                    batch([parse("", "SELECT 1")]),
                    batch([close(b'S', "")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "lost with a Parse that fails",
                [
                    batch([parse("", "SELECT 1")]),
                    batch([parse("", "SELEC 1")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "kept when a named statement fails",
                [
                    batch([parse("", "SELECT 'kept'")]),
                    batch([parse("x", "SELEC")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "kept beside an empty transaction",
                [
                    batch([parse("", "SELECT 'kept'")]),
                    batch([statement("SELECT 'other'", &[])]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "lost with BEGIN as a Query",
                [
                    batch([parse("", "SELECT 'lost'")]),
                    q("BEGIN"),
                    batch([bind("", "", &[]), execute("", 0)]),
                    q("ROLLBACK"),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "kept when an error skips the Parse that would replace it",
                [
                    batch([parse("", "SELECT 'kept'")]),
                    batch([bind("", "nobody", &[]), parse("", "SELECT 'skipped'")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                    batch([
                        statement("SELECT 1", &[]),
                        statement("SELECT 1/0", &[]),
                        parse("", "SELECT 'skipped'"),
                        parse("", "SELECT 'skipped, too'"),
                    ]),
                    batch([bind("", "", &[]), execute("", 0)]),
                    batch([parse("", "SELECT 'kept'"), parse("x", "SELEC"), parse("", "SELECT 'skipped'")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "kept when an error skips the Close or the Query that would destroy it",
                [
                    batch([parse("", "SELECT 'kept'")]),
                    batch([describe(b'S', "nobody"), close(b'S', "")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                    answered(1, [bind("", "nobody", &[]), query("SELECT 'skipped'"), sync()]),
                    batch([bind("", "", &[]), execute("", 0)]),
                    answered(
                        1,
                        [
                            bind("", "nobody", &[]),
                            query("SELECT 2"),
                            parse("", "SELECT 3"),
                            query("SELECT 4"),
                            sync(),
                        ],
                    ),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "lost with a Parse that fails behind others of its batch",
                [
                    batch([parse("", "SELECT 'lost'")]),
                    batch([statement("SELECT 'lost, too'", &[]), parse("", "SELEC"), parse("", "SELECT 1")]),
                    batch([bind("", "", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "lost with a Query that fails",
                [batch([parse("", "SELECT 'lost'")]), q("SELEC"), batch([bind("", "", &[]), execute("", 0)])],
            ),
        ])
        .await;
}

#[tokio::test]
async fn definitions_may_change_between_executions() {
    let shared = Shared::start().await;
    let star = "SELECT * FROM (SELECT w.* FROM notes_view w) x";
    shared
        .agree([
            talk(
                "a result that changes its type, outside transactions",
                [
                    q("DROP VIEW IF EXISTS notes_view; CREATE VIEW notes_view AS SELECT 1 + 0 AS a"),
                    batch([
                        parse("s", "SELECT a + 0, x.* FROM (SELECT a + 0 AS a FROM notes_view) x"),
                        parse("w", star),
                    ]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("DROP VIEW notes_view; CREATE VIEW notes_view AS SELECT 'text'::text AS a"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("DROP VIEW notes_view; CREATE VIEW notes_view AS SELECT 1 + 0 AS a, 2 + 0 AS b"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("DROP VIEW notes_view"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a table altered in the same transaction",
                [
                    q("BEGIN"),
                    batch([
                        parse("s", "SELECT word || '' FROM notes ORDER BY id"),
                        bind("", "s", &[]),
                        execute("", 0),
                    ]),
                    q("ALTER TABLE notes ADD COLUMN more int"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a statement whose table goes away and comes back",
                [
                    q("CREATE TABLE comes_and_goes (a int)"),
                    batch([parse("s", "INSERT INTO comes_and_goes VALUES ($1)")]),
                    batch([bind("", "s", &[b"1"]), execute("", 0)]),
                    q("DROP TABLE comes_and_goes"),
                    batch([bind("", "s", &[b"1"]), execute("", 0)]),
                    q("CREATE TABLE comes_and_goes (a int)"),
                    batch([bind("", "s", &[b"1"]), execute("", 0)]),
                    q("DROP TABLE comes_and_goes"),
                ],
            ),
            talk(
                "a statement that depends on the search path",
                [
                    q("CREATE SCHEMA there; CREATE VIEW there.place AS SELECT 'there' AS here; \
                       CREATE VIEW place AS SELECT 'public' AS here"),
                    batch([parse("s", "SELECT here || '' FROM place")]),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("SET search_path = there"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("RESET search_path"),
                    batch([bind("", "s", &[]), execute("", 0)]),
                    q("DROP VIEW place; DROP SCHEMA there CASCADE"),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn plans_that_must_not_change_fail_as_they_do_at_the_server() {
    let shared = Shared::start().await;
    let star = "SELECT * FROM changing";
    shared
        .agree([talk(
            "cached plan must not change result type",
            [
                q("CREATE VIEW changing AS SELECT 1 + 0 AS a"),
                batch([parse("s", star)]),
                batch([bind("", "s", &[])]),
                q("DROP VIEW changing; CREATE VIEW changing AS SELECT 1 + 0 AS a, 'b'::text AS b"),
                batch([bind("", "s", &[])]),
                // Direct sessions fail again and again; here the statement is prepared anew.
                batch([close(b'S', "s"), parse("s", star), bind("", "s", &[])]),
                q("DROP VIEW changing"),
            ],
        )])
        .await;
}

#[tokio::test]
async fn statements_beyond_a_backends_limit_are_all_available() {
    let shared = Shared::start().await;
    let name = |i: usize| format!("s{i}");
    let many: Vec<Vec<u8>> = (0..700).map(|i| parse(&name(i), &format!("SELECT {i} + $1::int"))).collect();
    let first = [many.concat(), sync()].concat();
    let used = |range: std::ops::Range<usize>| {
        let uses = range.flat_map(|i| [bind("", &name(i), &[b"1"]), execute("", 0)]);
        [uses.collect::<Vec<_>>().concat(), sync()].concat()
    };
    let each: Vec<Turn> = (0..700).step_by(7).flat_map(|i| answered(1, [used(i..i + 1)])).collect();
    let closes: Vec<Vec<u8>> = (100..200).map(|i| close(b'S', &name(i))).collect();
    shared
        .agree([talk(
            "700 statements",
            [
                answered(1, [first]),
                answered(1, [used(0..700)]),
                answered(1, [used(0..3)]),
                answered(2, [used(690..700), used(5..9)]),
                each,
                answered(1, [closes.concat(), sync()]),
                answered(1, [used(99..101)]),
                answered(3, [query("BEGIN"), used(0..700), query("COMMIT")]),
            ],
        )])
        .await;
}
