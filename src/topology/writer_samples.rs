//! How much of the writer's WAL a node is known to have replayed.
//!
//! No clocks of servers are compared. The writer's insert position is sampled at a time *t* of ours, taken before it was
//! asked; a node that has replayed up to that sample is *fresh as of t*: it shows every transaction that committed
//! before *t*.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::WalPosition;

/// The writer's insert positions over the last while: close together lately, ever wider apart the older they are.
///
/// Leaving one out never makes anybody look fresher: a floor falls to a later sample, and a node is level with an earlier
/// one.
#[derive(Debug, Clone, Default)]
pub struct WriterSamples {
    /// In the order of both time and position; the oldest first.
    samples: VecDeque<Sample>,
}

/// One answer of the writer.
#[derive(Debug, Clone, Copy)]
struct Sample {
    position: WalPosition,
    answered_at: Instant,
}

/// How long samples are kept: a node that is further behind is stale, by how much matters to nobody.
const KEPT: Duration = Duration::from_secs(900);

/// Samples at most, before some are left out. With one each 5 ms the last second and a half is still whole then.
const SAMPLES: usize = 512;

/// After thinning, two neighbours of a sample are further apart than this part of its age: about 300 samples in [`KEPT`].
const PART_OF_AGE: u32 = 16;

impl WriterSamples {
    /// Adds a sample of the writer's insert position, which was answered at `answered_at`. One that went back (a restore, a
    /// new timeline) starts a new trail: what was replayed of the old one says nothing about it. One that was asked before
    /// the last one adds nothing.
    pub fn push(&mut self, position: WalPosition, answered_at: Instant) {
        let position = WalPosition { lsn: floor(position.lsn), ..position };
        if self.samples.back().is_some_and(|last| last.position.asked_at > position.asked_at) {
            return;
        }
        while let Some(last) = self.samples.back()
            && last.position.lsn > position.lsn
        {
            // Two questions that were on their way together may have been answered in either order.
            if last.answered_at <= position.asked_at {
                self.samples.clear();
            } else {
                self.samples.pop_back();
            }
        }
        // While the writer is idle, the first and the last moment of it say it all.
        let mut idle = self.samples.iter().rev().take(2);
        if let (Some(last), Some(before)) = (idle.next(), idle.next())
            && (last.position.lsn, before.position.lsn) == (position.lsn, position.lsn)
        {
            self.samples.pop_back();
        }
        self.samples.push_back(Sample { position, answered_at });
        self.thin(position.asked_at);
    }

    /// Forgets all samples: the writer is another one.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The latest *t* that a node which has replayed up to `lsn` is fresh as of; `None` when it is behind all samples,
    /// or there are none.
    #[must_use]
    pub fn fresh_as_of(&self, lsn: u64) -> Option<Instant> {
        let beyond = self.samples.partition_point(|sample| sample.position.lsn <= lsn);
        self.samples.get(beyond.checked_sub(1)?).map(|sample| sample.position.asked_at)
    }

    /// The first sample that was asked at `floor` or later: whoever has replayed up to it shows all that committed before
    /// `floor`.
    #[must_use]
    pub fn since(&self, floor: Instant) -> Option<WalPosition> {
        let first = self.samples.partition_point(|sample| sample.position.asked_at < floor);
        self.samples.get(first).map(|sample| sample.position)
    }

    /// The first sample that whoever has replayed up to `lsn` lacks.
    #[must_use]
    pub fn beyond(&self, lsn: u64) -> Option<WalPosition> {
        let first = self.samples.partition_point(|sample| sample.position.lsn <= lsn);
        self.samples.get(first).map(|sample| sample.position)
    }

    /// How many bytes `lsn` is behind the latest sample.
    #[must_use]
    pub fn bytes_behind(&self, lsn: u64) -> Option<u64> {
        self.samples.back().map(|sample| sample.position.lsn.saturating_sub(lsn))
    }

    fn thin(&mut self, now: Instant) {
        let age = |sample: &Sample| now.saturating_duration_since(sample.position.asked_at);
        while self.samples.front().is_some_and(|oldest| age(oldest) > KEPT) {
            self.samples.pop_front();
        }
        if self.samples.len() < SAMPLES {
            return;
        }
        let mut kept: VecDeque<Sample> = VecDeque::with_capacity(SAMPLES);
        for (at, sample) in self.samples.iter().enumerate() {
            let spacing = age(sample) / PART_OF_AGE;
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
        // Clocks that stand still, as far as we are concerned: bounded all the same.
        while self.samples.len() >= SAMPLES {
            self.samples.pop_front();
        }
    }
}

/// An insert position is where the next record will begin: behind a page's header, when the last one filled the page
/// before. No standby ever reports that as replayed, so that an idle cluster would never look caught up: it counts as
/// the start of the page. Nothing can end inside a header, and the long one stands at the start of a segment only.
fn floor(lsn: u64) -> u64 {
    const PAGE: u64 = 8192;
    const SHORT_HEADER: u64 = 24;
    const SEGMENT: u64 = 16 << 20;
    const LONG_HEADER: u64 = 40;
    if lsn % SEGMENT == LONG_HEADER {
        lsn - LONG_HEADER
    } else if lsn % PAGE == SHORT_HEADER {
        lsn - SHORT_HEADER
    } else {
        lsn
    }
}

#[cfg(test)]
mod tests;
