//! Many clients, few backends: everybody has a turn, in the order they came, and a pool that is full is no failure.

use std::process::Stdio;

use gatekeeper::sandbox::{APP, DATABASE};
use tokio::process::Command;

use crate::harness::Pooled;

/// `pgbench` with these arguments; what it said.
async fn pgbench(pooled: &Pooled, arguments: &[&str]) -> String {
    let mut command = Command::new(pooled.stand.server.installation().bin_dir().join("pgbench"));
    let address = pooled.listener();
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-U", APP.name]);
    command.args(arguments).arg(DATABASE).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn pgbench_runs_in_every_mode_with_more_clients_than_backends() {
    let pooled = Pooled::of(5).await;
    pgbench(&pooled, &["-i", "-q", "-s", "2"]).await;
    for mode in ["simple", "extended", "prepared"] {
        let said = pgbench(&pooled, &["-n", "-c", "20", "-j", "2", "-t", "150", "-M", mode]).await;
        assert!(said.contains("number of failed transactions: 0 "), "{mode}: {said}");
        pooled.rests().await;
    }
    let sum = pooled
        .server("SELECT sum(bbalance) = (SELECT sum(delta) FROM pgbench_history) FROM pgbench_branches");
    assert_eq!(sum.await, "t", "every transaction counted once");
    let count = pooled.server("SELECT count(*) FROM pgbench_history").await;
    assert_eq!(count, (3 * 20 * 150).to_string());
}
