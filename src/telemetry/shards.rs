//! Numbers that each worker writes for itself.
//!
//! Promises: a worker that counts in its own shard shares no cache line with another. It holds for any index: two
//! threads that use the same shard lose nothing but time. Refuses to know: what a shard holds.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// A `T` for each worker, made when it is first asked for. `T` has to be aligned to [`ALIGNMENT`].
pub(super) struct Shards<T> {
    by_worker: Mutex<Vec<Arc<T>>>,
}

/// One worker's count of something, until somebody collects it.
#[derive(Default)]
pub(super) struct Tally(AtomicU64);

// === impl Shards ===

impl<T: Default> Shards<T> {
    /// The shard of worker `worker`. Takes a lock: ask once and keep it.
    pub(super) fn of(&self, worker: usize) -> Arc<T> {
        const { assert!(align_of::<T>() >= ALIGNMENT, "shards must not share cache lines") };
        let mut shards = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        if shards.len() <= worker {
            shards.resize_with(worker + 1, Arc::default);
        }
        Arc::clone(&shards[worker])
    }

    /// Those that were made. A copy of the list, so that nobody waits for its reader.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        self.by_worker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self { by_worker: Mutex::default() }
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Release);
    }

    /// What came together since the last time. Whatever the counting threads had counted elsewhere before it is seen by
    /// those that collect afterwards.
    pub(super) fn take(&self) -> u64 {
        // A look first: a line that did not change stays with its worker.
        if self.0.load(Relaxed) == 0 { 0 } else { self.0.swap(0, Acquire) }
    }
}

/// Of a shard, in bytes: processors fetch cache lines of 64 bytes in pairs.
pub(super) const ALIGNMENT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    #[repr(align(128))]
    struct Shard(Tally);

    #[test]
    fn a_worker_is_given_the_same_shard_each_time_and_no_other_workers() {
        let shards = Shards::<Shard>::default();
        let (first, third) = (shards.of(0), shards.of(2));
        assert!(Arc::ptr_eq(&third, &shards.of(2)));
        assert!(!Arc::ptr_eq(&first, &third));
        assert_eq!(shards.all().len(), 3);
    }

    #[test]
    fn what_many_threads_count_while_it_is_collected_is_neither_lost_nor_doubled() {
        let shards = Shards::<Shard>::default();
        let collect = || shards.all().iter().map(|shard| shard.0.take()).sum::<u64>();
        let collected = std::thread::scope(|scope| {
            // Two threads for each shard.
            let counting: Vec<_> = (0..4)
                .map(|thread| {
                    let shard = shards.of(thread % 2);
                    scope.spawn(move || (0..10_000).for_each(|_| shard.0.increment()))
                })
                .collect();
            let mut collected = 0;
            while !counting.iter().all(|thread| thread.is_finished()) {
                collected += collect();
            }
            collected
        });
        assert_eq!(collected + collect(), 40_000);
    }
}
