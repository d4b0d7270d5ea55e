//! What the page for Prometheus may wait for: not for a pool.

use std::sync::mpsc;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_page_is_written_while_a_pool_is_locked() {
    let stand = Stand::new(2).await;
    let pool = stand.pool();
    let page = {
        let _locked = (pool.lock(), pool.pressure.lock());
        let (sender, pages) = mpsc::channel();
        let metrics = stand.metrics.clone();
        std::thread::spawn(move || sender.send(metrics.render()));
        pages.recv_timeout(Duration::from_secs(20))
    };
    let page = page.expect("a page, though nobody let go of the pool");
    assert!(page.contains("gatekeeper_pool_backends_limit{"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_wait_ends_with_its_pool() {
    let stand = Stand::new(1).await;
    let (pool, other) = (stand.pool(), stand.pool_of("bob"));
    let shown = || {
        const SERIES: &str = "gatekeeper_pool_oldest_wait_seconds{listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"} ";
        let page = stand.metrics.render();
        let value = page.lines().find_map(|line| line.strip_prefix(SERIES)).expect("the series exists");
        value.parse::<f64>().expect("a number")
    };
    assert_eq!(shown(), 0.0, "nobody has waited yet");
    let (held, also_held) = (lease(&pool).await.unwrap(), lease(&other).await.unwrap());
    let (mut first, mut second) = (Waiter::new(), Waiter::new());
    pool.wait(&mut first, &want());
    tokio::time::sleep(Duration::from_secs(3)).await;
    other.wait(&mut second, &want());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let oldest = shown();
    assert!((4.8..=5.0).contains(&oldest), "{oldest}: the first waits for 5 s");
    first.leave();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let oldest = shown();
    assert!((2.0..=2.3).contains(&oldest), "{oldest}: the second waits on");
    stand.pools.withdraw(stand.endpoint.name());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(shown(), 0.0);
    drop((held, also_held));
}
