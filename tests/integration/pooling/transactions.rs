//! Transactions: a beginning held back is not to be noticed.

use crate::harness::{
    frames::{bind, execute, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk},
};

#[tokio::test]
async fn a_deferred_begin_is_invisible() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk("an empty transaction", [q("BEGIN"), q("COMMIT"), q("BEGIN"), q("ROLLBACK"), q("SELECT 1")]),
            talk(
                "words for the same",
                [
                    q("begin;"),
                    q(" COMMIT WORK ;"),
                    q("START TRANSACTION"),
                    q("END"),
                    q("begin work"),
                    q("abort"),
                    q("BEGIN TRANSACTION -- now"),
                    q("END TRANSACTION"),
                    q("/* so */ BEGIN"),
                    q("ROLLBACK AND NO CHAIN"),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "the first statement fails",
                [q("BEGIN"), q("SELECT 1/0"), q("SELECT 1"), q("BEGIN"), q("COMMIT"), q("SELECT 1")],
            ),
            talk(
                "the first statement does not parse",
                [q("BEGIN"), q("SELEC 1"), q("SELECT 1"), q("ROLLBACK"), q("SELECT 1")],
            ),
            talk(
                "BEGIN twice",
                [q("BEGIN"), q("BEGIN"), q("SELECT 1"), q("BEGIN"), q("COMMIT"), q("COMMIT")],
            ),
            talk("an end without a beginning", [q("COMMIT"), q("ROLLBACK"), q("SELECT 1")]),
            talk(
                "chained",
                [q("BEGIN"), q("COMMIT AND CHAIN"), q("SELECT 1"), q("ROLLBACK AND CHAIN"), q("COMMIT")],
            ),
            talk(
                "an empty query first",
                [q("BEGIN"), q(""), q("SELECT 1"), q("COMMIT"), q("BEGIN"), q("  ;;"), q("COMMIT")],
            ),
            talk(
                "a batch first",
                [
                    q("BEGIN"),
                    batch([statement("SELECT $1::int", &[b"1"])]),
                    batch([statement("INSERT INTO notes (word) VALUES ('x')", &[])]),
                    q("ROLLBACK"),
                    q("SELECT count(*) FROM notes"),
                ],
            ),
            talk(
                "a batch that fails first",
                [
                    q("BEGIN"),
                    batch([parse("s", "SELEC 1")]),
                    batch([parse("s", "SELECT 1")]),
                    q("ROLLBACK"),
                    batch([bind("", "s", &[])]),
                ],
            ),
            talk("a Sync first", [q("BEGIN"), batch([]), q("SELECT 1"), q("COMMIT")]),
            talk("a Sync only", [q("BEGIN"), batch([]), q("COMMIT"), q("SELECT 1")]),
            talk(
                "beginning and end in one write",
                [answered(
                    5,
                    [query("BEGIN"), query("SELECT 1"), query("COMMIT"), query("BEGIN"), query("ROLLBACK")],
                )],
            ),
            talk(
                "a beginning behind a statement in one write",
                [
                    answered(3, [query("SELECT 1"), query("BEGIN"), query("SELECT 2")]),
                    q("SELECT 3"),
                    answered(3, [query("COMMIT"), query("BEGIN"), query("COMMIT")]),
                ],
            ),
            talk(
                "a beginning behind a batch in one write",
                [answered(
                    4,
                    [
                        statement("SELECT 1", &[]),
                        sync(),
                        query("BEGIN"),
                        statement("SELECT 2", &[]),
                        sync(),
                        query("END"),
                    ],
                )],
            ),
            talk(
                "a beginning in the middle of a batch",
                [answered(
                    4,
                    [
                        parse("s", "SELECT 1"),
                        query("BEGIN"),
                        bind("", "s", &[]),
                        execute("", 0),
                        sync(),
                        query("COMMIT"),
                        query("SELECT 1"),
                    ],
                )],
            ),
            talk(
                "by the extended protocol",
                [
                    batch([statement("BEGIN", &[])]),
                    batch([statement("COMMIT", &[])]),
                    batch([parse("b", "BEGIN"), parse("c", "COMMIT")]),
                    batch([bind("", "b", &[]), execute("", 0)]),
                    batch([bind("", "b", &[]), execute("", 0)]),
                    batch([bind("", "c", &[]), execute("", 0)]),
                    batch([bind("", "c", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "begun by Query, ended by a batch",
                [
                    q("BEGIN"),
                    batch([statement("COMMIT", &[])]),
                    q("BEGIN"),
                    batch([statement("ROLLBACK", &[])]),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "with a mode",
                [
                    q("BEGIN ISOLATION LEVEL SERIALIZABLE"),
                    q("SHOW transaction_isolation"),
                    q("COMMIT"),
                    q("BEGIN READ ONLY"),
                    q("INSERT INTO notes (word) VALUES ('x')"),
                    q("COMMIT"),
                    q("SHOW transaction_isolation"),
                    q("START TRANSACTION READ ONLY, DEFERRABLE"),
                    q("SHOW transaction_deferrable"),
                    q("COMMIT"),
                ],
            ),
            talk(
                "SET TRANSACTION first",
                [
                    q("BEGIN"),
                    q("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"),
                    q("SHOW transaction_isolation"),
                    q("COMMIT"),
                    q("SHOW transaction_isolation"),
                    q("SET TRANSACTION READ ONLY"),
                    q("SHOW transaction_read_only"),
                ],
            ),
            talk(
                "statements of the transaction's time",
                [
                    q("BEGIN"),
                    q("SELECT now() = statement_timestamp() OR now() < statement_timestamp()"),
                    q("SELECT now() < clock_timestamp()"),
                    q("COMMIT"),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn blocks_savepoints_and_several_statements_end_as_at_the_server() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk(
                "savepoints",
                [
                    q("BEGIN"),
                    q("SAVEPOINT a"),
                    q("INSERT INTO notes (word) VALUES ('a')"),
                    q("SELECT 1/0"),
                    q("ROLLBACK TO a"),
                    q("SELECT count(*) FROM notes"),
                    q("RELEASE a"),
                    q("ROLLBACK TO a"),
                    q("COMMIT"),
                    q("SAVEPOINT outside"),
                ],
            ),
            talk(
                "several statements with an error in the middle",
                [
                    q("INSERT INTO notes (word) VALUES ('a'); SELECT 1/0; SELECT 2"),
                    q("SELECT count(*) FROM notes"),
                    q("BEGIN; INSERT INTO notes (word) VALUES ('a'); SELECT 1/0; COMMIT"),
                    q("SELECT 1"),
                    q("ROLLBACK"),
                    q("SELECT count(*) FROM notes"),
                ],
            ),
            talk(
                "transactions inside one Query",
                [
                    q("BEGIN; SELECT 1; COMMIT; SELECT 2; BEGIN; SELECT 3"),
                    q("SELECT 4; ROLLBACK; SELECT 5"),
                    q("BEGIN; ROLLBACK; BEGIN; SELECT 1/0"),
                    q("COMMIT; SELECT 1"),
                    q("SELECT 1; SAVEPOINT a; SELECT 2"),
                ],
            ),
            talk(
                "an implicit block",
                [
                    q("SELECT 1; BEGIN; SELECT 2"),
                    q("COMMIT"),
                    q("SELECT 1; COMMIT; SELECT 2"),
                    q("SELECT 1; ROLLBACK"),
                ],
            ),
            talk(
                "a commit that fails",
                [
                    q("BEGIN"),
                    q("INSERT INTO deferred VALUES (1), (1)"),
                    q("COMMIT"),
                    q("SELECT count(*) FROM deferred"),
                    q("BEGIN"),
                    q("INSERT INTO deferred VALUES (1), (1)"),
                    q("SET CONSTRAINTS ALL IMMEDIATE"),
                    q("COMMIT"),
                ],
            ),
            talk(
                "empty queries",
                [q(""), q(" "), q(";"), q("-- nothing"), q("/* nothing */"), q("SELECT 1;;")],
            ),
            talk(
                "what cannot run in a block",
                [
                    q("BEGIN"),
                    q("VACUUM notes"),
                    q("ROLLBACK"),
                    q("SELECT 1; VACUUM notes"),
                    q("VACUUM notes"),
                ],
            ),
            talk(
                "two-phase commit",
                [
                    q("BEGIN"),
                    q("INSERT INTO notes (word) VALUES ('x')"),
                    q("PREPARE TRANSACTION 'x'"),
                    q("ROLLBACK PREPARED 'x'"),
                    q("SELECT count(*) FROM notes"),
                ],
            ),
            talk(
                "procedures that commit",
                [
                    q("CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN \
                       INSERT INTO notes (word) VALUES ('c'); COMMIT; \
                       INSERT INTO notes (word) VALUES ('r'); ROLLBACK; END $$"),
                    q("CALL commits()"),
                    q("SELECT word || '' FROM notes ORDER BY id"),
                    q("BEGIN"),
                    q("CALL commits()"),
                    q("ROLLBACK"),
                    batch([statement("CALL commits()", &[])]),
                    q("DROP PROCEDURE commits"),
                ],
            ),
        ])
        .await;
}
