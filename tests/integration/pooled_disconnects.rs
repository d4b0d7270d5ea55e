//! Clients that vanish or stop reading in transaction pooling: their work ends, their backends serve others, and other
//! clients do not wait.

use std::fs;

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    Gatekeeper, Pooled, Shape,
    frames::{bind, copy_data, execute, flush, parse, query, statement, sync},
};

const ENDLESS: &str = "SELECT repeat('x', 1000) FROM generate_series(1, 1000000000)";
/// Allowed growth of the idle program's memory in KiB.
const ALLOWANCE: u64 = 24 * 1024;

/// The most memory the program has had, in KiB.
fn peak(gatekeeper: &Gatekeeper) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gatekeeper.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_vanished_clients_statement_ends_and_frees_its_backend() {
    let pooled = Pooled::of(1).await;
    pooled.server("CREATE TABLE kept (a int); GRANT ALL ON kept TO app").await;
    let insert = "INSERT INTO kept VALUES (1)";
    for (what, doing) in [
        ("nothing", Vec::new()),
        ("a statement", query("SELECT pg_sleep(600)")),
        ("a statement of the extended protocol", [statement("SELECT pg_sleep(600)", &[]), sync()].concat()),
        ("a batch without its Sync", [statement(insert, &[]), flush()].concat()),
        ("a batch of which nothing is flushed", statement(insert, &[])),
        ("a long answer", query(ENDLESS)),
        ("an open transaction", query("BEGIN; LOCK TABLE kept; INSERT INTO kept VALUES (1)")),
        ("a transaction that has failed", query("BEGIN; LOCK TABLE kept; SELECT 1 / 0")),
        ("COPY in", [query("COPY kept FROM STDIN"), copy_data(b"1\n")].concat()),
        (
            "COPY in by the extended protocol",
            [
                parse("", "COPY kept FROM STDIN"),
                bind("", "", &[]),
                execute("", 0),
                flush(),
                copy_data(b"1\n"),
            ]
            .concat(),
        ),
        ("COPY in, half a message", [query("COPY kept FROM STDIN"), b"d\0\0\x40\x001\n".to_vec()].concat()),
        ("COPY out", query("COPY (SELECT generate_series(1, 1000000000)) TO STDOUT")),
        ("a Query, half-way", b"Q\0\0\xff\xffSELECT".to_vec()),
        (
            "a Bind, half-way",
            [parse("", "SELECT $1"), b"B\0\x04\xff\xff\0\0\0\0\0\x01\0\x04\x00\x00xx".to_vec()].concat(),
        ),
        (
            "temporary tables and settings",
            query("CREATE TEMP TABLE t (a int); SET work_mem = '1MB'; LISTEN x"),
        ),
        ("a lock", query("SELECT pg_advisory_lock(1)")),
    ] {
        for abruptly in [false, true] {
            let mut client = pooled.client().await;
            if !doing.is_empty() {
                client.send(&doing).await;
                if !what.contains("Query, half") {
                    pooled.looks(|seen| seen.leased + seen.between == 1 || what.contains("Bind, half")).await;
                }
            }
            if abruptly {
                client.raw.stream.set_zero_linger().unwrap();
            }
            drop(client);
            pooled.rests().await;
            let mut next = pooled.client().await;
            assert_eq!(next.ask("SELECT to_regclass('pg_temp.t') IS NULL").await.unwrap(), "t", "{what}");
            assert_eq!(next.ask("SHOW work_mem").await.unwrap(), "4MB", "{what}");
            let locks =
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' OR relation = 'kept'::regclass";
            assert_eq!(next.ask(locks).await.unwrap(), "0", "{what}");
            assert_eq!(next.ask("SELECT count(*) FROM kept").await.unwrap(), "0", "{what}");
        }
    }
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_queue_leaves_it() {
    let pooled = Pooled::of(1).await;
    let mut holder = pooled.client().await;
    holder.ask("BEGIN").await.unwrap();
    holder.ask("SELECT 1").await.unwrap();
    for request in
        [query("SELECT 1"), statement("SELECT 1", &[]), [query("BEGIN"), query("SELECT 1")].concat()]
    {
        let mut waiters = Vec::new();
        for _ in 0..10 {
            let mut waiter = pooled.client().await;
            waiter.send(&request).await;
            waiters.push(waiter);
        }
        pooled.looks(|seen| seen.waiting == 10).await;
        // The middle of the queue, then the whole queue.
        drop(waiters.drain(3..7));
        pooled.looks(|seen| seen.waiting == 6).await;
        drop(waiters);
        pooled.looks(|seen| seen.waiting == 0).await;
    }
    holder.ask("COMMIT").await.unwrap();
    pooled.rests().await;
}

#[tokio::test]
async fn a_slow_reader_costs_one_backend_and_no_memory() {
    let pooled = Pooled::of(2).await;
    let mut other = pooled.client().await;
    other.ask("SELECT 1").await.unwrap();
    let before = peak(&pooled.stand.gatekeeper);
    let mut slow = pooled.client().await;
    slow.send(&query(ENDLESS)).await;
    pooled.looks(|seen| seen.leased == 1).await;
    for turn in 0..200 {
        assert_eq!(other.ask(&format!("SELECT 'turn {turn}'")).await.unwrap(), format!("turn {turn}"));
    }
    let after = peak(&pooled.stand.gatekeeper);
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB at most");
    drop(slow);
    pooled.rests().await;
}

/// A statement that was not begun in so many looks, each some milliseconds, is held back.
const LOOKS: u32 = 50;

#[tokio::test]
async fn buffered_responses_free_the_backend_of_a_slow_reader() {
    let pooled = Pooled::start(Shape { size: 1, workers: 1, ..Shape::default() }).await;
    let (mut slow, mut other) = (pooled.client().await, pooled.client().await);
    // Unread transactions one after the other, each with a response that fits a buffer, until sockets are full: then
    // the next transaction does not begin. A pipeline would never be split.
    let request = query("SELECT repeat('x', 5000)");
    let mut sent = 0;
    let mut refused = 0;
    while refused < LOOKS {
        if refused == 0 {
            slow.send(&request).await;
            sent += 1;
            assert!(sent < 100_000, "sockets hold all of it");
        }
        pooled.looks(|seen| seen.leased == 0 && seen.waiting == 0).await;
        refused = if pooled.statements().await == sent { 0 } else { refused + 1 };
    }
    assert_eq!(other.ask("SELECT 'served'").await.unwrap(), "served");
    // All responses are complete once the client reads.
    for number in 0..sent {
        let received = slow.read_until(b::READY_FOR_QUERY).await;
        let row = received.iter().find(|message| message.tag == b::DATA_ROW);
        assert!(row.is_some_and(|row| row.body.len() == 5006), "answer {number}: {received:?}");
    }
    pooled.rests().await;
}

/// The statement of a vanished client is canceled. The cancel request has a separate connection and may reach the
/// server after the statement's end, but must not hit the next client's statement.
#[tokio::test]
async fn a_vanished_clients_cancel_hits_no_other_session() {
    let pooled = Pooled::of(1).await;
    for round in 0..150 {
        let mut vanishing = pooled.client().await;
        vanishing.send(&query(&format!("SELECT pg_sleep({})", f64::from(round % 10) / 1000.0))).await;
        drop(vanishing);
        let mut next = pooled.client().await;
        for _ in 0..3 {
            assert_eq!(next.ask("SELECT sum(n) FROM generate_series(1, 2000) n").await.unwrap(), "2001000");
        }
    }
}
