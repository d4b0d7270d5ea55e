//! Backends that a cancel request is on its way to.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_backend_is_given_to_nobody_before_the_last_cancel_has_arrived() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    stand.server.shared.holds_cancels.send_replace(true);
    let first = lease(&pool).await.unwrap();
    let (id, pid) = (first.running().id(), first.running().pid());
    let (one, other) = (first.running().begin_cancel(), first.running().begin_cancel());
    let sent = Arc::new(tokio::sync::Notify::new());
    let cancels = Arc::clone(&sent);
    stand.tasks.spawn("cancel", async move {
        other.send().await.unwrap();
        drop(other);
        cancels.notify_one();
    });
    first.release(Disposition::Clean);
    drop(one);
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    until("the request came", || stand.server.shared.cancelled.lock().unwrap().contains(&pid)).await;
    assert_eq!(pool.status().count(PoolBackendState::Settling), 1);
    assert_eq!(pool.status().waiting, 1);
    stand.server.shared.holds_cancels.send_replace(false);
    sent.notified().await;
    assert_eq!(outcome(&mut waiter).await.unwrap().running().id(), id);
    assert_eq!(stand.server.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_a_backend_is_asked_something_before_it_serves_again() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let first = lease(&pool).await.unwrap();
    drop(first.running().begin_cancel());
    first.release(Disposition::Clean);
    assert_eq!(pool.status().count(PoolBackendState::Settling), 1);
    assert!(pool.try_lease(&want()).is_none());
    let second = lease(&pool).await.unwrap();
    second.release(Disposition::Clean);
    assert_eq!(idle(&pool), 1, "settled once is settled");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_to_be_reset_waits_for_the_cancel_too() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let first = lease(&pool).await.unwrap();
    let cancel = first.running().begin_cancel();
    first.release(Disposition::Reset);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stand.server.queries(), Vec::<String>::new());
    drop(cancel);
    lease(&pool).await.unwrap();
    assert_eq!(stand.server.queries(), ["DISCARD ALL"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_outlives_its_backend_harms_nobody() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let first = lease(&pool).await.unwrap();
    let cancel = first.running().begin_cancel();
    drop(first);
    let second = lease(&pool).await.unwrap();
    let late = second.running().begin_cancel();
    second.release(Disposition::Clean);
    drop(cancel);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pool.status().count(PoolBackendState::Settling), 1, "its own is still on its way");
    drop(late);
    lease(&pool).await.unwrap();
}
