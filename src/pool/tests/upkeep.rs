//! What depends on time.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_old_backend_is_not_used_again_and_not_all_go_at_one_time() {
    let mut stand = Stand::new(20).await;
    stand.settings.idle_timeout = Duration::ZERO;
    let pool = stand.pool();
    leases(&pool, 20).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    tokio::time::sleep(Duration::from_secs(3600 - 361)).await;
    assert_eq!(idle(&pool), 20);
    tokio::time::sleep(Duration::from_secs(190)).await;
    assert!((1..20).contains(&idle(&pool)), "{}", idle(&pool));
    tokio::time::sleep(Duration::from_secs(190)).await;
    assert_eq!(idle(&pool), 0);
    until("they are closed", || stand.server.open() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_backend_in_use_is_closed_when_it_comes_back() {
    let stand = Stand::new(1).await;
    let pool = stand.pool();
    let held = lease(&pool).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3700)).await;
    assert!(pool.status().backends[0].close_needed);
    let mut waiter = Waiter::new();
    pool.wait(&mut waiter, &want());
    let id = held.running().id();
    held.release(Disposition::Clean);
    assert_ne!(outcome(&mut waiter).await.unwrap().running().id(), id);
}

#[tokio::test(start_paused = true)]
async fn unused_backends_are_closed_but_for_those_that_are_kept() {
    let mut stand = Stand::new(5).await;
    stand.settings.min_idle = 1;
    let pool = stand.pool();
    leases(&pool, 5).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        // One of them is in use.
        lease(&pool).await.unwrap().release(Disposition::Clean);
    }
    assert_eq!(idle(&pool), 1);
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert_eq!(idle(&pool), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_process_closes_unused_backends_soon() {
    let mut stand = Stand::new(5).await;
    (stand.settings.min_idle, stand.settings.idle_timeout) = (2, Duration::ZERO);
    let pool = stand.pool();
    let mut held = leases(&pool, 5).await;
    let late = held.pop().unwrap();
    held.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    stand.pools.leave_to_successor();
    // The session that asks next brings the settings of the listener.
    let pool = stand.pool();
    for _ in 0..30 {
        // One of them is in use.
        lease(&pool).await.unwrap().release(Disposition::Clean);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((idle(&pool), stand.server.open()), (1, 2));
    late.release(Disposition::Clean);
    tokio::time::sleep(Duration::from_secs(2)).await;
    until("they are closed", || stand.server.open() == 0).await;
    lease(&pool).await.unwrap().release(Disposition::Clean);
}

#[tokio::test(start_paused = true)]
async fn dead_backends_are_noticed_without_a_session() {
    let stand = Stand::new(3).await;
    let pool = stand.pool();
    leases(&pool, 3).await.into_iter().for_each(|lease| lease.release(Disposition::Clean));
    stand.server.cut_all();
    until("they are gone", || idle(&pool) == 0).await;
    assert!(stand.metrics.render().contains("reason=\"broken\"} 3"));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_nobody_needs_is_forgotten() {
    let stand = Stand::new(3).await;
    let pool = stand.pool();
    lease(&pool).await.unwrap().release(Disposition::Clean);
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert_eq!((idle(&pool), stand.pools.list().len()), (0, 1), "somebody refers to it");
    assert!(stand.metrics.render().contains(
        "gatekeeper_pool_backends_limit{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"} 3"
    ));
    drop(pool);
    until("it is forgotten", || stand.pools.list().is_empty()).await;
    assert!(stand.metrics.render().contains(
        "gatekeeper_pool_backends_limit{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"} 0"
    ));
}

#[tokio::test(start_paused = true)]
async fn the_metrics_tell_how_many_do_what() {
    let stand = Stand::new(3).await;
    let pool = stand.pool();
    let mut three = leases(&pool, 3).await;
    three.remove(0).release(Disposition::Clean);
    let level = |state: &str| {
        let series = format!(
            "gatekeeper_pool_backends{{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\",state=\"{state}\"}} "
        );
        let page = stand.metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no series {series}"))
    };
    until("they are shown", || level("idle") == "1").await;
    assert_eq!((level("leased").as_str(), level("dialing").as_str()), ("2", "0"));
    drop(three);
    until("they are gone", || level("leased") == "0").await;
}

#[tokio::test(start_paused = true)]
async fn pools_of_databases_that_do_not_exist_are_soon_forgotten() {
    let stand = Stand::new(3).await;
    stand.server.refuse(Some(b"3D000"));
    for user in 0..100 {
        assert!(lease(&stand.pool_of(&format!("user{user}"))).await.is_err());
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(stand.pools.list().is_empty());
}
