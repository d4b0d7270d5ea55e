//! COPY in both directions, with every early end.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    conversation::Turn,
    frames::{bind, copy_data, copy_done, copy_fail, execute, flush, parse, query, statement, sync},
    shared::{Shared, answered, batch, q, talk, until_tag},
};

const IN: &str = "COPY notes (word) FROM STDIN";
const ALL: &str = "SELECT word || '' FROM notes ORDER BY id";
const READY: Turn = Turn::Hear(b::READY_FOR_QUERY);

#[tokio::test]
async fn data_is_copied_in_and_out() {
    let shared = Shared::start().await;
    let lines: Vec<u8> = (0..20_000).flat_map(|i| copy_data(format!("line {i}\n").as_bytes())).collect();
    let large = copy_data(&[&vec![b'x'; 2_000_000][..], b"\n"].concat());
    let asked = || until_tag(b::COPY_IN_RESPONSE, [query(IN)]);
    shared
        .agree([
            talk("in", [asked(), answered(1, [copy_data(b"a\nb\n"), copy_done()]), q(ALL), q(ALL)]),
            talk("in, all in one write", [answered(1, [query(IN), copy_data(b"a\n"), copy_done()]), q(ALL)]),
            talk(
                "in, and what follows in one write",
                [answered(2, [query(IN), copy_data(b"a\n"), copy_done(), query(ALL)])],
            ),
            talk("nothing", [asked(), answered(1, [copy_done()]), q(ALL)]),
            talk(
                "many lines",
                [
                    asked(),
                    vec![Turn::Say(lines)],
                    answered(1, [copy_done()]),
                    q("SELECT count(*) FROM notes"),
                ],
            ),
            talk(
                "a large line",
                [
                    asked(),
                    vec![Turn::Say(large)],
                    answered(1, [copy_done()]),
                    q("SELECT max(length(word)) FROM notes"),
                ],
            ),
            talk(
                "in a transaction held back",
                [q("BEGIN"), asked(), answered(1, [copy_data(b"a\n"), copy_done()]), q("ROLLBACK"), q(ALL)],
            ),
            talk(
                "two in one Query",
                [
                    until_tag(
                        b::COPY_IN_RESPONSE,
                        [query("COPY notes (word) FROM STDIN; COPY notes (word) FROM STDIN; SELECT 1")],
                    ),
                    until_tag(b::COPY_IN_RESPONSE, [copy_data(b"a\n"), copy_done()]),
                    answered(1, [copy_data(b"b\n"), copy_done()]),
                    q(ALL),
                ],
            ),
            talk(
                "in a batch",
                [
                    until_tag(b::COPY_IN_RESPONSE, [statement(IN, &[]), flush()]),
                    answered(1, [copy_data(b"a\n"), copy_done(), sync()]),
                    q(ALL),
                ],
            ),
            talk(
                "by a named statement",
                [
                    batch([parse("s", IN)]),
                    until_tag(b::COPY_IN_RESPONSE, [bind("", "s", &[]), execute("", 0), flush()]),
                    answered(1, [copy_data(b"a\n"), copy_done(), sync()]),
                    q(ALL),
                ],
            ),
            talk(
                "a Sync in the middle",
                [
                    until_tag(b::COPY_IN_RESPONSE, [statement(IN, &[]), sync()]),
                    answered(1, [copy_data(b"a\n"), sync(), flush(), copy_data(b"b\n"), copy_done(), sync()]),
                    q(ALL),
                ],
            ),
            talk(
                "out",
                [
                    q("COPY (SELECT i, repeat('x', 20) FROM generate_series(1, 5000) i) TO STDOUT"),
                    q("COPY (SELECT 1, 'a') TO STDOUT (FORMAT binary)"),
                    q("COPY (SELECT 1 WHERE false) TO STDOUT; SELECT 1"),
                    batch([statement("COPY (SELECT 1) TO STDOUT", &[])]),
                    q("COPY (SELECT 10 / (5 - i) FROM generate_series(1, 9) i) TO STDOUT"),
                    q("SELECT 1"),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn failed_copies_leave_the_session_in_sync() {
    let shared = Shared::start().await;
    let asked = || until_tag(b::COPY_IN_RESPONSE, [query(IN)]);
    let numbers = "COPY deferred FROM STDIN";
    shared
        .agree([
            talk("CopyFail", [asked(), answered(1, [copy_data(b"a\n"), copy_fail("enough")]), q(ALL)]),
            talk(
                "CopyFail in a transaction",
                [
                    q("BEGIN"),
                    asked(),
                    answered(1, [copy_fail("enough")]),
                    q("SELECT 1"),
                    q("ROLLBACK"),
                    q(ALL),
                ],
            ),
            talk(
                "CopyFail in a batch",
                [
                    until_tag(b::COPY_IN_RESPONSE, [statement(IN, &[]), flush()]),
                    answered(1, [copy_fail("enough"), statement("SELECT 'skipped'", &[]), sync()]),
                    batch([statement("SELECT 1", &[])]),
                ],
            ),
            talk(
                "data that is refused",
                [
                    until_tag(b::COPY_IN_RESPONSE, [query(numbers)]),
                    answered(1, [copy_data(b"no number\n"), copy_data(b"1\n"), copy_done()]),
                    q("SELECT count(*) FROM deferred"),
                ],
            ),
            talk(
                "data that is refused, and more of it afterwards",
                [
                    until_tag(b::COPY_IN_RESPONSE, [query(numbers)]),
                    vec![Turn::Say(copy_data(b"no number\n")), READY],
                    vec![Turn::Say([copy_data(b"1\n"), copy_data(b"2\n"), copy_done()].concat())],
                    q("SELECT count(*) FROM deferred"),
                ],
            ),
            talk(
                "data that is refused in a batch, and more of it afterwards",
                [
                    until_tag(b::COPY_IN_RESPONSE, [statement(numbers, &[]), flush()]),
                    until_tag(b::ERROR_RESPONSE, [copy_data(b"no number\n")]),
                    vec![Turn::Say([copy_data(b"1\n"), copy_done()].concat())],
                    answered(1, [sync()]),
                    q("SELECT count(*) FROM deferred"),
                ],
            ),
            talk(
                "a table that does not exist, with the data at once",
                [
                    answered(1, [query("COPY nowhere FROM STDIN"), copy_data(b"a\n"), copy_done()]),
                    q("SELECT 1"),
                    answered(
                        1,
                        [statement("COPY nowhere FROM STDIN", &[]), copy_data(b"a\n"), copy_done(), sync()],
                    ),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "a Query in the middle ends the session",
                [asked(), vec![Turn::Say([copy_data(b"a\n"), query("SELECT 1")].concat()), Turn::HearOut]],
            ),
            talk(
                "a Parse in the middle of a batch's COPY ends the session",
                [
                    until_tag(b::COPY_IN_RESPONSE, [statement(IN, &[]), flush()]),
                    vec![
                        Turn::Say([copy_data(b"a\n"), parse("s", "SELECT 1"), sync()].concat()),
                        Turn::HearOut,
                    ],
                ],
            ),
            talk(
                "a Query that follows a COPY which is refused",
                [answered(
                    2,
                    [query("COPY nowhere FROM STDIN"), copy_data(b"a\n"), copy_done(), query("SELECT 1")],
                )],
            ),
        ])
        .await;
}
