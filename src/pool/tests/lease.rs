//! Leases of idle backends.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_backend_given_back_serves_the_next_session() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    assert!(pool.try_lease(&want()).is_none(), "nothing was dialed yet");
    let first = lease(&pool).await.unwrap();
    let (id, trace) = (first.running().id(), first.trace());
    first.release(Disposition::Clean);
    let second = pool.try_lease(&want()).unwrap();
    assert_eq!(second.running().id(), id);
    assert_ne!(second.trace(), trace, "another use of it");
    assert_eq!(stand.server.logins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_lease_is_closed() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    drop(lease(&pool).await.unwrap());
    until("it is closed", || stand.server.open() == 0).await;
    assert!(pool.try_lease(&want()).is_none());
    assert!(pool.status().backends.is_empty());
    lease(&pool).await.unwrap().release(Disposition::Discard);
    until("it is closed", || stand.server.open() == 0).await;
    assert_eq!(stand.server.logins(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_backend_used_last_is_preferred_while_nobody_else_has_used_it() {
    let stand = Stand::new(3).await;
    let pool = stand.pool();
    let three = leases(&pool, 3).await;
    let (id, trace) = (three[0].running().id(), three[0].trace());
    three.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    let again = pool.try_lease(&AcquireOptions { last: Some(trace), ..want() }).unwrap();
    assert_eq!(again.running().id(), id);
    again.release(Disposition::Clean);
    let newest = pool.try_lease(&want()).unwrap();
    assert_eq!(newest.running().id(), id, "without a wish: the one used last by anybody");
    newest.release(Disposition::Clean);
    let others = pool.try_lease(&AcquireOptions { last: Some(trace), ..want() }).unwrap();
    assert_eq!(others.running().id(), id, "an outdated wish is no obstacle");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_died_idle_is_given_to_nobody() {
    let stand = Stand::new(3).await;
    let pool = stand.pool();
    leases(&pool, 3).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    assert_eq!(idle(&pool), 3);
    stand.server.cut_all();
    until("the ends are noticed", || stand.server.open() == 0).await;
    assert!(pool.try_lease(&want()).is_none());
    assert_eq!(idle(&pool), 0);
    let mut fresh = lease(&pool).await.unwrap();
    query(&mut fresh, "SELECT 1").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_is_greeted_with_comes_from_the_newest_login() {
    let stand = Stand::new(2).await;
    *stand.server.shared.zone.lock().unwrap() = "UTC".to_owned();
    let pool = stand.pool();
    assert!(pool.startup_response().is_none(), "nobody has logged in yet");
    let first = lease(&pool).await.unwrap();
    assert_eq!(pool.startup_response().unwrap().parameters.get("TimeZone"), Some(&b"UTC"[..]));
    let second = leases(&pool, 1).await.remove(0);
    assert!(Arc::ptr_eq(first.login(), second.login()), "the same words are kept once");
    first.release(Disposition::Clean);
    second.release(Disposition::Clean);
    // After a reload of its configuration, the server reports the change to all sessions, and to new ones.
    *stand.server.shared.zone.lock().unwrap() = "Asia/Tokyo".to_owned();
    let mut words = Vec::new();
    crate::wire::write_frame(&mut words, crate::wire::tag::backend::PARAMETER_STATUS, |body| {
        body.extend_from_slice(b"TimeZone\0Asia/Tokyo\0");
    });
    stand.server.shared.announcements.send_replace(words);
    until("they are closed", || stand.server.open() == 0).await;
    assert!(pool.startup_response().is_none(), "out of date");
    let third = lease(&pool).await.unwrap();
    assert_eq!(third.login().parameters.get("TimeZone"), Some(&b"Asia/Tokyo"[..]));
    assert!(Arc::ptr_eq(&pool.startup_response().unwrap(), third.login()));
}

#[tokio::test(start_paused = true)]
async fn sessions_whose_start_differs_do_not_share_backends() {
    let stand = Stand::new(2).await;
    let settings = Arc::new(stand.settings.clone());
    let pool = stand.pool();
    let mut other = target("alice");
    other.startup.set("options", "-c geqo=off");
    let other = stand.pools.pool(&stand.endpoint, &other, &settings);
    assert!(!Arc::ptr_eq(&pool, &other));
    assert!(Arc::ptr_eq(&pool, &stand.pool()));
    lease(&pool).await.unwrap().release(Disposition::Clean);
    assert!(other.try_lease(&want()).is_none());
    assert_eq!(stand.pools.list().len(), 2);
}

#[test]
fn what_each_client_keeps_is_small() {
    assert!(size_of::<Waiter>() <= 120, "{}", size_of::<Waiter>());
    assert!(size_of::<Lease>() <= 128, "{}", size_of::<Lease>());
}
