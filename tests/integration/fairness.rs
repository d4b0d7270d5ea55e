//! Many clients, few backends: all clients are served in order of arrival, and a full pool is not an error.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use gatekeeper::testing::sandbox::{APP, DATABASE};
use tokio::{process::Command, sync::Barrier, task::JoinSet};

use crate::harness::{Frames, Pooled, Shape};

/// Output of `pgbench` with the given arguments.
async fn pgbench(pooled: &Pooled, arguments: &[&str]) -> String {
    let mut command = Command::new(pooled.stand.server.installation().bin_dir().join("pgbench"));
    let address = pooled.listener();
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-U", APP.name]);
    command.args(arguments).arg(DATABASE).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(output.status.success(), "{printed}");
    printed
}

#[tokio::test]
async fn pgbench_runs_in_every_mode_with_more_clients_than_backends() {
    let pooled = Pooled::of(5).await;
    pgbench(&pooled, &["-i", "-q", "-s", "2"]).await;
    for mode in ["simple", "extended", "prepared"] {
        let printed = pgbench(&pooled, &["-n", "-c", "20", "-j", "2", "-t", "150", "-M", mode]).await;
        assert!(printed.contains("number of failed transactions: 0 "), "{mode}: {printed}");
        pooled.rests().await;
    }
    let sum = pooled
        .server("SELECT sum(bbalance) = (SELECT sum(delta) FROM pgbench_history) FROM pgbench_branches");
    assert_eq!(sum.await, "t", "every transaction counted once");
    let count = pooled.server("SELECT count(*) FROM pgbench_history").await;
    assert_eq!(count, (3 * 20 * 150).to_string());
}

/// Clients and turns of each in the race for a backend.
const CLIENTS: usize = 500;
const TURNS: usize = 12;

/// One client of many: counts the turns of others that ended during each turn of its own.
async fn contender(listener: SocketAddr, start: Arc<Barrier>, turns: Arc<AtomicUsize>) -> Vec<usize> {
    let mut client = Frames::log_in(listener, APP, &[("database", DATABASE)]).await;
    start.wait().await;
    let mut waits = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        let before = turns.load(Relaxed);
        assert_eq!(client.ask("SELECT pg_sleep(0.001) || 'served'").await.unwrap(), "served");
        waits.push(turns.fetch_add(1, Relaxed) - before);
    }
    waits
}

#[tokio::test]
async fn no_client_waits_three_times_the_median() {
    for workers in [1, 2] {
        let shape = Shape { workers, plain: true, pool: "query_wait_timeout = \"0s\"", ..Shape::default() };
        let pooled = Pooled::start(shape).await;
        let (start, turns) = (Arc::new(Barrier::new(CLIENTS)), Arc::new(AtomicUsize::new(0)));
        let mut contenders = JoinSet::new();
        for _ in 0..CLIENTS {
            contenders.spawn(contender(pooled.listener(), Arc::clone(&start), Arc::clone(&turns)));
        }
        let mut waits = Vec::new();
        while let Some(contender) = contenders.join_next().await {
            // The queue forms in the first turn, and dissolves in the last.
            waits.extend_from_slice(&contender.unwrap()[1..TURNS - 1]);
        }
        waits.sort_unstable();
        let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        assert!(median > CLIENTS / 2, "{workers} workers: there was no queue: {median}");
        assert!(longest < 3 * median, "{workers} workers: {longest} turns of others, {median} for most");
        assert!(pooled.healthy().await);
        pooled.rests().await;
    }
}
