//! Cancel requests in transaction pooling: a request never hits the backend's next session, and a statement that waits
//! for a backend is canceled in the queue.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::{ProtocolVersion, tag::backend as b},
};
use tokio::task::JoinSet;

use crate::harness::{
    Frames, Pooled, Shape,
    frames::{cancel, query, statement, sync},
};

/// Cancel requests of the race.
const CANCELS: usize = 10_000;
/// Sessions that are cancelled, and sessions that are not.
const TARGETS: usize = 16;
const BYSTANDERS: usize = 8;
/// Cancel requests sent at one time.
const VOLLEY: usize = 5;

async fn named(listener: SocketAddr, application: &str) -> Frames {
    let parameters = [("database", DATABASE), ("application_name", application)];
    Frames::log_in(listener, APP, &parameters).await
}

/// One transaction of the session `mark`, of the given kind. Returns the mark, or the SQLSTATE of the error; checks the
/// session's own settings and its transaction.
async fn turn(client: &mut Frames, mark: &str, kind: usize) -> Result<String, String> {
    let slow = format!("SELECT current_setting('application_name') || pg_sleep(0.003) || ', {mark}'");
    let quick = format!("SELECT current_setting('application_name') || ', {mark}'");
    match kind % 4 {
        0 => client.ask(&quick).await,
        1 => client.ask(&slow).await,
        2 => {
            client.send(&[statement(&slow, &[]), sync()].concat()).await;
            let responses = client.read_until(b::READY_FOR_QUERY).await;
            match responses.iter().find(|message| message.tag == b::ERROR_RESPONSE) {
                Some(error) => Err(error.field(b'C')),
                None => {
                    let row = responses.iter().find(|message| message.tag == b::DATA_ROW).unwrap();
                    Ok(String::from_utf8_lossy(&row.body[6..]).into_owned())
                }
            }
        }
        _ => {
            // A transaction whose BEGIN is deferred until its first statement.
            client.ask("BEGIN").await?;
            let answers = client.ask(&slow).await;
            let status = client.ask("SELECT statement_timestamp() <> transaction_timestamp()").await;
            client.ask("ROLLBACK").await?;
            match status {
                Ok(open) if open != "t" => Err("outside of its transaction".to_owned()),
                _ => answers,
            }
        }
    }
}

/// Expected end of a turn without cancellation.
fn undisturbed(mark: &str) -> Result<String, String> {
    Ok(format!("{mark}, {mark}"))
}

/// A session that is cancelled, and that knows when.
async fn target(number: usize, listener: SocketAddr, sent: Arc<AtomicUsize>, hit: Arc<AtomicUsize>) {
    let mark = format!("target {number}");
    let mut client = named(listener, &mark).await;
    let key = client.key.clone().unwrap();
    let mut kind = number;
    while sent.load(Relaxed) < CANCELS {
        let volley = async {
            for _ in 0..VOLLEY {
                cancel(listener, &key).await;
                sent.fetch_add(1, Relaxed);
            }
        };
        let statements = async {
            for _ in 0..VOLLEY {
                kind += 1;
                match turn(&mut client, &mark, kind).await {
                    Err(state) if state == "57014" => drop(hit.fetch_add(1, Relaxed)),
                    request => assert_eq!(request, undisturbed(&mark)),
                }
            }
        };
        tokio::join!(volley, statements);
        // All requests have arrived: later statements are safe.
        kind += 1;
        assert_eq!(turn(&mut client, &mark, kind).await, undisturbed(&mark), "after its cancels");
    }
}

/// A session without cancel requests.
async fn bystander(number: usize, listener: SocketAddr, sent: Arc<AtomicUsize>) {
    let mark = format!("bystander {number}");
    let mut client = named(listener, &mark).await;
    let mut kind = number;
    while sent.load(Relaxed) < CANCELS {
        kind += 1;
        assert_eq!(turn(&mut client, &mark, kind).await, undisturbed(&mark));
    }
}

#[tokio::test]
async fn ten_thousand_cancels_end_only_their_own_statements() {
    let pooled = Pooled::start(Shape { size: 4, plain: true, ..Shape::default() }).await;
    let (sent, hit) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut sessions = JoinSet::new();
    for number in 0..TARGETS {
        sessions.spawn(target(number, pooled.listener(), Arc::clone(&sent), Arc::clone(&hit)));
    }
    for number in 0..BYSTANDERS {
        sessions.spawn(bystander(number, pooled.listener(), Arc::clone(&sent)));
    }
    while let Some(session) = sessions.join_next().await {
        if let Err(error) = session {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    let hit = hit.load(Relaxed);
    assert!(hit > 100, "only {hit} statements were cancelled");
    pooled.rests().await;
}

/// Two sessions of a pool with one backend: the first is in a transaction, the second waits with its request.
async fn queued(version: ProtocolVersion, request: &[u8]) -> (Pooled, Frames, Frames) {
    let pooled = Pooled::of(1).await;
    let parameters = [("database", DATABASE)];
    let mut holder = Frames::log_in_with(pooled.listener(), APP, &parameters, version).await;
    holder.ask("BEGIN").await.unwrap();
    holder.ask("SELECT 1").await.unwrap();
    let mut waiter = Frames::log_in_with(pooled.listener(), APP, &parameters, version).await;
    waiter.send(request).await;
    pooled.looks(|seen| seen.leased == 1 && seen.waiting == 1).await;
    (pooled, holder, waiter)
}

#[tokio::test]
async fn a_waiting_statement_is_canceled_in_the_queue() {
    for version in [ProtocolVersion::V3_0, ProtocolVersion::V3_2] {
        for request in [query("SELECT 1"), [statement("SELECT 1", &[]), sync()].concat()] {
            let (pooled, mut holder, mut waiter) = queued(version, &request).await;
            let key = waiter.key.clone().unwrap();
            assert_eq!(key.secret().len() > 4, version == ProtocolVersion::V3_2);
            cancel(pooled.listener(), &key).await;
            let responses = waiter.read_until(b::READY_FOR_QUERY).await;
            let tags: Vec<_> = responses.iter().map(|message| message.tag).collect();
            assert_eq!(tags, [b::ERROR_RESPONSE, b::READY_FOR_QUERY], "{responses:?}");
            assert_eq!(responses[0].field(b'C'), "57014");
            pooled.looks(|seen| seen.leased == 1 && seen.waiting == 0).await;
            // The holder is not affected, and the canceled session continues.
            assert_eq!(holder.ask("SELECT 'untouched'").await.unwrap(), "untouched");
            holder.ask("COMMIT").await.unwrap();
            assert_eq!(waiter.ask("SELECT 'next'").await.unwrap(), "next");
            pooled.rests().await;
        }
    }
}

#[tokio::test]
async fn a_transaction_canceled_in_the_queue_has_failed() {
    for (end, done) in [("COMMIT", "ROLLBACK"), ("ROLLBACK", "ROLLBACK"), ("ROLLBACK AND CHAIN", "ROLLBACK")]
    {
        let pooled = Pooled::of(1).await;
        let (mut holder, mut waiter) = (pooled.client().await, pooled.client().await);
        holder.ask("BEGIN").await.unwrap();
        holder.ask("SELECT 1").await.unwrap();
        waiter.ask("BEGIN").await.unwrap();
        waiter.send(&query("SELECT 1")).await;
        pooled.looks(|seen| seen.waiting == 1).await;
        cancel(pooled.listener(), waiter.key.as_ref().unwrap()).await;
        let responses = waiter.read_until(b::READY_FOR_QUERY).await;
        assert_eq!(
            (responses[0].field(b'C').as_str(), responses[1].body.as_slice()),
            ("57014", &b"E"[..]),
            "{responses:?}"
        );
        holder.ask("COMMIT").await.unwrap();
        assert_eq!(waiter.ask("SELECT 1").await, Err("25P02".to_owned()));
        waiter.send(&[statement("SELECT 1", &[]), sync()].concat()).await;
        let responses = waiter.read_until(b::READY_FOR_QUERY).await;
        assert_eq!(responses[0].field(b'C'), "25P02", "{responses:?}");
        waiter.send(&query(end)).await;
        let responses = waiter.read_until(b::READY_FOR_QUERY).await;
        assert_eq!(responses[0].body, [done.as_bytes(), b"\0"].concat(), "{end}: {responses:?}");
        if end.contains("CHAIN") {
            waiter.ask("COMMIT").await.unwrap();
        }
        assert_eq!(waiter.ask("SELECT 'well'").await.unwrap(), "well");
        pooled.rests().await;
    }
    let pooled = Pooled::of(1).await;
    let (mut holder, mut waiter) = (pooled.client().await, pooled.client().await);
    holder.ask("BEGIN").await.unwrap();
    holder.ask("SELECT 1").await.unwrap();
    waiter.ask("BEGIN").await.unwrap();
    waiter.send(&query("SELECT 1")).await;
    pooled.looks(|seen| seen.waiting == 1).await;
    cancel(pooled.listener(), waiter.key.as_ref().unwrap()).await;
    waiter.read_until(b::READY_FOR_QUERY).await;
    // No backend has received the BEGIN, and none needs to.
    assert_eq!(waiter.ask("ROLLBACK").await, Ok(String::new()));
    pooled.looks(|seen| seen.waiting == 0).await;
}

#[tokio::test]
async fn a_cancel_of_an_idle_session_hits_no_later_statement() {
    let pooled = Pooled::of(1).await;
    let (mut idle, mut other) = (pooled.client().await, pooled.client().await);
    for _ in 0..20 {
        assert_eq!(idle.ask("SELECT 'mine'").await.unwrap(), "mine");
        cancel(pooled.listener(), idle.key.as_ref().unwrap()).await;
        assert_eq!(other.ask("SELECT pg_sleep(0.001) || 'other'").await.unwrap(), "other");
    }
    // A request that arrived during idle time does not end the next wait.
    cancel(pooled.listener(), idle.key.as_ref().unwrap()).await;
    other.ask("BEGIN").await.unwrap();
    other.ask("SELECT 1").await.unwrap();
    idle.send(&query("SELECT 'waited'")).await;
    pooled.looks(|seen| seen.waiting == 1).await;
    other.ask("COMMIT").await.unwrap();
    let responses = idle.read_until(b::READY_FOR_QUERY).await;
    assert!(responses.iter().any(|message| message.tag == b::DATA_ROW), "{responses:?}");
}
