//! Catalog comparison over the session's own backend, with exclusive use of the backend.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::{backend::QueryError, frontend::acquire::shared_state::SharedState, pool::Lease};

/// Catalog comparison of a session: running, or due after a pause.
#[derive(Default)]
pub(super) struct CatalogRenewal {
    running: Option<RunningRenewal>,
    /// Until the next comparison may begin.
    pause: Option<Pin<Box<Sleep>>>,
}

type RunningRenewal = Pin<Box<dyn Future<Output = Renewed> + Send>>;

/// End of a comparison.
pub(super) struct Renewed {
    /// The backend.
    pub(super) lease: Lease,
    /// Asynchronous messages of the server for the session.
    pub(super) unasked: Vec<u8>,
    pub(super) result: Result<(), QueryError>,
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
            Renewed { lease, unasked, result }
        }));
    }

    /// Waits for `pause`, unless already waiting.
    pub(super) fn defer(&mut self, pause: Duration) {
        self.pause.get_or_insert_with(|| Box::pin(sleep(pause)));
    }

    /// The end of a running comparison.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Renewed> {
        let Poll::Ready(renewed) = self.running.as_mut()?.as_mut().poll(cx) else { return None };
        self.running = None;
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
