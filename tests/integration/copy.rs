//! COPY in all directions, in both protocols, with every failure in the middle.

use std::time::Duration;

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Stand,
    conversation::{Turn, Ways, ask},
    frames::{bind, copy_data, copy_done, copy_fail, execute, flush, parse, query, statement, sync},
    stand::config,
    until,
};

const COPY_IN: &str = "COPY copied FROM STDIN";
const COUNT: &str = "SELECT count(*), sum(a) FROM copied";
const LIMIT: Duration = Duration::from_secs(20);

/// A server with a table `copied (a int, b text)`, reachable in the clear too, and Gatekeeper in front.
async fn stand() -> (Stand, Ways) {
    let options = SandboxOptions { tls: ServerTls::Optional, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    let table = "CREATE TABLE copied (a int, b text); GRANT ALL ON copied TO app";
    server.node().sql(DATABASE, table).await.unwrap();
    let config = config(&server, "login = \"passthrough\"", "", "");
    let stand = Stand::start(server, &config).await;
    let ways = Ways { direct: stand.server.address(), through: stand.listener, aside: String::new() };
    (stand, ways)
}

/// Within a transaction that is rolled back, so that both ways find the same table.
fn undone(turns: &[Turn]) -> Vec<Turn> {
    [&ask(query("BEGIN"))[..], turns, &ask(query("ROLLBACK"))].concat()
}

#[tokio::test]
async fn copied_data_is_identical_in_both_directions() {
    let (_stand, ways) = stand().await;
    let lines: Vec<u8> = (0..20_000).flat_map(|i| copy_data(format!("{i}\tline {i}\n").as_bytes())).collect();
    let large = copy_data(&[b"1\t".as_slice(), &vec![b'x'; 4_000_000], b"\n"].concat());
    for (what, data) in [
        ("nothing", Vec::new()),
        ("one line in parts", [copy_data(b"1"), copy_data(b"\tin "), copy_data(b"parts\n")].concat()),
        ("many lines", lines),
        ("a line larger than any buffer", large),
    ] {
        let turns = [
            &[
                Turn::Say(query(COPY_IN)),
                Turn::Hear(b::COPY_IN_RESPONSE),
                Turn::Say(data),
                Turn::Say(copy_done()),
            ][..],
            &[Turn::Hear(b::READY_FOR_QUERY)],
            &ask(query(COUNT)),
            &ask(query("COPY copied TO STDOUT")),
            &ask(query("COPY (SELECT repeat(b, 3) FROM copied) TO STDOUT (FORMAT binary)")),
        ];
        ways.agree(what, &undone(&turns.concat())).await;
    }
    let two = "COPY copied FROM STDIN; SELECT 1; COPY copied FROM STDIN";
    let turns = [
        &[
            Turn::Say(query(two)),
            Turn::Say([copy_data(b"1\ta\n"), copy_done(), copy_data(b"2\tb\n"), copy_done()].concat()),
        ][..],
        &[Turn::Hear(b::READY_FOR_QUERY)],
        &ask(query(COUNT)),
    ];
    ways.agree("two COPYs in one query, said ahead", &undone(&turns.concat())).await;
    ways.agree(
        "an error while data goes out",
        &ask(query("COPY (SELECT 1/(3000 - i) FROM generate_series(1, 5000) i) TO STDOUT")),
    )
    .await;
}

#[tokio::test]
async fn failures_inside_copy_leave_the_session_in_sync() {
    let (_stand, ways) = stand().await;
    let good = copy_data(b"1\tgood\n");
    let bad = copy_data(b"no number\tbad\n");
    for (what, data) in [
        ("CopyFail", [good.clone(), copy_fail("changed my mind")].concat()),
        ("bad data", [good.clone(), bad.clone(), copy_done()].concat()),
        ("bad data, and more behind it", [bad.clone(), good.repeat(5000), copy_done()].concat()),
    ] {
        let heard_first =
            [Turn::Say(query(COPY_IN)), Turn::Hear(b::COPY_IN_RESPONSE), Turn::Say(data.clone())];
        let said_ahead = [Turn::Say([query(COPY_IN), data].concat())];
        for start in [&heard_first[..], &said_ahead] {
            let turns = [
                start,
                &[Turn::Hear(b::READY_FOR_QUERY)],
                &ask(query(COUNT)),
                &ask(query("SELECT 'in step'")),
            ];
            ways.agree(what, &turns.concat()).await;
        }
    }
}

#[tokio::test]
async fn a_query_inside_copy_data_ends_the_session_as_the_server_does() {
    let (_stand, ways) = stand().await;
    let turns = [
        Turn::Say(query(COPY_IN)),
        Turn::Hear(b::COPY_IN_RESPONSE),
        Turn::Say([copy_data(b"1\tgood\n"), query("SELECT 1")].concat()),
        Turn::HearOut,
    ];
    ways.agree("a Query among the data", &turns).await;
}

#[tokio::test]
async fn the_extended_protocol_copies_with_early_syncs() {
    let (_stand, ways) = stand().await;
    let start = [parse("", COPY_IN), bind("", "", &[]), execute("", 0)].concat();
    let good = copy_data(b"1\tgood\n");
    let bad = copy_data(b"no number\tbad\n");
    for (what, bytes) in [
        ("as libpq does", [start.clone(), sync(), good.clone(), copy_done(), sync()].concat()),
        (
            "Flush and Sync among the data",
            [start.clone(), good.clone(), flush(), sync(), good.clone(), sync(), copy_done(), sync()]
                .concat(),
        ),
        ("CopyFail", [start.clone(), sync(), good.clone(), copy_fail("no"), sync()].concat()),
        ("bad data", [start.clone(), sync(), bad.clone(), good.clone(), copy_done(), sync()].concat()),
        (
            "a statement behind it in the same batch",
            [start.clone(), good.clone(), copy_done(), statement(COUNT, &[]), sync()].concat(),
        ),
        (
            "an error before it",
            [statement("SELECT 1/0", &[]), start.clone(), good.clone(), copy_done(), sync()].concat(),
        ),
        ("data out", [statement("COPY (VALUES (1), (2)) TO STDOUT", &[]), sync()].concat()),
    ] {
        let turns =
            [&ask(query("BEGIN"))[..], &ask(bytes), &ask(query("SELECT 'in step'")), &ask(query("ROLLBACK"))];
        ways.agree(what, &turns.concat()).await;
    }
}

#[tokio::test]
async fn a_session_is_idle_after_a_failed_copy() {
    let (stand, _ways) = stand().await;
    let mut client = Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await;
    // CopyDone arrives long after the server has continued, and the server ignores the message.
    for data in [
        [query(COPY_IN), copy_data(b"bad\n"), copy_done()].concat(),
        [query(COPY_IN), copy_data(b"bad\n")].concat(),
    ] {
        client.send(&data).await;
        client.hear_until(b::READY_FOR_QUERY).await;
    }
    client.send(&copy_done()).await;
    let idle = "gatekeeper_clients{listener=\"app\",state=\"idle\"}";
    until(LIMIT, async || match stand.gatekeeper.metric(idle).await {
        Some(1.0) => Ok(()),
        seen => Err(seen),
    })
    .await;
}
