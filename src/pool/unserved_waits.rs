//! Failed waits of a session since it was served last.
//!
//! Promises: a session whose waits fail keeps the start of the first one, and with it its place in the queue, until it is
//! served. Refuses to know: the queue, and the clock.

use std::time::Duration;

use tokio::time::Instant;

/// Failed waits since the last backend.
#[derive(Default)]
pub struct UnservedWaits {
    failed: Option<FailedWaits>,
}

struct FailedWaits {
    /// Start of the first wait.
    first: Instant,
    /// End of the last wait.
    ended: Instant,
}

/// Longest pause between two waits that belong together: longer than drivers and job queues pause before a retry.
const MAX_PAUSE_BETWEEN_WAITS: Duration = Duration::from_secs(60);

/// Longest time that counts for the place in the queue.
const MAX_UNSERVED_TIME: Duration = Duration::from_secs(3600);

// === impl UnservedWaits ===

impl UnservedWaits {
    /// Start of the first failed wait, for a wait that begins at `now`. `None` after a long pause.
    #[must_use]
    pub fn since(&self, now: Instant) -> Option<Instant> {
        let failed = self.failed.as_ref()?;
        let is_recent = now.saturating_duration_since(failed.ended) <= MAX_PAUSE_BETWEEN_WAITS;
        let oldest = now.checked_sub(MAX_UNSERVED_TIME).unwrap_or(failed.first);
        is_recent.then(|| failed.first.max(oldest))
    }

    /// A wait that began at `began` has failed at `now`.
    pub fn note_failure(&mut self, began: Instant, now: Instant) {
        let first = self.since(began).map_or(began, |first| first.min(began));
        self.failed = Some(FailedWaits { first, ended: now });
    }

    /// The session was served.
    pub fn clear(&mut self) {
        self.failed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_retry_counts_from_the_first_failure() {
        let start = Instant::now();
        let mut waits = UnservedWaits::default();
        assert_eq!(waits.since(start), None);
        waits.note_failure(start, start + seconds(30));
        waits.note_failure(start + seconds(40), start + seconds(70));
        assert_eq!(waits.since(start + seconds(75)), Some(start));
        waits.clear();
        assert_eq!(waits.since(start + seconds(75)), None);
    }

    #[test]
    fn a_long_pause_ends_the_credit() {
        let start = Instant::now();
        let mut waits = UnservedWaits::default();
        waits.note_failure(start, start + seconds(30));
        assert_eq!(waits.since(start + seconds(91)), None);
        waits.note_failure(start + seconds(100), start + seconds(130));
        assert_eq!(waits.since(start + seconds(131)), Some(start + seconds(100)));
    }

    #[test]
    fn the_credit_is_at_most_an_hour() {
        let start = Instant::now();
        let mut waits = UnservedWaits::default();
        for minute in 0..120 {
            waits.note_failure(start + seconds(60 * minute), start + seconds(60 * minute + 30));
        }
        let now = start + seconds(60 * 120);
        assert_eq!(waits.since(now), Some(now - MAX_UNSERVED_TIME));
    }
}
