//! A pool with more clients than it can serve in time.

use std::sync::Mutex;

use tokio::time::Instant;

use super::*;
use crate::pool::overload::{OverloadDetector, QueueLoad};

/// Results of the clients of a simulation.
#[derive(Default)]
struct Outcomes {
    served: Vec<u32>,
    timed_out: u32,
    refused: u32,
    /// The longest time from the first try to a backend.
    longest: Duration,
}

/// So many clients that repeat a statement of that duration for so long; after an error they pause for a second.
async fn simulate(stand: &Stand, clients: usize, statement: Duration, lasts: Duration) -> Outcomes {
    let pool = stand.pool();
    let outcomes = Arc::new(Mutex::new(Outcomes { served: vec![0; clients], ..Outcomes::default() }));
    let end = Instant::now() + lasts;
    for client in 0..clients {
        let (pool, outcomes) = (Arc::clone(&pool), Arc::clone(&outcomes));
        stand.tasks.spawn("client", async move {
            let (mut waits, mut first_try) = (UnservedWaits::default(), None);
            // Clients do not begin, and statements do not end, at the same instant.
            let uneven = Duration::from_micros(100 * (client as u64 * 7919 % 2000));
            tokio::time::sleep(uneven).await;
            while Instant::now() < end {
                let began = Instant::now();
                let tried = *first_try.get_or_insert(began);
                let terms = WaitTerms {
                    unserved_since: waits.since(began),
                    is_refusable: true,
                    ..WaitTerms::default()
                };
                let leased = lease_by(&pool, &AcquireOptions { worker: client % 2, terms, ..want() }).await;
                let Ok(lease) = leased else {
                    waits.note_failure(began, Instant::now());
                    match leased.err() {
                        Some(LeaseError::Timeout { .. }) => outcomes.lock().unwrap().timed_out += 1,
                        Some(LeaseError::Overloaded { .. }) => outcomes.lock().unwrap().refused += 1,
                        other => panic!("{other:?}"),
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                };
                waits.clear();
                first_try = None;
                {
                    let mut outcomes = outcomes.lock().unwrap();
                    outcomes.served[client] += 1;
                    outcomes.longest = outcomes.longest.max(tried.elapsed());
                }
                tokio::time::sleep(statement * 9 / 10 + uneven.mul_f64(statement.as_secs_f64())).await;
                lease.release(Disposition::Clean);
            }
        });
    }
    tokio::time::sleep_until(end).await;
    std::mem::take(&mut *outcomes.lock().unwrap())
}

/// Six times the capacity: with 10 backends, 2,000 statements of 0.9 s take six times `query_wait_timeout`.
#[tokio::test(start_paused = true)]
async fn every_client_gets_its_turn_under_overload() {
    let stand = Stand::new(10).await;
    let lasts = Duration::from_secs(20 * 60);
    let Outcomes { served, timed_out, refused, longest } =
        simulate(&stand, 2000, Duration::from_millis(900), lasts).await;
    let (least, most) = (*served.iter().min().unwrap(), *served.iter().max().unwrap());
    let report =
        format!("{least} to {most} turns, {timed_out} timed out, {refused} refused, longest {longest:?}");
    println!("{report}");
    assert!(least >= 5 && most <= least + 3, "{report}");
    // Every client is served within a round of 180 s, and a bit.
    assert!(longest < Duration::from_secs(240), "{report}");
    // Most clients that cannot be served in time know at once.
    assert!(timed_out < refused / 20, "{report}");
    let turns: u32 = served.iter().sum();
    assert!(turns > 20 * 60 * 10, "no backend was idle: {report}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_within_its_capacity_refuses_nobody() {
    let stand = Stand::new(10).await;
    // A round takes 24 s, 80 % of `query_wait_timeout`.
    let outcomes = simulate(&stand, 240, Duration::from_secs(1), Duration::from_secs(600)).await;
    assert_eq!((outcomes.refused, outcomes.timed_out), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn slow_statements_time_out_and_are_not_refused() {
    let stand = Stand::new(4).await;
    // Each backend serves less than one statement within `query_wait_timeout`: the estimate is unsure.
    let outcomes = simulate(&stand, 20, Duration::from_secs(60), Duration::from_secs(600)).await;
    assert_eq!(outcomes.refused, 0);
    assert!(outcomes.timed_out > 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_session_learns_its_place() {
    let mut stand = Stand::new(5).await;
    stand.settings.query_wait_timeout = Duration::from_secs(6);
    let pool = stand.pool();
    let background = simulate(&stand, 100, Duration::from_secs(1), Duration::from_secs(3600));
    let newcomer = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let terms = WaitTerms { is_refusable: true, ..WaitTerms::default() };
        let error = lease_by(&pool, &AcquireOptions { terms, ..want() }).await.err().expect("refused");
        let LeaseError::Overloaded { estimate, limit } = error else { panic!("{error:?}") };
        assert_eq!(limit, Duration::from_secs(6));
        assert!(estimate.wait > limit && estimate.position > 30, "{estimate:?}");
        // A client on hold, or a read with another endpoint, is not refused.
        let mut waiter = Waiter::new();
        pool.wait(&mut waiter, &want());
        assert!(waiter.is_waiting());
    };
    tokio::select! {
        () = newcomer => {}
        _ = background => panic!("the newcomer is first"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A queue in which so many wait, the newcomer last, without places for refused sessions.
fn load(waiting: usize, backends: usize) -> QueueLoad {
    QueueLoad { rank: Instant::now(), waiting, ahead: waiting - 1, backends }
}

/// Grants `per_second` for so many seconds from `start`, to a pool of `backends`.
fn grant(
    detector: &mut OverloadDetector,
    start: Instant,
    lasts: u64,
    per_second: u32,
    backends: usize,
) -> Instant {
    for second in 0..lasts {
        for grant in 0..per_second {
            let at = start + seconds(second) + Duration::from_secs(1) * grant / per_second;
            detector.note_grant(at, backends);
        }
    }
    start + seconds(lasts)
}

#[test]
fn an_estimate_needs_a_history() {
    let start = Instant::now();
    let limit = seconds(30);
    let mut detector = OverloadDetector::new();
    assert_eq!(detector.refusal(start, limit, load(10_000, 10)), None, "never measured");
    detector.restart(start, limit);
    let now = grant(&mut detector, start, 4, 10, 10);
    assert_eq!(detector.refusal(now, limit, load(10_000, 10)), None, "too early");
    let now = grant(&mut detector, now, 10, 10, 10);
    let refused = detector.refusal(now, limit, load(10_000, 10)).expect("sure by now");
    assert_eq!(refused.position, 10_000);
    assert!(refused.wait > seconds(1000) && refused.wait < seconds(1300), "{refused:?}");
    assert_eq!(detector.refusal(now, limit, load(10_000, 11)), None, "a backend is being dialed");
    detector.restart(now, limit);
    assert_eq!(detector.refusal(now, limit, load(10_000, 10)), None, "an interruption");
}

#[test]
fn a_short_pause_does_not_look_like_overload() {
    let start = Instant::now();
    let limit = seconds(30);
    let mut detector = OverloadDetector::new();
    detector.restart(start, limit);
    let now = grant(&mut detector, start, 60, 100, 10);
    // For 12 s all backends are busy with slow statements: 1,200 sessions arrive, which take 12 s at the usual rate.
    assert_eq!(detector.refusal(now + seconds(12), limit, load(1200, 10)), None);
}

#[test]
fn a_queue_near_the_limit_does_not_flap() {
    let start = Instant::now();
    let limit = seconds(30);
    let mut detector = OverloadDetector::new();
    detector.restart(start, limit);
    let now = grant(&mut detector, start, 60, 10, 10);
    let mut is_refused = |waiting: usize| detector.refusal(now, limit, load(waiting, 10)).is_some();
    let longest = (1..1000).find(|waiting| is_refused(*waiting)).expect("a long queue is refused");
    assert!(longest > 330, "{longest}");
    let shorter = (1..longest).rev().find(|waiting| !is_refused(*waiting)).expect("a short queue is not");
    assert!(shorter < longest - 20, "{shorter} and {longest}");
}
