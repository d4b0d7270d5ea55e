//! More clients than a pool can serve in time: some statements are refused, and each client gets its turn.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::tag::backend as b,
};
use tokio::task::JoinSet;

use crate::harness::{Frames, Pooled, Shape, frames::query, until};

/// 240 statements of 50 ms on two backends take six times `query_wait_timeout`.
const CLIENTS: usize = 240;
const PATIENCE: Duration = Duration::from_secs(180);

/// Turns of each client, and errors by their message.
#[derive(Default)]
struct Outcomes {
    turns: Vec<AtomicUsize>,
    errors: Mutex<Vec<(String, String)>>,
}

/// Repeats a statement; after an error it pauses, as drivers do.
async fn repeat_statement(listener: SocketAddr, number: usize, outcomes: Arc<Outcomes>) {
    let mut client = Frames::log_in(listener, APP, &[("database", DATABASE)]).await;
    loop {
        client.send(&query("SELECT pg_sleep(0.05)")).await;
        let received = client.read_until(b::READY_FOR_QUERY).await;
        match received.iter().find(|message| message.tag == b::ERROR_RESPONSE) {
            None => {
                outcomes.turns[number].fetch_add(1, Relaxed);
            }
            Some(error) => {
                outcomes.errors.lock().unwrap().push((error.field(b'C'), error.field(b'M')));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

#[tokio::test]
async fn each_client_is_served_at_six_times_capacity() {
    let shape = Shape { size: 2, plain: true, pool: "query_wait_timeout = \"1s\"", ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let turns = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let outcomes = Arc::new(Outcomes { turns, ..Outcomes::default() });
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(repeat_statement(pooled.listener(), number, Arc::clone(&outcomes)));
    }
    let counts = || outcomes.turns.iter().map(|turns| turns.load(Relaxed)).collect::<Vec<_>>();
    // Twice each: a client that has been served goes behind all others.
    let counts = until(PATIENCE, async || {
        let counts = counts();
        if counts.iter().all(|turns| *turns >= 2) { Ok(counts) } else { Err(counts) }
    })
    .await;
    clients.shutdown().await;
    let most = counts.iter().max().unwrap();
    assert!(*most <= 8, "some clients get many more turns than others: {counts:?}");
    let errors = std::mem::take(&mut *outcomes.errors.lock().unwrap());
    assert!(errors.iter().all(|(sqlstate, _)| sqlstate == "53300"), "{errors:?}");
    let refused = errors.iter().filter(|(_, message)| message.contains("is overloaded")).count();
    assert!(refused > 0, "nobody was refused at once: {} errors", errors.len());
    assert!(pooled.healthy().await);
}
