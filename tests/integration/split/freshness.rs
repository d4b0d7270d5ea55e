//! A session sees its own writes, however far the read pool is behind.

use std::time::Duration;

use crate::harness::{Split, frames::query, split::last_route, until};
use gatekeeper::testing::wire::tag::backend::READY_FOR_QUERY;

const PATIENCE: Duration = Duration::from_secs(30);

async fn counter(listener: &str) -> Split {
    let split = Split::with(listener).await;
    split
        .primary(
            "CREATE TABLE counter (n int); INSERT INTO counter VALUES (0); GRANT ALL ON counter TO PUBLIC",
        )
        .await;
    split.settles().await;
    split
}

#[tokio::test]
async fn a_session_reads_its_own_writes_despite_lag() {
    let split = counter("").await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    let mut client = split.client().await;
    for n in 1..=50 {
        client.ask(&format!("UPDATE counter SET n = {n}")).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), n.to_string());
        }
        assert!(last_route(&mut client).await.starts_with("primary"));
    }
    // A session without writes sees the state of the node.
    let mut other = split.client().await;
    assert_eq!(other.ask("SELECT n FROM counter").await.unwrap(), "0");
    assert_eq!(last_route(&mut other).await, "reads (read)");

    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).resume_replay().await.unwrap();
    }
    until(PATIENCE, async || {
        assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "50");
        match last_route(&mut client).await {
            route if route == "reads (read)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
}

#[tokio::test]
async fn a_write_and_a_read_in_one_pipeline_belong_together() {
    let split = counter("").await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    let mut client = split.client().await;
    for n in 1..=20 {
        client
            .send(&[query(&format!("UPDATE counter SET n = {n}")), query("SELECT n FROM counter")].concat())
            .await;
        client.read_until(READY_FOR_QUERY).await;
        let received = client.read_until(READY_FOR_QUERY).await;
        let row = received.iter().find(|message| message.tag == b'D').unwrap();
        assert!(row.body.ends_with(n.to_string().as_bytes()), "{n}: {received:?}");
    }
}

#[tokio::test]
async fn soon_after_a_write_reads_return_to_the_read_pool() {
    let split = counter("").await;
    let mut client = split.client().await;
    for n in 1..=5 {
        client.ask(&format!("UPDATE counter SET n = {n}")).await.unwrap();
        until(PATIENCE, async || {
            assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), n.to_string());
            match last_route(&mut client).await {
                route if route == "reads (read)" => Ok(()),
                route => Err(route),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn sessions_may_set_the_consistency_of_reads() {
    let split = counter("consistency = \"eventual\"").await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    let mut client = split.client().await;
    client.ask("UPDATE counter SET n = 1").await.unwrap();
    assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "0", "as the listener has it");
    client.ask("SET gatekeeper.consistency = 'session'").await.unwrap();
    client.ask("UPDATE counter SET n = 2").await.unwrap();
    assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "2");
    let mut other = split.client_with(&[("options", "-c gatekeeper.consistency=session")]).await;
    other.ask("UPDATE counter SET n = 3").await.unwrap();
    assert_eq!(other.ask("SELECT n FROM counter").await.unwrap(), "3");
}

#[tokio::test]
async fn a_read_waits_for_freshness_if_configured() {
    let split = counter("freshness_wait = \"30s\"").await;
    let mut client = split.client().await;
    client.ask("UPDATE counter SET n = 1").await.unwrap();
    assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "1");
    assert_eq!(last_route(&mut client).await, "reads (read)");
}
