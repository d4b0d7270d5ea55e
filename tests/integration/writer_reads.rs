//! Reads on the writer of a split listener, and on its read pools, whose server is lost: what runs again, and what the
//! client receives otherwise.

use std::time::Duration;

use gatekeeper::testing::{
    sandbox::{DATABASE, Node, Stop},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Split,
    frames::{bind, execute, parse, query, sync},
    raw::Message,
    split::last_route,
    until,
};

const LIMIT: Duration = Duration::from_secs(30);
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
    WHERE usename = 'app' AND backend_type = 'client backend' AND application_name <> 'gatekeeper probe'";
/// A read on the writer that takes some time.
const READ: &str = "/* gatekeeper: route=primary */ SELECT n FROM stock WHERE pg_sleep(3) IS NOT NULL";

async fn stock(listener: &str) -> Split {
    let split = Split::with(&format!("hints = \"all\"\n{listener}")).await;
    split
        .primary(
            "CREATE TABLE stock (n int); INSERT INTO stock VALUES (7); GRANT ALL ON stock TO PUBLIC; \
             CREATE FUNCTION adds() RETURNS int LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO stock VALUES (1); PERFORM pg_sleep(600); RETURN 1; END $$",
        )
        .await;
    split.settles().await;
    split
}

fn fate(name: &str) -> String {
    format!("gatekeeper_interrupted_transactions_total{{listener=\"app\",fate=\"{name}\"}}")
}

/// Waits until the server sleeps for a client.
async fn sleeps(node: &Node) {
    until(LIMIT, async || match node.sql(DATABASE, SLEEPING).await.unwrap() {
        one if one == "1" => Ok(()),
        seen => Err(seen),
    })
    .await;
}

/// SQLSTATE of each error, with its severity unless it is ERROR, the rows, and the status of each ReadyForQuery.
fn summary(received: &[Message]) -> String {
    let words = received.iter().filter_map(|message| match message.tag {
        b::ERROR_RESPONSE => {
            let severity = message.field(b'S');
            Some(message.field(b'C') + if severity == "ERROR" { "" } else { " FATAL" })
        }
        b::DATA_ROW | b::COPY_DATA => Some("row".to_owned()),
        b::READY_FOR_QUERY => Some(char::from(message.body[0]).to_string()),
        _ => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

async fn outcome(client: &mut Frames) -> String {
    summary(&client.read_until(b::READY_FOR_QUERY).await)
}

#[tokio::test]
async fn a_read_on_the_writer_runs_again_after_each_loss() {
    let split = stock("").await;
    let primary = split.sandbox.node("primary");
    let mut client = split.client().await;
    // The connection ends.
    let prepared = [parse("", READ), bind("", "", &[]), execute("", 0), sync()].concat();
    for messages in [query(READ), prepared, query(&format!("{READ}; SELECT 1"))] {
        client.send(&messages).await;
        sleeps(primary).await;
        primary.sql(DATABASE, TERMINATE).await.unwrap();
        let received = outcome(&mut client).await;
        assert!(matches!(&*received, "row I" | "row row I"), "{received}");
    }
    assert_eq!(split.gatekeeper.metric(&fate("not_started")).await, Some(3.0));
    // The server crashes: the read waits for it.
    client.send(&query(READ)).await;
    sleeps(primary).await;
    primary.stop(Stop::Immediate).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    primary.start().await.unwrap();
    assert_eq!(outcome(&mut client).await, "row I");
    assert!(last_route(&mut client).await.starts_with("primary"), "as the hint says");
    for other in ["rolled_back", "unknown", "read_interrupted", "session_lost"] {
        assert_eq!(split.gatekeeper.metric(&fate(other)).await, Some(0.0), "{other}");
    }
}

#[tokio::test]
async fn a_read_runs_again_on_another_node_at_the_address() {
    let split = stock("").await;
    let [primary, reads] = [split.sandbox.endpoint("primary"), split.sandbox.endpoint("reads")];
    let [old, new] = [&primary.nodes()[0], &reads.nodes()[0]];
    let mut client = split.client().await;
    client.send(&query(READ)).await;
    sleeps(old).await;
    // The probe has answered since the login.
    tokio::time::sleep(Duration::from_secs(1)).await;
    old.freeze();
    new.promote().await.unwrap();
    primary.middleman().lead_to(&[new.address()]);
    assert_eq!(outcome(&mut client).await, "row I");
    old.thaw();
}

#[tokio::test]
async fn a_read_runs_again_on_the_next_writer() {
    let split = stock("").await;
    let [old, new] = [split.sandbox.node("primary"), split.sandbox.node("reads-1")];
    let mut client = split.client().await;
    client.send(&query(READ)).await;
    sleeps(old).await;
    new.promote().await.unwrap();
    let (name, from, to) = ("name = \"primary\"", split.direct().to_string(), new.address().to_string());
    split.gatekeeper.reload_with(|config| config.replace(name, "name = \"next\"").replace(&from, &to)).await;
    assert_eq!(outcome(&mut client).await, "row I");
    assert!(last_route(&mut client).await.starts_with("next"));
}

#[tokio::test]
async fn a_read_waits_for_the_writer_up_to_hold() {
    let split = stock("hold = \"2s\"").await;
    let primary = split.sandbox.node("primary");
    let mut client = split.client().await;
    client.send(&query(READ)).await;
    sleeps(primary).await;
    primary.stop(Stop::Immediate).await.unwrap();
    assert_eq!(outcome(&mut client).await, "57P03 I");
    primary.start().await.unwrap();
    until(LIMIT, async || match client.ask("SELECT 'served'").await {
        Ok(answer) if answer == "served" => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn what_may_write_does_not_run_again() {
    let split = stock("").await;
    let primary = split.sandbox.node("primary");
    let mut client = split.client().await;
    for text in [
        "INSERT INTO stock SELECT 1 FROM pg_sleep(600)",
        "SELECT adds()",
        "SELECT n FROM stock WHERE pg_sleep(600) IS NOT NULL FOR UPDATE",
        "/* gatekeeper: route=primary */ SELECT pg_sleep(600), adds()",
    ] {
        client.send(&query(text)).await;
        sleeps(primary).await;
        primary.sql(DATABASE, TERMINATE).await.unwrap();
        assert_eq!(outcome(&mut client).await, "08007 I", "{text}");
    }
    assert_eq!(primary.sql(DATABASE, "SELECT count(*) FROM stock").await.unwrap(), "1");
    assert_eq!(split.gatekeeper.metric(&fate("not_started")).await, Some(0.0));
    client.ask("BEGIN").await.unwrap();
    client.send(&query(READ)).await;
    sleeps(primary).await;
    primary.sql(DATABASE, TERMINATE).await.unwrap();
    assert_eq!(outcome(&mut client).await, "40001 E");
}

#[tokio::test]
async fn a_read_whose_rows_have_arrived_is_interrupted() {
    let split = stock("").await;
    let rows = "SELECT repeat('x', 3000), pg_sleep(0.2) FROM generate_series(1, 600)";
    let copy = format!("COPY ({rows}) TO STDOUT");
    let on_writer = |text: &str| format!("/* gatekeeper: route=primary */ {text}");
    let mut client = split.client().await;
    let mut interrupted = 0.0;
    for (text, nodes) in [
        (on_writer(rows), &["primary"][..]),
        (on_writer(&copy), &["primary"]),
        (rows.to_owned(), &["reads-1", "reads-2"]),
        (copy.clone(), &["reads-1", "reads-2"]),
    ] {
        until(LIMIT, async || match (client.ask("SELECT 1").await, last_route(&mut client).await) {
            (Ok(_), route) if route.starts_with("reads") => Ok(()),
            (_, route) => Err(route),
        })
        .await;
        let row = if text.contains("COPY") { b::COPY_DATA } else { b::DATA_ROW };
        client.send(&query(&text)).await;
        client.read_until(row).await;
        for node in nodes {
            split.sandbox.node(node).sql(DATABASE, TERMINATE).await.unwrap();
        }
        let received = outcome(&mut client).await.replace("row ", "");
        assert_eq!(received, "08006 I", "{text}");
        interrupted += 1.0;
        assert_eq!(split.gatekeeper.metric(&fate("read_interrupted")).await, Some(interrupted));
        assert_eq!(client.ask("SELECT 'on'").await.unwrap(), "on");
    }
    // A READ ONLY transaction fails with its read pool, and the session goes on.
    client.ask("BEGIN READ ONLY").await.unwrap();
    client.ask("SELECT n FROM stock").await.unwrap();
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).sql(DATABASE, TERMINATE).await.unwrap();
    }
    until(LIMIT, async || match client.ask("SELECT n FROM stock").await {
        Err(state) if state == "40001" => Ok(()),
        other => Err(other),
    })
    .await;
    client.ask("ROLLBACK").await.unwrap();
    assert_eq!(client.ask("SELECT n FROM stock").await.unwrap(), "7");
}
