//! Waiting while the endpoint is absent.

use std::task::{Context, Poll, Waker};

use super::*;

fn holding() -> AcquireOptions {
    AcquireOptions { terms: WaitTerms { holds: true, ..WaitTerms::default() }, ..want() }
}

async fn held(waiter: &mut Waiter) -> LeaseError {
    loop {
        match poll_fn(|cx| waiter.poll(cx)).await {
            Waited::Held(reason) => return reason,
            Waited::Notice(_) => {}
            Waited::Lease(_) => panic!("a backend"),
            Waited::Failed(error) => panic!("{error}"),
        }
    }
}

fn peek(waiter: &mut Waiter) -> Option<Waited> {
    loop {
        match waiter.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Waited::Notice(_)) => {}
            Poll::Ready(waited) => return Some(waited),
            Poll::Pending => return None,
        }
    }
}

fn primary() -> EndpointName {
    EndpointName::new("primary").unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_holds_keeps_its_place_while_the_endpoint_is_absent() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    stand.server.refuse(Some(b"57P03"));
    let mut line: Vec<_> = (0..4).map(|_| Waiter::new()).collect();
    line[..2].iter_mut().for_each(|waiter| pool.wait(waiter, &holding()));
    let mut other = Waiter::new();
    pool.wait(&mut other, &want());
    assert!(matches!(outcome(&mut other).await, Err(LeaseError::Down(_))));
    line[2..].iter_mut().for_each(|waiter| pool.wait(waiter, &holding()));
    for waiter in &mut line {
        assert!(matches!(held(waiter).await, LeaseError::Down(_)));
    }
    // Longer than `query_wait_timeout`, which does not count meanwhile.
    tokio::time::sleep(stand.settings.query_wait_timeout * 2).await;
    assert!(line.iter_mut().all(|waiter| peek(waiter).is_none()));
    stand.server.refuse(None);
    stand.pools.note_probed_up(&primary(), true);
    for at in 0..4 {
        let lease = outcome(&mut line[at]).await.unwrap();
        assert!(line[at + 1..].iter_mut().all(|later| peek(later).is_none()), "{at} is next");
        lease.release(Disposition::Clean);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_probe_ends_the_backoff() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    stand.server.refuse(Some(b"57P03"));
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &holding());
    held(&mut waiter).await;
    // The backoff has reached its maximum.
    tokio::time::sleep(Duration::from_secs(60)).await;
    stand.server.refuse(None);
    let before = tokio::time::Instant::now();
    stand.pools.note_probed_up(&primary(), false);
    outcome(&mut waiter).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_the_probe_reports_down_is_absent_until_a_backend_returns() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let leased = lease(&pool).await.unwrap();
    let (mut waiter, mut other) = (Waiter::new(), Waiter::new());
    pool.wait(&mut waiter, &holding());
    pool.wait(&mut other, &want());
    tokio::time::sleep(Duration::from_secs(1)).await;
    stand.pools.note_probed_down(&primary(), &"silence".into());
    assert!(matches!(outcome(&mut other).await, Err(LeaseError::ProbedDown(_))));
    assert!(matches!(held(&mut waiter).await, LeaseError::ProbedDown(_)));
    assert!(waiter.absence().is_some());
    tokio::time::sleep(stand.settings.query_wait_timeout * 2).await;
    leased.release(Disposition::Clean);
    outcome(&mut waiter).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn logins_to_a_silent_server_begin_again_when_it_answers() {
    let stand = Stand::new(2).await;
    stand.server.hold(true);
    let pool = stand.pool();
    let mut waiters = [Waiter::new(), Waiter::new()];
    waiters.iter_mut().for_each(|waiter| pool.wait(waiter, &holding()));
    until("two dial", || stand.server.open() == 2).await;
    stand.pools.note_probed_up(&primary(), true);
    until("both dial again", || stand.server.accepted() == 4).await;
    stand.server.hold(false);
    for waiter in &mut waiters {
        outcome(waiter).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_elsewhere_is_served_by_its_first_wait() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let first = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let leased = lease(&pool).await.unwrap();
    let (mut late, mut early) = (Waiter::new(), Waiter::new());
    pool.wait(&mut late, &want());
    pool.wait(
        &mut early,
        &AcquireOptions { terms: WaitTerms { since: Some(first), ..WaitTerms::default() }, ..want() },
    );
    leased.release(Disposition::Clean);
    assert!(peek(&mut late).is_none());
    assert!(matches!(peek(&mut early), Some(Waited::Lease(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_begun_at_an_absent_predecessor_counts_from_the_creation_of_the_pool() {
    let first = tokio::time::Instant::now();
    let stand = Stand::new(1).await;
    // Another pool served the session until then.
    tokio::time::sleep(stand.settings.query_wait_timeout * 2).await;
    let pool = stand.pool();
    let leased = lease(&pool).await.unwrap();
    let mut waiter = Waiter::new();
    let terms = WaitTerms { since: Some(first), holds: true, ..WaitTerms::default() };
    pool.wait(&mut waiter, &AcquireOptions { terms, ..want() });
    tokio::time::sleep(stand.settings.query_wait_timeout / 2).await;
    assert!(peek(&mut waiter).is_none());
    leased.release(Disposition::Clean);
    outcome(&mut waiter).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_between_two_absences_learns_of_the_second() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let _leased = lease(&pool).await.unwrap();
    stand.pools.note_probed_down(&primary(), &"silence".into());
    stand.pools.note_probed_up(&primary(), true);
    // No tick has noticed the end of the first.
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &holding());
    assert!(peek(&mut waiter).is_none());
    stand.pools.note_probed_down(&primary(), &"silence".into());
    assert!(matches!(held(&mut waiter).await, LeaseError::ProbedDown(_)));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_pool_holds_nobody() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    stand.server.refuse(Some(b"57P03"));
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &holding());
    held(&mut waiter).await;
    stand.pools.withdraw(&primary());
    assert!(matches!(outcome(&mut waiter).await, Err(LeaseError::Withdrawn)));
    pool.wait(&mut waiter, &holding());
    assert!(matches!(outcome(&mut waiter).await, Err(LeaseError::Withdrawn)));
}
