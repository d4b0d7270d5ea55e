//! Clients leave by Terminate, by closing or by resetting the socket, in any protocol state. Backends become free or
//! closed, locks are gone, and pending responses arrive as with PostgreSQL.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SUPERUSER, SandboxOptions, ServerTls, Single},
    wire::tag::backend as b,
};
use serde_json::Value;

use crate::harness::{
    Frames, Gatekeeper, Shape, Split, SplitShape, Stand,
    frames::{
        bind, close, copy_data, copy_done, describe, execute, flush, parse, query, statement, sync, terminate,
    },
    raw::Message,
    stand::listener,
    until,
};

/// Far longer than needed, for busy machines.
const PATIENCE: Duration = Duration::from_secs(30);
const TABLE: &str = "CREATE TABLE kept (a int); GRANT ALL ON kept TO app";
const INSERT: &str = "INSERT INTO kept VALUES (1)";
/// Rows arrive at once.
const ENDLESS: &str = "SELECT repeat('x', 1000), generate_series(1, 1000000000)";
/// Leftovers of clients at the server: locks, statements and transactions.
const LEFT: &str = "SELECT (SELECT count(*) FROM pg_locks WHERE relation = 'kept'::regclass OR locktype = 'advisory') + \
                    (SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database() \
                    AND state <> 'idle')";

/// Protocol state of a leaving client.
pub(crate) struct Point {
    pub what: &'static str,
    pub sent: Vec<u8>,
    /// Last message received by the client before leaving, if any.
    pub awaited_tag: Option<u8>,
    /// True in the middle of a message, where no Terminate can follow.
    halfway: bool,
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Terminate in the same write as the preceding messages.
    TerminateAtOnce,
    /// Terminate, and a wait until the server side closes.
    TerminateAndWait,
    /// The socket is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// An operator ends the session.
    Kill,
}

const LEAVINGS: [Leaving; 5] =
    [Leaving::TerminateAtOnce, Leaving::TerminateAndWait, Leaving::Close, Leaving::Reset, Leaving::Kill];

fn point<const N: usize>(what: &'static str, awaited_tag: Option<u8>, sent: [Vec<u8>; N]) -> Point {
    Point { what, sent: sent.concat(), awaited_tag, halfway: false }
}

fn halfway<const N: usize>(what: &'static str, sent: [Vec<u8>; N]) -> Point {
    Point { halfway: true, ..point(what, None, sent) }
}

/// Every protocol state of a client.
pub(crate) fn points() -> Vec<Point> {
    let insert = || statement(INSERT, &[]);
    let copy = || query("COPY kept FROM STDIN");
    let locked = || query("BEGIN; LOCK TABLE kept; INSERT INTO kept VALUES (1)");
    let half = |message: Vec<u8>| message[..message.len() - 1].to_vec();
    let (ready, complete, error) =
        (Some(b::READY_FOR_QUERY), Some(b::COMMAND_COMPLETE), Some(b::ERROR_RESPONSE));
    vec![
        point("nothing", None, []),
        point("a transaction", ready, [locked()]),
        point("a transaction that has failed", ready, [query("BEGIN; LOCK TABLE kept; SELECT 1 / 0")]),
        point("a transaction, unsynced", complete, [query("BEGIN; LOCK TABLE kept"), insert(), flush()]),
        point("COPY in", Some(b::COPY_IN_RESPONSE), [copy(), copy_data(b"1\n")]),
        point("COPY in, not heard of", None, [copy(), copy_data(b"1\n")]),
        point("COPY in a transaction", Some(b::COPY_IN_RESPONSE), [locked(), copy(), copy_data(b"1\n")]),
        point(
            "COPY in, extended",
            Some(b::COPY_IN_RESPONSE),
            [statement("COPY kept FROM STDIN", &[]), flush(), copy_data(b"1\n")],
        ),
        point(
            "COPY in, extended, not flushed",
            None,
            [statement("COPY kept FROM STDIN", &[]), copy_data(b"1\n")],
        ),
        point("COPY in that has failed", error, [copy(), copy_data(b"x\n"), copy_done()]),
        point(
            "COPY in that has failed, extended",
            error,
            [statement("COPY kept FROM STDIN", &[]), flush(), copy_data(b"x\n"), copy_done()],
        ),
        point(
            "COPY out",
            Some(b::COPY_DATA),
            [query("COPY (SELECT generate_series(1, 100000000)) TO STDOUT")],
        ),
        point("a long answer", Some(b::DATA_ROW), [query(ENDLESS)]),
        point("a long answer, extended", Some(b::DATA_ROW), [statement(ENDLESS, &[]), sync()]),
        point("a long answer, flushed", Some(b::DATA_ROW), [statement(ENDLESS, &[]), flush()]),
        point("Parse", None, [parse("", INSERT)]),
        point("Parse, flushed", Some(b::PARSE_COMPLETE), [parse("s", INSERT), flush()]),
        point("Bind", None, [parse("", INSERT), bind("", "", &[])]),
        point(
            "Describe",
            Some(b::NO_DATA),
            [parse("", INSERT), bind("", "", &[]), describe(b'P', ""), flush()],
        ),
        point("Execute", None, [insert()]),
        point("Execute, flushed", complete, [insert(), flush()]),
        point(
            "a portal that has more",
            Some(b::PORTAL_SUSPENDED),
            [
                parse("", "SELECT generate_series(1, 9) FROM pg_class"),
                bind("", "", &[]),
                execute("", 2),
                flush(),
            ],
        ),
        point("Close", None, [insert(), close(b'P', "")]),
        point("Close, flushed", Some(b::CLOSE_COMPLETE), [insert(), close(b'P', ""), flush()]),
        point("a batch behind another", ready, [statement("SELECT 1", &[]), sync(), insert()]),
        point("an error of Parse", error, [parse("", "SELEC"), flush()]),
        point("an error of Bind", error, [bind("", "nosuch", &[])]),
        point("an error of Bind, flushed", error, [insert(), bind("", "nosuch", &[]), flush()]),
        point(
            "an error of Describe, and more",
            error,
            [insert(), describe(b'P', "nosuch"), flush(), insert()],
        ),
        point("an error of Execute", error, [insert(), statement("SELECT 1 / 0", &[]), flush()]),
        point("an error, and a Query behind it", error, [bind("", "nosuch", &[]), query(INSERT)]),
        point("an error, and a batch behind it", ready, [bind("", "nosuch", &[]), query(INSERT), sync()]),
        point(
            "an error, a Query, and a batch",
            ready,
            [bind("", "nosuch", &[]), query(INSERT), sync(), bind("", "nosuch", &[]), flush()],
        ),
        halfway("half a Query", [half(query(INSERT))]),
        halfway("half a Query in a transaction", [locked(), half(query(INSERT))]),
        halfway("half a Bind in a batch", [insert(), parse("", INSERT), half(bind("", "", &[]))]),
        halfway("half a long Bind", [parse("", "SELECT $1"), half(bind("", "", &[&[b'x'; 100_000]]))]),
        halfway("half a long Parse", [half(parse("s", &format!("SELECT '{}'", "x".repeat(100_000))))]),
        halfway("half a Sync", [insert(), half(sync())]),
        halfway("half of copied data", [copy(), half(copy_data(&[b'1'; 100_000]))]),
    ]
}

/// Where clients log in.
pub(crate) struct Place {
    pub name: &'static str,
    pub address: SocketAddr,
}

pub(crate) async fn client(address: SocketAddr) -> Frames {
    let client = Frames::log_in(address, APP, &[("database", DATABASE)]).await;
    client.raw.stream.set_nodelay(true).unwrap();
    client
}

/// Ids of the current sessions.
pub(crate) async fn sessions(gatekeeper: &Gatekeeper) -> Vec<u64> {
    let answer = gatekeeper.get("/v1/sessions").await.unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["sessions"].as_array().unwrap().iter().map(|session| session["id"].as_u64().unwrap()).collect()
}

/// Brings a client to `point`, and makes the client leave.
async fn leave(gatekeeper: &Gatekeeper, place: &Place, point: &Point, leaving: Leaving) {
    let mut client = client(place.address).await;
    let farewell = if leaving == Leaving::TerminateAtOnce { terminate() } else { Vec::new() };
    client.send(&[point.sent.clone(), farewell].concat()).await;
    if leaving == Leaving::TerminateAtOnce {
        return;
    }
    if let Some(tag) = point.awaited_tag {
        client.read_until(tag).await;
    }
    depart(gatekeeper, client, leaving).await;
}

/// A client leaves.
async fn depart(gatekeeper: &Gatekeeper, mut client: Frames, leaving: Leaving) {
    match leaving {
        Leaving::Close => {}
        Leaving::TerminateAtOnce => client.send(&terminate()).await,
        Leaving::TerminateAndWait => {
            client.send(&terminate()).await;
            client.read_to_close().await;
        }
        Leaving::Reset => client.raw.stream.set_zero_linger().unwrap(),
        Leaving::Kill => {
            for session in sessions(gatekeeper).await {
                gatekeeper.ask("DELETE", &format!("/v1/sessions/{session}"), "", "").await.unwrap();
            }
            until(PATIENCE, async || match sessions(gatekeeper).await {
                none if none.is_empty() => Ok(()),
                some => Err(some),
            })
            .await;
        }
    }
}

/// Makes a client leave `place` in every way at every point; `left` returns the leftovers at the server.
async fn leave_everywhere(gatekeeper: &Gatekeeper, place: &Place, left: impl AsyncFn() -> String) {
    for point in points() {
        for leaving in LEAVINGS {
            let terminates = !matches!(leaving, Leaving::Close | Leaving::Reset | Leaving::Kill);
            // PostgreSQL, too, sends an endless answer completely before reading Terminate.
            let endless = leaving == Leaving::TerminateAndWait
                && ["COPY out", "a long answer"].iter().any(|long| point.what.starts_with(long));
            if (terminates && point.halfway) || endless {
                continue;
            }
            let name = format!("{}: {}, {leaving:?}", place.name, point.what);
            eprintln!("{name}");
            leave(gatekeeper, place, &point, leaving).await;
            until(PATIENCE, async || match left().await {
                left if left == "0" => Ok(()),
                left => Err((name.clone(), left)),
            })
            .await;
            // The pool has a single backend.
            let mut next = client(place.address).await;
            assert_eq!(next.ask("SELECT count(*) FROM kept").await.as_deref(), Ok("0"), "{name}");
        }
    }
}

/// A server, with listeners for dedicated sessions, session pooling and transaction pooling.
async fn stand() -> (Stand, [Place; 3]) {
    stand_of(1, "").await
}

/// The same with so many backends in a pool, and `more` configuration: keys of `[runtime]`, and tables.
pub(crate) async fn stand_of(size: usize, more: &str) -> (Stand, [Place; 3]) {
    let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    server.node().sql(DATABASE, TABLE).await.unwrap();
    let transaction = listener(&server);
    let [session, own] = [1, 2].map(|more| SocketAddr::new(transaction.ip(), transaction.port() + more));
    let rest = format!(
        "{more}\n\n[[listener]]\nname = \"session\"\nbind = \"{session}\"\nroute = \"endpoint:primary\"\n\
         auth = {{ method = \"trust\" }}\npool = {{ mode = \"session\", size = {size} }}\n\n\
         [[cluster]]\nname = \"same\"\n\n\
         [[cluster.endpoint]]\nname = \"same\"\nrole = \"primary\"\naddress = \"{}\"\n\
         tls = {{ mode = \"disable\" }}\nlogin = \"passthrough\"\n\n\
         [[listener]]\nname = \"own\"\nbind = \"{own}\"\nroute = \"endpoint:same\"\n",
        server.address()
    );
    let config = Shape { size, plain: true, rest: &rest, ..Shape::default() }.config(&server);
    let config = config.replace("route = \"primary\"", "route = \"endpoint:primary\"");
    let stand = Stand::start(server, &config).await;
    let place = |name, address| Place { name, address };
    (stand, [place("own", own), place("session", session), place("transaction", transaction)])
}

/// Makes clients leave the listener with the given number.
async fn leave_listener(which: usize) {
    let (stand, places) = stand().await;
    let left = async || stand.server.node().sql(DATABASE, LEFT).await.unwrap();
    leave_everywhere(&stand.gatekeeper, &places[which], left).await;
}

#[tokio::test]
async fn terminate_closes_dedicated_backends() {
    leave_listener(0).await;
}

#[tokio::test]
async fn terminate_returns_backends_of_session_pools() {
    leave_listener(1).await;
}

#[tokio::test]
async fn terminate_returns_backends_of_transactions() {
    leave_listener(2).await;
}

#[tokio::test]
async fn terminate_returns_split_backends() {
    let split = Split::start(SplitShape { size: 1, ..SplitShape::default() }).await;
    split.primary(TABLE).await;
    split.settles().await;
    let place = Place { name: "split", address: split.listener() };
    leave_everywhere(&split.gatekeeper, &place, async || split.primary(LEFT).await).await;
}

#[tokio::test]
async fn terminate_ends_replication() {
    const SENDERS: &str = "SELECT count(*) FROM pg_stat_replication";
    let (stand, [own, ..]) = stand().await;
    let server = stand.server.node();
    for leaving in LEAVINGS {
        let mut client = Frames::log_in(own.address, SUPERUSER, &[("replication", "true")]).await;
        let position = server.sql(DATABASE, "SELECT pg_current_wal_flush_lsn()").await.unwrap();
        client.send(&query(&format!("START_REPLICATION PHYSICAL {position}"))).await;
        client.read_until(b'W').await;
        depart(&stand.gatekeeper, client, leaving).await;
        until(PATIENCE, async || match server.sql(DATABASE, SENDERS).await.unwrap() {
            none if none == "0" => Ok(()),
            some => Err((leaving, some)),
        })
        .await;
    }
}

/// Requests before Terminate, all in a single write.
fn asked() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let portal = |sql| [parse("", sql), bind("", "", &[]), execute("", 0)].concat();
    let long = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)";
    vec![
        ("nothing", vec![]),
        ("Query", vec![query("SELECT 1")]),
        ("several", vec![query("SELECT 1"), query("SELECT 2; SELECT 3"), query("SELEC")]),
        ("a slow one", vec![query("SELECT pg_sleep(0.2)"), query("SELECT 2")]),
        ("a long answer", vec![query(long)]),
        ("batch", vec![statement("SELECT 1", &[]), sync()]),
        ("batches", vec![statement("SELECT 1", &[]), sync(), statement("SELECT 1 / 0", &[]), sync()]),
        ("flushed", vec![portal("SELECT 1"), flush()]),
        ("flushed, described", vec![statement("SELECT 1", &[]), flush()]),
        ("flushed, long", vec![statement(long, &[]), flush()]),
        ("flushed Parse", vec![parse("", "SELECT 1"), flush()]),
        ("flushed Describe", vec![parse("s", "SELECT 1"), describe(b'S', "s"), flush()]),
        ("flushed Bind", vec![parse("s", "SELECT 1"), bind("", "s", &[]), flush()]),
        ("flushed Close", vec![parse("s", "SELECT 1"), close(b'S', "s"), flush()]),
        ("flushed behind a batch", vec![statement("SELECT 1", &[]), sync(), portal("SELECT 2"), flush()]),
        ("flushed, and more", vec![portal("SELECT 1"), flush(), portal("SELECT 2")]),
        ("flushed in a transaction", vec![query("BEGIN"), portal("SELECT 1"), flush()]),
        ("flushed write", vec![portal("INSERT INTO kept VALUES (1)"), flush()]),
        ("error", vec![bind("", "nosuch", &[])]),
        (
            "flushed error",
            vec![portal("SELECT 1"), bind("", "nosuch", &[]), flush(), portal("SELECT 2"), flush()],
        ),
        ("flushed error of Execute", vec![statement("SELECT 1 / 0", &[]), flush()]),
        ("error, Query", vec![bind("", "nosuch", &[]), query("SELECT 1")]),
        ("error, Query, Sync", vec![bind("", "nosuch", &[]), query("SELECT 1"), sync()]),
        (
            "error, Query, Sync, Query",
            vec![bind("", "nosuch", &[]), query("SELECT 1"), sync(), query("SELECT 2")],
        ),
        ("transaction", vec![query("BEGIN"), query("INSERT INTO kept VALUES (1)"), query("SELECT 2")]),
        ("COPY", vec![query("COPY kept FROM STDIN"), copy_data(b"x\n"), copy_done(), query("SELECT 1")]),
        ("COPY out", vec![query("COPY (SELECT generate_series(1, 20000)) TO STDOUT")]),
    ]
}

/// Responses to `messages`, Terminate, and a statement behind Terminate.
async fn run_and_read(address: SocketAddr, messages: &[Vec<u8>]) -> Vec<Message> {
    let mut client = client(address).await;
    client.send(&[messages.concat(), terminate(), query("INSERT INTO kept VALUES (2)")].concat()).await;
    let mut responses = client.read_to_close().await;
    responses.retain(|message| message.tag != b::PARAMETER_STATUS);
    responses
}

#[tokio::test]
async fn requests_before_terminate_are_answered() {
    let (stand, places) = stand().await;
    let split = Split::start(SplitShape { size: 1, ..SplitShape::default() }).await;
    split.primary(TABLE).await;
    split.settles().await;
    let split_place = Place { name: "split", address: split.listener() };
    for (what, messages) in asked() {
        let expected = run_and_read(stand.server.address(), &messages).await;
        for place in places.iter().chain([&split_place]) {
            let responses = run_and_read(place.address, &messages).await;
            assert_eq!(responses, expected, "{}: {what}", place.name);
        }
    }
    for rows in [
        stand.server.node().sql(DATABASE, "SELECT count(*) FROM kept").await.unwrap(),
        split.primary("SELECT count(*) FROM kept").await,
    ] {
        assert_eq!(rows, "0", "nothing was committed");
    }
}

#[tokio::test]
async fn requests_before_terminate_are_executed() {
    let (stand, places) = stand().await;
    for place in &places {
        // Another client holds the backend: the waiting client sends everything and closes before getting a backend.
        let mut holder = client(stand.listener).await;
        holder.ask("BEGIN").await.unwrap();
        holder.ask("SELECT 1").await.unwrap();
        let mut leaving = client(place.address).await;
        let slowly = query("SELECT pg_sleep(0.2)");
        leaving.send(&[slowly, query(INSERT), statement(INSERT, &[]), sync(), terminate()].concat()).await;
        drop(leaving);
        if place.name == "transaction" {
            until(PATIENCE, async || match stand.gatekeeper.metric("gatekeeper_pool_waiting_clients{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"}").await {
                Some(1.0) => Ok(()),
                other => Err(other),
            })
            .await;
        }
        holder.ask("COMMIT").await.unwrap();
        let server = stand.server.node();
        until(PATIENCE, async || match server.sql(DATABASE, "SELECT count(*) FROM kept").await.unwrap() {
            rows if rows == "2" => Ok(()),
            rows => Err((place.name, rows)),
        })
        .await;
        server.sql(DATABASE, "TRUNCATE kept").await.unwrap();
    }
}
