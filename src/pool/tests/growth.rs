//! Dialing.

use super::*;
use crate::topology::ObservedRole;

#[tokio::test(start_paused = true)]
async fn as_many_are_dialed_at_once_as_sessions_wait_up_to_the_size() {
    let stand = Stand::new(4).await;
    stand.server.hold(true);
    let pool = stand.pool();
    let mut waiters: Vec<_> = (0..3).map(|_| Waiter::new()).collect();
    waiters.iter_mut().for_each(|waiter| pool.wait(waiter, &want()));
    until("three dial", || stand.server.open() == 3).await;
    assert_eq!(pool.status().dialing, 3);
    let mut more: Vec<_> = (0..7).map(|_| Waiter::new()).collect();
    more.iter_mut().for_each(|waiter| pool.wait(waiter, &want()));
    until("four dial", || stand.server.open() == 4).await;
    stand.server.hold(false);
    for waiter in waiters.iter_mut().chain(&mut more) {
        outcome(waiter).await.unwrap().release(Disposition::Clean);
    }
    assert_eq!(stand.server.shared.most.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn while_the_endpoint_is_down_nobody_waits_in_vain() {
    let stand = Stand::new(4).await;
    let pool = stand.pool();
    stand.server.refuse(Some(b"57P03"));
    let mut waiters: Vec<_> = (0..4).map(|_| Waiter::new()).collect();
    waiters.iter_mut().for_each(|waiter| pool.wait(waiter, &want()));
    for waiter in &mut waiters {
        let Err(LeaseError::Down(error)) = outcome(waiter).await else { panic!("it is down") };
        assert_eq!(error.refused().unwrap().sqlstate().unwrap().as_str(), "57P03");
    }
    // Known now: not even dialed for, until it is time for the next try.
    let dialed = stand.metrics.render();
    assert!(matches!(lease(&pool).await, Err(LeaseError::Down(_))));
    assert_eq!(connects(&dialed), connects(&stand.metrics.render()));
    stand.server.refuse(None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    lease(&pool).await.unwrap().release(Disposition::Clean);
    assert!(pool.status().last_login_error.is_none());
}

fn connects(page: &str) -> Vec<&str> {
    let mut lines: Vec<_> =
        page.lines().filter(|line| line.starts_with("gatekeeper_connects_total")).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(start_paused = true)]
async fn a_full_server_fails_nobody_while_the_pool_has_backends() {
    let stand = Stand::new(4).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    stand.server.refuse(Some(b"53300"));
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(waiter.is_waiting());
    held.release(Disposition::Clean);
    outcome(&mut waiter).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_down_though_backends_hang() {
    let stand = Stand::new(4).await;
    let pool = stand.pool();
    let _hanging = lease(&pool).await.unwrap();
    stand.server.refuse(Some(b"57P03"));
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    assert!(matches!(outcome(&mut waiter).await, Err(LeaseError::Down(_))));
}

#[tokio::test(start_paused = true)]
async fn refused_logins_fail_nobody_while_backends_live() {
    let stand = Stand::new(4).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    let mut waiters = Vec::new();
    for refusal in [b"28000", b"3D000", b"42501"] {
        stand.server.refuse(Some(refusal));
        let mut waiter = Waiter::new();
        pool.wait(&mut waiter, &want());
        waiters.push(waiter);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(pool.status().last_login_error.is_some());
    }
    held.release(Disposition::Clean);
    for mut waiter in waiters {
        outcome(&mut waiter).await.unwrap().release(Disposition::Clean);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_error_is_left_out_without_waiting_sessions() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    stand.server.refuse(Some(b"28000"));
    assert!(lease(&pool).await.is_err());
    assert!(pool.status().last_login_error.is_some());
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(pool.status().last_login_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn backends_that_answer_serve_while_the_endpoint_ends() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let mut held = Some(lease(&pool).await.unwrap());
    let mut one_more = stand.settings.clone();
    one_more.size = 2;
    stand.pools.configure(&ListenerName::new("app").unwrap(), &Arc::new(one_more));
    stand.server.refuse(Some(b"57P03"));
    for _ in 0..20 {
        let mut waiter = Waiter::new();
        pool.wait(&mut waiter, &want());
        tokio::time::sleep(Duration::from_secs(1)).await;
        held.take().unwrap().release(Disposition::Clean);
        held = Some(outcome(&mut waiter).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn failed_logins_are_reported_for_the_probe() {
    let stand = Stand::new(4).await;
    let reported = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&reported);
    stand.pools.report_logins(Box::new(move |endpoint, login| {
        assert_eq!(endpoint.as_str(), "primary");
        if login == LoginReport::Failed {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }));
    for refusal in [b"53300", b"28P01"] {
        stand.server.refuse(Some(refusal));
        assert!(lease(&stand.pool_of(std::str::from_utf8(refusal).unwrap())).await.is_err());
    }
    assert_eq!(reported.load(std::sync::atomic::Ordering::SeqCst), 0, "no fault of the endpoint");
    stand.server.refuse(Some(b"57P03"));
    assert!(lease(&stand.pool()).await.is_err());
    assert_eq!(reported.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn each_login_reports_the_servers_role() {
    let stand = Stand::new(4).await;
    let reported = Arc::new(std::sync::Mutex::new(Vec::new()));
    let list = Arc::clone(&reported);
    stand.pools.report_logins(Box::new(move |_, login| list.lock().unwrap().push(login)));
    for (at, value) in [None, Some("on"), Some("off"), Some("?")].into_iter().enumerate() {
        *stand.server.shared.hot_standby.lock().unwrap() = value;
        lease(&stand.pool_of(&format!("user{at}"))).await.unwrap();
    }
    let expected = [ObservedRole::Standby, ObservedRole::Primary].map(LoginReport::Role);
    assert_eq!(*reported.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn some_are_kept_idle() {
    let mut stand = Stand::new(4).await;
    stand.settings.min_idle = 2;
    let pool = stand.pool();
    until("two are idle", || idle(&pool) == 2).await;
    let held = lease(&pool).await.unwrap();
    until("two are idle again", || idle(&pool) == 2).await;
    let more = leases(&pool, 2).await;
    until("one more", || idle(&pool) == 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pool.status().backends.len(), 4, "never more than its size");
    drop((held, more));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_while_it_is_dialed_leaves_the_backend_to_others() {
    let stand = Stand::new(4).await;
    stand.server.hold(true);
    let pool = stand.pool();
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    until("it dials", || stand.server.open() == 1).await;
    drop(waiter);
    stand.server.hold(false);
    until("it is idle", || idle(&pool) == 1).await;
    assert!(pool.try_lease(&want()).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_refuse_the_keepalive_settings() {
    let stand = Stand::new(2).await;
    stand.server.shared.refuses_keepalive.store(true, std::sync::atomic::Ordering::SeqCst);
    let pool = stand.pool();
    let one = lease(&pool).await.unwrap();
    assert_eq!((stand.server.accepted(), stand.server.logins()), (2, 1));
    let other = lease(&pool).await.unwrap();
    assert_eq!((stand.server.accepted(), stand.server.logins()), (3, 2), "the refusal is remembered");
    one.release(Disposition::Clean);
    other.release(Disposition::Clean);
}
