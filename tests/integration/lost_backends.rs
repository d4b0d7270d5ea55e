//! Backends that end, servers that restart, freeze or disappear, in transaction pooling: affected sessions, their
//! errors, and recovery.

use std::time::Duration;

use gatekeeper::testing::{sandbox::Stop, wire::tag::backend as b};

use crate::harness::{
    Frames, Pooled, Shape,
    frames::{query, statement, sync},
    until,
};

const LIMIT: Duration = Duration::from_secs(30);
const TERMINATE: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app' AND datname = 'app'";
const SLEEP: &str = "SELECT pg_sleep(600)";
const SLEEPING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";

/// Waits until the session is served again.
async fn served(client: &mut Frames) {
    until(LIMIT, async || match client.ask("SELECT 'served'").await {
        Ok(answer) if answer == "served" => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn backends_killed_while_idle_are_replaced_without_errors() {
    let pooled = Pooled::of(3).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(pooled.client().await);
    }
    for round in 0..20 {
        // Enough clients at one time that each backend is in use.
        for client in &mut clients {
            client.send(&query("SELECT pg_sleep(0.01)")).await;
        }
        for client in &mut clients {
            let received = client.read_until(b::READY_FOR_QUERY).await;
            assert!(received.iter().all(|message| message.tag != b::ERROR_RESPONSE), "{round}: {received:?}");
        }
        pooled.rests().await;
        pooled.server(TERMINATE).await;
        // The backends are gone at the server; Gatekeeper's reaction is under test.
        until(LIMIT, async || match pooled.backends().await {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        })
        .await;
    }
    pooled.rests().await;
}

#[tokio::test]
async fn a_killed_backend_fails_only_its_own_transaction() {
    let pooled = Pooled::of(3).await;
    let (mut open, mut busy, mut bystander) =
        (pooled.client().await, pooled.client().await, pooled.client().await);
    bystander.ask("SELECT 1").await.unwrap();
    open.ask("BEGIN").await.unwrap();
    open.ask("SELECT 1").await.unwrap();
    busy.send(&query(SLEEP)).await;
    pooled.server_says(SLEEPING, "1").await;
    pooled.server(TERMINATE).await;
    assert_eq!(open.ask("SELECT 1").await, Err("40001".to_owned()));
    open.ask("ROLLBACK").await.unwrap();
    let received = busy.read_until(b::READY_FOR_QUERY).await;
    assert!(
        received.iter().any(|message| message.tag == b::ERROR_RESPONSE && message.field(b'C') == "08007")
    );
    assert_eq!(bystander.ask("SELECT 'well'").await.unwrap(), "well");
    pooled.rests().await;
    assert!(pooled.healthy().await);
}

#[tokio::test]
async fn sessions_survive_a_server_restart_and_get_its_errors() {
    let shape = Shape { size: 2, endpoint: "", listener: "hold = \"0s\"", ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let (mut one, mut two) = (pooled.client().await, pooled.client().await);
    one.ask("SET application_name = 'kept'").await.unwrap();
    for client in [&mut one, &mut two] {
        client.ask("SELECT 1").await.unwrap();
    }
    pooled.stand.server.node().stop(Stop::Fast).await.unwrap();
    for (client, request) in
        [(&mut one, query("SELECT 1")), (&mut two, [statement("SELECT 1", &[]), sync()].concat())]
    {
        client.send(&request).await;
        let received = client.read_until(b::READY_FOR_QUERY).await;
        let error = received.iter().find(|message| message.tag == b::ERROR_RESPONSE).unwrap();
        assert_eq!(error.field(b'S'), "ERROR", "the session goes on: {received:?}");
        let (state, words) = (error.field(b'C'), error.field(b'M'));
        assert!(["08006", "08001", "57P03"].contains(&state.as_str()), "{state}: {words}");
        assert!(words.contains("primary"), "{words}");
    }
    pooled.stand.server.node().start().await.unwrap();
    served(&mut one).await;
    served(&mut two).await;
    assert_eq!(one.ask("SHOW application_name").await.unwrap(), "kept");
    pooled.rests().await;
}

#[tokio::test]
async fn a_long_wait_gets_a_notice_and_a_timeout() {
    let pool = "query_wait_timeout = \"1500ms\", wait_notice = \"300ms\"";
    let pooled = Pooled::start(Shape { size: 2, pool, ..Shape::default() }).await;
    let mut holders = [pooled.client().await, pooled.client().await];
    for holder in &mut holders {
        holder.ask("BEGIN").await.unwrap();
        holder.ask("SELECT 1").await.unwrap();
    }
    let mut waiters = [pooled.client().await, pooled.client().await];
    pooled.stand.server.node().freeze();
    for (waiter, request) in
        waiters.iter_mut().zip([query("SELECT 1"), [statement("SELECT 1", &[]), sync()].concat()])
    {
        waiter.send(&request).await;
        let received = waiter.read_until(b::READY_FOR_QUERY).await;
        let tags: Vec<_> = received.iter().map(|message| message.tag).collect();
        assert_eq!(tags, [b::NOTICE_RESPONSE, b::ERROR_RESPONSE, b::READY_FOR_QUERY], "{received:?}");
        assert_eq!((received[1].field(b'C').as_str(), received[1].field(b'S').as_str()), ("53300", "ERROR"));
        assert!(received[1].field(b'M').contains("app/app@primary"), "{:?}", received[1]);
    }
    pooled.stand.server.node().thaw();
    for holder in &mut holders {
        holder.ask("COMMIT").await.unwrap();
    }
    for waiter in &mut waiters {
        assert_eq!(waiter.ask("SELECT 'served'").await.unwrap(), "served");
    }
    pooled.rests().await;
}

#[tokio::test]
async fn a_full_pool_is_not_an_endpoint_failure() {
    let pool = "query_wait_timeout = \"200ms\"";
    let pooled = Pooled::start(Shape { size: 1, pool, ..Shape::default() }).await;
    let (mut holder, mut waiter) = (pooled.client().await, pooled.client().await);
    holder.ask("BEGIN").await.unwrap();
    holder.ask("SELECT 1").await.unwrap();
    for _ in 0..5 {
        assert_eq!(waiter.ask("SELECT 1").await, Err("53300".to_owned()));
        assert!(pooled.healthy().await);
    }
    let endpoint = pooled.stand.gatekeeper.get("/v1/topology").await.unwrap().body;
    assert!(endpoint.contains("\"health\":\"up\"") && endpoint.contains("\"failures\":0"), "{endpoint}");
    holder.ask("COMMIT").await.unwrap();
    served(&mut waiter).await;
}
