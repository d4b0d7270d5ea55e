//! Backends are returned clean or not at all, and each session sees only its own state, whichever backend serves it.
//!
//! Random clients send random statements, both through Gatekeeper and directly to the server, and must get equal
//! responses. After each turn a new session of the same pool reads the server's own catalogs: settings, role, locks,
//! cursors, channels, prepared statements, temporary objects.
//!
//! `CLEAN_SEEDS` sets the number of trials, `CLEAN_FIRST` the seed of the first trial.

mod grammar;
mod pair;
mod stage;
mod trial;

use stage::Stage;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

#[tokio::test]
async fn every_session_sees_only_its_own_state() {
    let stage = Stage::set().await;
    let first = number("CLEAN_FIRST", 1);
    for seed in first..first + number("CLEAN_SEEDS", 120) {
        if let Err(why) = trial::hold(&stage, seed).await {
            panic!("{why}");
        }
    }
}
