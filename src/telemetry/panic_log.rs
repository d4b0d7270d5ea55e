//! Number and time of the panics of the process.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Panics since the start.
#[derive(Debug, Default)]
pub struct PanicLog {
    count: AtomicU64,
    /// Seconds since 1970.
    last: AtomicU64,
}

impl PanicLog {
    /// Records a panic. Takes no lock: the panicking thread may hold any.
    pub(super) fn record(&self, now: SystemTime) {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last.store(seconds, Ordering::Relaxed);
        // Release, so that a reader of the count sees the time.
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Number of panics with the time of the last one; `None` before the first.
    #[must_use]
    pub fn panics(&self) -> Option<(u64, SystemTime)> {
        match self.count.load(Ordering::Acquire) {
            0 => None,
            count => Some((count, UNIX_EPOCH + Duration::from_secs(self.last.load(Ordering::Relaxed)))),
        }
    }
}
