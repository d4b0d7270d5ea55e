//! Time limits of sessions: what ends, with which SQLSTATE, and what becomes of the backend.

use std::time::Duration;

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    Frames, Pooled, Shape,
    frames::{flush, query, statement},
    until,
};

const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
const IDLE_IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'";

async fn pooled(listener: &str) -> Pooled {
    Pooled::start(Shape { size: 2, listener, ..Shape::default() }).await
}

/// The SQLSTATE of the FATAL error that ends the connection.
async fn ended_with(client: &mut Frames) -> String {
    let last = client.read_to_close().await.pop().unwrap();
    assert_eq!((last.tag, last.field(b'S').as_str()), (b::ERROR_RESPONSE, "FATAL"));
    last.field(b'C')
}

#[tokio::test]
async fn a_statement_over_its_limit_is_canceled() {
    let pooled = pooled("query_timeout = \"1s\"").await;
    let mut client = pooled.client().await;
    client.ask("SELECT pg_sleep(0.2)").await.unwrap();
    client.send(&query("SELECT pg_sleep(600)")).await;
    assert_eq!(ended_with(&mut client).await, "57014");
    pooled.server_says(SLEEPING, "0").await;
    pooled.rests().await;
}

#[tokio::test]
async fn an_idle_transaction_over_its_limit_is_rolled_back() {
    let pooled = pooled("idle_transaction_timeout = \"1s\"").await;
    let [mut open, mut batch] = [pooled.client().await, pooled.client().await];
    open.ask("BEGIN").await.unwrap();
    open.ask("SELECT 1").await.unwrap();
    assert_eq!(ended_with(&mut open).await, "25P03");
    // A batch without its Sync is a transaction, too.
    let messages = [statement("SELECT 1", &[]), flush()].concat();
    batch.send(&messages).await;
    assert_eq!(ended_with(&mut batch).await, "25P03");
    pooled.server_says(IDLE_IN_TRANSACTION, "0").await;
    pooled.rests().await;
}

#[tokio::test]
async fn an_idle_client_over_its_limit_is_disconnected() {
    let pooled = pooled("client_idle_timeout = \"1s\"").await;
    let [mut idle, mut open] = [pooled.client().await, pooled.client().await];
    open.ask("BEGIN").await.unwrap();
    open.ask("SELECT 1").await.unwrap();
    idle.ask("SELECT 1").await.unwrap();
    assert_eq!(ended_with(&mut idle).await, "57P05");
    assert_eq!(open.ask("SELECT 'on'").await.unwrap(), "on", "a transaction is not idle");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let pooled = pooled("client_write_timeout = \"1s\"").await;
    let mut client = pooled.client().await;
    client.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")).await;
    let sessions = async || pooled.stand.gatekeeper.get("/v1/sessions").await.unwrap().body;
    until(Duration::from_secs(30), async || match sessions().await {
        none if none.contains("\"total\":0") => Ok(()),
        some => Err(some),
    })
    .await;
    pooled.rests().await;
}
