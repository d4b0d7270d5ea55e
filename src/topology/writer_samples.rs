//! How much of the writer's WAL a node is known to have replayed.
//!
//! Server clocks are not compared. The writer's insert position is sampled at a local time *t*, read before the query.
//! A node that has replayed up to the sample is *fresh as of t*: the node shows every transaction committed before *t*.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::WalPosition;

/// Recent insert positions of the writer: dense for recent times, sparser with age.
///
/// A dropped sample never makes a node look fresher: a floor maps to a later sample, and a node's position to an
/// earlier sample.
#[derive(Debug, Clone, Default)]
pub struct WriterSamples {
    /// In the order of both time and position; the oldest first.
    samples: VecDeque<Sample>,
}

/// A sample of the writer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    position: WalPosition,
    answered_at: Instant,
}

/// Older samples only measure the lag of a standby that is far behind: their spacing doubles.
const MAX_DENSE_AGE: Duration = Duration::from_secs(900);

/// Maximum number of samples before thinning. At one sample per 5 ms, the last second stays complete.
const MAX_SAMPLES: usize = 640;

/// After thinning, neighbors of a sample are further apart than the sample's age divided by the constant: about 300
/// samples in [`MAX_DENSE_AGE`], and 100 for a month before.
const SPACING_DIVISOR: u32 = 16;

impl WriterSamples {
    /// Adds a sample of the writer's insert position, answered at `answered_at`. A lower position (after a restore, or
    /// on a new timeline) discards all earlier samples: replay of the old history does not count. A sample older than
    /// the last sample is ignored.
    pub fn push(&mut self, position: WalPosition, answered_at: Instant) {
        let position = WalPosition { lsn: page_floor(position.lsn), ..position };
        if self.samples.back().is_some_and(|last| last.position.asked_at > position.asked_at) {
            return;
        }
        while let Some(last) = self.samples.back()
            && last.position.lsn > position.lsn
        {
            // Overlapping queries may be answered in either order.
            if last.answered_at <= position.asked_at {
                self.samples.clear();
            } else {
                self.samples.pop_back();
            }
        }
        // For an idle writer, the first and the last sample of the idle period suffice.
        let mut idle = self.samples.iter().rev().take(2);
        if let (Some(last), Some(before)) = (idle.next(), idle.next())
            && (last.position.lsn, before.position.lsn) == (position.lsn, position.lsn)
        {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { position, answered_at });
        self.drop_dense_samples(position.asked_at);
    }

    /// Drops all samples: another writer was elected.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// True without samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Latest *t* as of which a node with replay position `lsn` is fresh; `None` if `lsn` is older than all samples, or
    /// without samples.
    #[must_use]
    pub fn fresh_as_of(&self, lsn: u64) -> Option<Instant> {
        let beyond = self.samples.partition_point(|sample| sample.position.lsn <= lsn);
        self.samples.get(beyond.checked_sub(1)?).map(|sample| sample.position.asked_at)
    }

    /// The first sample taken at `floor` or later: a node that has replayed the sample shows all transactions committed
    /// before `floor`.
    #[must_use]
    pub fn first_sample_since(&self, floor: Instant) -> Option<WalPosition> {
        let first = self.samples.partition_point(|sample| sample.position.asked_at < floor);
        self.samples.get(first).map(|sample| sample.position)
    }

    /// The first sample beyond `lsn`.
    #[must_use]
    pub fn first_sample_beyond(&self, lsn: u64) -> Option<WalPosition> {
        let first = self.samples.partition_point(|sample| sample.position.lsn <= lsn);
        self.samples.get(first).map(|sample| sample.position)
    }

    /// The latest sample that was answered at `then` or earlier.
    #[must_use]
    pub fn last_answered_before(&self, then: Instant) -> Option<WalPosition> {
        let before = self.samples.iter().rev().find(|sample| sample.answered_at <= then);
        before.map(|sample| sample.position)
    }

    /// Earliest time at which the writer had certainly written more than `lsn`.
    #[must_use]
    pub fn written_beyond(&self, lsn: u64) -> Option<Instant> {
        let first = self.samples.partition_point(|sample| sample.position.lsn <= lsn);
        self.samples.get(first).map(|sample| sample.answered_at)
    }

    /// The oldest sample of the current history.
    #[must_use]
    pub fn oldest(&self) -> Option<WalPosition> {
        self.samples.front().map(|sample| sample.position)
    }

    fn drop_dense_samples(&mut self, now: Instant) {
        let age = |sample: &Sample| now.saturating_duration_since(sample.position.asked_at);
        if self.samples.len() < MAX_SAMPLES {
            return;
        }
        let mut kept: VecDeque<Sample> = VecDeque::with_capacity(MAX_SAMPLES);
        for (at, sample) in self.samples.iter().enumerate() {
            let age = age(sample);
            let spacing = age / if age > MAX_DENSE_AGE { SPACING_DIVISOR / 2 } else { SPACING_DIVISOR };
            let between = |before: &Sample, after: &Sample| {
                after.position.asked_at.saturating_duration_since(before.position.asked_at)
            };
            // The oldest and the newest stay.
            let (Some(before), Some(after)) = (kept.back(), self.samples.get(at + 1)) else {
                kept.push_back(*sample);
                continue;
            };
            if between(before, after) > spacing {
                kept.push_back(*sample);
            }
        }
        self.samples = kept;
        // Bounds the samples even if the clock stands still.
        while self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
    }
}

/// Rounds an insert position down to the page start when the position is directly behind a page header. An insert
/// position is the start of the next record: behind the next page's header, if the last record filled the page. A
/// standby reports the page start instead, so an idle cluster would never look caught up. No record ends inside a
/// header; only the first page of a segment has a long header.
fn page_floor(lsn: u64) -> u64 {
    const WAL_PAGE_BYTES: u64 = 8192;
    const PAGE_HEADER_BYTES: u64 = 24;
    const WAL_SEGMENT_BYTES: u64 = 16 << 20;
    const SEGMENT_HEADER_BYTES: u64 = 40;
    if lsn % WAL_SEGMENT_BYTES == SEGMENT_HEADER_BYTES {
        lsn - SEGMENT_HEADER_BYTES
    } else if lsn % WAL_PAGE_BYTES == PAGE_HEADER_BYTES {
        lsn - PAGE_HEADER_BYTES
    } else {
        lsn
    }
}

#[cfg(test)]
mod tests;
