//! A checker in the manner of Jepsen: a listener with split routing keeps its promises under every fault of the
//! servers.
//!
//! Many clients write and read registers, append to lists, and move amounts between accounts, in every form of
//! messages; each client records its requests and responses. Meanwhile a plan is carried out on the servers: lags,
//! frozen, killed and promoted nodes, terminated sessions, cut and silent networks, conflicts with replay. The judge
//! then checks the histories: no session missed its own write, no acknowledged write is lost or applied twice, no
//! request failed that a live server could have served, and every snapshot is consistent.
//!
//! Equal seeds draw equal plans and clients; the interleaving depends on the machine. `make chaos` runs for long:
//! `CHAOS_SECONDS` sets the time, `CHAOS_SEED` the seed.

mod connection;
mod history;
mod judge;
mod life;
mod nemesis;
mod plan;
mod stage;
mod statement;
mod summary;

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use life::Mistake;
use plan::{Fault, Length, Nodes, Strike};
use stage::Stage;

/// A random seed, short enough to be typed again.
fn random() -> u64 {
    RandomState::new().hash_one(0) % 1_000_000
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn every_promise_to_sessions_holds_under_all_faults() {
    let stage = Stage::set("").await;
    for seed in [1, random()] {
        eprintln!("chaos under seed {seed}");
        let run = stage.play(seed, plan::draw(seed, Length::Tour), Mistake::None).await;
        run.is_as_promised();
        eprintln!("{}", run.summary());
    }
}

/// Both nodes stand still for a moment.
fn standstill() -> Vec<Strike> {
    let fault = Fault::Paused(Nodes::Both);
    vec![Strike { rest: Duration::ZERO, lags: [Duration::ZERO; 2], fault, lasts: Duration::from_secs(3) }]
}

#[tokio::test]
async fn reads_that_miss_their_sessions_writes_and_writes_applied_twice_are_caught() {
    let careless = Stage::set("consistency = \"eventual\"").await;
    let run = careless.play(1, standstill(), Mistake::None).await;
    let broken = run.verdict().unwrap_err();
    assert!(broken.why.contains("own"), "{broken:?}");
    run.verdict_on_writes().unwrap();
    let run = careless.play(2, standstill(), Mistake::SaysTwice).await;
    let broken = run.verdict_on_writes().unwrap_err();
    assert!(broken.why.contains("applied 2 times"), "{broken:?}");
}

#[tokio::test]
#[ignore = "runs for minutes: make chaos"]
async fn for_long() {
    let seconds = number("CHAOS_SECONDS").unwrap_or(600);
    let seed = number("CHAOS_SEED").unwrap_or_else(random);
    let plan = plan::draw(seed, Length::For(Duration::from_secs(seconds)));
    eprintln!("chaos under seed {seed} for {seconds} s: {} faults", plan.len());
    let stage = Stage::set("").await;
    let run = stage.play(seed, plan, Mistake::None).await;
    run.is_as_promised();
    eprintln!("{}", run.summary());
}
