//! The end of the program, and reloads, as seen by sessions.

use std::{fs, time::Duration};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::tag::backend as b,
};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::harness::{
    Frames, Stand,
    frames::{bind, execute, flush, parse, query, sync},
    until,
};

const LIMIT: Duration = Duration::from_secs(20);

async fn app(stand: &Stand) -> Frames {
    Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await
}

/// The SQLSTATE of the last message, with which the connection ended.
async fn ended_with(client: &mut Frames) -> String {
    client.read_to_close().await.last().map(|message| message.field(b'C')).unwrap_or_default()
}

#[tokio::test]
async fn a_drain_ends_sessions_between_transactions_and_then_the_program() {
    let mut stand = Stand::passthrough().await;
    stand.server.node().sql(DATABASE, "CREATE TABLE t (a int); GRANT ALL ON t TO app").await.unwrap();
    let (mut idle, mut open, mut batch) = (app(&stand).await, app(&stand).await, app(&stand).await);
    open.ask("BEGIN").await.unwrap();
    open.ask("INSERT INTO t VALUES (1)").await.unwrap();
    batch
        .send(&[parse("", "INSERT INTO t VALUES (2)"), bind("", "", &[]), execute("", 0), flush()].concat())
        .await;
    batch.read_until(b::COMMAND_COMPLETE).await;
    stand.gatekeeper.signal(Signal::TERM);
    assert_eq!(ended_with(&mut idle).await, "57P01");
    until(LIMIT, async || match TcpStream::connect(stand.listener).await {
        Ok(_) => Err("somebody is let in"),
        Err(_) => Ok(()),
    })
    .await;
    assert_eq!(open.ask("INSERT INTO t VALUES (3) RETURNING 'in time'").await.unwrap(), "in time");
    open.ask("COMMIT").await.unwrap();
    assert_eq!(ended_with(&mut open).await, "57P01");
    batch.send(&sync()).await;
    batch.read_until(b::READY_FOR_QUERY).await;
    assert_eq!(ended_with(&mut batch).await, "57P01");
    assert!(stand.gatekeeper.ended().await.success());
    let kept = stand.server.node().sql(DATABASE, "SELECT sum(a) FROM t").await.unwrap();
    assert_eq!(kept, "6", "what was committed is there");
}

#[tokio::test]
async fn logins_during_a_drain_get_the_drain_error() {
    let mut stand = Stand::passthrough().await;
    let mut open = app(&stand).await;
    open.ask("BEGIN").await.unwrap();
    // The backend is dialed at the beginning of the drain, and the server is slow.
    stand.server.node().freeze();
    let listener = stand.listener;
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    let late = tokio::spawn(Frames::log_in(listener, APP, &[("database", DATABASE)]));
    let accepted = "gatekeeper_clients{listener=\"app\",state=\"login\"}";
    until(LIMIT, async || match stand.gatekeeper.metric(accepted).await {
        Some(1.0) => Ok(()),
        seen => Err(seen),
    })
    .await;
    stand.gatekeeper.signal(Signal::TERM);
    stand.gatekeeper.wait_for_log("draining").await;
    stand.server.node().thaw();
    assert_eq!(ended_with(&mut late.await.unwrap()).await, "57P01");
    open.ask("COMMIT").await.unwrap();
    assert_eq!(ended_with(&mut open).await, "57P01");
    assert!(stand.gatekeeper.ended().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_the_program_at_once() {
    let mut stand = Stand::passthrough().await;
    let mut open = app(&stand).await;
    open.ask("BEGIN").await.unwrap();
    let mut busy = app(&stand).await;
    busy.send(&query("SELECT pg_sleep(600)")).await;
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'";
    let server_says = async |wanted: &str| {
        until(LIMIT, async || match stand.server.node().sql(DATABASE, sleeping).await.unwrap() {
            seen if seen == wanted => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    server_says("1").await;
    stand.gatekeeper.signal(Signal::TERM);
    stand.gatekeeper.wait_for_log("draining").await;
    stand.gatekeeper.signal(Signal::TERM);
    assert_eq!(ended_with(&mut open).await, "57P01");
    assert_eq!(ended_with(&mut busy).await, "57P01");
    server_says("0").await;
    assert!(stand.gatekeeper.ended().await.success());
}

#[tokio::test]
async fn a_reload_keeps_sessions_and_a_mistake_changes_nothing() {
    let stand = Stand::passthrough().await;
    let mut client = app(&stand).await;
    client.ask("SET application_name = 'kept'").await.unwrap();
    let file = stand.gatekeeper.config_file().to_owned();
    let good = fs::read_to_string(&file).unwrap();
    let reloads = "gatekeeper_config_reloads_total";
    let reloaded = async |outcome: &str, wanted: f64| {
        let series = format!("{reloads}{{outcome=\"{outcome}\"}}");
        until(LIMIT, async || match stand.gatekeeper.metric(&series).await {
            Some(seen) if seen == wanted => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    fs::write(&file, good.replace("route = \"primary\"", "route = \"primray\"")).unwrap();
    stand.gatekeeper.signal(Signal::HUP);
    reloaded("error", 1.0).await;
    stand.gatekeeper.wait_for_log("primray").await;
    assert_eq!(app(&stand).await.ask("SELECT 'as before'").await.unwrap(), "as before");

    let ip = stand.server.block().ip(100);
    let more = format!("{good}\n[[listener]]\nname = \"more\"\nbind = \"{ip}:15433\"\nroute = \"primary\"\n");
    fs::write(&file, more).unwrap();
    stand.gatekeeper.signal(Signal::HUP);
    reloaded("ok", 1.0).await;
    let mut new = Frames::log_in((ip, 15433).into(), APP, &[("database", DATABASE)]).await;
    assert_eq!(new.ask("SELECT 'more'").await.unwrap(), "more");

    fs::write(&file, &good).unwrap();
    stand.gatekeeper.signal(Signal::HUP);
    reloaded("ok", 2.0).await;
    assert!(TcpStream::connect((ip, 15433)).await.is_err(), "its listener is gone");
    assert_eq!(new.ask("SELECT 'still served'").await.unwrap(), "still served");
    assert_eq!(client.ask("SHOW application_name").await.unwrap(), "kept");
}
