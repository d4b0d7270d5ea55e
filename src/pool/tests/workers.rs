//! Backends that change workers.

use std::sync::mpsc;

use super::*;
use crate::tasks::Workers;

/// Runs something on a worker and waits for what it answers.
fn on<T: Send + 'static, F: Future<Output = T> + 'static>(
    workers: &Workers,
    worker: usize,
    work: impl FnOnce() -> F + Send + 'static,
) -> T {
    let (sender, answer) = mpsc::channel();
    workers.spawn_on(worker, "test", move || async move { sender.send(work().await).unwrap() });
    answer.recv_timeout(Duration::from_secs(20)).expect("the worker answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_backend_goes_to_the_worker_that_needs_it() {
    let server = Server::start().await;
    let metrics = Metrics::new();
    let workers = Workers::start(2).unwrap();
    let pools = Pools::new(&workers, &metrics, Box::new(|_, _, _| ()));
    let settings = Arc::new(PoolSettings { size: 1, ..PoolSettings::new(PoolMode::Transaction, 10) });
    let pool = pools.pool(&endpoint(&server, None, &metrics), &target("alice"), &settings);
    let use_it = |worker: usize| {
        let pool = Arc::clone(&pool);
        on(&workers, worker, move || async move {
            let mut lease = lease_by(&pool, &AcquireOptions { worker, ..want() }).await.unwrap();
            query(&mut lease, "SELECT 1").await;
            let id = lease.running().id();
            lease.release(Disposition::Clean);
            id
        })
    };
    let first = use_it(0);
    for turn in 0..10 {
        assert_eq!(use_it(turn % 2), first);
    }
    assert_eq!(server.logins(), 1);
    drop(pool);
    workers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_of_all_workers_share_a_small_pool() {
    let server = Server::start().await;
    let metrics = Metrics::new();
    let workers = Workers::start(3).unwrap();
    let pools = Pools::new(&workers, &metrics, Box::new(|_, _, _| ()));
    let settings = Arc::new(PoolSettings { size: 2, ..PoolSettings::new(PoolMode::Transaction, 10) });
    let pool = pools.pool(&endpoint(&server, None, &metrics), &target("alice"), &settings);
    let (done, mut all) = tokio::sync::mpsc::channel(64);
    for session in 0..30 {
        let (pool, done) = (Arc::clone(&pool), done.clone());
        workers.spawn_on(session % 3, "session", move || async move {
            let mut last = None;
            for _ in 0..100 {
                let want = AcquireOptions { worker: session % 3, last, ..want() };
                let mut lease = lease_by(&pool, &want).await.unwrap();
                query(&mut lease, "SELECT 1").await;
                last = Some(lease.trace());
                lease.release(Disposition::Clean);
            }
            done.send(()).await.unwrap();
        });
    }
    for _ in 0..30 {
        let next = tokio::time::timeout(Duration::from_secs(60), all.recv()).await;
        assert!(next.is_ok(), "a session never got its turn: {} wait", pool.status().waiting);
    }
    let status = pool.status();
    assert_eq!((status.leases, status.waiting), (3000, 0));
    assert!(server.shared.most.load(std::sync::atomic::Ordering::SeqCst) <= 2);
    drop(pool);
    workers.shutdown().await;
}
