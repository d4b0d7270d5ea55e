//! The only place that starts work: tasks, worker threads and plain threads, each with a name and a waiting owner.
//!
//! Promises: all work has an owner; shutdown returns after all started work has ended; a panic ends a single task and
//! is logged with the task's name. Refuses to know: the purpose of the work.
//!
//! Runtimes: a control runtime (probes, admin, credentials) with [`Tasks`], and a single-threaded runtime for each
//! worker ([`Workers`]). A client stays on the same worker for life.

mod named;
mod settings;
mod workers;

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::task::JoinSet;

use named::Named;
pub use settings::RuntimeSettings;
pub use workers::{Workers, current_worker, spawn_here};

/// Pause after an `accept()` that failed for want of a resource. No event reports that the resource is back.
pub(crate) const ACCEPT_FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// The tasks of one owner, on the runtime that is current when they are spawned.
///
/// Drop cancels the tasks without waiting; [`Tasks::shutdown`] waits.
#[derive(Debug, Default)]
pub struct Tasks {
    running: Mutex<JoinSet<()>>,
}

/// A plain thread with a name, for work that blocks for as long as the process lives.
///
/// Drop detaches the thread.
#[derive(Debug)]
pub struct Thread {
    handle: thread::JoinHandle<()>,
}

// === impl Tasks ===

impl Tasks {
    /// An owner without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` as the task `name`, on the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.lock();
        // A `JoinSet` keeps ended tasks until they are joined: join here, so that the set stays small.
        while running.try_join_next().is_some() {}
        running.spawn(Named::new(name, future));
    }

    /// Number of running tasks.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut running = self.lock();
        while running.try_join_next().is_some() {}
        running.len()
    }

    /// Cancels every task and waits until all have ended. A task is canceled at an await point.
    ///
    /// Cancel safety: a dropped call still cancels the tasks, without waiting.
    pub async fn shutdown(&self) {
        let mut running = std::mem::take(&mut *self.lock());
        running.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Thread ===

impl Thread {
    /// Starts `work` on a thread called `name` (at most 15 bytes are shown by the system).
    ///
    /// # Errors
    /// The system's error, without a free thread.
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let handle = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { handle })
    }

    /// Blocks until the thread has ended.
    pub fn join(self) {
        let name = self.handle.thread().name().unwrap_or_default().to_owned();
        if self.handle.join().is_err() {
            tracing::error!(thread = name, "a thread panicked");
        }
    }
}

/// Stack size of every thread in bytes: the recursive SQL parser needs room for hostile statements.
const STACK_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn shutdown_returns_only_when_every_task_is_gone() {
        struct Mark(Arc<AtomicBool>);
        impl Drop for Mark {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let gone = Arc::new(AtomicBool::new(false));
        let mark = Mark(Arc::clone(&gone));
        let tasks = Tasks::new();
        tasks.spawn("endless", async move {
            let _mark = mark;
            std::future::pending::<()>().await;
        });
        assert_eq!(tasks.count(), 1);
        tasks.shutdown().await;
        assert!(gone.load(Ordering::SeqCst), "shutdown returned before the task was dropped");
        assert_eq!(tasks.count(), 0);
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_task_alone() {
        let tasks = Tasks::new();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tasks.spawn("clumsy", async { panic!("on purpose") });
        tasks.spawn("careful", async move {
            tokio::task::yield_now().await;
            sender.send(7).expect("the receiver waits");
        });
        let answer = tokio::time::timeout(Duration::from_secs(10), receiver).await;
        assert_eq!(answer.expect("in time").expect("the careful task lives"), 7);
    }
}
