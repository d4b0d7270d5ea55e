//! A checker in the manner of Jepsen: whatever happens to the servers, a listener that splits keeps its promises.
//!
//! Many clients write and read registers, append to lists, and move amounts between accounts, in every form that clients
//! have; each writes down what it said and heard. Meanwhile a plan is carried out on the servers: lags, frozen, killed and
//! promoted nodes, terminated sessions, cut and silent networks, conflicts with replay. Then the histories are judged: no
//! session missed its own write, no acknowledged write is lost, none is applied twice, nothing failed that a live server
//! could have answered, and a snapshot is one.
//!
//! The same seed draws the same plan and the same clients again; how they meet is the machine's affair. `make chaos` runs
//! for long: `CHAOS_SECONDS` says how long, `CHAOS_SEED` with which seed.

mod history;
mod judge;
mod life;
mod nemesis;
mod plan;
mod stage;
mod statement;
mod summary;
mod voice;

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use life::Mistake;
use plan::{Fault, Length, Nodes, Strike};
use stage::Stage;

/// A seed that nobody has chosen, short enough to be typed again.
fn random() -> u64 {
    RandomState::new().hash_one(0) % 1_000_000
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn sessions_keep_what_they_were_promised_whatever_happens_to_the_servers() {
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
