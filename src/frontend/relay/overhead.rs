//! Samples of the time that bytes spend in the proxy.

use std::time::Instant;

use crate::telemetry::PathCounts;

/// One of this many reads is timed, with two clock reads.
const TIMED_READS: u8 = 16;

/// Samples the time from a read to the write of the last byte.
#[derive(Default)]
pub(super) struct OverheadTimer {
    /// Time of the read, while a sample runs.
    since: Option<Instant>,
    reads: u8,
}

// === impl OverheadTimer ===

impl OverheadTimer {
    /// Bytes were read at `now`.
    pub(super) const fn note_read(&mut self, now: Instant) {
        self.reads = self.reads.wrapping_add(1);
        if self.reads.is_multiple_of(TIMED_READS) {
            self.since = Some(now);
        }
    }

    /// All bytes are written.
    pub(super) fn note_written(&mut self, path: &PathCounts) {
        if let Some(since) = self.since.take() {
            path.overhead(since.elapsed());
        }
    }
}
