//! Statements that leave the primary, in every form of the protocol.

use crate::harness::{
    Frames, Split,
    frames::{bind, describe, execute, flush, parse, query, statement, sync},
    split::last_route,
};
use gatekeeper::testing::wire::tag::backend::READY_FOR_QUERY;

async fn accounts() -> Split {
    let split = Split::with("").await;
    split
        .primary(
            "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL); GRANT ALL ON account TO PUBLIC",
        )
        .await;
    split.primary("INSERT INTO account SELECT n, 100 FROM generate_series(1, 10) n").await;
    split.settles().await;
    split
}

#[tokio::test]
async fn reads_go_to_a_read_pool_and_everything_else_to_the_primary() {
    let split = accounts().await;
    let mut client = split.client().await;
    assert_eq!(client.ask("SELECT balance FROM account WHERE id = 1").await.unwrap(), "100");
    assert_eq!(last_route(&mut client).await, "reads (read)");
    client.ask("UPDATE account SET balance = 90 WHERE id = 1 RETURNING balance").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (writes)");
    client.ask("SELECT balance FROM account WHERE id = 1 FOR UPDATE").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (locks)");
    client.ask("SELECT pg_is_in_recovery()").await.unwrap();
    assert!(last_route(&mut client).await.starts_with("primary"));
}

/// Sends `bytes`, and reads a response without an error.
async fn send_ok(client: &mut Frames, bytes: Vec<u8>) {
    client.send(&bytes).await;
    let received = client.read_until(READY_FOR_QUERY).await;
    assert!(received.iter().all(|message| message.tag != b'E'), "{received:?}");
}

#[tokio::test]
async fn extended_messages_are_routed_by_their_statement() {
    let split = accounts().await;
    let mut client = split.client().await;
    let read = "SELECT balance FROM account WHERE id = $1";
    send_ok(&mut client, [statement(read, &[b"1"]), sync()].concat()).await;
    assert_eq!(last_route(&mut client).await, "reads (read)");
    send_ok(&mut client, [parse("named", read), sync()].concat()).await;
    for _ in 0..3 {
        let again = [bind("", "named", &[b"2"]), describe(b'P', ""), execute("", 0), sync()].concat();
        send_ok(&mut client, again).await;
        assert_eq!(last_route(&mut client).await, "reads (read)");
    }
    let write = "UPDATE account SET balance = balance WHERE id = $1";
    send_ok(&mut client, [parse("write", write), sync()].concat()).await;
    send_ok(&mut client, [bind("", "write", &[b"2"]), execute("", 0), sync()].concat()).await;
    assert_eq!(last_route(&mut client).await, "primary (writes)");
}

#[tokio::test]
async fn a_batch_follows_its_least_readable_statement() {
    let split = accounts().await;
    let mut client = split.client().await;
    let read =
        [parse("", "SELECT balance FROM account WHERE id = 1"), bind("", "", &[]), execute("", 0)].concat();
    let write = [parse("", "UPDATE account SET balance = 5 WHERE id = 1"), bind("", "", &[]), execute("", 0)]
        .concat();
    send_ok(&mut client, [read.clone(), read.clone(), sync()].concat()).await;
    assert_eq!(last_route(&mut client).await, "reads (read)");
    send_ok(&mut client, query("SELECT 1; SELECT 2")).await;
    assert_eq!(last_route(&mut client).await, "reads (read)");
    send_ok(&mut client, [read.clone(), write, read, sync()].concat()).await;
    assert_eq!(last_route(&mut client).await, "primary (writes)");
    send_ok(&mut client, query("SELECT 1; DELETE FROM account WHERE id = 10; SELECT 2")).await;
    assert_eq!(last_route(&mut client).await, "primary (writes)");
}

#[tokio::test]
async fn a_batch_in_pieces_is_not_cut() {
    let split = accounts().await;
    let mut client = split.client().await;
    let read =
        [parse("", "SELECT balance FROM account WHERE id = 1"), bind("", "", &[]), execute("", 0)].concat();
    // The rest of the pipeline is unknown, so the read is on the primary when a write follows.
    client.send(&read).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let write = [parse("", "UPDATE account SET balance = 5 WHERE id = 1"), bind("", "", &[]), execute("", 0)]
        .concat();
    send_ok(&mut client, [write, sync()].concat()).await;
    assert_eq!(split.primary("SELECT balance FROM account WHERE id = 1").await, "5");
    assert_eq!(last_route(&mut client).await, "primary (unfinished)");
}

#[tokio::test]
async fn a_prepared_read_may_become_a_write() {
    let split = accounts().await;
    let mut client = split.client().await;
    send_ok(&mut client, [parse("write", "UPDATE account SET balance = 7 WHERE id = 2"), sync()].concat())
        .await;
    // As asyncpg prepares: a Flush, no Sync.
    let read = "SELECT balance FROM account WHERE id = $1";
    client.send(&[parse("one", read), describe(b'S', "one"), flush()].concat()).await;
    let received = client.read_until(b'T').await;
    assert!(received.iter().any(|message| message.tag == b'1'), "{received:?}");
    send_ok(&mut client, [bind("", "one", &[b"1"]), execute("", 0), sync()].concat()).await;
    assert_eq!(last_route(&mut client).await, "reads (read)");

    client.send(&[parse("two", read), describe(b'S', "two"), flush()].concat()).await;
    client.read_until(b'T').await;
    send_ok(&mut client, [bind("", "write", &[]), execute("", 0), sync()].concat()).await;
    assert_eq!(last_route(&mut client).await, "primary (writes)");
    assert_eq!(split.primary("SELECT balance FROM account WHERE id = 2").await, "7");
    send_ok(&mut client, [bind("", "two", &[b"2"]), execute("", 0), sync()].concat()).await;
}

#[tokio::test]
async fn settings_and_prepared_statements_follow_to_both_sides() {
    let split = accounts().await;
    let mut client = split.client().await;
    client.ask("SET work_mem = '5MB'").await.unwrap();
    assert_eq!(client.ask("SELECT current_setting('work_mem')").await.unwrap(), "5MB");
    let mode = "SELECT balance FROM account WHERE current_setting('work_mem') = '5MB' AND id = 1";
    assert_eq!(client.ask(mode).await.unwrap(), "100");
    client.ask("UPDATE account SET balance = 42 WHERE id = 1 AND current_setting('work_mem') = '5MB' RETURNING balance").await.unwrap();
    split.settles().await;
    assert_eq!(client.ask(mode).await.unwrap(), "42");
}

#[tokio::test]
async fn a_pipeline_of_several_units_is_answered_in_its_order() {
    let split = accounts().await;
    let mut client = split.client().await;
    let mut all = Vec::new();
    for n in 1..=20 {
        all.extend(statement("SELECT $1::text", &[n.to_string().as_bytes()]));
        all.extend(sync());
        if n % 5 == 0 {
            all.extend(query("UPDATE account SET balance = balance + 1 WHERE id = 3"));
        }
    }
    client.send(&all).await;
    for n in 1..=20 {
        let received = client.read_until(READY_FOR_QUERY).await;
        let row = received.iter().find(|message| message.tag == b'D').unwrap();
        assert!(row.body.ends_with(n.to_string().as_bytes()), "{n}: {row:?}");
        if n % 5 == 0 {
            client.read_until(READY_FOR_QUERY).await;
        }
    }
    assert_eq!(split.primary("SELECT balance FROM account WHERE id = 3").await, "104");
}
