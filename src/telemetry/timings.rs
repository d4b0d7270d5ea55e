//! Durations that one worker counted into buckets, until somebody collects them.
//!
//! Promises: a record is one atomic add to a cell that only its worker writes; every bucket's count, and the sum of the
//! durations to the nanosecond, are those of the records, whenever they are collected. Refuses to know: what lasted.
//!
//! A cell holds how many durations fell into its bucket (the upper 20 bits) and how many nanoseconds they came to (the
//! lower 44): with one number for both, they can never be collected apart. Before either part could overflow the cell
//! is emptied into wider numbers behind a lock; with a collector that comes each second that is next to never.

use std::{
    array,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    catalog::{Buckets, seconds},
    registry::Histogram,
};

/// `N` buckets: one more than there are bounds, the last for what is above them.
pub(super) struct Timings<const N: usize> {
    /// Upper bounds in nanoseconds, inclusive.
    bounds: &'static [u64],
    cells: [AtomicU64; N],
    spilled: Mutex<[Total; N]>,
}

/// What fell into a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Total {
    count: u64,
    nanoseconds: u64,
}

// === impl Timings ===

impl<const N: usize> Timings<N> {
    pub(super) fn new(buckets: Buckets) -> Self {
        let bounds = buckets.bounds();
        assert_eq!(N, bounds.len() + 1, "a cell for each bucket");
        Self {
            bounds,
            cells: array::from_fn(|_| AtomicU64::new(0)),
            spilled: Mutex::new([Total::default(); N]),
        }
    }

    /// Counts one that took `duration`.
    pub(super) fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Most durations are short, and a branch that mostly goes one way is cheaper than a search by halves.
        let bucket = self.bounds.iter().position(|bound| nanoseconds <= *bound).unwrap_or(N - 1);
        if nanoseconds > LONGEST {
            return self.spill(bucket, Total { count: 1, nanoseconds });
        }
        let before = self.cells[bucket].fetch_add(ONE + nanoseconds, Relaxed);
        if before & HALF_FULL != 0 {
            self.spill(bucket, Total::unpack(self.cells[bucket].swap(0, Relaxed)));
        }
    }

    /// Moves everything to `histogram`.
    pub(super) fn flush(&self, histogram: &Histogram) {
        for bucket in 0..N {
            let total = self.take(bucket);
            if total.count > 0 {
                histogram.record_many(self.mean(bucket, total), total.count);
            }
        }
    }

    fn take(&self, bucket: usize) -> Total {
        let mut spilled = self.spilled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = std::mem::take(&mut spilled[bucket]);
        // A look first: a line that did not change stays with its worker.
        if self.cells[bucket].load(Relaxed) != 0 {
            total.add(Total::unpack(self.cells[bucket].swap(0, Relaxed)));
        }
        total
    }

    /// In seconds, and within the bucket: rounding must not lead out of it.
    #[expect(clippy::cast_precision_loss, reason = "a mean need not be exact to the nanosecond")]
    fn mean(&self, bucket: usize, total: Total) -> f64 {
        let above = bucket.checked_sub(1).map_or(0.0, |before| seconds(self.bounds[before]).next_up());
        let most = self.bounds.get(bucket).map_or(f64::INFINITY, |bound| seconds(*bound));
        (total.nanoseconds as f64 / total.count as f64 / 1e9).clamp(above, most)
    }

    #[cold]
    fn spill(&self, bucket: usize, total: Total) {
        self.spilled.lock().unwrap_or_else(PoisonError::into_inner)[bucket].add(total);
    }
}

// === impl Total ===

impl Total {
    fn unpack(cell: u64) -> Self {
        Self { count: cell / ONE, nanoseconds: cell % ONE }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
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
