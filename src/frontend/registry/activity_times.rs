//! Times of a session's activity, written by the session and read by other threads.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Start of a session's current state, and of its open transaction.
///
/// Times are microseconds since `origin`.
pub(super) struct ActivityTimes {
    origin: Instant,
    state_start_us: AtomicU64,
    /// [`NO_TRANSACTION`] outside a transaction.
    transaction_start_us: AtomicU64,
}

const NO_TRANSACTION: u64 = u64::MAX;

// === impl ActivityTimes ===

impl ActivityTimes {
    /// A session that is idle since `now`.
    pub(super) const fn idle_since(now: Instant) -> Self {
        let transaction_start_us = AtomicU64::new(NO_TRANSACTION);
        Self { origin: now, state_start_us: AtomicU64::new(0), transaction_start_us }
    }

    /// Records that the state has changed at `now`.
    pub(super) fn note_state(&self, now: Instant) {
        self.state_start_us.store(self.offset(now), Ordering::Relaxed);
    }

    /// Records the start of the open transaction; `None` outside a transaction.
    pub(super) fn note_transaction(&self, start: Option<Instant>) {
        let start = start.map_or(NO_TRANSACTION, |start| self.offset(start));
        self.transaction_start_us.store(start, Ordering::Relaxed);
    }

    /// Start of the current state.
    pub(super) fn state_start(&self) -> Instant {
        self.origin + Duration::from_micros(self.state_start_us.load(Ordering::Relaxed))
    }

    /// Start of the open transaction.
    pub(super) fn transaction_start(&self) -> Option<Instant> {
        match self.transaction_start_us.load(Ordering::Relaxed) {
            NO_TRANSACTION => None,
            start => Some(self.origin + Duration::from_micros(start)),
        }
    }

    fn offset(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.origin).as_micros();
        u64::try_from(micros).unwrap_or(NO_TRANSACTION - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_its_own_start() {
        let origin = Instant::now();
        let at = |seconds| origin + Duration::from_secs(seconds);
        let times = ActivityTimes::idle_since(origin);
        assert_eq!((times.state_start(), times.transaction_start()), (origin, None));
        times.note_state(at(3));
        times.note_transaction(Some(at(3)));
        times.note_state(at(5));
        assert_eq!((times.state_start(), times.transaction_start()), (at(5), Some(at(3))));
        times.note_transaction(None);
        assert_eq!(times.transaction_start(), None);
    }
}
