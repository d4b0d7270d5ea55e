//! Durations that one worker counted into buckets.
//!
//! Promises: a record is one atomic add to a cell that only its worker writes; every bucket's count, and the sum of the
//! durations to the nanosecond, are those of the records, and never fall. Refuses to know: what lasted.
//!
//! A cell holds how many durations fell into its bucket (the upper 20 bits) and how many nanoseconds they came to (the
//! lower 44): with one number for both, they can never be read apart. Whoever asks for the numbers moves them to wider
//! ones behind a lock. So does the worker before either part could overflow, next to never: half a million records, or
//! two hours of waiting, fit.

use std::{
    array,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::catalog::Buckets;

/// `N` buckets: one more than there are bounds, the last for what is above them.
pub(super) struct Timings<const N: usize> {
    /// Upper bounds in nanoseconds, inclusive.
    bounds: &'static [u64],
    cells: [AtomicU64; N],
    /// What left the cells.
    settled: Mutex<[Total; N]>,
}

/// What fell into a bucket.
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

    /// Counts one that took `duration`.
    pub(super) fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Most durations are short, and a branch that mostly goes one way is cheaper than a search by halves.
        let bucket = self.bounds.iter().position(|bound| nanoseconds <= *bound).unwrap_or(N - 1);
        if nanoseconds > LONGEST {
            return self.settle(bucket, Total { count: 1, nanoseconds: nanoseconds.into() });
        }
        let before = self.cells[bucket].fetch_add(ONE + nanoseconds, Relaxed);
        if before & HALF_FULL != 0 {
            self.settle(bucket, Total::unpack(self.cells[bucket].swap(0, Relaxed)));
        }
    }

    /// All that was ever recorded by these workers, by bucket.
    pub(super) fn sum<'a>(workers: impl IntoIterator<Item = &'a Self>) -> [Total; N] {
        let mut sum = [Total::default(); N];
        for worker in workers {
            for (sum, total) in sum.iter_mut().zip(worker.totals()) {
                sum.add(total);
            }
        }
        sum
    }

    /// All that was ever recorded, by bucket.
    fn totals(&self) -> [Total; N] {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        for (settled, cell) in settled.iter_mut().zip(&self.cells) {
            // A look first: a line that did not change stays with its worker.
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
        Self { count: cell / ONE, nanoseconds: u128::from(cell % ONE) }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.nanoseconds += other.nanoseconds;
    }
}

/// One duration of no length, as a cell counts it.
const ONE: u64 = 1 << 44;

/// The highest bit of each part: a cell that has one of them set is emptied by whoever adds to it next.
const HALF_FULL: u64 = 1 << 63 | 1 << 43;

/// What goes into a cell, in nanoseconds (nine minutes). Between the moment a cell is half full and the moment it is
/// emptied there is room for sixteen of them.
const LONGEST: u64 = 1 << 39;

#[cfg(test)]
mod tests;
