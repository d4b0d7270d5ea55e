//! Drains, reloads and replication connections where sessions share backends.

use std::{fs, time::Duration};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, REPLICATOR},
    wire::tag::backend as b,
};
use rustix::process::Signal;

use crate::harness::{
    Frames, Pooled, Shape,
    frames::{query, statement, sync},
    psql, until,
};

const LIMIT: Duration = Duration::from_secs(20);

/// The SQLSTATE of the last message, with which the connection ended.
async fn ended_with(client: &mut Frames) -> String {
    client.read_to_close().await.last().map(|message| message.field(b'C')).unwrap_or_default()
}

#[tokio::test]
async fn a_drain_ends_sessions_between_transactions_whether_they_hold_a_backend_or_wait_for_one() {
    let mut pooled = Pooled::of(1).await;
    pooled.server("CREATE TABLE t (a int); GRANT ALL ON t TO app").await;
    let (mut idle, mut open, mut queued) =
        (pooled.client().await, pooled.client().await, pooled.client().await);
    idle.ask("SELECT 1").await.unwrap();
    open.ask("BEGIN").await.unwrap();
    open.ask("INSERT INTO t VALUES (1)").await.unwrap();
    queued.send(&[statement("INSERT INTO t VALUES (2)", &[]), sync()].concat()).await;
    pooled.looks(|seen| seen.waiting == 1).await;
    pooled.stand.gatekeeper.signal(Signal::TERM);
    assert_eq!(ended_with(&mut idle).await, "57P01");
    open.ask("INSERT INTO t VALUES (4)").await.unwrap();
    open.ask("COMMIT").await.unwrap();
    assert_eq!(ended_with(&mut open).await, "57P01");
    let received = queued.read_to_close().await;
    let done = received.iter().any(|message| message.tag == b::COMMAND_COMPLETE);
    assert_eq!(received.last().unwrap().field(b'C'), "57P01");
    assert!(pooled.stand.gatekeeper.ended().await.success());
    let wanted = if done { "7" } else { "5" };
    assert_eq!(pooled.server("SELECT sum(a) FROM t").await, wanted, "what was answered is there");
}

#[tokio::test]
async fn a_reload_changes_the_pools_size_and_the_endpoints_password_under_running_sessions() {
    let shape = Shape { size: 1, ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let (mut one, mut two) = (pooled.client().await, pooled.client().await);
    one.ask("SET application_name = 'kept'").await.unwrap();
    one.ask("BEGIN").await.unwrap();
    one.ask("SELECT 1").await.unwrap();
    two.send(&query("SELECT 'second'")).await;
    pooled.looks(|seen| seen.waiting == 1).await;

    let gatekeeper = &pooled.stand.gatekeeper;
    let config = fs::read_to_string(gatekeeper.config_file()).unwrap();
    fs::write(gatekeeper.config_file(), config.replace("size = 1", "size = 2")).unwrap();
    assert_eq!(gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap().status, 200);
    let received = two.read_until(b::READY_FOR_QUERY).await;
    assert!(
        received.iter().any(|message| message.tag == b::DATA_ROW),
        "a waiter gets the second backend: {received:?}"
    );

    pooled.server("ALTER ROLE app PASSWORD 'another'").await;
    fs::write(pooled.stand.server.folder().join("app-password"), "another").unwrap();
    assert_eq!(gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap().status, 200);
    // A transaction continues on its backend; the next one uses a backend with a new login.
    one.ask("SELECT 1").await.unwrap();
    let before = one.ask("SELECT pg_backend_pid()").await.unwrap();
    one.ask("COMMIT").await.unwrap();
    until(LIMIT, async || match one.ask("SELECT pg_backend_pid()").await.unwrap() {
        now if now != before => Ok(()),
        _ => Err("still the old backend"),
    })
    .await;
    assert_eq!(one.ask("SHOW application_name").await.unwrap(), "kept");
    assert_eq!(two.ask("SELECT 'served'").await.unwrap(), "served");
    pooled.rests().await;
}

#[tokio::test]
async fn a_corrected_reload_fails_no_session() {
    let pooled = Pooled::of(2).await;
    let gatekeeper = &pooled.stand.gatekeeper;
    let secret = pooled.stand.server.folder().join("app-password");
    let reload = async || gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap().status;
    let mut client = pooled.client().await;
    for password in ["mistaken", APP.password, "mistaken again", APP.password] {
        fs::write(&secret, password).unwrap();
        assert_eq!(reload().await, 200);
        for _ in 0..5 {
            client.ask("SELECT 1").await.unwrap();
            pooled.client().await.ask("SELECT 2").await.unwrap();
        }
    }
    pooled.rests().await;
}

#[tokio::test]
async fn a_replication_connection_has_a_backend_of_its_own() {
    let pooled = Pooled::of(2).await;
    let secret = pooled.stand.server.folder().join("app-password");
    fs::write(&secret, REPLICATOR.password).unwrap();
    let gatekeeper = &pooled.stand.gatekeeper;
    let config = fs::read_to_string(gatekeeper.config_file()).unwrap();
    let user = format!("user = \"{}\"", APP.name);
    assert!(config.contains(&user));
    fs::write(gatekeeper.config_file(), config.replace(&user, &format!("user = \"{}\"", REPLICATOR.name)))
        .unwrap();
    assert_eq!(gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap().status, 200);
    let (host, port) = (pooled.listener().ip(), pooled.listener().port());
    let connection =
        format!("host={host} port={port} user=app dbname={DATABASE} replication=true sslmode=disable");
    let answer = psql(&connection, "IDENTIFY_SYSTEM").await;
    assert!(answer.success && answer.rows.contains('|'), "{answer:?}");
    until(LIMIT, async || match pooled.seen().await {
        seen if seen.leased == 0 && seen.idle == 0 => Ok(()),
        seen => Err(seen),
    })
    .await;
    pooled.server_says("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'", "0").await;
}

#[tokio::test]
async fn a_reload_of_pin_on_functions_reaches_open_sessions() {
    let pooled = Pooled::start(Shape { pool: "pin_on_functions = [\"another\"]", ..Shape::default() }).await;
    pooled.server("CREATE FUNCTION leaves() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'").await;
    let mut client = pooled.client().await;
    client.ask("SELECT leaves()").await.unwrap();
    pooled.looks(|seen| seen.leased == 0).await;
    let gatekeeper = &pooled.stand.gatekeeper;
    let text = fs::read_to_string(gatekeeper.config_file()).unwrap();
    fs::write(gatekeeper.config_file(), text.replace("\"another\"", "\"leaves\"")).unwrap();
    gatekeeper.signal(Signal::HUP);
    gatekeeper.wait_for_log("configuration reloaded").await;
    client.ask("SELECT leaves()").await.unwrap();
    pooled.looks(|seen| seen.leased == 1).await;
}
