//! How much of the writer's WAL a node is known to have replayed.
//!
//! No clocks of servers are compared. The writer's insert position is sampled at a time *t* of ours, taken before it was
//! asked; a node that has replayed up to that sample is *fresh as of t*: it shows every transaction that committed
//! before *t*.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Position;

/// The writer's insert positions over the last while.
#[derive(Debug, Clone, Default)]
pub struct WriterTrail {
    /// In the order of both time and position; the oldest first.
    samples: VecDeque<Position>,
}

/// How long samples are kept: a node that is further behind is stale, by how much matters to nobody.
const KEPT: Duration = Duration::from_secs(900);

/// Samples at most: with the probe's default interval all of [`KEPT`].
const SAMPLES: usize = 512;

// === impl WriterTrail ===

impl WriterTrail {
    /// Adds a sample of the writer's insert position. Another writer, or one that went back (a restore, a new timeline),
    /// starts a new trail: what was replayed of the old one says nothing about it.
    pub fn push(&mut self, sample: Position) {
        let sample = Position { lsn: floor(sample.lsn), ..sample };
        if self.samples.back().is_some_and(|last| last.lsn > sample.lsn) {
            self.samples.clear();
        }
        while self.samples.len() >= SAMPLES
            || self
                .samples
                .front()
                .is_some_and(|oldest| sample.asked_at.saturating_duration_since(oldest.asked_at) > KEPT)
        {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Forgets all samples: the writer is another one.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// The latest *t* that a node which has replayed up to `lsn` is fresh as of; `None` when it is behind all samples,
    /// or there are none.
    #[must_use]
    pub fn fresh_as_of(&self, lsn: u64) -> Option<Instant> {
        self.samples.iter().rev().find(|sample| sample.lsn <= lsn).map(|sample| sample.asked_at)
    }

    /// How many octets `lsn` is behind the latest sample.
    #[must_use]
    pub fn octets_behind(&self, lsn: u64) -> Option<u64> {
        self.samples.back().map(|sample| sample.lsn.saturating_sub(lsn))
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
mod tests {
    use super::*;

    fn trail(samples: &[(u64, u64)]) -> (WriterTrail, Instant) {
        let start = Instant::now();
        let mut trail = WriterTrail::default();
        for &(second, lsn) in samples {
            trail.push(Position { lsn, asked_at: start + Duration::from_secs(second) });
        }
        (trail, start)
    }

    #[test]
    fn a_node_is_as_fresh_as_the_latest_sample_that_it_has_replayed() {
        let (trail, start) = trail(&[(0, 100), (2, 200), (4, 200), (6, 300)]);
        let fresh = |lsn| trail.fresh_as_of(lsn).map(|t| (t - start).as_secs());
        assert_eq!(fresh(99), None);
        assert_eq!(fresh(100), Some(0));
        assert_eq!(fresh(250), Some(4), "an idle writer makes nobody stale");
        assert_eq!(fresh(u64::MAX), Some(6));
        assert_eq!(trail.octets_behind(250), Some(50));
    }

    #[test]
    fn a_writer_that_went_back_starts_a_new_trail() {
        let (trail, _) = trail(&[(0, 1000), (2, 500)]);
        assert_eq!(trail.fresh_as_of(400), None);
        assert_eq!(trail.octets_behind(500), Some(0));
    }

    #[test]
    fn a_position_behind_a_page_header_is_replayed_when_the_page_before_is() {
        for (inserted, replayed) in [(8192 * 7 + 24, 8192 * 7), ((16 << 20) * 3 + 40, (16 << 20) * 3)] {
            let (trail, start) = trail(&[(0, inserted)]);
            assert_eq!(trail.fresh_as_of(replayed), Some(start));
        }
        let (trail, _) = trail(&[(0, 8192 * 7 + 40)]);
        assert_eq!(trail.fresh_as_of(8192 * 7), None, "something can end there on an ordinary page");
    }

    #[test]
    fn old_samples_are_forgotten() {
        let (trail, _) = trail(&[(0, 100), (901, 200)]);
        assert_eq!(trail.fresh_as_of(150), None);
    }
}
