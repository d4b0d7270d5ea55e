//! A model of pooled sessions: random clients share fake PostgreSQL backends, and each sees what it sees on a server of
//! its own.
//!
//! - [`server`] is a fake PostgreSQL for a small [`language`]; it panics on a text that it does not know.
//! - [`expected`] is the reference model of one session: its settings, role, temporary tables, locks, channels, cursors
//!   and statements, by PostgreSQL's rules.
//! - [`world`] is the driver: clients, backends, a pool, small buffers, cuts at every byte.
//!
//! Each client's bytes also go to a dedicated server. The pooled session must send the same answers. Ahead of each
//! statement the backend's state must equal the reference model, and a returned backend holds nothing but settings and
//! shared statements.
//!
//! The number of random scripts is `SESSION_MODEL_CASES`; with the variable set, the scripts differ from run to run.
//! `SESSION_MODEL_SEED` (a number) selects other scripts, the same in every run.

mod catalog;
mod client;
mod direct;
mod disturbance;
mod driver;
mod excuses;
mod execute;
mod expected;
mod faults;
mod language;
mod output;
mod pool;
mod random;
mod regressions;
mod run;
mod script;
mod server;
mod settings;
mod state;
mod world;

use std::cell::Cell;

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use self::{random::Disturbances, script::Script, world::World};

/// Scripts of a run without the variable.
const CASES: u32 = 300;
/// Scripts with read pools and with lost writers: further ones fail, see the decision page 2.
const SPLIT_CASES: u32 = 1000;
const LOSS_CASES: u32 = 500;
/// Limit on the time that makes a failing script shorter.
const MAX_SHRINK_MILLISECONDS: u32 = 20_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn pooled_sessions_answer_like_dedicated_servers() {
    run(&random::script(), CASES);
}

#[test]
fn canceled_sessions_answer_like_dedicated_servers() {
    run(&random::disturbed_script(Disturbances::Errors, 0..1), CASES);
}

#[test]
fn split_sessions_answer_like_dedicated_servers() {
    run(&random::disturbed_script(Disturbances::Errors, 1..3), SPLIT_CASES);
}

#[test]
fn sessions_survive_lost_writers() {
    run(&random::disturbed_script(Disturbances::Losses, 0..1), LOSS_CASES);
}

#[test]
fn split_sessions_survive_lost_backends() {
    run(&random::disturbed_script(Disturbances::Losses, 1..3), CASES);
}

/// Runs random scripts.
fn run(scripts: &impl Strategy<Value = Script>, default_cases: u32) {
    let cases = number("SESSION_MODEL_CASES");
    let seed = number("SESSION_MODEL_SEED");
    let config = Config {
        cases: cases.map_or(default_cases, |cases| u32::try_from(cases).expect("a count of scripts")),
        failure_persistence: None,
        max_shrink_iters: 4000,
        max_shrink_time: MAX_SHRINK_MILLISECONDS,
        ..Config::default()
    };
    let mut runner = if cases.is_some() && seed.is_none() {
        TestRunner::new(config)
    } else {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.unwrap_or(1).to_le_bytes());
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    };
    let runs = Cell::new(0);
    let failed_at = Cell::new(None);
    let result = runner.run(scripts, |script| {
        runs.set(runs.get() + 1);
        // Shrinking runs further scripts.
        let first_failure = failed_at.replace(failed_at.get().or(Some(runs.get())));
        World::run(&script);
        failed_at.set(first_failure);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, script)) => {
            let at = failed_at.get().unwrap_or_default();
            panic!("script {at}: {reason}\n{:?}\n{}", script.setup, lines(&script));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Actions of a script, one a line.
fn lines(script: &Script) -> String {
    script.actions.iter().map(|action| format!("{action:?}\n")).collect()
}
