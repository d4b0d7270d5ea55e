//! Waiting for a backend.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::*;

/// What a waiter has been left with by now.
fn peek(waiter: &mut Waiter) -> Option<Waited> {
    match waiter.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(waited) => Some(waited),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_first_is_served_first_and_nobody_overtakes() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    let mut line: Vec<_> = (0..5).map(|_| Waiter::new()).collect();
    line.iter_mut().for_each(|waiter| pool.wait(waiter, &want()));
    held.release(Disposition::Clean);
    for served in 0..5 {
        assert!(pool.try_lease(&want()).is_none(), "others were here before");
        for later in &mut line[served + 1..] {
            assert!(peek(later).is_none());
        }
        let Some(Waited::Lease(lease)) = peek(&mut line[served]) else { panic!("{served} is next") };
        lease.release(Disposition::Clean);
    }
    assert!(pool.try_lease(&want()).is_some());
    assert_eq!(stand.server.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_announced_once_and_ends_in_time() {
    let mut stand = Stand::new(1).await;
    stand.settings.query_wait_timeout = Duration::from_secs(12);
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    let mut waiter = Waiter::new();
    let began = Instant::now();
    pool.wait(&mut waiter, &want());
    let Waited::Notice(waited) = poll_fn(|cx| waiter.poll(cx)).await else { panic!("a notice first") };
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");
    assert!(waiter.is_waiting());
    let Waited::Failed(LeaseError::Timeout { waited }) = poll_fn(|cx| waiter.poll(cx)).await else {
        panic!("then the end")
    };
    assert!(waited >= Duration::from_secs(12) && began.elapsed() < Duration::from_secs(13), "{waited:?}");
    assert!(!waiter.is_waiting());
    held.release(Disposition::Clean);
    assert!(pool.try_lease(&want()).is_some(), "nobody waits any more");
    assert!(stand.metrics.render().contains("gatekeeper_pool_wait_timeouts_total{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_leaves_no_trace() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    let (mut first, mut second, mut third) = (Waiter::new(), Waiter::new(), Waiter::new());
    for waiter in [&mut first, &mut second, &mut third] {
        pool.wait(waiter, &want());
    }
    second.leave();
    assert_eq!(pool.status().waiting, 2);
    held.release(Disposition::Clean);
    // Handed over, and never taken up.
    drop(first);
    let Some(Waited::Lease(lease)) = peek(&mut third) else { panic!("the third is next") };
    // The same waiter waits again.
    pool.wait(&mut second, &want());
    assert!(peek(&mut second).is_none());
    lease.release(Disposition::Clean);
    assert!(matches!(peek(&mut second), Some(Waited::Lease(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_measured() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = pool.status();
    assert_eq!((status.waiting, status.longest_wait), (1, Duration::from_secs(2)));
    held.release(Disposition::Clean);
    outcome(&mut waiter).await.unwrap();
    let status = pool.status();
    assert_eq!((status.waits, status.leases), (2, 2));
    assert!(status.waited >= Duration::from_secs(2), "{:?}", status.waited);
}

/// Five hundred clients on five backends, on two workers; a transaction takes a millisecond or ten.
#[tokio::test(start_paused = true)]
async fn no_wait_is_three_times_as_long_as_most() {
    let stand = Stand::new(5).await;
    let pool = stand.pool();
    let waits = Arc::new(std::sync::Mutex::new(Vec::new()));
    for client in 0..500_u64 {
        let (pool, waits) = (Arc::clone(&pool), Arc::clone(&waits));
        stand.tasks.spawn("client", async move {
            // An uneven spread: four of five clients live on worker 0.
            let want = AcquireOptions { worker: usize::from(client % 5 == 0), ..want() };
            for turn in 0..20 {
                let began = Instant::now();
                let lease = lease_by(&pool, &want).await.unwrap();
                if turn > 0 {
                    waits.lock().unwrap().push(began.elapsed());
                }
                let long = if (client + turn) % 7 == 0 { 10 } else { 1 };
                tokio::time::sleep(Duration::from_millis(long)).await;
                lease.release(Disposition::Clean);
            }
        });
    }
    until("all are done", || waits.lock().unwrap().len() == 500 * 19).await;
    let mut waits = std::mem::take(&mut *waits.lock().unwrap());
    waits.sort();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(longest < median * 3, "median {median:?}, longest {longest:?}");
    assert_eq!(stand.server.logins(), 5);
}
