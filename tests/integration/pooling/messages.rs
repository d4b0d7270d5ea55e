//! Messages of all sizes and of the rarer kinds.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    conversation::Turn,
    frames::{
        bind, close, copy_data, copy_done, describe, execute, function_call, parse, query, statement, sync,
        terminate,
    },
    shared::{Shared, answered, batch, q, talk},
};

/// 1500 columns that show `value`.
fn columns(value: &str) -> String {
    let columns: Vec<_> = (0..1500).map(|i| format!("{value} AS column_{i}")).collect();
    format!("SELECT {}", columns.join(", "))
}

/// `int4pl`, the function of the operator `+`.
const PLUS: u32 = 177;

#[tokio::test]
async fn messages_larger_than_a_buffer_are_processed() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for (what, size) in [("8 kB", 8_000), ("16 kB", 16_384), ("100 kB", 100_000), ("2 MB", 2_000_000)] {
        let long = "x".repeat(size);
        let value = long.as_bytes();
        let text = format!("SELECT length('{long}'), $1::int");
        let set = format!("SET work_mem = '2MB' /* {long} */");
        talks.push(talk(
            what,
            [
                q(&format!("SELECT length('{long}')")),
                q(&format!("SELECT '{long}'")),
                q("BEGIN"),
                q(&format!("SELECT length('{long}')")),
                q("COMMIT"),
                answered(
                    3,
                    [query("SELECT 1"), query(&format!("SELECT length('{long}')")), query("SELECT 2")],
                ),
                batch([statement(&text, &[b"1"])]),
                batch([bind("", "", &[b"2"]), execute("", 0)]),
                batch([parse("long", &text)]),
                batch([bind("", "long", &[b"3"]), execute("", 0)]),
                batch([describe(b'S', "long")]),
                batch([parse("long", "SELECT 1")]),
                batch([statement("SELECT length($1), $2", &[value, b"1"])]),
                batch([parse("s", "SELECT length($1), $2::int")]),
                batch([bind("", "s", &[value, b"1"]), execute("", 0)]),
                batch([bind("p", "s", &[value, b"x"]), execute("p", 0)]),
                batch([bind("p", "nobody", &[value, b"x"]), execute("p", 0)]),
                answered(
                    2,
                    [
                        bind("", "s", &[value, b"1"]),
                        execute("", 0),
                        bind("", "s", &[value, b"2"]),
                        execute("", 0),
                        sync(),
                        query("SELECT 1"),
                    ],
                ),
                q(&set),
                q("SHOW work_mem"),
                q(&format!("SELECT 1/0 /* {long} */")),
                batch([statement(&format!("SELECT 1/0 /* {long} */"), &[])]),
                batch([
                    close(b'S', "long"),
                    parse("long", "SELECT 1"),
                    bind("", "long", &[]),
                    execute("", 0),
                ]),
                answered(
                    1,
                    [
                        bind("", "nobody", &[]),
                        bind("", "s", &[value, b"1"]),
                        parse("", &text),
                        parse("n", &text),
                        sync(),
                    ],
                ),
                batch([bind("", "n", &[b"1"])]),
            ],
        ));
    }
    shared.agree(talks).await;
}

#[tokio::test]
async fn large_responses_arrive_complete() {
    let shared = Shared::start().await;
    shared
        .agree([
            talk("rows", [q("SELECT i, repeat('x', i % 300) FROM generate_series(1, 20000) i")]),
            talk("a row", [q("SELECT repeat('0123456789', 500000), 'end'")]),
            talk(
                "an error",
                [q("DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 100000); END $$"), q("SELECT 1")],
            ),
            talk("a notice", [q("DO $$ BEGIN RAISE NOTICE '%', repeat('x', 100000); END $$"), q("SELECT 1")]),
            talk(
                "a ParameterStatus",
                [q(&format!("SET application_name = '{}'", "x".repeat(500))), q("SELECT 1")],
            ),
            talk(
                "a notification",
                [q("LISTEN a"), q("SELECT pg_notify('a', repeat('x', 7900))"), q("UNLISTEN a")],
            ),
            talk(
                "a description of many columns",
                [
                    q(&columns("1")),
                    batch([parse("s", &columns("$1::int")), describe(b'S', "s")]),
                    batch([describe(b'S', "s"), bind("", "s", &[b"1"]), describe(b'P', ""), execute("", 0)]),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn the_rarer_messages_are_answered_too() {
    let shared = Shared::start().await;
    let nonsense = |tag: u8, body: &[u8]| {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    };
    shared
        .agree([
            talk(
                "function calls",
                [
                    answered(1, [function_call(PLUS, &[b"2", b"3"])]),
                    answered(1, [function_call(1, &[])]),
                    answered(1, [function_call(PLUS, &[b"x", b"3"])]),
                    q("BEGIN"),
                    answered(1, [function_call(PLUS, &[b"2", b"3"])]),
                    answered(1, [function_call(1, &[])]),
                    answered(1, [function_call(PLUS, &[b"2", b"3"])]),
                    q("ROLLBACK"),
                    answered(1, [function_call(PLUS, &[b"2", b"3"])]),
                ],
            ),
            talk("a farewell", [q("SELECT 1"), vec![Turn::Say(terminate()), Turn::HearOut]]),
            talk(
                "a farewell behind a statement",
                [vec![Turn::Say([query("SELECT 1"), terminate()].concat()), Turn::HearOut]],
            ),
            talk(
                "a farewell in a transaction",
                [q("BEGIN"), q("SELECT 1"), vec![Turn::Say(terminate()), Turn::HearOut]],
            ),
            talk(
                "COPY data that nobody asked for",
                [
                    vec![Turn::Say([copy_data(b"what is this"), copy_done()].concat())],
                    q("SELECT 1"),
                    vec![Turn::Say(copy_data(b"more"))],
                    batch([statement("SELECT 1", &[])]),
                ],
            ),
            talk(
                "messages that make no sense inside",
                [
                    answered(1, [nonsense(b'B', b"\0\0"), sync()]),
                    answered(1, [nonsense(b'B', b"p"), sync()]),
                    answered(1, [nonsense(b'P', b"s\0SELECT 1\0"), sync()]),
                    answered(1, [nonsense(b'P', b"s\0SELECT 1\0\0\x05"), sync()]),
                    answered(1, [nonsense(b'P', b"\0SELECT 1"), sync()]),
                    answered(1, [nonsense(b'D', b"X\0"), sync()]),
                    answered(1, [nonsense(b'D', b"Sx"), sync()]),
                    answered(1, [nonsense(b'C', b"X\0"), sync()]),
                    answered(1, [nonsense(b'E', b"p\0"), sync()]),
                    answered(1, [nonsense(b'E', b""), sync()]),
                    answered(1, [nonsense(b'Q', b"SELECT 1\0SELECT 2\0")]),
                    answered(1, [nonsense(b'Q', b"SELECT 1")]),
                    answered(1, [nonsense(b'Q', b"")]),
                    answered(1, [nonsense(b'Q', b"BEGIN")]),
                    answered(1, [nonsense(b'Q', b"BEGIN\0\0")]),
                    q("ROLLBACK"),
                    answered(1, [nonsense(b'F', b"")]),
                    q("SELECT 1"),
                ],
            ),
            talk(
                "messages that make no sense where a name is known",
                [
                    batch([parse("s", "SELECT $1::int"), parse("t", "SELECT 1")]),
                    answered(1, [nonsense(b'B', b"\0s\0"), sync()]),
                    answered(1, [nonsense(b'B', b"\0s"), sync()]),
                    answered(1, [nonsense(b'D', b"Ss"), sync()]),
                    answered(1, [nonsense(b'D', b"Ss\0more"), sync()]),
                    answered(1, [nonsense(b'C', b"Ss"), sync()]),
                    answered(1, [nonsense(b'C', b"Ss\0more"), sync()]),
                    batch([bind("", "s", &[b"1"]), execute("", 0)]),
                    answered(1, [nonsense(b'S', b"more")]),
                    answered(1, [nonsense(b'P', b"t\0SELECT 1"), sync()]),
                    batch([bind("", "t", &[]), execute("", 0)]),
                ],
            ),
            talk(
                "a tag that does not exist",
                [
                    q("SELECT 1"),
                    vec![Turn::Say(b"Q\0\0\0\x0dSELECT 2\0".to_vec()), Turn::Hear(b::READY_FOR_QUERY)],
                ],
            ),
        ])
        .await;
}
