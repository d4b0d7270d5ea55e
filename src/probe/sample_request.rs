//! Request for a WAL sample of the writer.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Relaxed},
};

use tokio::sync::Notify;

/// Request for a WAL sample of the writer, shared by many sessions.
#[derive(Default)]
pub(super) struct SampleRequest {
    wanted: AtomicBool,
    woken: Notify,
}

// === impl SampleRequest ===

impl SampleRequest {
    /// Requests a sample taken after now.
    pub(super) fn request_sample(&self) {
        // Load first: concurrent requests of many sessions share the cache line.
        if !self.wanted.load(Relaxed) && !self.wanted.swap(true, AcqRel) {
            self.woken.notify_one();
        }
    }

    /// Waits for a request, without taking the request.
    ///
    /// Cancel safe.
    pub(super) async fn wait_for_request(&self) {
        while !self.wanted.load(Relaxed) {
            self.woken.notified().await;
        }
    }

    /// Takes the request: later requests get another sample. Call before reading the clock.
    pub(super) fn take_request(&self) -> bool {
        self.wanted.swap(false, AcqRel)
    }
}
