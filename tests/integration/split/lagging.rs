//! Read pools that lag, and whose replay has stopped.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Split,
    split::{SplitShape, last_route},
    until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// The read pool in `/v1/topology`.
async fn reads(split: &Split) -> Value {
    let answer = split.gatekeeper.get("/v1/topology").await.unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let endpoints = body["endpoints"].as_array().unwrap();
    endpoints.iter().find(|endpoint| endpoint["name"] == "reads").unwrap().clone()
}

async fn reads_are(split: &Split, wanted: impl Fn(&Value) -> bool) {
    until(LIMIT, async || {
        let reads = reads(split).await;
        if wanted(&reads) { Ok(()) } else { Err(reads) }
    })
    .await;
}

#[tokio::test]
async fn a_paused_read_pool_is_told_and_gets_no_reads() {
    let split = Split::start(SplitShape { lagging_after: "800ms", ..SplitShape::default() }).await;
    split
        .primary(
            "CREATE TABLE counter (n int); INSERT INTO counter VALUES (0); GRANT ALL ON counter TO PUBLIC",
        )
        .await;
    split.settles().await;
    reads_are(&split, |reads| reads["replay"] == "replaying" && reads["lag"]["bytes"] == 0).await;
    let mut client = split.client().await;
    assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "0");
    assert_eq!(last_route(&mut client).await, "reads (read)");

    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    reads_are(&split, |reads| reads["replay"] == "paused").await;
    split.primary("UPDATE counter SET n = 1").await;
    reads_are(&split, |reads| {
        let (bytes, seconds) = (reads["lag"]["bytes"].as_u64(), reads["lag"]["seconds"].as_f64());
        reads["lagging"] == true && bytes > Some(0) && seconds > Some(0.8)
    })
    .await;
    assert_eq!(reads(&split).await["health"], "up", "it answers");
    // The client has not written: the position alone would let it read there.
    assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "1");
    assert_eq!(last_route(&mut client).await, "primary (lagging)");
    let of_reads = "endpoint=\"reads\",backend_role=\"read-pool\"";
    for series in [
        format!("gatekeeper_endpoint_replay{{{of_reads},state=\"paused\"}}"),
        format!("gatekeeper_endpoint_lagging{{{of_reads}}}"),
        "gatekeeper_topology_changes_total{kind=\"replay\"}".to_owned(),
    ] {
        assert_eq!(split.gatekeeper.metric(&series).await, Some(1.0), "{series}");
    }

    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).resume_replay().await.unwrap();
    }
    reads_are(&split, |reads| reads["replay"] == "replaying" && reads["lagging"] == false).await;
    assert_eq!(client.ask("SELECT n FROM counter").await.unwrap(), "1");
    assert_eq!(last_route(&mut client).await, "reads (read)");
    let events = split.gatekeeper.get("/v1/events").await.unwrap().body;
    for event in ["replay of endpoint `reads` is paused", "replay of endpoint `reads` goes on"] {
        assert!(events.contains(event), "{events}");
    }
}
