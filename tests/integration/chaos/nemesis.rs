//! Carries out a plan on real servers, and puts everything back.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use gatekeeper::testing::sandbox::{Passage, Stop};
use tokio::time::sleep;

use super::plan::{Fault, Strike};
use crate::harness::Split;

/// The current faults, as far as sessions may know.
pub(super) struct Weather {
    began: Instant,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// When each strike began, and ended.
    strikes: Vec<(Duration, Option<Duration>)>,
    hits: Vec<(Duration, Duration)>,
}

/// Interval between two repetitions of a fault.
const AGAIN: Duration = Duration::from_millis(250);
const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
/// No node lags.
const NONE: [Duration; 2] = [Duration::ZERO; 2];
/// Default wait of replay for a query.
const USUAL_WAIT: &str = "30s";

// === impl Weather ===

impl Weather {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), now: Mutex::default() }
    }

    /// Since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The last strike that was on at some time since then.
    pub(super) fn strike_since(&self, since: Duration) -> Option<usize> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.strikes.iter().rposition(|(_, end)| end.is_none_or(|end| end >= since))
    }

    /// When the primary's clients were hit.
    pub(super) fn hits(&self) -> Vec<(Duration, Duration)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).hits.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Carries out the plan.
pub(super) async fn rage(split: &Split, plan: &[Strike], weather: &Weather) {
    for strike in plan {
        sleep(strike.rest).await;
        weather.change(|now| now.strikes.push((weather.elapsed(), None)));
        lag(split, NONE, strike.lags).await;
        inflict(split, strike, weather).await;
        lag(split, strike.lags, NONE).await;
        weather.change(|now| now.strikes.last_mut().expect("one has begun").1 = Some(weather.elapsed()));
    }
}

async fn lag(split: &Split, from: [Duration; 2], to: [Duration; 2]) {
    for (at, node) in ["reads-1", "reads-2"].into_iter().enumerate().filter(|(at, _)| from[*at] != to[*at]) {
        split.sandbox.node(node).lag(to[at]).await.unwrap();
    }
}

/// One fault, from beginning to end.
async fn inflict(split: &Split, strike: &Strike, weather: &Weather) {
    let servers = &split.sandbox;
    let reads = servers.endpoint("reads").middleman();
    match strike.fault {
        Fault::Lag => sleep(strike.lasts).await,
        Fault::Paused(nodes) => {
            for node in nodes.names() {
                servers.node(node).pause_replay().await.unwrap();
            }
            sleep(strike.lasts).await;
            for node in nodes.names() {
                servers.node(node).resume_replay().await.unwrap();
            }
        }
        Fault::Frozen(node) => {
            servers.node(node.name()).freeze();
            sleep(strike.lasts).await;
            servers.node(node.name()).thaw();
        }
        Fault::Killed(node) => {
            servers.node(node.name()).crash().await.unwrap();
            sleep(strike.lasts).await;
            servers.node(node.name()).start().await.unwrap();
        }
        Fault::Stopped(node) => {
            servers.node(node.name()).stop(Stop::Fast).await.unwrap();
            sleep(strike.lasts).await;
            servers.node(node.name()).start().await.unwrap();
        }
        Fault::TerminatedStandby(node) => {
            again_and_again(strike.lasts, async || {
                servers.node(node.name()).sql("postgres", TERMINATE).await.unwrap();
            })
            .await;
        }
        Fault::TerminatedPrimary => {
            let from = weather.elapsed();
            // Every later failure may be due to the fault.
            weather.change(|now| now.hits.push((from, Duration::MAX / 2)));
            again_and_again(strike.lasts, async || {
                servers.node("primary").sql("postgres", TERMINATE).await.unwrap();
            })
            .await;
            let to = weather.elapsed();
            weather.change(|now| now.hits.last_mut().expect("one was noted").1 = to);
        }
        Fault::Cut => pass(reads, Passage::Cut, strike.lasts).await,
        Fault::BlackHole => pass(reads, Passage::BlackHole, strike.lasts).await,
        Fault::Delayed(delay) => pass(reads, Passage::Delayed(delay), strike.lasts).await,
        Fault::Conflicts => {
            for node in ["reads-1", "reads-2"] {
                servers.node(node).set("max_standby_streaming_delay", "0").await.unwrap();
            }
            again_and_again(strike.lasts, async || {
                split.primary("VACUUM register, list, account, applied").await;
            })
            .await;
            for node in ["reads-1", "reads-2"] {
                servers.node(node).set("max_standby_streaming_delay", USUAL_WAIT).await.unwrap();
            }
        }
        Fault::Promoted(node) => {
            servers.node(node.name()).promote().await.unwrap();
            sleep(strike.lasts).await;
            servers.node(node.name()).rebuild(servers.node("primary")).await.unwrap();
        }
    }
}

async fn pass(middleman: &gatekeeper::testing::sandbox::Middleman, passage: Passage, lasts: Duration) {
    middleman.set(passage);
    sleep(lasts).await;
    middleman.set(Passage::Open);
}

async fn again_and_again(lasts: Duration, mut act: impl AsyncFnMut()) {
    let end = Instant::now() + lasts;
    loop {
        act().await;
        if Instant::now() >= end {
            return;
        }
        sleep(AGAIN).await;
    }
}
