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
