//! Worker threads with a single-threaded runtime each. A client stays on the same worker for life.

use std::{
    cell::Cell,
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::{
    runtime::{Builder, Handle, LocalOptions, LocalRuntime},
    sync::{mpsc, oneshot},
};

use super::{STACK_BYTES, named::Named};

/// The worker threads, shared by clones.
#[derive(Clone)]
pub struct Workers {
    workers: Arc<[Worker]>,
}

struct Worker {
    runtime: Handle,
    /// `None` once shut down.
    running: Mutex<Option<RunningWorker>>,
}

struct RunningWorker {
    inbox: mpsc::UnboundedSender<Start>,
    ended: oneshot::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

/// Builds a task's future on a worker and starts the task there.
type Start = Box<dyn FnOnce() + Send>;

/// Starts `future` as the task `name` on the current worker. The future need not be `Send`.
///
/// # Panics
/// Outside a worker.
#[expect(clippy::disallowed_methods, reason = "this is the place that everybody else is sent to")]
pub fn spawn_here(name: &'static str, future: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(Named::new(name, future));
}

/// Index of the current worker; 0 outside of workers.
#[must_use]
pub fn current_worker() -> usize {
    INDEX.get()
}

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

// === impl Workers ===

impl Workers {
    /// Starts `count` worker threads (at least one).
    ///
    /// # Errors
    /// The system's error, without a free thread, epoll instance or descriptor.
    pub fn start(count: usize) -> io::Result<Self> {
        let workers = (0..count.max(1)).map(Worker::start).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { workers: workers.into() })
    }

    /// Number of workers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Number of tasks on worker `index`; 0 for a worker that does not exist.
    #[must_use]
    pub fn live(&self, index: usize) -> usize {
        self.workers.get(index).map_or(0, |worker| worker.runtime.metrics().num_alive_tasks())
    }

    /// Calls `make` on worker `index` (modulo the number of workers) and starts the returned future there as the task
    /// `name`. The future need not be `Send`. After [`Workers::shutdown`] `make` is dropped uncalled.
    pub fn spawn_on<M, F>(&self, index: usize, name: &'static str, make: M)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let worker = &self.workers[index % self.workers.len()];
        let running = worker.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            // The worker is gone only at the end of the process.
            running.inbox.send(Box::new(move || spawn_here(name, make()))).ok();
        }
    }

    /// Returns when every worker has run a new task: each poll of a task that was under way at the call is over then.
    ///
    /// Cancel safe.
    pub async fn pass_barrier(&self) {
        let (passed, mut all_passed) = mpsc::channel::<()>(1);
        for index in 0..self.len() {
            let passed = passed.clone();
            self.spawn_on(index, "barrier", move || async move { drop(passed) });
        }
        drop(passed);
        all_passed.recv().await;
    }

    /// Cancels every task and waits until all workers have ended.
    ///
    /// Cancel safety: after a drop the workers still end, without waiting.
    pub async fn shutdown(&self) {
        let taken: Vec<_> = self
            .workers
            .iter()
            .filter_map(|worker| worker.running.lock().unwrap_or_else(PoisonError::into_inner).take())
            .map(|RunningWorker { inbox, ended, thread }| {
                drop(inbox);
                (ended, thread)
            })
            .collect();
        for (ended, thread) in taken {
            // The thread drops the sender last, so the join below does not block for long.
            ended.await.ok();
            thread.join().ok();
        }
    }
}

// === impl Worker ===

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let (inbox, jobs) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let (ending, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(format!("worker-{index}")).stack_size(STACK_BYTES).spawn(
            move || {
                let _ending = ending;
                INDEX.set(index);
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        ready.send(Ok(runtime.handle().clone())).ok();
                        run_jobs(&runtime, jobs);
                    }
                    Err(error) => {
                        ready.send(Err(error)).ok();
                    }
                }
            },
        )?;
        let runtime = started.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, running: Mutex::new(Some(RunningWorker { inbox, ended, thread })) })
    }
}

/// Starts received tasks until all senders are dropped. The caller drops the runtime, which cancels the tasks.
fn run_jobs(runtime: &LocalRuntime, mut jobs: mpsc::UnboundedReceiver<Start>) {
    runtime.block_on(async {
        while let Some(start) = jobs.recv().await {
            start();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_task_that_cannot_be_sent_runs_on_the_worker_it_was_given_to() {
        let workers = Workers::start(2).unwrap();
        for index in 0..2 {
            let (sender, receiver) = oneshot::channel();
            workers.spawn_on(index, "probe", move || {
                let name = Rc::new(thread::current().name().unwrap().to_owned());
                async move {
                    tokio::task::yield_now().await;
                    sender.send((Rc::unwrap_or_clone(name), current_worker())).unwrap();
                }
            });
            assert_eq!(receiver.await.unwrap(), (format!("worker-{index}"), index));
        }
        workers.shutdown().await;
    }

    #[tokio::test]
    async fn a_barrier_waits_for_the_running_polls() {
        let workers = Workers::start(2).unwrap();
        let (begun, begins) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        workers.spawn_on(1, "busy", || async move {
            begun.send(()).unwrap();
            // One poll, which blocks the worker.
            released.recv().unwrap();
            flag.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        begins.await.unwrap();
        let mut barrier = std::pin::pin!(workers.pass_barrier());
        let early = tokio::time::timeout(Duration::from_millis(50), &mut barrier).await;
        assert!(early.is_err(), "the poll is under way");
        release.send(()).unwrap();
        barrier.await;
        assert!(ended.load(std::sync::atomic::Ordering::SeqCst));
        workers.shutdown().await;
        workers.pass_barrier().await;
    }

    #[tokio::test]
    async fn a_worker_counts_its_living_tasks_and_survives_a_panic() {
        let workers = Workers::start(1).unwrap();
        let (started, ready) = oneshot::channel();
        workers.spawn_on(0, "clumsy", || async { panic!("on purpose") });
        workers.spawn_on(0, "endless", move || async move {
            spawn_here("nested", std::future::pending());
            started.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        ready.await.unwrap();
        // The panicking task was started first, and ended in the first poll.
        assert_eq!(workers.live(0), 2);
        workers.shutdown().await;
    }

    #[tokio::test]
    async fn shutdown_drops_every_task_before_it_returns() {
        let workers = Workers::start(1).unwrap();
        let (held, mut seen) = mpsc::channel::<()>(1);
        workers.spawn_on(0, "endless", move || async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tokio::time::timeout(Duration::from_secs(10), workers.shutdown()).await.unwrap();
        assert!(matches!(seen.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        workers.spawn_on(0, "late", || async { unreachable!("the worker has ended") });
    }

    #[test]
    fn a_name_costs_a_task_no_more_than_its_own_two_words() {
        let future = async {
            let buffer = [0_u8; 500];
            tokio::task::yield_now().await;
            std::hint::black_box(buffer);
        };
        let plain = size_of_val(&future);
        assert_eq!(size_of_val(&Named::new("client", future)), plain + 16);
    }
}
