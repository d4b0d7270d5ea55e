//! Messages in two parts, cut at any byte, are answered like whole messages. The worker serves further clients
//! meanwhile, and no message takes a backend more than once.

use std::net::SocketAddr;

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Gatekeeper, Shape, Split, SplitShape, Stand,
    frames::{
        bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, function_call, parse, query,
        statement, sync, terminate,
    },
    raw::Message,
    stand::listener,
};

/// `set_config(text, text, bool)` and `textlen(text)`.
const SET_CONFIG: u32 = 2078;
const TEXT_LENGTH: u32 = 1257;
/// Settings of tenants are shorter.
const MAX_SETTING_BYTES: usize = 8 << 10;
/// Cuts of long messages, besides the cut before the last byte: around the ends of headers, names and buffers.
const CUTS: [usize; 12] = [1, 5, 6, 20, 60, 100, 8191, 8192, 16_383, 16_384, 16_385, 65_536];

/// Messages of a client, and the number of ReadyForQuery in the answer.
struct Conversation {
    what: &'static str,
    messages: Vec<Vec<u8>>,
    ready: usize,
}

fn conversation<const N: usize>(what: &'static str, ready: usize, messages: [Vec<u8>; N]) -> Conversation {
    Conversation { what, messages: messages.into(), ready }
}

/// Every client message valid within a session; each conversation has a message as long as `filler`.
fn conversations(filler: &str) -> Vec<Conversation> {
    let (value, literal) = (filler.as_bytes(), format!("SELECT length('{filler}')"));
    let set = "SELECT length(set_config($1, $2, false))";
    let setting: &[&[u8]] = &[b"app.tenant", &value[..value.len().min(MAX_SETTING_BYTES)]];
    vec![
        conversation("Query", 1, [query(&literal)]),
        conversation("Query in a transaction", 3, [query("BEGIN"), query(&literal), query("COMMIT")]),
        conversation("Query that writes", 1, [query(&format!("INSERT INTO kept VALUES ('{filler}')"))]),
        conversation("unnamed Parse", 1, [statement(&literal, &[]), flush(), sync()]),
        conversation(
            "named Parse",
            1,
            [
                parse("s", &literal),
                describe(b'S', "s"),
                bind("p", "s", &[]),
                execute("p", 1),
                close(b'S', "s"),
                sync(),
            ],
        ),
        conversation("unnamed Bind", 1, [statement("SELECT length($1)", &[value]), sync()]),
        conversation(
            "named Bind",
            2,
            [
                parse("s", "SELECT length($1)"),
                sync(),
                bind("", "s", &[value]),
                execute("", 0),
                close(b'S', "s"),
                sync(),
            ],
        ),
        conversation("unnamed Bind that sets", 1, [statement(set, setting), sync()]),
        conversation(
            "named Bind that sets",
            2,
            [parse("s", set), sync(), bind("", "s", setting), execute("", 0), close(b'S', "s"), sync()],
        ),
        conversation("FunctionCall", 1, [function_call(TEXT_LENGTH, &[value])]),
        conversation("FunctionCall that sets", 1, [function_call(SET_CONFIG, &[b"app.tenant", b"x", b"f"])]),
        conversation(
            "COPY",
            1,
            [query("COPY kept FROM STDIN"), copy_data(value), copy_data(b"\n"), copy_done()],
        ),
        conversation(
            "COPY that fails",
            1,
            [query("COPY kept FROM STDIN"), copy_data(b"1\n"), copy_fail("no")],
        ),
        conversation("Flush, Sync", 2, [flush(), sync(), flush(), sync()]),
    ]
}

/// Client of `address`, with TCP_NODELAY.
async fn client(address: SocketAddr) -> Frames {
    let client = Frames::log_in(address, APP, &[("database", DATABASE)]).await;
    client.raw.stream.set_nodelay(true).unwrap();
    client
}

/// Answer up to the given number of ReadyForQuery, without ParameterStatus.
async fn answer(client: &mut Frames, ready: usize) -> Vec<Message> {
    let mut received = Vec::new();
    for _ in 0..ready {
        received.extend(client.read_until(b::READY_FOR_QUERY).await);
    }
    received.retain(|message| message.tag != b::PARAMETER_STATUS);
    received
}

/// Number of backend leases by sessions so far.
async fn leases(gatekeeper: &Gatekeeper) -> u64 {
    let metrics = gatekeeper.get("/metrics").await.unwrap().body;
    let counts = metrics.lines().filter(|line| line.starts_with("gatekeeper_route_decisions_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Runs each conversation at `address`, cut as `cuts` returns for the length, beside another client of the worker.
async fn hold(
    gatekeeper: &Gatekeeper,
    [direct, address]: [SocketAddr; 2],
    conversations: Vec<Conversation>,
    cuts: impl Fn(usize) -> Vec<usize>,
) {
    let (mut one, mut other, mut model) =
        (client(address).await, client(address).await, client(direct).await);
    for Conversation { what, messages, ready } in conversations {
        let bytes = messages.concat();
        model.send(&bytes).await;
        let expected = answer(&mut model, ready).await;
        for at in cuts(bytes.len()) {
            let before = leases(gatekeeper).await;
            one.send(&bytes[..at]).await;
            assert_eq!(other.ask("SELECT 'served'").await.unwrap(), "served", "{what} cut at {at}");
            one.send(&bytes[at..]).await;
            assert_eq!(answer(&mut one, ready).await, expected, "{what} cut at {at}");
            let taken = leases(gatekeeper).await - before;
            let most = u64::try_from(messages.len()).unwrap() + 1;
            assert!(taken <= most, "{what} cut at {at}: {taken} leases for {most} messages");
        }
    }
    // Terminate is the last message of a session.
    for at in 1..terminate().len() {
        let mut leaving = client(address).await;
        leaving.send(&[query("BEGIN; SELECT 1"), terminate()[..at].to_vec()].concat()).await;
        leaving.read_until(b::READY_FOR_QUERY).await;
        assert_eq!(other.ask("SELECT 'served'").await.unwrap(), "served", "Terminate cut at {at}");
        leaving.send(&terminate()[at..]).await;
        assert!(leaving.read_to_close().await.is_empty(), "Terminate cut at {at}");
    }
}

/// Each conversation cut at each byte, and long conversations at critical bytes.
async fn hold_all(gatekeeper: &Gatekeeper, addresses: [SocketAddr; 2]) {
    hold(gatekeeper, addresses, conversations("xyz"), |length| (1..length).collect()).await;
    for length in [9 << 10, 70 << 10, (1 << 20) + 5] {
        let cuts =
            |length| [&CUTS[..], &[length - 1]].concat().into_iter().filter(|at| *at < length).collect();
        hold(gatekeeper, addresses, conversations(&"x".repeat(length)), cuts).await;
    }
}

#[tokio::test]
async fn cut_messages_starve_no_client_in_pooled_modes() {
    let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    server.node().sql(DATABASE, "CREATE TABLE kept (a text); GRANT ALL ON kept TO app").await.unwrap();
    let transaction = listener(&server);
    let session = SocketAddr::new(transaction.ip(), transaction.port() + 1);
    let rest = format!(
        "[[listener]]\nname = \"session\"\nbind = \"{session}\"\nroute = \"primary\"\n\
         auth = {{ method = \"trust\" }}\npool = {{ mode = \"session\", size = 5 }}\n"
    );
    let config = Shape { workers: 1, plain: true, rest: &rest, ..Shape::default() }.config(&server);
    let direct = server.address();
    let stand = Stand::start(server, &config).await;
    for address in [session, transaction] {
        hold_all(&stand.gatekeeper, [direct, address]).await;
    }
}

#[tokio::test]
async fn cut_messages_starve_no_client_in_split() {
    let split = Split::start(SplitShape { rest: "[runtime]\nworkers = 1\n", ..SplitShape::default() }).await;
    split.primary("CREATE TABLE kept (a text); GRANT ALL ON kept TO app").await;
    split.settles().await;
    // Separate tests check the answers to uncut messages.
    hold_all(&split.gatekeeper, [split.listener(); 2]).await;
}
