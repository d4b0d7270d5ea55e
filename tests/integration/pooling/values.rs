//! Settings of any size and in any letters follow the session, and no answer to the proxy's queries reaches a client.

use gatekeeper::testing::{sandbox::DATABASE, wire::tag::backend as b};

use crate::harness::{
    Frames, Pooled,
    conversation::Turn,
    frames::{bind, execute, parse, statement, sync},
    shared::{Shared, Talk, batch, q, talk},
};

#[tokio::test]
async fn values_beyond_any_buffer_follow_their_session() {
    let shared = Shared::start().await;
    let mut talks = Vec::new();
    for length in [8_000, 16_000, 16_300, 16_350, 16_384, 16_400, 33_000, 70_000, 900_000] {
        let set = format!("SELECT length(set_config('app.big', repeat('x', {length}), false))");
        let shown = "SELECT length(current_setting('app.big')), md5(current_setting('app.big'))";
        talks.push(talk(
            "a long value",
            [
                batch([parse("s", "SELECT false")]),
                batch([statement(&set, &[])]),
                batch([bind("", "s", &[]), execute("", 0)]),
                q(shown),
                q("SELECT 1"),
                q("SET app.other = 'y'"),
                q(shown),
                q("RESET ALL"),
                q(shown),
            ],
        ));
    }
    let path: Vec<_> = (0..4000).map(|number| format!("s{number}")).collect();
    talks.push(talk(
        "a long search_path",
        [
            q(&format!("SET search_path = public, {}", path.join(","))),
            q("SELECT count(*) FROM notes"),
            q("SELECT md5(current_setting('search_path'))"),
            q("SET search_path = public"),
            q("SHOW search_path"),
        ],
    ));
    let name = format!("app.{}", "n".repeat(200));
    talks.push(talk(
        "long names and names in other letters",
        [
            batch([statement("SELECT set_config($1, $2, false)", &[name.as_bytes(), b"long"])]),
            batch([statement("SELECT current_setting($1)", &[name.as_bytes()])]),
            batch([statement("SELECT set_config($1, $2, false)", &["app.é".as_bytes(), "ö".as_bytes()])]),
            batch([statement("SELECT current_setting($1)", &["app.é".as_bytes()])]),
            q("SET app.ä = 'ü'"),
            q("SHOW app.ä"),
            q("SHOW app.ä"),
        ],
    ));
    shared.agree(talks).await;
}

#[tokio::test]
async fn settings_beyond_the_limit_end_only_their_session() {
    let pool = Pooled::of(1).await;
    let mut victim = pool.client().await;
    victim.ask("SET app.mine = 'mine'").await.unwrap();
    for set in [
        "SELECT length(set_config('app.big', repeat('x', 1100000), false))",
        "SELECT length(set_config('app.big', repeat('x', 9000000), false))",
        "SELECT count(set_config('app.n' || n, repeat('x', 100000), false)) FROM generate_series(1, 12) n",
    ] {
        let mut other = pool.client().await;
        // The name is also known if absent from the text.
        let names: String = (1..=12).map(|n| format!("SET app.n{n} = 'x';")).collect();
        other.ask(&names).await.unwrap();
        other.send(&crate::harness::frames::query(&format!("{set}; RESET work_mem"))).await;
        let received = other.read_to_close().await;
        let error = received.iter().rfind(|message| message.tag == b::ERROR_RESPONSE).expect("it is told");
        assert_eq!((error.field(b'S'), error.field(b'C')), ("FATAL".to_owned(), "54000".to_owned()), "{set}");
        assert!(received.iter().filter(|message| message.tag == b::DATA_ROW).count() == 1, "{received:?}");
        let seen = "SELECT coalesce(length(current_setting('app.big', true)), 0) + \
                    coalesce(length(current_setting('app.n1', true)), 0) || current_setting('app.mine')";
        assert_eq!(victim.ask(seen).await.as_deref(), Ok("0mine"), "{set}");
    }
}

fn raw_query(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() + 5).unwrap();
    [b"Q", &length.to_be_bytes()[..], text, b"\0"].concat()
}

fn in_database(
    database: &'static str,
    what: &'static str,
    parts: impl IntoIterator<Item = Vec<Turn>>,
) -> Talk {
    Talk { startup: vec![("database", database)], ..talk(what, parts) }
}

#[tokio::test]
async fn settings_follow_their_session_in_every_encoding() {
    let shared = Shared::start().await;
    let node = shared.stand.server.node();
    for (name, encoding) in [("latin", "LATIN1"), ("euc", "EUC_JP"), ("ascii", "SQL_ASCII")] {
        let create = format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        node.sql(DATABASE, &create).await.unwrap();
    }
    let accent = "SELECT set_config('app.a', chr(233), false)";
    let shown = "SELECT current_setting('app.a'), length(current_setting('app.a')), current_setting('client_encoding')";
    let length =
        // A placeholder set by another session stays, empty.
        "SELECT octet_length(current_setting('app.a')), coalesce(octet_length(current_setting('app.b', true)), 0)";
    let in_encodings = |database| {
        in_database(
            database,
            "one value in several encodings",
            [
                q(accent),
                q(shown),
                q("SET client_encoding = 'LATIN1'"),
                q(shown),
                q("SELECT set_config('app.b', chr(252), false)"),
                q(shown),
                q("SET client_encoding = 'UTF8'"),
                q(shown),
                q("SELECT current_setting('app.b')"),
                q("RESET client_encoding"),
                q(shown),
                q("RESET ALL"),
                q(length),
            ],
        )
    };
    let japanese = |database, first: &'static str| {
        in_database(
            database,
            "Japanese",
            [
                q("SET client_encoding = 'UTF8'"),
                vec![
                    Turn::Send(raw_query("SELECT set_config('app.a', '日本', false), '表'".as_bytes())),
                    Turn::Receive(b::READY_FOR_QUERY),
                ],
                q(first),
                q(shown),
                q("SET client_encoding = 'EUC_JP'"),
                q(shown),
                q("SET client_encoding = 'SJIS'"),
                q(shown),
                vec![
                    Turn::Send(raw_query(b"SELECT set_config('app.b', '\x95\x5c', false)")),
                    Turn::Receive(b::READY_FOR_QUERY),
                ],
                q("SELECT current_setting('app.b')"),
                q("SET client_encoding = 'UTF8'"),
                q("SELECT current_setting('app.b')"),
                q(length),
            ],
        )
    };
    shared
        .agree([
            in_encodings(DATABASE),
            in_encodings("latin"),
            in_encodings("euc"),
            in_database(
                DATABASE,
                "a value that the client's encoding lacks",
                [
                    q("SELECT set_config('app.a', chr(8364), false)"),
                    q("SET client_encoding = 'LATIN1'"),
                    q(length),
                    q(shown),
                    q("SELECT 1"),
                    q("SET app.b = 'x'"),
                    q(length),
                    q("SET client_encoding = 'UTF8'"),
                    q(shown),
                ],
            ),
            japanese(DATABASE, "SELECT 1"),
            japanese("euc", "SELECT 1"),
            in_database(
                "ascii",
                "bytes of no encoding",
                [
                    q("SET client_encoding = 'LATIN1'"),
                    vec![
                        Turn::Send(raw_query(b"SELECT set_config('app.a', '\xe9', false)")),
                        Turn::Receive(b::READY_FOR_QUERY),
                    ],
                    q(length),
                    q("SET client_encoding = 'UTF8'"),
                    q(length),
                    q(shown),
                    q("SET client_encoding = 'SQL_ASCII'"),
                    q(length),
                    q(shown),
                ],
            ),
        ])
        .await;
}

#[tokio::test]
async fn equal_bytes_of_two_encodings_are_two_values() {
    let pool = Pooled::of(1).await;
    let (mut latin, mut utf) = (pool.client().await, pool.client().await);
    latin.ask("SET client_encoding = 'LATIN1'").await.unwrap();
    say(&mut latin, b"SELECT set_config('app.a', '\xc3\xa9', false)").await;
    say(&mut utf, "SELECT set_config('app.a', 'é', false)".as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(latin.ask("SELECT length(current_setting('app.a'))").await.as_deref(), Ok("2"));
        assert_eq!(utf.ask("SELECT length(current_setting('app.a'))").await.as_deref(), Ok("1"));
    }
}

#[tokio::test]
async fn no_encoding_hides_a_setting_from_the_next_session() {
    let pool = Pooled::of(1).await;
    let seen = "SELECT coalesce(nullif(current_setting('app.tenant', true), ''), 'none')";
    // To the server, the byte 5c is half of a letter, and the following quote ends the string.
    let hidden: [&[u8]; 2] = [
        b"SELECT E'\x95\x5c', set_config('app.tenant', 'EVIL', false) --'",
        b"SELECT E'\x95\x5c', set_config($1, 'EVIL', false) --'",
    ];
    for (at, text) in hidden.into_iter().enumerate() {
        let mut one = pool.client().await;
        one.ask("SET client_encoding = 'SJIS'").await.unwrap();
        if at == 0 {
            say(&mut one, text).await;
        } else {
            let text = [&b"\0"[..], text, b"\0\0\0"].concat();
            let length = u32::try_from(text.len() + 4).unwrap();
            let parse = [b"P", &length.to_be_bytes()[..], &text].concat();
            one.send(&[parse, bind("", "", &[b"app.tenant"]), execute("", 0), sync()].concat()).await;
            one.read_until(b::READY_FOR_QUERY).await;
        }
        assert_eq!(one.ask(seen).await.as_deref(), Ok("EVIL"));
        one.send(&crate::harness::frames::terminate()).await;
        drop(one);
        assert_eq!(pool.client().await.ask(seen).await.as_deref(), Ok("none"));
    }
}

async fn say(client: &mut Frames, text: &[u8]) {
    client.send(&raw_query(text)).await;
    client.read_until(b::READY_FOR_QUERY).await;
}

/// Last column of the statement prepared as `s`.
async fn run(client: &mut Frames) -> String {
    client.send(&[bind("", "s", &[]), execute("", 0), sync()].concat()).await;
    let received = client.read_until(b::READY_FOR_QUERY).await;
    let row = received.iter().find(|message| message.tag == b::DATA_ROW).expect("a row");
    String::from_utf8_lossy(&row.body[6..]).into_owned()
}

async fn prepare(client: &mut Frames, text: &str) {
    client.send(&[parse("s", text), sync()].concat()).await;
    client.read_until(b::READY_FOR_QUERY).await;
}

#[tokio::test]
async fn sessions_with_other_lexical_settings_share_no_statement() {
    let pool = Pooled::of(1).await;
    let hour = "SELECT extract(hour FROM '2020-01-01 12:00+00'::timestamptz - \
                '2020-01-01 00:00'::timestamptz)::int::text";
    let cases = [
        ("SET TimeZone = 'UTC'", "12", "SET TimeZone = '<+01>-01'", "13", hour),
        (
            "SET DateStyle = 'ISO, MDY'",
            "1",
            "SET DateStyle = 'ISO, DMY'",
            "2",
            "SELECT extract(month FROM '01/02/2020'::date)::text",
        ),
        (
            "SET client_encoding = 'UTF8'",
            "1",
            "SET client_encoding = 'LATIN1'",
            "2",
            "SELECT length('é')::text",
        ),
        (
            "SET standard_conforming_strings = on",
            "2",
            "SET standard_conforming_strings = off",
            "1",
            "SELECT length('\\n')::text",
        ),
    ];
    for (first, one_says, second, other_says, text) in cases {
        let (mut one, mut other) = (pool.client().await, pool.client().await);
        one.ask(first).await.unwrap();
        other.ask(second).await.unwrap();
        prepare(&mut one, text).await;
        prepare(&mut other, text).await;
        for _ in 0..2 {
            assert_eq!(
                (run(&mut one).await.as_str(), run(&mut other).await.as_str()),
                (one_says, other_says),
                "{second}"
            );
        }
        // Prepared under a setting, prepared again under another: a third session does not get the new statement.
        one.ask(second).await.unwrap();
        pool.rests().await;
        pool.server("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'").await;
        pool.looks(|seen| seen.idle == 0 && seen.leased == 0).await;
        run(&mut one).await;
        let mut third = pool.client().await;
        third.ask(first).await.unwrap();
        prepare(&mut third, text).await;
        assert_eq!(run(&mut third).await, one_says, "{first}");
    }
}
