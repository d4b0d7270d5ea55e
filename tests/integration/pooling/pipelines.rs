//! Pipelines, errors inside a pipeline, Flush, portals.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    conversation::Turn,
    frames::{bind, close, describe, execute, flush, function_call, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk, until_tag},
};

const SERIES: &str = "SELECT i FROM generate_series(1, 10) i";
/// `int4pl`, the function of the operator `+`.
const PLUS: u32 = 177;

#[tokio::test]
async fn pipelines_are_answered_as_if_the_backend_were_the_sessions_own() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "several Syncs in one write",
                [answered(
                    4,
                    [
                        statement("SELECT 1", &[]),
                        sync(),
                        statement("SELECT $1::int", &[b"2"]),
                        sync(),
                        sync(),
                        statement("SELECT 3", &[]),
                        sync(),
                    ],
                )],
            ),
            talk(
                "a named statement across the Syncs of one write",
                [answered(
                    3,
                    [
                        parse("s", "SELECT $1::text"),
                        sync(),
                        bind("", "s", &[b"one"]),
                        execute("", 0),
                        sync(),
                        bind("", "s", &[b"two"]),
                        execute("", 0),
                        sync(),
                    ],
                )],
            ),
            talk(
                "an error in the first of three batches",
                [
                    answered(
                        3,
                        [
                            statement("SELECT 1/0", &[]),
                            parse("s", "SELECT 'never made'"),
                            sync(),
                            statement("SELECT 2", &[]),
                            sync(),
                            bind("", "s", &[]),
                            execute("", 0),
                            sync(),
                        ],
                    ),
                    batch([parse("s", "SELECT 'made now'"), bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a Parse that fails in mid-pipeline",
                [
                    answered(
                        2,
                        [
                            parse("a", "SELECT 1"),
                            parse("b", "SELEC 1"),
                            parse("c", "SELECT 1"),
                            sync(),
                            bind("", "a", &[]),
                            execute("", 0),
                            sync(),
                        ],
                    ),
                    batch([bind("", "b", &[]), execute("", 0)]),
                    batch([bind("", "c", &[]), execute("", 0)]),
                    batch([bind("", "a", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "an error of a second use of a name that an error has undone",
                [
                    answered(
                        3,
                        [
                            statement("SELECT 1/0", &[]),
                            parse("s", "SELECT 'skipped'"),
                            sync(),
                            parse("s", "SELECT 'first'"),
                            sync(),
                            parse("s", "SELECT 'second'"),
                            sync(),
                        ],
                    ),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a Close that was skipped",
                [
                    batch([parse("s", "SELECT 'still there'")]),
                    answered(
                        2,
                        [
                            statement("SELECT 1/0", &[]),
                            close(b'S', "s"),
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
                "queries and batches in one write",
                [answered(
                    6,
                    [
                        query("SELECT 1"),
                        statement("SELECT 2", &[]),
                        sync(),
                        query("SELECT 1/0; SELECT 3"),
                        function_call(PLUS, &[b"2", b"2"]),
                        statement("SELECT 1/0", &[]),
                        sync(),
                        query(""),
                    ],
                )],
            ),
            talk(
                "a Query in the middle of a batch",
                [
                    answered(
                        2,
                        [
                            parse("s", "SELECT 'extended'"),
                            query("SELECT 'simple'"),
                            bind("", "s", &[]),
                            execute("", 0),
                            sync(),
                        ],
                    ),
                    batch([bind("", "s", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a Query that is skipped",
                [answered(1, [statement("SELECT 1/0", &[]), query("SELECT 'skipped'"), sync()])],
            ),
            talk(
                "a Query ends the unnamed statement",
                [batch([parse("", "SELECT 1")]), q("SELECT 2"), batch([bind("", "", &[]), execute("", 0)])],
            ),
            talk(
                "a batch with a transaction's beginning and end",
                [
                    batch([statement("BEGIN", &[]), statement("INSERT INTO notes (word) VALUES ('x')", &[])]),
                    batch([statement("SELECT count(*) FROM notes", &[]), statement("ROLLBACK", &[])]),
                    batch([statement("SELECT count(*) FROM notes", &[])]),
                ],
            ),
            talk(
                "an error undoes the batch's implicit transaction",
                [
                    batch([
                        statement("INSERT INTO notes (word) VALUES ('x')", &[]),
                        statement("SELECT 1/0", &[]),
                    ]),
                    q("SELECT count(*) FROM notes"),
                ],
            ),
            talk(
                "a Sync that brings an error",
                [
                    batch([statement("INSERT INTO deferred VALUES (1), (1)", &[])]),
                    batch([statement("SELECT count(*) FROM deferred", &[])]),
                ],
            ),
            talk(
                "a Sync alone, again and again",
                [answered(3, [sync(), sync(), sync()]), batch([]), q("SELECT 1")],
            ),
        ])
        .await;
}

#[tokio::test]
async fn flush_returns_responses_and_keeps_the_backend_until_sync() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "Flush without Sync",
                [
                    until_tag(b::ROW_DESCRIPTION, [parse("", "SELECT 1"), describe(b'S', ""), flush()]),
                    until_tag(b::COMMAND_COMPLETE, [bind("", "", &[]), execute("", 0), flush()]),
                    until_tag(
                        b::ERROR_RESPONSE,
                        [parse("", "SELECT 1/0"), bind("", "", &[]), execute("", 0), flush()],
                    ),
                    answered(1, [statement("SELECT 'skipped'", &[]), flush(), sync()]),
                ],
            ),
            talk(
                "Flush behind a named Parse, and behind its use",
                [
                    until_tag(b::PARSE_COMPLETE, [parse("s", "SELECT $1::int"), flush()]),
                    until_tag(b::BIND_COMPLETE, [bind("p", "s", &[b"1"]), flush()]),
                    until_tag(b::COMMAND_COMPLETE, [execute("p", 0), flush()]),
                    answered(1, [sync()]),
                    until_tag(b::COMMAND_COMPLETE, [bind("", "s", &[b"2"]), execute("", 0), flush()]),
                    answered(1, [sync()]),
                ],
            ),
            talk(
                "an error before a Flush, and the rest of its batch in other writes",
                [
                    batch([parse("kept", "SELECT 'kept'")]),
                    until_tag(b::ERROR_RESPONSE, [bind("", "nobody", &[]), flush()]),
                    vec![Turn::Say(parse("lost", "SELECT 'lost'"))],
                    vec![Turn::Say(close(b'S', "kept"))],
                    answered(1, [sync()]),
                    batch([bind("", "kept", &[]), execute("", 0)]),
                    batch([bind("", "lost", &[]), execute("", 0)]),
                ],
            ),
            talk("a Flush out of the blue", [vec![Turn::Say(flush())], q("SELECT 1")]),
            talk("a Flush and a Sync", [answered(1, [flush(), sync()]), q("SELECT 1")]),
            talk(
                "a description of an unknown statement, and the rest of its batch",
                [
                    until_tag(b::ERROR_RESPONSE, [describe(b'S', "nobody"), flush()]),
                    answered(1, [statement("SELECT 'skipped'", &[]), sync()]),
                    q("SELECT 1"),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn portals_live_as_long_as_their_transactions() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "a portal suspended and resumed",
                [batch([
                    parse("s", SERIES),
                    bind("p", "s", &[]),
                    execute("p", 4),
                    execute("p", 4),
                    execute("p", 4),
                ])],
            ),
            talk(
                "a portal across batches of a transaction",
                [
                    q("BEGIN"),
                    batch([parse("s", SERIES), bind("p", "s", &[]), execute("p", 4)]),
                    batch([describe(b'P', "p"), execute("p", 4)]),
                    batch([execute("p", 4)]),
                    q("COMMIT"),
                    batch([execute("p", 4)]),
                ],
            ),
            talk(
                "a portal outside a transaction is gone with the Sync",
                [
                    batch([parse("s", SERIES), bind("p", "s", &[]), execute("p", 4)]),
                    batch([execute("p", 4)]),
                    batch([describe(b'P', "p")]),
                ],
            ),
            talk(
                "a portal's name used twice",
                [
                    batch([parse("s", SERIES), bind("p", "s", &[]), bind("p", "s", &[]), execute("p", 0)]),
                    q("BEGIN"),
                    batch([bind("p", "s", &[])]),
                    batch([bind("p", "s", &[])]),
                    q("ROLLBACK"),
                    batch([bind("p", "s", &[]), execute("p", 1)]),
                ],
            ),
            talk(
                "two portals in turn, one closed",
                [batch([
                    parse("s", SERIES),
                    bind("p", "s", &[]),
                    bind("q", "s", &[]),
                    execute("p", 2),
                    execute("q", 3),
                    execute("p", 2),
                    close(b'P', "p"),
                    execute("q", 1),
                    execute("p", 1),
                ])],
            ),
            talk(
                "a portal named in SQL",
                [
                    q("BEGIN"),
                    batch([parse("s", SERIES), bind("p", "s", &[])]),
                    q("FETCH 3 FROM p"),
                    batch([execute("p", 2)]),
                    q("CLOSE p"),
                    batch([execute("p", 2)]),
                    q("ROLLBACK"),
                ],
            ),
            talk(
                "a cursor declared by SQL and used as a portal",
                [
                    q("BEGIN; DECLARE c CURSOR FOR SELECT i FROM generate_series(1, 5) i"),
                    batch([describe(b'P', "c"), execute("c", 2)]),
                    q("FETCH ALL c"),
                    batch([close(b'P', "c")]),
                    q("FETCH ALL c"),
                    q("ROLLBACK"),
                ],
            ),
            talk("closing portals that are not there", [batch([close(b'P', "nobody"), close(b'P', "")])]),
            talk(
                "the statement of a portal that is under way is closed",
                [
                    q("BEGIN"),
                    batch([parse("s", SERIES), bind("p", "s", &[]), execute("p", 2), close(b'S', "s")]),
                    batch([execute("p", 2)]),
                    batch([bind("q", "s", &[])]),
                    q("ROLLBACK"),
                ],
            ),
        ])
        .await;
}
