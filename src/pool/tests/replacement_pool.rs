//! Tests changes of an endpoint's settings under its pools.

use super::*;

/// Another way to the same server, as after a reload.
fn another_way(stand: &Stand) -> EndpointHandle {
    endpoint(&stand.server, None, &stand.metrics)
}

fn current(stand: &Stand, endpoint: &EndpointHandle) -> Arc<Pool> {
    stand.pools.pool(endpoint, &target("alice"), &Arc::new(stand.settings.clone()))
}

#[tokio::test(start_paused = true)]
async fn old_backends_serve_until_new_ones_are_made() {
    let stand = Stand::new(4).await;
    let old = stand.pool();
    leases(&old, 2).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    stand.server.hold(true);
    let now = another_way(&stand);
    stand.pools.replace(&now);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lease = current(&stand, &now).try_lease(&want()).expect("an old backend is idle");
        lease.release(Disposition::Clean);
    }
    assert_eq!(stand.server.open(), 4, "as many are being made as there were");
    stand.server.hold(false);
    until("the new pool takes over", || current(&stand, &now).endpoint().same(&now)).await;
    let new = current(&stand, &now);
    assert_eq!(idle(&new), 2);
    until("the old ones are closed", || stand.server.open() == 2).await;
    // Waiters of the old pool decide again; sessions with the old handle get the new pool.
    assert!(matches!(lease(&old).await, Err(LeaseError::Withdrawn)));
    assert!(Arc::ptr_eq(&current(&stand, &stand.endpoint), &new));
}

#[tokio::test(start_paused = true)]
async fn many_changes_in_a_row_stop_nobody() {
    let stand = Stand::new(4).await;
    let old = stand.pool();
    lease(&old).await.unwrap().release(Disposition::Clean);
    stand.server.hold(true);
    for _ in 0..50 {
        let now = another_way(&stand);
        stand.pools.replace(&now);
        tokio::time::sleep(Duration::from_millis(300)).await;
        lease(&current(&stand, &now)).await.unwrap().release(Disposition::Clean);
    }
    stand.server.hold(false);
    until("one is left", || stand.server.open() == 1).await;
    assert_eq!(stand.pools.list().len(), 1);
    assert!(!Arc::ptr_eq(&stand.pools.list()[0], &old));
}

#[tokio::test(start_paused = true)]
async fn settings_that_let_nobody_in_count_after_a_minute() {
    let stand = Stand::new(4).await;
    let old = stand.pool();
    lease(&old).await.unwrap().release(Disposition::Clean);
    stand.server.refuse(Some(b"28P01"));
    let now = another_way(&stand);
    stand.pools.replace(&now);
    tokio::time::sleep(Duration::from_secs(50)).await;
    lease(&current(&stand, &now)).await.unwrap().release(Disposition::Clean);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(matches!(lease(&current(&stand, &now)).await, Err(LeaseError::Down(_))));
    assert_eq!(stand.server.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_budget_has_room_for_successors() {
    let stand = Stand::with(2, Some(2)).await;
    let old = stand.pool();
    leases(&old, 2).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    let now = endpoint(&stand.server, Some(2), &stand.metrics);
    stand.pools.replace(&now);
    until("the new pool takes over", || current(&stand, &now).endpoint().same(&now)).await;
    lease(&current(&stand, &now)).await.unwrap().release(Disposition::Clean);
    assert!(stand.server.shared.most.load(std::sync::atomic::Ordering::SeqCst) <= 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_way_changes_nothing() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    lease(&pool).await.unwrap().release(Disposition::Clean);
    stand.pools.replace(&stand.endpoint);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(Arc::ptr_eq(&stand.pool(), &pool));
    assert_eq!((idle(&pool), stand.server.logins()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn other_authorities_close_nothing_before_new_backends() {
    let stand = Stand::new(4).await;
    let old = stand.pool();
    let mut held = leases(&old, 2).await;
    held.pop().unwrap().release(Disposition::Clean);
    stand.server.hold(true);
    for _ in 0..20 {
        stand.pools.replace_backends(stand.endpoint.name());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lease = current(&stand, &stand.endpoint).try_lease(&want()).expect("an old backend is idle");
        lease.release(Disposition::Clean);
    }
    stand.server.hold(false);
    until("the new pool takes over", || !Arc::ptr_eq(&current(&stand, &stand.endpoint), &old)).await;
    held.pop().unwrap().release(Disposition::Clean);
    until("the old ones are closed", || stand.server.open() == idle(&stand.pool())).await;
    assert_eq!(stand.pools.list().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn logins_of_withdrawn_pools_leave_the_budget() {
    let stand = Stand::with(2, Some(4)).await;
    let old = stand.pool();
    leases(&old, 2).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    stand.server.hold(true);
    for _ in 0..50 {
        let now = endpoint(&stand.server, Some(4), &stand.metrics);
        stand.pools.replace(&now);
        tokio::time::sleep(Duration::from_millis(300)).await;
        lease(&current(&stand, &now)).await.unwrap().release(Disposition::Clean);
    }
    assert_eq!(idle(&old), 2);
}
