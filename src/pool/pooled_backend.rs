//! A pool's backend outside of a lease.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use tokio::{io::AsyncWrite, time::Instant};

use super::{BackendHandle, StartupResponse, budget::Permit, maintenance::Maintenance};
use crate::{
    session::TrackedBackendState,
    telemetry::BackendPresence,
    tls::{Quiet, Stream},
    wire::frontend,
};

/// A pool's backend outside of a lease.
pub(super) struct PooledBackend {
    pub(super) stream: Stream,
    pub(super) tracked_state: Box<TrackedBackendState>,
    pub(super) running: Arc<BackendHandle>,
    pub(super) login: Arc<StartupResponse>,
    /// Worker with the socket's registration.
    pub(super) worker: usize,
}

/// The pool's record of a backend, during leases, too.
pub(super) struct BackendRecord {
    pub(super) running: Arc<BackendHandle>,
    pub(super) permit: Permit,
    /// Counts the backend as open.
    #[expect(dead_code, reason = "it counts by being there")]
    pub(super) presence: Option<BackendPresence>,
    /// Not to be used again from then on.
    pub(super) expires: Option<Instant>,
    /// [`super::state::PoolState::epoch`] of the pool at the login.
    pub(super) epoch: u64,
    /// Work due after pending cancel requests, if the backend is returned earlier.
    pub(super) maintenance: Maintenance,
}

// === impl PooledBackend ===

impl PooledBackend {
    /// Activity of the server since the last query, as known to the process. No system call without activity.
    pub(super) fn quiet(&self) -> Quiet {
        self.stream.quiet()
    }

    /// Registers the socket with the current worker `worker`.
    ///
    /// # Errors
    /// The system's, out of descriptors for instance; then the backend is of no more use.
    pub(super) fn move_to(&mut self, worker: usize) -> io::Result<()> {
        if self.worker != worker {
            self.stream.register_here()?;
            self.worker = worker;
        }
        Ok(())
    }

    /// Closes the connection, with Terminate if the socket accepts the message at once: a server logs connections that
    /// end without.
    pub(super) fn close(mut self) {
        let mut farewell = Vec::with_capacity(8);
        frontend::write_terminate(&mut farewell);
        let mut context = Context::from_waker(Waker::noop());
        let mut stream = Pin::new(&mut self.stream);
        // The connection ends here in any case.
        if stream.as_mut().poll_write(&mut context, &farewell).is_ready() {
            let _ = stream.poll_shutdown(&mut context);
        }
    }
}
