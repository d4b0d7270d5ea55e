//! What the pools of an endpoint share.

use std::sync::atomic::Ordering::SeqCst;

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
    assert_eq!(stand.server.shared.most.load(SeqCst), 6);
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

#[tokio::test(start_paused = true)]
async fn a_full_server_gets_room_from_idle_pools() {
    let stand = Stand::new(5).await;
    stand.server.shared.capacity.store(3, SeqCst);
    for user in 0..10 {
        lease(&stand.pool_of(&format!("user{user}"))).await.unwrap().release(Disposition::Clean);
    }
    assert_eq!(stand.server.open(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_server_gets_room_from_busy_pools() {
    let stand = Stand::new(2).await;
    stand.server.shared.capacity.store(2, SeqCst);
    let busy = stand.pool_of("busy");
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
    lease(&stand.pool_of("poor")).await.unwrap().release(Disposition::Clean);
    until("it goes on", || busy.status().waiting > 5).await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_the_servers_unless_configured() {
    let primary = EndpointName::new("primary").unwrap();
    let stand = Stand::new(5).await;
    stand.server.shared.max_connections.store(100, SeqCst);
    lease(&stand.pool()).await.unwrap().release(Disposition::Clean);
    assert_eq!(stand.pools.budget(&primary), (1, Some(97)));
    // Read again, once a minute has passed, by the next login.
    stand.server.shared.max_connections.store(50, SeqCst);
    lease(&stand.pool_of("bob")).await.unwrap().release(Disposition::Clean);
    assert_eq!(stand.pools.budget(&primary), (2, Some(97)));
    tokio::time::sleep(Duration::from_secs(61)).await;
    lease(&stand.pool_of("carol")).await.unwrap().release(Disposition::Clean);
    assert_eq!(stand.pools.budget(&primary), (3, Some(47)));
    let stand = Stand::with(5, Some(6)).await;
    stand.server.shared.max_connections.store(100, SeqCst);
    lease(&stand.pool()).await.unwrap().release(Disposition::Clean);
    assert_eq!(stand.pools.budget(&primary), (1, Some(6)));
}
