//! What is done to a backend between two sessions.

use std::sync::atomic::Ordering::SeqCst;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_reset_backend_serves_again() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let mut first = lease(&pool).await.unwrap();
    let id = first.running().id();
    query(&mut first, "SET a.b = 1").await;
    first.release(Disposition::Reset);
    assert!(pool.try_lease(&want()).is_none(), "not yet");
    let second = lease(&pool).await.unwrap();
    assert_eq!(second.running().id(), id);
    assert_eq!(stand.server.queries(), ["SET a.b = 1", "DISCARD ALL"]);
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_is_rolled_back_first() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let mut first = lease(&pool).await.unwrap();
    query(&mut first, "BEGIN").await;
    first.release(Disposition::Reset);
    lease(&pool).await.unwrap();
    assert_eq!(stand.server.queries(), ["BEGIN", "ROLLBACK", "DISCARD ALL"]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_cannot_be_reset_is_closed() {
    let stand = Stand::new(1).await;
    stand.server.shared.stubborn.store(true, SeqCst);
    let pool = stand.pool();
    let first = lease(&pool).await.unwrap();
    let id = first.running().id();
    first.release(Disposition::Reset);
    let second = lease(&pool).await.unwrap();
    assert_ne!(second.running().id(), id);
    assert_eq!(stand.server.logins(), 2);
    assert!(stand.metrics.render().contains("reason=\"not_clean\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_database_whose_functions_keep_state_gets_no_backend_back() {
    let stand = Stand::new(1).await;
    stand.server.shared.keeps_state.store(true, SeqCst);
    let pool = stand.pool();
    lease(&pool).await.unwrap().release(Disposition::Reset);
    lease(&pool).await.unwrap().release(Disposition::Clean);
    assert_eq!(stand.server.logins(), 2);
}
