//! Clients on hold: while there are any, the probe attempts a login at short intervals.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

/// Number of clients that wait for a writer.
#[derive(Default)]
pub(super) struct HeldClients {
    count: AtomicUsize,
    /// Notified when the first client begins to wait.
    first: Notify,
}

/// A client that waits for a writer, until dropped.
pub struct HeldClient {
    clients: Arc<HeldClients>,
}

// === impl HeldClients ===

impl HeldClients {
    /// Counts one more client.
    pub(super) fn enter(self: &Arc<Self>) -> HeldClient {
        if self.count.fetch_add(1, SeqCst) == 0 {
            self.first.notify_waiters();
        }
        HeldClient { clients: Arc::clone(self) }
    }

    /// True if a client waits.
    pub(super) fn has_any(&self) -> bool {
        self.count.load(SeqCst) > 0
    }

    /// Waits until a client waits.
    ///
    /// Cancel safe.
    pub(super) async fn wait_for_any(&self) {
        loop {
            let mut first = pin!(self.first.notified());
            first.as_mut().enable();
            if self.has_any() {
                return;
            }
            first.await;
        }
    }
}

// === impl HeldClient ===

impl Drop for HeldClient {
    fn drop(&mut self) {
        self.clients.count.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn only_a_waiting_client_ends_the_wait() {
        let clients = Arc::new(HeldClients::default());
        let mut waiting = pin!(clients.wait_for_any());
        assert!(waiting.as_mut().now_or_never().is_none());
        let (one, other) = (clients.enter(), clients.enter());
        waiting.await;
        drop(one);
        assert!(clients.wait_for_any().now_or_never().is_some());
        drop(other);
        assert!(clients.wait_for_any().now_or_never().is_none());
    }
}
