//! Numbers written by each worker separately.
//!
//! Promises: workers that count in their own shards share no cache line. Any index is valid: two threads that use one
//! shard lose only time. Refuses to know: the content of a shard.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// A `T` for each worker, created on first use. `T` must be aligned to [`SHARD_ALIGNMENT_BYTES`].
pub(super) struct Shards<T> {
    by_worker: Mutex<Vec<Arc<T>>>,
}

/// One worker's count until the next collection.
#[derive(Default)]
pub(super) struct Tally(AtomicU64);

// === impl Shards ===

impl<T: Default> Shards<T> {
    /// The shard of `worker`. Takes a lock: call once and keep the result.
    pub(super) fn of(&self, worker: usize) -> Arc<T> {
        const { assert!(align_of::<T>() >= SHARD_ALIGNMENT_BYTES, "shards must not share cache lines") };
        let mut shards = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        if shards.len() <= worker {
            shards.resize_with(worker + 1, Arc::default);
        }
        Arc::clone(&shards[worker])
    }

    /// All existing shards. A copy of the list, so that readers hold no lock.
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

    /// Takes the count since the last call. Everything that the counting threads did before is visible to the caller.
    pub(super) fn take(&self) -> u64 {
        // Load first: an unchanged cache line stays with its worker.
        if self.0.load(Relaxed) == 0 { 0 } else { self.0.swap(0, Acquire) }
    }
}

/// Alignment of a shard in bytes: processors fetch 64-byte cache lines in pairs.
pub(super) const SHARD_ALIGNMENT_BYTES: usize = 128;

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
