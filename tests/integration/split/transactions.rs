//! Transactions go where their beginning sends them.

use std::time::Duration;

use gatekeeper::wire::tag::backend::READY_FOR_QUERY;

use crate::harness::{
    Split,
    frames::{bind, execute, parse, query, sync},
    split::last_route,
    until,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn items() -> Split {
    let split = Split::with("").await;
    split.primary("CREATE TABLE item (id int PRIMARY KEY, note text); GRANT ALL ON item TO PUBLIC").await;
    split.primary("INSERT INTO item VALUES (1, 'one'), (2, 'two')").await;
    split.settles().await;
    split
}

#[tokio::test]
async fn a_transaction_that_may_write_is_the_primarys_from_its_first_statement() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
    assert_eq!(last_route(&mut client).await, "primary (transaction)");
    client.ask("INSERT INTO item VALUES (3, 'three')").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 3").await.unwrap(), "three");
    client.ask("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_read_only_transaction_is_a_read_pools_however_it_is_begun() {
    let split = items().await;
    let mut client = split.client().await;
    for begin in [
        &["BEGIN READ ONLY"][..],
        &["START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"],
        &["BEGIN", "SET TRANSACTION READ ONLY"],
        &["BEGIN ISOLATION LEVEL REPEATABLE READ", "SET TRANSACTION READ ONLY"],
    ] {
        for command in begin {
            client.ask(command).await.unwrap();
        }
        assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one", "{begin:?}");
        assert_eq!(client.ask("SELECT note FROM item WHERE id = 2").await.unwrap(), "two");
        assert_eq!(client.ask("INSERT INTO item VALUES (9, 'nine')").await.unwrap_err(), "25006");
        client.ask("ROLLBACK").await.unwrap();
        assert_eq!(last_route(&mut client).await, "reads (read-only)", "{begin:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_changes_its_mind_before_it_says_anything_can_write() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN READ ONLY").await.unwrap();
    client.ask("SET TRANSACTION READ WRITE").await.unwrap();
    client.ask("INSERT INTO item VALUES (4, 'four')").await.unwrap();
    client.ask("COMMIT").await.unwrap();
    assert_eq!(split.primary("SELECT note FROM item WHERE id = 4").await, "four");
}

#[tokio::test]
async fn a_session_that_only_reads_is_a_read_pools_until_it_says_otherwise() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.unwrap();
    // What follows at once goes where its predecessor is, until that is looked after.
    client.ask("SELECT 1").await.unwrap();
    client.ask("BEGIN").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
    client.ask("COMMIT").await.unwrap();
    assert_eq!(last_route(&mut client).await, "reads (read-only)");
    client.ask("BEGIN READ WRITE").await.unwrap();
    client.ask("INSERT INTO item VALUES (5, 'five')").await.unwrap();
    client.ask("COMMIT").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (transaction)");
    client.ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE").await.unwrap();
    client.ask("DELETE FROM item WHERE id = 5").await.unwrap();
}

#[tokio::test]
async fn a_serializable_transaction_is_the_primarys_though_it_only_reads() {
    let split = items().await;
    let mut client = split.client().await;
    client.ask("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await.unwrap();
    assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
    client.ask("COMMIT").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (serializable)");
}

/// Found by the checker of `chaos`: the beginning that a read pool had been told stayed behind when the transaction went on
/// elsewhere, and whoever had its backend next was in it.
#[tokio::test]
async fn a_transaction_that_goes_on_elsewhere_leaves_nothing_open_where_it_began() {
    let split = items().await;
    for node in ["reads-1", "reads-2"] {
        split.sandbox.node(node).pause_replay().await.unwrap();
    }
    let mut client = split.client().await;
    let too_old = "gatekeeper_route_decisions_total{listener=\"app\",reason=\"answer-too-old\"}";
    // What a read pool is told to begin with: the client's own messages, or what was held back until the first statement.
    let begin = [parse("", "BEGIN READ ONLY"), bind("", "", &[]), execute("", 0), sync()].concat();
    for begin in [begin, query("BEGIN READ ONLY")] {
        let before = split.gatekeeper.metric(too_old).await.unwrap();
        client.ask("UPDATE item SET note = note WHERE id = 2").await.unwrap();
        until(PATIENCE, async || {
            client.send(&begin).await;
            let heard = client.hear_until(READY_FOR_QUERY).await;
            assert!(heard.iter().all(|message| message.tag != b'E'), "{heard:?}");
            assert_eq!(client.ask("SELECT note FROM item WHERE id = 1").await.unwrap(), "one");
            client.ask("COMMIT").await.unwrap();
            let now = split.gatekeeper.metric(too_old).await.unwrap();
            if now >= before + 3.0 { Ok(()) } else { Err(now) }
        })
        .await;
        for node in ["reads-1", "reads-2"] {
            until(PATIENCE, async || {
                let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
                match split.sandbox.node(node).sql("postgres", open).await.unwrap().as_str() {
                    "0" => Ok(()),
                    open => Err(format!("{open} open on {node}")),
                }
            })
            .await;
        }
    }
}
