//! What operators order, and what a changed configuration does.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_paused_pool_gives_out_nothing_until_it_is_resumed() {
    let stand = Stand::new(2).await;
    let (alice, bob) = (stand.pool_of("alice"), stand.pool_of("bob"));
    let held = lease(&alice).await.unwrap();
    lease(&bob).await.unwrap().release(Disposition::Clean);
    let filter = Filter { user: Some(UserName::new("alice").unwrap()), ..Filter::default() };
    assert_eq!(stand.pools.pause(&filter), 1);
    let mut waiter = Waiter::new();
    alice.wait(&mut waiter, &want());
    assert!(bob.try_lease(&want()).is_some(), "the others go on");
    let pools = Arc::clone(&stand.pools);
    let quiet = tokio::time::timeout(Duration::from_secs(5), pools.quiet(&filter));
    assert!(quiet.await.is_err(), "a transaction runs");
    held.release(Disposition::Clean);
    tokio::time::timeout(Duration::from_secs(5), pools.quiet(&filter)).await.unwrap();
    assert!(waiter.is_waiting() && alice.try_lease(&want()).is_none());
    assert_eq!(stand.pools.resume(&Filter::all()), 2);
    outcome(&mut waiter).await.unwrap();
    assert_eq!(alice.status().phase, PoolPhase::Open);
}

#[tokio::test(start_paused = true)]
async fn a_pool_made_while_its_like_are_paused_is_paused_too() {
    let stand = Stand::new(2).await;
    stand.pools.pause(&Filter::all());
    let late = stand.pool_of("late");
    assert_eq!(late.status().phase, PoolPhase::Paused);
    stand.pools.resume(&Filter { user: Some(UserName::new("late").unwrap()), ..Filter::default() });
    assert_eq!(late.status().phase, PoolPhase::Open);
    assert_eq!(stand.pool_of("later").status().phase, PoolPhase::Paused);
    stand.pools.resume(&Filter::all());
    assert_eq!(stand.pool_of("last").status().phase, PoolPhase::Open);
}

#[tokio::test(start_paused = true)]
async fn a_drained_pool_closes_its_backends_as_they_come_back() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    let mut two = leases(&pool, 2).await;
    two.remove(0).release(Disposition::Clean);
    stand.pools.drain(&Filter::all());
    until("the idle one is closed", || stand.server.open() == 1).await;
    two.remove(0).release(Disposition::Clean);
    until("the other too", || stand.server.open() == 0).await;
    tokio::time::timeout(Duration::from_secs(5), stand.pools.quiet(&Filter::all())).await.unwrap();
    stand.pools.resume(&Filter::all());
    lease(&pool).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reconnecting_replaces_every_backend_and_interrupts_nobody() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    let mut two = leases(&pool, 2).await;
    two.remove(0).release(Disposition::Clean);
    assert_eq!(stand.pools.reconnect(&Filter::all()), 1);
    until("the idle one is closed", || stand.server.open() == 1).await;
    let mut held = two.remove(0);
    assert!(pool.status().backends[0].close_needed);
    query(&mut held, "SELECT 1").await;
    held.release(Disposition::Clean);
    until("the other too", || stand.server.open() == 0).await;
    lease(&pool).await.unwrap().release(Disposition::Clean);
    assert_eq!(idle(&pool), 1, "a new one stays");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_pool_sends_everybody_away_and_a_new_one_takes_its_place() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    assert_eq!(stand.pools.withdraw(&EndpointName::new("primary").unwrap()), 1);
    assert!(matches!(outcome(&mut waiter).await, Err(LeaseError::Withdrawn)));
    assert!(matches!(lease(&pool).await, Err(LeaseError::Withdrawn)));
    let fresh = stand.pool();
    assert!(!Arc::ptr_eq(&pool, &fresh));
    let id = held.running().id();
    held.release(Disposition::Clean);
    assert_ne!(lease(&fresh).await.unwrap().running().id(), id);
}

#[tokio::test(start_paused = true)]
async fn another_way_to_the_endpoint_makes_another_pool() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    lease(&pool).await.unwrap().release(Disposition::Clean);
    let settings = Arc::new(stand.settings.clone());
    let changed = endpoint(&stand.server, None, &stand.metrics);
    let fresh = stand.pools.pool(&changed, &target("alice"), &settings);
    assert!(!Arc::ptr_eq(&pool, &fresh));
    assert!(matches!(lease(&pool).await, Err(LeaseError::Withdrawn)));
    until("the old backend is closed", || stand.server.open() == 0).await;
    assert_eq!(stand.pools.list().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_settings_hold_at_once() {
    let mut stand = Stand::new(3).await;
    let pool = stand.pool();
    let three = leases(&pool, 3).await;
    stand.settings.size = 1;
    assert!(Arc::ptr_eq(&pool, &stand.pool()));
    three.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    assert_eq!(pool.status().backends.len(), 1);
    let held = lease(&pool).await.unwrap();
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    stand.settings.size = 2;
    stand.pool();
    outcome(&mut waiter).await.unwrap();
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nobody_gets_anything() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    lease(&pool).await.unwrap().release(Disposition::Clean);
    stand.pools.shutdown();
    until("idle ones are closed", || stand.server.open() == 0).await;
    assert!(matches!(lease(&pool).await, Err(LeaseError::Closed)));
    assert!(matches!(lease(&stand.pool_of("late")).await, Err(LeaseError::Closed)));
}
