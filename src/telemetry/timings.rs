//! Durations counted in buckets by one worker.
//!
//! Promises: a record is one atomic addition to a cell that only its worker writes; counts of buckets and the sum of
//! the durations, to the nanosecond, are exact and never decrease. Refuses to know: the measured events.
//!
//! A cell holds the number of durations in its bucket (upper 20 bits) and their sum in nanoseconds (lower 44 bits), so
//! both are always read together. Readers move the numbers to wider ones behind a lock. The worker does so too before
//! either part could overflow, which is rare: half a million records, or two hours of waiting, fit.

use std::{
    array,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::catalog::Buckets;

/// `N` buckets: one for each bound, and one for durations above the last.
pub(super) struct Timings<const N: usize> {
    /// Upper bounds in nanoseconds, inclusive.
    bounds: &'static [u64],
    cells: [AtomicU64; N],
    /// Numbers moved out of the cells.
    settled: Mutex<[Total; N]>,
}

/// Count and sum of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) count: u64,
    pub(super) nanoseconds: u128,
}

// === impl Timings ===

impl<const N: usize> Timings<N> {
    pub(super) fn new(buckets: Buckets) -> Self {
        let bounds = buckets.bounds();
        assert_eq!(N, bounds.len() + 1, "a cell for each bucket");
        Self {
            bounds,
            cells: array::from_fn(|_| AtomicU64::new(0)),
            settled: Mutex::new([Total::default(); N]),
        }
    }

    /// Counts a duration.
    pub(super) fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Most durations are short: a predictable linear scan is faster than binary search.
        let bucket = self.bounds.iter().position(|bound| nanoseconds <= *bound).unwrap_or(N - 1);
        if nanoseconds > MAX_NANOSECONDS {
            return self.settle(bucket, Total { count: 1, nanoseconds: nanoseconds.into() });
        }
        let before = self.cells[bucket].fetch_add(ZERO_DURATION + nanoseconds, Relaxed);
        if before & HALF_FULL != 0 {
            self.settle(bucket, Total::unpack(self.cells[bucket].swap(0, Relaxed)));
        }
    }

    /// Totals of these workers since the start, by bucket.
    pub(super) fn sum<'a>(workers: impl IntoIterator<Item = &'a Self>) -> [Total; N] {
        let mut sum = [Total::default(); N];
        for worker in workers {
            for (sum, total) in sum.iter_mut().zip(worker.totals()) {
                sum.add(total);
            }
        }
        sum
    }

    /// Totals since the start, by bucket.
    fn totals(&self) -> [Total; N] {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        for (settled, cell) in settled.iter_mut().zip(&self.cells) {
            // Load first: an unchanged cache line stays with its worker.
            if cell.load(Relaxed) != 0 {
                settled.add(Total::unpack(cell.swap(0, Relaxed)));
            }
        }
        *settled
    }

    #[cold]
    fn settle(&self, bucket: usize, total: Total) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)[bucket].add(total);
    }
}

// === impl Total ===

impl Total {
    fn unpack(cell: u64) -> Self {
        Self { count: cell / ZERO_DURATION, nanoseconds: u128::from(cell % ZERO_DURATION) }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.nanoseconds += other.nanoseconds;
    }
}

/// A duration of zero, as counted in a cell.
const ZERO_DURATION: u64 = 1 << 44;

/// The highest bit of each part. The next addition to a cell with one of them set empties the cell.
const HALF_FULL: u64 = 1 << 63 | 1 << 43;

/// Maximum addition to a cell in nanoseconds (nine minutes). Sixteen of them fit between half full and overflow.
const MAX_NANOSECONDS: u64 = 1 << 39;

#[cfg(test)]
mod tests;
