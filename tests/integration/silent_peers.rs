//! Peers that are silent although their connections stay open, and writers that lose their role: what ends, and how.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::tag::backend as b,
};

use crate::harness::{
    Frames, Pooled, Shape, Split,
    frames::query,
    raw::Message,
    split::{SplitShape, last_route},
    until,
};

const LIMIT: Duration = Duration::from_secs(60);
const SLEEP: &str = "SELECT pg_sleep(600)";
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
const QUICK_PROBE: &str = "[probe]\ninterval = \"200ms\"\ntimeout = \"300ms\"\n";

const PROBES: &str = "gatekeeper_probes_total{endpoint=\"primary\",backend_role=\"primary\",outcome=\"ok\"}";

/// The metric of terminated backends of the endpoint `primary`.
fn terminated(reason: &str) -> String {
    format!(
        "gatekeeper_backends_terminated_total{{endpoint=\"primary\",backend_role=\"primary\",reason=\"{reason}\"}}"
    )
}

/// Severity and SQLSTATE of the next error.
async fn next_error(client: &mut Frames) -> (String, String) {
    let error = client.read_until(b::ERROR_RESPONSE).await.pop().unwrap();
    (error.field(b'S'), error.field(b'C'))
}

fn words(severity: &str, sqlstate: &str) -> (String, String) {
    (severity.to_owned(), sqlstate.to_owned())
}

async fn last_error(client: &mut Frames) -> (String, String) {
    let last: Message = client.read_to_close().await.pop().unwrap();
    (last.field(b'S'), last.field(b'C'))
}

/// Waits until the probe has answered since the last login.
async fn answers_probes(split: &Split) {
    let probed = split.gatekeeper.metric(PROBES).await.unwrap();
    until(LIMIT, async || match split.gatekeeper.metric(PROBES).await {
        Some(probes) if probes >= probed + 2.0 => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_given_up_after_hold() {
    let shape = Shape { size: 4, listener: "hold = \"1s\"", rest: QUICK_PROBE, ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let dedicated = SocketAddr::from((pooled.listener().ip(), 15433));
    let listener = format!(
        "[[listener]]\nname = \"dedicated\"\nbind = \"{dedicated}\"\nroute = \"primary\"\nhold = \"1s\"\n\
         auth = {{ method = \"trust\" }}\n"
    );
    pooled.stand.gatekeeper.reload_with(|config| config + &listener).await;
    let [mut alone, mut open] = [pooled.client().await, pooled.client().await];
    let mut dedicated = Frames::log_in(dedicated, APP, &[("database", DATABASE)]).await;
    open.ask("BEGIN").await.unwrap();
    for client in [&mut alone, &mut open, &mut dedicated] {
        client.send(&query(SLEEP)).await;
    }
    pooled.server_says(SLEEPING, "3").await;
    pooled.stand.server.node().freeze();
    assert_eq!(next_error(&mut alone).await, words("ERROR", "08007"));
    assert_eq!(next_error(&mut open).await, words("ERROR", "40001"));
    assert_eq!(last_error(&mut dedicated).await, words("FATAL", "08006"));
    assert_eq!(pooled.stand.gatekeeper.metric(&terminated("silence")).await, Some(3.0));
    pooled.stand.server.node().thaw();
    for client in [&mut alone, &mut open] {
        client.read_until(b::READY_FOR_QUERY).await;
        client.ask("ROLLBACK").await.unwrap();
        assert_eq!(client.ask("SELECT 'on'").await.unwrap(), "on");
    }
}

#[tokio::test]
async fn a_moved_writer_ends_the_use_of_the_old_one() {
    let split = Split::with("").await;
    let [old, new] = [split.sandbox.node("primary"), split.sandbox.node("reads-1")];
    old.sql(DATABASE, "CREATE TABLE t (a int); GRANT ALL ON t TO app").await.unwrap();
    new.catch_up(old).await.unwrap();
    let short = |config: String| config.replace("name = \"plain\"\n", "name = \"plain\"\nhold = \"1s\"\n");
    split.gatekeeper.reload_with(short).await;
    let mut open = split.client().await;
    let [mut idle, mut busy] = [split.plain().await, split.plain().await];
    for client in [&mut open, &mut busy] {
        client.ask("BEGIN").await.unwrap();
        client.ask("INSERT INTO t VALUES (1)").await.unwrap();
    }
    new.promote().await.unwrap();
    old.freeze();
    // The operator declares another endpoint to be the primary.
    let (name, from, to) = ("name = \"primary\"", split.direct().to_string(), new.address().to_string());
    split.gatekeeper.reload_with(|config| config.replace(name, "name = \"next\"").replace(&from, &to)).await;
    assert_eq!(last_error(&mut idle).await, words("FATAL", "57P01"));
    assert_eq!(open.ask("SELECT 1").await, Err("40001".to_owned()));
    open.ask("ROLLBACK").await.unwrap();
    open.ask("INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(new.sql(DATABASE, "SELECT string_agg(a::text, ' ') FROM t").await.unwrap(), "2");
    assert_eq!(last_error(&mut busy).await, words("FATAL", "57P01"));
    old.thaw();
}

#[tokio::test]
async fn dedicated_sessions_end_with_their_server() {
    let split = Split::with("").await;
    let [primary, reads] = [split.sandbox.endpoint("primary"), split.sandbox.endpoint("reads")];
    let [old, new] = [&primary.nodes()[0], &reads.nodes()[0]];
    let [mut idle, mut open] = [split.plain().await, split.plain().await];
    open.ask("BEGIN").await.unwrap();
    answers_probes(&split).await;
    old.freeze();
    new.promote().await.unwrap();
    primary.middleman().lead_to(&[new.address()]);
    assert_eq!(last_error(&mut idle).await, words("FATAL", "08006"));
    assert_eq!(last_error(&mut open).await, words("FATAL", "08006"));
    assert_eq!(split.gatekeeper.metric(&terminated("node")).await, Some(2.0));
    old.thaw();
}

/// The kernel of a frozen server acknowledges, and the probe has no answer of the server behind the logins.
#[tokio::test]
async fn a_late_login_ends_with_its_frozen_server() {
    let listener = "hints = \"all\"";
    let split = Split::start(SplitShape { listener, interval: "5s", ..SplitShape::default() }).await;
    let [primary, reads] = [split.sandbox.endpoint("primary"), split.sandbox.endpoint("reads")];
    let [old, new] = [&primary.nodes()[0], &reads.nodes()[0]];
    old.sql(DATABASE, "CREATE TABLE t (a int); GRANT ALL ON t TO app").await.unwrap();
    new.catch_up(old).await.unwrap();
    let probed = split.gatekeeper.metric(PROBES).await.unwrap();
    until(LIMIT, async || match split.gatekeeper.metric(PROBES).await {
        Some(probes) if probes > probed => Ok(()),
        seen => Err(seen),
    })
    .await;
    let [mut busy, mut open, mut idle] = [split.client().await, split.client().await, split.client().await];
    let mut dedicated = split.plain().await;
    busy.send(&query("INSERT INTO t SELECT 1 FROM pg_sleep(600)")).await;
    open.ask("BEGIN").await.unwrap();
    open.ask("INSERT INTO t VALUES (2)").await.unwrap();
    dedicated.ask("BEGIN").await.unwrap();
    // Its backend waits in the pool then.
    idle.ask("INSERT INTO t VALUES (3)").await.unwrap();
    until(LIMIT, async || match old.sql(DATABASE, SLEEPING).await.unwrap() {
        one if one == "1" => Ok(()),
        seen => Err(seen),
    })
    .await;
    old.freeze();
    new.promote().await.unwrap();
    primary.middleman().lead_to(&[new.address()]);
    assert_eq!(next_error(&mut busy).await, words("ERROR", "08007"));
    assert_eq!(open.ask("SELECT 1").await, Err("40001".to_owned()));
    assert_eq!(last_error(&mut dedicated).await, words("FATAL", "08006"));
    let read = "/* gatekeeper: route=primary */ SELECT 7";
    assert_eq!(idle.ask(read).await.unwrap(), "7", "on whichever connection");
    assert!(split.gatekeeper.metric(&terminated("node")).await.unwrap() >= 3.0);
    assert_eq!(split.gatekeeper.metric(&terminated("silence")).await, Some(0.0));
    // Connections of the new server stay.
    let node = split.gatekeeper.metric(&terminated("node")).await;
    for _ in 0..3 {
        assert_eq!(idle.ask("/* gatekeeper: route=primary */ SELECT 8 FROM pg_sleep(1)").await.unwrap(), "8");
    }
    assert_eq!(split.gatekeeper.metric(&terminated("node")).await, node);
    old.thaw();
}

#[tokio::test]
async fn reads_leave_the_queue_of_a_stuck_read_pool() {
    let split = Split::with("read_deadline = \"1s\"").await;
    // The endpoint never counts as down, so only the deadline helps those in the queue.
    split.gatekeeper.reload_with(|config| config.replace("failures = 2", "failures = 1000")).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(split.client().await);
    }
    let nodes = ["reads-1", "reads-2"].map(|name| split.sandbox.node(name));
    until(LIMIT, async || {
        clients[0].ask("SELECT 1").await.unwrap();
        match last_route(&mut clients[0]).await {
            route if route.starts_with("reads") => Ok(()),
            route => Err(route),
        }
    })
    .await;
    nodes.iter().for_each(|node| node.freeze());
    let answers = join_all(clients.iter_mut().map(|client| client.ask("SELECT 7"))).await;
    assert_eq!(answers, vec![Ok("7".to_owned()); 30], "while the nodes stand still");
    nodes.iter().for_each(|node| node.thaw());
}

#[tokio::test]
async fn a_backend_has_keepalive_of_the_server() {
    let pooled = Pooled::of(2).await;
    let mut client = pooled.client().await;
    let show = "SHOW tcp_keepalives_idle";
    assert_eq!(client.ask(show).await.unwrap(), "30");
    // A session's own value follows the session.
    client.ask("SET tcp_keepalives_idle = 77").await.unwrap();
    let mut other = pooled.client().await;
    assert_eq!(other.ask(show).await.unwrap(), "30");
    assert_eq!(client.ask(show).await.unwrap(), "77");
    client.ask("RESET tcp_keepalives_idle").await.unwrap();
    assert_eq!(client.ask(show).await.unwrap(), "30");
    client.ask("SET tcp_keepalives_idle = 78").await.unwrap();
    client.ask("DISCARD ALL").await.unwrap();
    assert_eq!(client.ask(show).await.unwrap(), "30");
    let parameters = [("database", DATABASE), ("options", "-c tcp_keepalives_idle=79")];
    let mut own = Frames::log_in(pooled.listener(), APP, &parameters).await;
    assert_eq!(own.ask(show).await.unwrap(), "79");
    own.ask("RESET ALL").await.unwrap();
    assert_eq!(own.ask(show).await.unwrap(), "79");
    assert_eq!(other.ask(show).await.unwrap(), "30");
}

#[tokio::test]
async fn nothing_is_sent_to_a_suspect_server_before_it_answers() {
    let failed = "gatekeeper_probes_total{endpoint=\"primary\",backend_role=\"primary\",outcome=\"error\"}";
    let split = Split::with("").await;
    let [primary, reads] = [split.sandbox.endpoint("primary"), split.sandbox.endpoint("reads")];
    let [old, new] = [&primary.nodes()[0], &reads.nodes()[0]];
    old.sql(DATABASE, "CREATE TABLE t (a int); GRANT ALL ON t TO app").await.unwrap();
    new.catch_up(old).await.unwrap();
    for is_lost in [false, true] {
        let mut client = split.client().await;
        client.ask("BEGIN").await.unwrap();
        client.ask("INSERT INTO t VALUES (1)").await.unwrap();
        answers_probes(&split).await;
        let before = split.gatekeeper.metric(failed).await.unwrap();
        old.freeze();
        until(LIMIT, async || match split.gatekeeper.metric(failed).await {
            Some(failures) if failures > before => Ok(()),
            seen => Err(seen),
        })
        .await;
        client.send(&query("COMMIT")).await;
        if is_lost {
            new.promote().await.unwrap();
            primary.middleman().lead_to(&[new.address()]);
            assert_eq!(next_error(&mut client).await, words("ERROR", "40001"), "not 08007");
            client.read_until(b::READY_FOR_QUERY).await;
            old.thaw();
        } else {
            old.thaw();
            let received = client.read_until(b::READY_FOR_QUERY).await;
            assert_eq!(
                received.iter().map(|message| message.tag).collect::<Vec<_>>(),
                [b::COMMAND_COMPLETE, b::READY_FOR_QUERY]
            );
        }
        assert_eq!(client.ask("SELECT count(*) FROM t").await.unwrap(), if is_lost { "0" } else { "1" });
        if !is_lost {
            client.ask("DELETE FROM t").await.unwrap();
            new.catch_up(old).await.unwrap();
        }
    }
}
