//! Batches and pipelines are answered as by the primary alone, with any cuts and any routes.

use std::time::Duration;

use crate::harness::{
    Frames, Split,
    frames::{bind, close, describe, execute, flush, parse, query, statement, sync},
    split::last_route,
    until,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn notes() -> Split {
    let split = Split::with("").await;
    split.primary("CREATE TABLE note (n int); GRANT ALL ON note TO PUBLIC").await;
    split.settles().await;
    split
}

/// A client with reads served by a read pool now.
async fn reading(split: &Split) -> Frames {
    let mut client = split.client().await;
    client.ask("SET gatekeeper.consistency = 'eventual'").await.unwrap();
    until(PATIENCE, async || {
        client.ask("SELECT count(*) FROM note").await?;
        let route = last_route(&mut client).await;
        if route == "reads (read)" { Ok(()) } else { Err(route) }
    })
    .await;
    client
}

/// Messages, and the tags of the expected answers, repeated for repeated answers.
type Turn = (Vec<u8>, &'static [u8]);

/// Answers received by `client`: the tags, with the errors' states, the rows and the commands.
async fn run_turns(client: &mut Frames, turns: &[Turn]) -> Vec<String> {
    let mut received = Vec::new();
    for (bytes, ends) in turns {
        client.send(bytes).await;
        for end in *ends {
            let messages = client.read_until(*end).await;
            received.extend(messages.iter().filter(|it| !b"SN".contains(&it.tag)).map(|it| {
                let tag = char::from(it.tag);
                match it.tag {
                    b'E' => format!("E{}", it.field(b'C')),
                    b'D' | b'C' | b'Z' => format!("{tag}{}", String::from_utf8_lossy(&it.body)),
                    _ => tag.to_string(),
                }
            }));
        }
    }
    received
}

/// Has the same conversation with the primary and through the listener, from a read pool on.
async fn compare(split: &Split, what: &str, turns: &[Turn]) -> Frames {
    let mut direct = split.plain().await;
    let expected = run_turns(&mut direct, turns).await;
    let mut client = reading(split).await;
    assert_eq!(run_turns(&mut client, turns).await, expected, "{what}");
    assert_eq!(client.ask("SELECT 'goes on'").await.unwrap(), "goes on", "{what}");
    client
}

fn rows(portal: &str) -> Vec<u8> {
    let text = "SELECT generate_series(1, 5)";
    [parse("", text), bind(portal, "", &[]), describe(b'P', portal), flush()].concat()
}

fn write() -> Vec<u8> {
    statement("INSERT INTO note VALUES (1)", &[])
}

/// node-postgres' `pg-cursor` and `pg-query-stream`: the portal was on a read pool, and rows were requested elsewhere.
#[tokio::test]
async fn a_portal_stays_on_the_backend_of_its_bind() {
    let split = notes().await;
    let some = |portal| [execute(portal, 2), flush()].concat();
    let open = (rows("c"), &b"T"[..]);
    let conversations: [(&str, Vec<Turn>); 8] = [
        (
            "rows and the end",
            vec![open.clone(), (some("c"), b"s"), (some("c"), b"s"), (some("c"), b"C"), (sync(), b"Z")],
        ),
        (
            "closed before its end",
            vec![open.clone(), (some("c"), b"s"), ([close(b'P', "c"), sync()].concat(), b"Z")],
        ),
        ("no row is asked for", vec![open.clone(), (sync(), b"Z")]),
        (
            "two portals in turn",
            vec![
                open.clone(),
                (
                    [
                        parse("two", "SELECT 'a' UNION ALL SELECT 'b'"),
                        bind("d", "two", &[]),
                        describe(b'P', "d"),
                        flush(),
                    ]
                    .concat(),
                    b"T",
                ),
                (some("c"), b"s"),
                ([execute("d", 1), flush()].concat(), b"s"),
                (some("c"), b"s"),
                ([execute("d", 0), flush()].concat(), b"C"),
                (some("c"), b"C"),
                (sync(), b"Z"),
            ],
        ),
        (
            "the unnamed one",
            vec![
                ([parse("", "SELECT 1"), bind("", "", &[]), flush()].concat(), b"2"),
                ([describe(b'P', ""), flush()].concat(), b"T"),
                ([execute("", 0), flush()].concat(), b"C"),
                (sync(), b"Z"),
            ],
        ),
        (
            "a write behind it",
            vec![open.clone(), (some("c"), b"s"), ([write(), some("c"), sync()].concat(), b"CsZ")],
        ),
        ("a write behind what was only bound", vec![open.clone(), ([write(), sync()].concat(), b"Z")]),
        (
            "an error behind it",
            vec![open, (some("c"), b"s"), ([statement("SELECT 1/0", &[]), some("c"), sync()].concat(), b"Z")],
        ),
    ];
    for (what, turns) in conversations {
        compare(&split, what, &turns).await;
    }
    assert_eq!(split.primary("SELECT count(*) FROM note").await, "4", "two writes, direct and through");
}

/// The read pool's backend was returned, and a statement larger than any buffer was not examined again.
#[tokio::test]
async fn a_long_statement_behind_a_read_is_answered() {
    let split = notes().await;
    for length in [20_000, 100_000, 2 << 20] {
        let long = "x".repeat(length);
        for text in [
            format!("SET my.one = '{}'", &long[..20_000]),
            format!("INSERT INTO note SELECT 1 WHERE '{long}' = ''"),
            format!("SELECT length('{long}')"),
        ] {
            for before in [parse("", "SELECT 1"), statement("SELECT 1", &[])] {
                let turns = [([before, sync(), query(&text)].concat(), &b"ZZ"[..])];
                compare(&split, &text[..20], &turns).await;
            }
        }
    }
}

#[tokio::test]
async fn a_read_only_sessions_portal_is_on_a_read_pool() {
    let split = notes().await;
    let mut client = reading(&split).await;
    let turns: Vec<Turn> = vec![
        (rows("c"), b"T"),
        ([execute("c", 2), flush()].concat(), b"s"),
        ([execute("c", 0), flush()].concat(), b"C"),
        (sync(), b"Z"),
    ];
    for begin in ["BEGIN READ ONLY", "SET default_transaction_read_only = on"] {
        client.ask(begin).await.unwrap();
        // A statement directly after SET follows the SET, until the state check.
        client.ask("SELECT 1").await.unwrap();
        let received = run_turns(&mut client, &turns).await;
        assert!(received.iter().any(|it| it.contains("SELECT 3")), "{begin}: {received:?}");
        assert_eq!(last_route(&mut client).await, "reads (read-only)", "{begin}");
        client.ask("ROLLBACK").await.unwrap();
    }
    // PostgreSQL also enforces the client's read-only declaration.
    let turns: Vec<Turn> = vec![(rows("c"), b"T"), ([write(), sync()].concat(), b"Z")];
    let received = run_turns(&mut client, &turns).await;
    assert!(received.contains(&"E25006".to_owned()), "{received:?}");
}

/// A Close was sent to the read pool at once and the answer awaited; a server keeps the answer until a Sync.
#[tokio::test]
async fn messages_behind_a_close_are_known_before_it_is_sent() {
    let split = notes().await;
    let read = [statement("SELECT count(*) FROM note WHERE n < 0", &[]), sync()].concat();
    let named = [parse("named", "SELECT 7"), parse("writes", "INSERT INTO note VALUES (1)"), sync()].concat();
    let shut = close(b'S', "named");
    for (what, behind) in [
        ("a write", [shut.clone(), write(), sync()].concat()),
        ("a Query that writes", [shut.clone(), query("INSERT INTO note VALUES (1)")].concat()),
        ("a Query that reads", [shut.clone(), query("SELECT 1")].concat()),
        ("a portal's", [close(b'P', "nobody"), write(), sync()].concat()),
        ("an unknown statement's", [close(b'S', "nobody"), write(), sync()].concat()),
        ("two", [shut.clone(), close(b'S', "nobody"), write(), sync()].concat()),
        ("a Describe", [shut.clone(), describe(b'S', "writes"), sync()].concat()),
        ("a Flush", [shut.clone(), flush(), write(), sync()].concat()),
        ("a setting", [shut.clone(), statement("SET work_mem = '5MB'", &[]), sync()].concat()),
        ("a Sync", [shut.clone(), sync(), write(), sync()].concat()),
        ("a prepared write", [shut, bind("", "writes", &[]), execute("", 0), sync()].concat()),
    ] {
        let all = [read.clone(), behind].concat();
        let ends: &[u8] = if what == "a Sync" { b"ZZZ" } else { b"ZZ" };
        compare(&split, what, &[(named.clone(), b"Z"), (all, ends)]).await;
    }
}

/// After an error, the server skips everything up to a Sync, including a Query.
#[tokio::test]
async fn a_query_behind_an_error_in_its_batch_is_skipped() {
    let split = notes().await;
    let read = [statement("SELECT 'next'", &[]), sync()].concat();
    for (what, fails) in [
        ("Bind", [parse("", "SELECT $1::int"), bind("", "", &[b"one"])].concat()),
        ("Bind of nothing", bind("", "nobody", &[])),
        ("Describe", describe(b'S', "nobody")),
        ("Describe of a portal", describe(b'P', "nobody")),
        ("Parse", parse("", "SELECT FROM WHERE")),
        ("Execute", [parse("", "SELECT 1/0"), bind("", "", &[]), execute("", 0)].concat()),
    ] {
        for behind in [query("SELECT 'skipped'"), query("INSERT INTO note VALUES (9)")] {
            let alone = [fails.clone(), behind.clone(), sync()].concat();
            compare(&split, what, &[(alone, b"Z")]).await;
            // Messages pipelined behind the error are skipped up to the next Sync, and no further.
            let more = [fails.clone(), behind, read.clone(), read.clone(), read.clone()].concat();
            compare(&split, what, &[(more, b"ZZZ")]).await;
        }
    }
    assert_eq!(split.primary("SELECT count(*) FROM note").await, "0");
}

/// A Sync without a batch gets a separate answer.
#[tokio::test]
async fn a_sync_more_than_needed_is_answered_by_itself() {
    let split = notes().await;
    let read = |n: &str| [statement(&format!("SELECT '{n}'"), &[]), sync()].concat();
    let all = [read("one"), sync(), sync(), read("two"), read("three"), sync(), read("four")].concat();
    compare(&split, "reads and Syncs", &[(all, b"ZZZZZZZ")]).await;
}
