//! Answers keep the order of messages, with and without text capture for the audit log and messages sent ahead to the
//! backend.

use crate::harness::{
    frames::{bind, close, describe, execute, parse, statement},
    shared::{Shared, batch, q, talk},
};

#[tokio::test]
async fn statements_in_the_audit_log_are_answered_in_their_order() {
    let shared = Shared::start_audited().await;
    shared
        .agree([
            talk(
                "Parse in one batch, Bind and Describe in others",
                [
                    batch([parse("s", "SELECT $1::int + 1 AS one")]),
                    batch([bind("", "s", &[b"1"]), describe(b'P', ""), execute("", 0)]),
                    batch([describe(b'S', "s")]),
                    batch([bind("p", "s", &[b"x"]), execute("p", 0)]),
                    batch([bind("p", "s", &[b"3"]), execute("p", 0), close(b'P', "p")]),
                ],
            ),
            talk(
                "the unnamed statement across batches",
                [
                    batch([parse("", "SELECT $1::int + 1"), describe(b'S', "")]),
                    batch([bind("", "", &[b"1"]), execute("", 0)]),
                    batch([bind("", "", &[b"2"]), execute("", 0), close(b'S', "")]),
                    batch([bind("", "", &[b"3"]), execute("", 0)]),
                ],
            ),
            talk(
                "several statements in one batch",
                [
                    batch([parse("a", "SELECT 'a'"), parse("b", "SELECT 'b'")]),
                    batch([
                        bind("p", "a", &[]),
                        bind("q", "b", &[]),
                        describe(b'P', "q"),
                        execute("q", 0),
                        execute("p", 0),
                        close(b'S', "a"),
                        describe(b'S', "b"),
                    ]),
                    batch([bind("", "b", &[]), execute("", 0), bind("", "a", &[])]),
                    batch([statement("SELECT 1", &[]), statement("SELECT 2", &[]), bind("", "b", &[])]),
                ],
            ),
            talk(
                "a statement that lists prepared statements, and one that executes them",
                [
                    batch([
                        parse("l", "SELECT name, statement FROM pg_prepared_statements WHERE name = 'own'"),
                        parse("own", "SELECT 42"),
                        parse("x", "EXECUTE own"),
                    ]),
                    batch([bind("", "l", &[]), describe(b'P', ""), execute("", 0)]),
                    batch([bind("", "x", &[]), describe(b'P', ""), execute("", 0), bind("", "own", &[])]),
                ],
            ),
            talk(
                "errors behind a statement that had to be made again",
                [
                    batch([parse("s", "SELECT 1 / $1::int")]),
                    batch([bind("", "s", &[b"0"]), execute("", 0), bind("", "s", &[b"1"]), execute("", 0)]),
                    batch([bind("", "nobody", &[]), bind("", "s", &[b"1"]), execute("", 0)]),
                    batch([bind("", "s", &[b"1"]), describe(b'P', "nobody"), execute("", 0)]),
                    batch([bind("", "__gatekeeper_99", &[])]),
                    q("SELECT 1"),
                ],
            ),
        ])
        .await;
}
