//! What the pools of an endpoint share.

use super::*;

#[tokio::test(start_paused = true)]
async fn all_pools_together_stay_within_the_budget() {
    let stand = Stand::with(5, Some(6)).await;
    let (alice, bob) = (stand.pool_of("alice"), stand.pool_of("bob"));
    let mut held = leases(&alice, 5).await;
    held.extend(leases(&bob, 1).await);
    let mut waiter = Waiter::new();
    bob.wait(&mut waiter, &want());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiter.is_waiting());
    assert_eq!(stand.pools.budget(&EndpointName::new("primary").unwrap()), (6, Some(6)));
    // What one pool no longer needs goes to the other.
    held.remove(0).release(Disposition::Clean);
    held.push(outcome(&mut waiter).await.unwrap());
    assert_eq!(stand.server.shared.most.load(std::sync::atomic::Ordering::SeqCst), 6);
    assert_eq!((alice.status().backends.len(), bob.status().backends.len()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn the_backend_that_was_idle_longest_makes_way() {
    let stand = Stand::with(5, Some(2)).await;
    let (alice, bob, carol) = (stand.pool_of("alice"), stand.pool_of("bob"), stand.pool_of("carol"));
    lease(&alice).await.unwrap().release(Disposition::Clean);
    tokio::time::sleep(Duration::from_secs(1)).await;
    lease(&bob).await.unwrap().release(Disposition::Clean);
    assert_eq!((idle(&alice), idle(&bob)), (1, 1));
    lease(&carol).await.unwrap().release(Disposition::Clean);
    assert_eq!((idle(&alice), idle(&bob), idle(&carol)), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_has_nothing_gets_one_from_a_busy_one() {
    let stand = Stand::with(2, Some(2)).await;
    let (busy, poor) = (stand.pool_of("busy"), stand.pool_of("poor"));
    // There is always somebody in the queue of the busy one.
    for _ in 0..10 {
        let pool = Arc::clone(&busy);
        stand.tasks.spawn("client", async move {
            loop {
                let lease = lease(&pool).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
                lease.release(Disposition::Clean);
            }
        });
    }
    until("it is busy", || busy.status().waiting > 5).await;
    lease(&poor).await.unwrap().release(Disposition::Clean);
    until("it goes on", || busy.status().waiting > 5).await;
}
