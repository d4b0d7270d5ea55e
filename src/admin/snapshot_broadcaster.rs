//! Shares one event among all clients of the event stream.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore};

/// The clients of the event stream, and the last event sent to them.
pub(super) struct SnapshotBroadcaster {
    places: Arc<Semaphore>,
    last: Mutex<Option<(Instant, Bytes)>>,
}

/// Clients of the event stream at one time.
const MAX_CLIENTS: usize = 16;
/// Greatest age of an event that is sent to a further client.
const MAX_EVENT_AGE: Duration = Duration::from_millis(500);

// === impl SnapshotBroadcaster ===

impl SnapshotBroadcaster {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_CLIENTS)), last: Mutex::default() }
    }

    /// Permits for clients.
    pub(super) fn client_permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// The current event, built by `make` unless the last one is recent. Concurrent callers wait and get the same
    /// event.
    ///
    /// Cancel safe.
    pub(super) async fn frame(&self, now: Instant, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut last = self.last.lock().await;
        if let Some((made, frame)) = &*last
            && now.saturating_duration_since(*made) < MAX_EVENT_AGE
        {
            return frame.clone();
        }
        let frame = make();
        *last = Some((now, frame.clone()));
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_of_one_moment_share_an_event() {
        let broadcaster = SnapshotBroadcaster::new();
        let now = Instant::now();
        let event = |text: &'static str| move || Bytes::from_static(text.as_bytes());
        assert_eq!(broadcaster.frame(now, event("first")).await, "first");
        assert_eq!(broadcaster.frame(now + MAX_EVENT_AGE / 2, event("second")).await, "first");
        assert_eq!(broadcaster.frame(now + MAX_EVENT_AGE, event("third")).await, "third");
    }
}
