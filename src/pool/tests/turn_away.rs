//! Waiters that are turned away.

use std::future::poll_fn;

use super::*;

#[tokio::test(start_paused = true)]
async fn turned_away_waiters_decide_again_and_backends_stay() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    let held = leases(&pool, 2).await;
    let mut waiters = [Waiter::new(), Waiter::new()];
    waiters.iter_mut().for_each(|waiter| pool.wait(waiter, &want()));
    stand.pools.turn_waiters_away(&pool.target().endpoint.clone());
    for waiter in &mut waiters {
        let end = poll_fn(|cx| waiter.poll(cx)).await;
        assert!(matches!(end, Waited::Failed(LeaseError::Withdrawn)));
    }
    held.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    assert_eq!((idle(&pool), pool.status().waiting, stand.server.logins()), (2, 0, 2));
    assert!(pool.try_lease(&want()).is_some(), "the pool serves others");
}
