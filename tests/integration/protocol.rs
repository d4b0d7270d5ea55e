//! Sessions behave as with PostgreSQL: each conversation runs directly and through Gatekeeper.

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Stand,
    conversation::{Turn, Ways, ask},
    frames::{
        bind, close, copy_data, copy_done, describe, execute, flush, function_call, parse, query, statement,
        sync, terminate,
    },
    stand::config,
};

/// A server reachable in the clear too, with Gatekeeper in front; the listener has `keys`.
async fn stand(keys: &str) -> (Stand, Ways) {
    let options = SandboxOptions { tls: ServerTls::Optional, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    let config = config(&server, "login = \"passthrough\"", keys, "");
    let stand = Stand::start(server, &config).await;
    let table =
        "CREATE TABLE deferred (a int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON deferred TO app";
    stand.server.node().sql(DATABASE, table).await.unwrap();
    let node = stand.server.node();
    let aside = format!(
        "host={} port={} user=postgres dbname={DATABASE}",
        node.socket_dir().display(),
        node.address().port()
    );
    let ways = Ways { direct: stand.server.address(), through: stand.listener, aside };
    (stand, ways)
}

/// Concatenated turns.
fn turns(parts: impl IntoIterator<Item = [Turn; 2]>) -> Vec<Turn> {
    parts.into_iter().flatten().collect()
}

#[tokio::test]
async fn simple_queries_are_answered_byte_for_byte() {
    let (_stand, ways) = stand("").await;
    for (what, sql) in [
        ("a row", "SELECT 1, 'text', NULL, ''"),
        (
            "many statements",
            "SELECT 1; SELECT 2; CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT a + 0 FROM t",
        ),
        ("an error in the middle", "SELECT 1; SELECT 1/0; SELECT 3"),
        ("no statement", ""),
        ("nothing but semicolons and comments", "; /* nothing */ ;"),
        ("a syntax error with a position", "SELECT * FROM WHERE"),
        (
            "a notice before the answer",
            "DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'careful' USING HINT = 'look'; END $$",
        ),
        ("a notice from a setting", "DROP TABLE IF EXISTS no_such_table"),
        (
            "parameters that change",
            "SET application_name = 'other'; SET client_encoding = 'LATIN1'; SELECT 'caf\u{e9}'",
        ),
        ("parameters that change back", "BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; ROLLBACK"),
        ("rows of no columns", "SELECT FROM generate_series(1, 3)"),
        ("more rows than a buffer holds", "SELECT i, repeat('x', i % 300) FROM generate_series(1, 20000) i"),
        ("a row larger than any buffer", "SELECT repeat('0123456789', 500000), 'end'"),
        ("an error larger than any buffer", "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 100000); END $$"),
        ("a notice larger than any buffer", "DO $$ BEGIN RAISE NOTICE '%', repeat('x', 100000); END $$"),
    ] {
        ways.agree(what, &ask(query(sql))).await;
    }
    let failed = [
        ask(query("BEGIN; SELECT 1/0")),
        ask(query("SELECT 1")),
        ask(query("ROLLBACK")),
        ask(query("SELECT 2")),
    ];
    ways.agree("a failed transaction", &turns(failed)).await;
    let huge = format!("SELECT length('{}')", "x".repeat(8_000_000));
    ways.agree("a statement of 8 MB", &ask(query(&huge))).await;
    let pipelined = [query("SELECT 1"), query("SELECT 1/0"), query("SELECT 2")].concat();
    let three = [
        Turn::Send(pipelined),
        Turn::Receive(b::READY_FOR_QUERY),
        Turn::Receive(b::READY_FOR_QUERY),
        Turn::Receive(b::READY_FOR_QUERY),
    ];
    ways.agree("three queries in one write", &three).await;
    ways.agree(
        "a farewell",
        &[ask(query("SELECT 1")).to_vec(), vec![Turn::Send(terminate()), Turn::ReceiveAll]].concat(),
    )
    .await;
}

#[tokio::test]
async fn extended_queries_are_answered_byte_for_byte() {
    let (_stand, ways) = stand("").await;
    let series = "SELECT i FROM generate_series(1, 10) i";
    let megabytes = vec![b'x'; 5_000_000];
    for (what, bytes) in [
        (
            "a statement with parameters",
            [statement("SELECT $1::int + 1, $2", &[b"41", b"two"]), sync()].concat(),
        ),
        ("an empty statement", [statement("", &[]), sync()].concat()),
        ("a parameter of 5 MB", [statement("SELECT length($1), $1", &[&megabytes]), sync()].concat()),
        (
            "a description of a statement",
            [parse("s", "SELECT $1::date AS d"), describe(b'S', "s"), sync()].concat(),
        ),
        (
            "no description of what has no rows",
            [parse("s", "CREATE TEMP TABLE t ()"), describe(b'S', "s"), sync()].concat(),
        ),
        (
            "portals that are suspended and resumed",
            [
                parse("s", series),
                bind("p", "s", &[]),
                execute("p", 4),
                execute("p", 4),
                execute("p", 4),
                sync(),
            ]
            .concat(),
        ),
        (
            "two portals in turn",
            [
                parse("s", series),
                bind("p", "s", &[]),
                bind("q", "s", &[]),
                execute("p", 2),
                execute("q", 3),
                execute("p", 2),
                close(b'P', "p"),
                execute("p", 1),
                sync(),
            ]
            .concat(),
        ),
        ("closing what is not there", [close(b'S', "nobody"), close(b'P', "nobody"), sync()].concat()),
        (
            "what is skipped after an error",
            [statement("SELECT 1/0", &[]), statement("SELECT 2", &[]), sync()].concat(),
        ),
        ("an unknown statement", [bind("", "nobody", &[]), execute("", 0), sync()].concat()),
        ("a parameter that does not fit", [statement("SELECT $1::int", &[b"no number"]), sync()].concat()),
        ("several statements in one", [statement("SELECT 1; SELECT 2", &[]), sync()].concat()),
        ("a Sync alone", sync()),
        (
            "an error that Sync itself brings",
            [statement("INSERT INTO deferred VALUES (1), (1)", &[]), sync()].concat(),
        ),
    ] {
        ways.agree(what, &ask(bytes)).await;
    }
    let named = [
        ask([parse("s", "SELECT $1::text"), sync()].concat()),
        ask([bind("", "s", &[b"once"]), execute("", 0), bind("", "s", &[b"twice"]), execute("", 0), sync()]
            .concat()),
        ask([parse("s", "SELECT 'exists already'"), sync()].concat()),
        ask([close(b'S', "s"), bind("", "s", &[b"gone"]), sync()].concat()),
        ask(query("DEALLOCATE ALL")),
    ];
    ways.agree("a named statement's life", &turns(named)).await;
}

/// `int4pl`, the function of the operator `+`.
const PLUS: u32 = 177;

#[tokio::test]
async fn pipelines_and_rarer_messages_are_answered_byte_for_byte() {
    let (_stand, ways) = stand("").await;
    for (what, bytes) in [
        ("a function call", function_call(PLUS, &[b"2", b"3"])),
        ("a call of no function", function_call(1, &[])),
    ] {
        ways.agree(what, &ask(bytes)).await;
    }
    let batches = [
        [statement("SELECT 1", &[]), sync()].concat(),
        [statement("SELECT 1/0", &[]), statement("SELECT 'skipped'", &[]), sync()].concat(),
        [statement("SELECT 2", &[]), sync()].concat(),
        query("SELECT 3"),
        function_call(PLUS, &[b"2", b"2"]),
        [statement("SELECT 4", &[]), sync()].concat(),
    ];
    let mut pipeline = vec![Turn::Send(batches.concat())];
    pipeline.extend(batches.iter().map(|_| Turn::Receive(b::READY_FOR_QUERY)));
    ways.agree("batches in one write, with errors between", &pipeline).await;

    let no_sync = [
        Turn::Send([parse("", "SELECT 1"), describe(b'S', ""), flush()].concat()),
        Turn::Receive(b::ROW_DESCRIPTION),
        Turn::Send([bind("", "", &[]), execute("", 0), flush()].concat()),
        Turn::Receive(b::COMMAND_COMPLETE),
        Turn::Send([parse("", "SELECT 1/0"), bind("", "", &[]), execute("", 0), flush()].concat()),
        Turn::Receive(b::ERROR_RESPONSE),
        Turn::Send([statement("SELECT 'skipped'", &[]), flush(), sync()].concat()),
        Turn::Receive(b::READY_FOR_QUERY),
    ];
    ways.agree("Flush without Sync", &no_sync).await;

    let mixed = [
        Turn::Send(
            [
                parse("s", "SELECT 'extended'"),
                query("SELECT 'simple'"),
                bind("", "s", &[]),
                execute("", 0),
                sync(),
            ]
            .concat(),
        ),
        Turn::Receive(b::READY_FOR_QUERY),
        Turn::Receive(b::READY_FOR_QUERY),
    ];
    ways.agree("a Query in the middle of a batch", &mixed).await;

    let many: Vec<u8> =
        (0..3000).flat_map(|_| [statement("SELECT repeat('x', 500)", &[]), sync()].concat()).collect();
    let mut long = vec![Turn::Send(many)];
    long.extend((0..3000).map(|_| Turn::Receive(b::READY_FOR_QUERY)));
    ways.agree("a pipeline larger than any buffer", &long).await;

    let stray = [Turn::Send([copy_data(b"what is this"), copy_done()].concat())]
        .into_iter()
        .chain(ask(query("SELECT 1")));
    ways.agree("COPY data that nobody asked for", &stray.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn notifications_arrive_at_an_idle_client() {
    let (_stand, ways) = stand("").await;
    let idle = [
        ask(query("LISTEN news")).to_vec(),
        vec![
            Turn::Meanwhile("NOTIFY news, 'first'"),
            Turn::Receive(b::NOTIFICATION_RESPONSE),
            Turn::Meanwhile("NOTIFY news, 'second'"),
            Turn::Receive(b::NOTIFICATION_RESPONSE),
        ],
        ask(query("SELECT 'still in step'")).to_vec(),
        ask(query("NOTIFY news, 'to myself'")).to_vec(),
    ];
    ways.agree("notifications", &idle.concat()).await;
    let in_transaction = [
        ask(query("LISTEN news; BEGIN")).to_vec(),
        vec![Turn::Meanwhile("NOTIFY news, 'held back'")],
        ask(query("SELECT 1")).to_vec(),
        ask(query("COMMIT")).to_vec(),
    ];
    ways.agree("notifications wait for the transaction's end", &in_transaction.concat()).await;
}

#[tokio::test]
async fn only_a_client_that_violates_the_protocol_gets_an_error() {
    let (stand, ways) = stand("").await;
    let mut bystander = Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await;
    for (what, nonsense) in [
        ("a tag that does not exist", b"!\0\0\0\x04".to_vec()),
        ("a length below the least", b"Q\0\0\0\x03".to_vec()),
        ("a length beyond the most", b"Q\x7f\xff\xff\xff".to_vec()),
        ("a message of a server", b"Z\0\0\0\x05I".to_vec()),
    ] {
        let turns = [ask(query("SELECT 1")).to_vec(), vec![Turn::Send(nonsense), Turn::ReceiveAll]].concat();
        let received = ways.hold(ways.through, &turns).await;
        let last = received.last().unwrap();
        // PostgreSQL reports bad tags, and only logs bad lengths.
        assert_eq!((last.field(b'V').as_str(), last.field(b'C').as_str()), ("FATAL", "08P01"), "{what}");
    }
    // A body that makes no sense is the server's to judge.
    ways.agree("a Bind cut short", &ask([b"B\0\0\0\x06\0\0".to_vec(), sync()].concat())).await;
    assert_eq!(bystander.ask("SELECT 'well'").await.unwrap(), "well");
}
