//! The one place that starts work: tasks, worker threads and plain threads, each with a name and an owner that waits.
//!
//! Promises: whatever runs has an owner; an owner that shuts down has waited until all it started is gone; a panic ends
//! the task it happened in, is logged with the task's name, and ends nothing else. Refuses to know: what the work is.
//!
//! The runtimes: one for control (probes, admin, credentials), on which [`Tasks`] live, and one single-threaded runtime
//! for each worker ([`Workers`]), on which a client lives for life.

mod named;
mod settings;
mod workers;

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::task::JoinSet;

use named::Named;
pub use settings::RuntimeSettings;
pub use workers::{Workers, current_worker, spawn_here};

/// The tasks of one owner, on the runtime that is current when they are spawned.
///
/// Dropping it cancels them without waiting; [`Tasks::shutdown`] waits.
#[derive(Debug, Default)]
pub struct Tasks {
    running: Mutex<JoinSet<()>>,
}

/// A plain thread with a name, for work that blocks for as long as the process lives.
///
/// Dropping it leaves the thread to itself.
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
        // A set keeps what has ended until somebody asks: ask here, so that it holds about what runs.
        while running.try_join_next().is_some() {}
        running.spawn(Named::new(name, future));
    }

    /// How many tasks run.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut running = self.lock();
        while running.try_join_next().is_some() {}
        running.len()
    }

    /// Cancels every task and waits until all are gone. A task is cancelled where it awaits.
    ///
    /// Cancel safety: when dropped half-way, the tasks are cancelled all the same; nobody has waited for them.
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
    /// The system's, when it has no thread to give.
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let handle = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)?;
        Ok(Self { handle })
    }

    /// Waits for its end. Blocks.
    pub fn join(self) {
        let name = self.handle.thread().name().unwrap_or_default().to_owned();
        if self.handle.join().is_err() {
            tracing::error!(thread = name, "a thread panicked");
        }
    }
}

/// Stack of every thread started here: the SQL parser recurses, and needs room for hostile statements.
const STACK: usize = 4 << 20;

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
