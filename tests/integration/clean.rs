//! Backends go back clean or not at all, and each session sees its own state and no other's, whichever backend serves it.
//!
//! Random clients say random statements, each of them through Gatekeeper and to the server itself, and hear the same both
//! ways; after each turn a session of no past looks, through the same pool, at the server's own catalogues: settings, role,
//! locks, cursors, channels, prepared statements, temporary objects.
//!
//! `CLEAN_SEEDS` says how many trials are held, `CLEAN_FIRST` which seed is the first one's.

mod grammar;
mod pair;
mod stage;
mod trial;

use stage::Stage;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

#[tokio::test]
async fn no_session_ever_sees_another_ones_state_and_each_always_sees_its_own() {
    let stage = Stage::set().await;
    let first = number("CLEAN_FIRST", 1);
    for seed in first..first + number("CLEAN_SEEDS", 200) {
        if let Err(why) = trial::hold(&stage, seed).await {
            panic!("{why}");
        }
    }
}
