//! Clients that wait for a writer: who waits, what ends the wait, and the errors that clients receive.

use std::time::Duration;

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, Single, Stop},
    wire::tag::backend as b,
};

use tokio::time::sleep;

use crate::harness::{
    Frames, Pooled, Shape, Stand,
    frames::{query, statement, sync},
    until,
};

const LIMIT: Duration = Duration::from_secs(60);
const HELD: &str = "gatekeeper_held_clients{listener=\"app\"}";
const SERVED: &str = "gatekeeper_holds_total{listener=\"app\",outcome=\"served\"}";
const EXPIRED: &str = "gatekeeper_holds_total{listener=\"app\",outcome=\"expired\"}";
const FAILED_PROBES: &str =
    "gatekeeper_probes_total{endpoint=\"primary\",backend_role=\"primary\",outcome=\"error\"}";
const QUICK_PROBE: &str = "[probe]\ninterval = \"200ms\"\ntimeout = \"300ms\"\n";

async fn until_metric(stand: &Stand, series: &str, wanted: impl Fn(f64) -> bool) {
    until(LIMIT, async || match stand.gatekeeper.metric(series).await {
        Some(value) if wanted(value) => Ok(()),
        seen => Err(seen),
    })
    .await;
}

async fn ask_later(client: &mut Frames, message: &[u8]) {
    client.send(message).await;
}

/// The fields `C` and `M` of the error before ReadyForQuery.
async fn error(client: &mut Frames) -> (String, String) {
    let received = client.read_until(b::READY_FOR_QUERY).await;
    let error = received.iter().find(|message| message.tag == b::ERROR_RESPONSE);
    let error = error.unwrap_or_else(|| panic!("no error in {received:?}"));
    (error.field(b'C'), error.field(b'M'))
}

#[tokio::test]
async fn held_clients_are_served_when_the_writer_returns() {
    // Shorter than the absence: time on hold does not count.
    let pool = "query_wait_timeout = \"4s\"";
    let pooled = Pooled::start(Shape { size: 2, pool, ..Shape::default() }).await;
    let mut clients = [pooled.client().await, pooled.client().await, pooled.client().await];
    for client in &mut clients {
        client.ask("SELECT 1").await.unwrap();
    }
    let node = pooled.stand.server.node();
    node.stop(Stop::Fast).await.unwrap();
    let [one, two, three] = &mut clients;
    ask_later(one, &query("SELECT 'served'")).await;
    ask_later(two, &[statement("SELECT 'served'", &[]), sync()].concat()).await;
    ask_later(three, &query("BEGIN; SELECT 'served'; COMMIT")).await;
    let listener = pooled.listener();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    let arriving =
        tokio::spawn(Frames::log_in(listener, APP, &[("database", DATABASE), ("options", "-c geqo=off")]));
    until_metric(&pooled.stand, HELD, |held| held >= 3.0).await;
    let failed = pooled.stand.gatekeeper.metric(FAILED_PROBES).await.unwrap();
    until_metric(&pooled.stand, FAILED_PROBES, |now| now >= failed + 20.0).await;
    node.start().await.unwrap();
    for client in &mut clients {
        let received = client.read_until(b::READY_FOR_QUERY).await;
        assert!(received.iter().any(|message| message.tag == b::DATA_ROW), "{received:?}");
        assert!(received.iter().all(|message| message.tag != b::ERROR_RESPONSE), "{received:?}");
    }
    assert_eq!(arriving.await.unwrap().ask("SELECT 'in'").await.unwrap(), "in");
    until_metric(&pooled.stand, HELD, |held| held == 0.0).await;
    until_metric(&pooled.stand, SERVED, |served| served >= 3.0).await;
    assert_eq!(pooled.stand.gatekeeper.metric(EXPIRED).await, Some(0.0));
    let absences = "gatekeeper_writer_absence_duration_seconds_count";
    until_metric(&pooled.stand, absences, |absences| absences >= 1.0).await;
    pooled.rests().await;
}

#[tokio::test]
async fn a_login_alone_tells_that_the_writer_is_in_recovery() {
    // The server refuses the probe, whose view stays as declared: a writer.
    let endpoint = "[cluster.endpoint.probe]\ndatabase = \"absent\"";
    let pool = "query_wait_timeout = \"3s\"";
    let pooled =
        Pooled::start(Shape { size: 1, pool, endpoint, rest: QUICK_PROBE, ..Shape::default() }).await;
    let mut clients = [pooled.client().await, pooled.client().await, pooled.client().await];
    for client in &mut clients {
        client.ask("SELECT 1").await.unwrap();
    }
    pooled.server("CREATE TABLE written AS SELECT 0 AS who; GRANT ALL ON written TO app").await;
    let node = pooled.stand.server.node();
    node.stop(Stop::Fast).await.unwrap();
    node.become_standby().unwrap();
    node.start().await.unwrap();
    let [one, two, three] = &mut clients;
    ask_later(one, &query("INSERT INTO written SELECT 1 FROM pg_sleep(0.5)")).await;
    let insert = "INSERT INTO written SELECT 2 FROM pg_sleep(0.5)";
    ask_later(two, &[statement(insert, &[]), sync()].concat()).await;
    ask_later(three, &query("BEGIN; INSERT INTO written SELECT 3 FROM pg_sleep(0.5); COMMIT")).await;
    until_metric(&pooled.stand, HELD, |held| held == 3.0).await;
    // Time on hold does not count for `query_wait_timeout`.
    sleep(Duration::from_secs(4)).await;
    pooled.server("SELECT pg_promote()").await;
    for client in &mut clients {
        let received = client.read_until(b::READY_FOR_QUERY).await;
        assert!(received.iter().all(|message| message.tag != b::ERROR_RESPONSE), "{received:?}");
    }
    assert_eq!(clients[0].ask("SELECT sum(who) FROM written").await.unwrap(), "6");
}

#[tokio::test]
async fn an_expired_hold_names_the_missing_writer() {
    let shape = Shape { size: 1, listener: "hold = \"1s\"", rest: QUICK_PROBE, ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let (mut holder, mut waiter, mut other) =
        (pooled.client().await, pooled.client().await, pooled.client().await);
    holder.ask("BEGIN").await.unwrap();
    holder.ask("SELECT 1").await.unwrap();
    // Its backend hangs, and no other fits the pool.
    pooled.stand.server.node().freeze();
    ask_later(&mut waiter, &query("SELECT 1")).await;
    let (state, message) = error(&mut waiter).await;
    assert_eq!(state, "57P03", "{message}");
    assert!(message.contains("no writer") && message.contains("endpoint \"primary\""), "{message}");
    until_metric(&pooled.stand, EXPIRED, |expired| expired == 1.0).await;
    pooled.stand.server.node().thaw();
    holder.ask("COMMIT").await.unwrap();
    assert_eq!(waiter.ask("SELECT 'on'").await.unwrap(), "on", "the session goes on");
    pooled.stand.server.node().stop(Stop::Fast).await.unwrap();
    ask_later(&mut other, &query("SELECT 1")).await;
    assert_eq!(error(&mut other).await.0, "57P03");
}

#[tokio::test]
async fn a_process_without_a_writer_yet_holds_clients() {
    for passthrough in [false, true] {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        server.node().stop(Stop::Fast).await.unwrap();
        let config = match passthrough {
            false => Shape::default().config(&server),
            true => crate::harness::stand::config(
                &server,
                "login = \"passthrough\"",
                "auth = { method = \"passthrough\" }\nlogin_timeout = \"1s\"",
                "",
            ),
        };
        let stand = Stand::start(server, &config).await;
        let listener = stand.listener;
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        let arriving = tokio::spawn(Frames::log_in(listener, APP, &[("database", DATABASE)]));
        until_metric(&stand, HELD, |held| held == 1.0).await;
        let failed = stand.gatekeeper.metric(FAILED_PROBES).await.unwrap();
        until_metric(&stand, FAILED_PROBES, |now| now >= failed + 6.0).await;
        stand.server.node().start().await.unwrap();
        assert_eq!(arriving.await.unwrap().ask("SELECT 'in'").await.unwrap(), "in");
        until_metric(&stand, SERVED, |served| served == 1.0).await;
    }
}
