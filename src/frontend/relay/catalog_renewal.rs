//! Catalog comparison, or ping, over the session's own backend, with exclusive use of the backend.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::{
    backend::{QueryClient, QueryError, QueryLimits, Strictness},
    frontend::acquire::shared_state::SharedState,
    pool::Lease,
    wire::frontend::write_sync,
};

/// Catalog comparison of a session: running, or due after a pause.
#[derive(Default)]
pub(super) struct CatalogRenewal {
    running: Option<RunningRenewal>,
    is_pinging: bool,
    /// Until the next comparison may begin.
    pause: Option<Pin<Box<Sleep>>>,
}

type RunningRenewal = Pin<Box<dyn Future<Output = Renewed> + Send>>;

/// Work on a session's backend between two messages of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackendWork {
    /// A catalog comparison.
    Catalog,
    /// A Sync, to find out if the server is there.
    Ping,
}

/// End of a comparison, or of a ping.
pub(super) struct Renewed {
    pub(super) work: BackendWork,
    /// The backend.
    pub(super) lease: Lease,
    /// Asynchronous messages of the server for the session.
    pub(super) unasked: Vec<u8>,
    pub(super) result: Result<(), QueryError>,
}

/// Limits of the response to a Sync: notifications may precede it.
const PING_LIMITS: QueryLimits = QueryLimits { max_bytes: 8 << 20, max_rows: 0, time: None };

/// Sends a Sync; asynchronous messages of the server are kept in `unasked`.
async fn send_sync(lease: &mut Lease, unasked: &mut Vec<u8>) -> Result<(), QueryError> {
    let strictness = Strictness::Keep { kept: unasked, max_bytes: PING_LIMITS.max_bytes };
    let mut client = QueryClient::new(&mut lease.stream, PING_LIMITS, strictness);
    let mut sync = Vec::with_capacity(8);
    write_sync(&mut sync);
    client.send(&sync, |_| Ok(())).await?;
    client.finish()
}

// === impl CatalogRenewal ===

impl CatalogRenewal {
    /// True if a comparison uses the backend.
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts a comparison over `lease`.
    pub(super) fn start(&mut self, mut lease: Lease, shared: Option<Arc<SharedState>>) {
        self.running = Some(Box::pin(async move {
            let mut unasked = Vec::new();
            let result = match &shared {
                Some(shared) => shared.renew(&mut lease, &mut unasked).await,
                None => Ok(()),
            };
            Renewed { work: BackendWork::Catalog, lease, unasked, result }
        }));
    }

    /// Sends a Sync over `lease`, and waits for the response without a time limit.
    pub(super) fn start_ping(&mut self, mut lease: Lease) {
        self.is_pinging = true;
        self.running = Some(Box::pin(async move {
            let mut unasked = Vec::new();
            let result = send_sync(&mut lease, &mut unasked).await;
            Renewed { work: BackendWork::Ping, lease, unasked, result }
        }));
    }

    /// True if the session waits for the response to a Sync.
    pub(super) const fn is_pinging(&self) -> bool {
        self.is_pinging
    }

    /// Waits for `pause`, unless already waiting.
    pub(super) fn defer(&mut self, pause: Duration) {
        self.pause.get_or_insert_with(|| Box::pin(sleep(pause)));
    }

    /// The end of a running comparison.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Renewed> {
        let Poll::Ready(renewed) = self.running.as_mut()?.as_mut().poll(cx) else { return None };
        self.running = None;
        self.is_pinging = false;
        Some(renewed)
    }

    /// True once at the end of a pause.
    pub(super) fn is_pause_over(&mut self, cx: &mut Context<'_>) -> bool {
        let is_over = self.pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_ready());
        if is_over {
            self.pause = None;
        }
        is_over
    }
}
