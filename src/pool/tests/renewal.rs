//! Tests the renewal of backends whose logins are out of date.

use std::sync::atomic::Ordering::SeqCst;

use super::*;

fn orders() -> ClusterName {
    ClusterName::new("orders").unwrap()
}

#[tokio::test(start_paused = true)]
async fn changed_logins_close_backends_of_all_pools() {
    let stand = Stand::new(4).await;
    let (alice, bob) = (stand.pool_of("alice"), stand.pool_of("bob"));
    let held = lease(&alice).await.unwrap();
    lease(&bob).await.unwrap().release(Disposition::Clean);
    stand.pools.renew_cluster(&orders());
    assert_eq!(idle(&bob), 0);
    held.release(Disposition::Clean);
    assert_eq!(idle(&alice), 0);
}

#[tokio::test(start_paused = true)]
async fn many_changes_renew_at_once_and_then_in_time() {
    let stand = Stand::new(4).await;
    let pool = stand.pool();
    for _ in 0..100 {
        lease(&pool).await.unwrap().release(Disposition::Clean);
        stand.pools.renew_cluster(&orders());
        assert_eq!(idle(&pool), 0);
    }
    lease(&pool).await.unwrap().release(Disposition::Clean);
    stand.pools.renew_cluster(&orders());
    assert_eq!(idle(&pool), 1, "a hundred in no time are enough");
    until("it is closed", || idle(&pool) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_renewed_pool_makes_no_idle_backends_for_a_while() {
    let mut stand = Stand::new(4).await;
    stand.settings.min_idle = 2;
    let pool = stand.pool();
    until("two are idle", || idle(&pool) == 2).await;
    stand.pools.renew_cluster(&orders());
    until("none is open", || stand.server.open() == 0).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stand.server.open(), 0, "the database may be dropped meanwhile");
    until("two are idle again", || idle(&pool) == 2).await;
}

#[tokio::test(start_paused = true)]
async fn changes_made_elsewhere_are_found() {
    let stand = Stand::new(4).await;
    stand.server.shared.counters.store(7, SeqCst);
    let pool = stand.pool();
    drop(
        leases(&pool, 2).await.into_iter().map(|lease| lease.release(Disposition::Clean)).collect::<Vec<_>>(),
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stand.server.logins(), 2, "nothing changed");
    stand.server.shared.counters.store(8, SeqCst);
    until("they are closed", || stand.server.open() == 0).await;
    lease(&pool).await.unwrap().release(Disposition::Clean);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stand.server.logins(), 3, "once");
}

#[tokio::test(start_paused = true)]
async fn backends_that_are_watched_still_grow_old() {
    let mut stand = Stand::new(4).await;
    stand.server.shared.counters.store(7, SeqCst);
    stand.settings.idle_timeout = Duration::from_secs(30);
    let pool = stand.pool();
    lease(&pool).await.unwrap().release(Disposition::Clean);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(stand.server.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_login_under_way_is_not_used_after_a_change() {
    let stand = Stand::new(4).await;
    stand.server.hold(true);
    let pool = stand.pool();
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    until("it dials", || stand.server.open() == 1).await;
    stand.pools.renew_cluster(&orders());
    stand.server.hold(false);
    outcome(&mut waiter).await.unwrap().release(Disposition::Clean);
    assert_eq!(stand.server.logins(), 2);
}
