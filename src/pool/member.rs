//! A backend of a pool while no session has it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use tokio::{io::AsyncWrite, time::Instant};

use super::{Running, Welcome, budget::Permit, chore::Chore};
use crate::{
    session::TrackedBackendState,
    telemetry::BackendPresence,
    tls::{Quiet, Stream},
    wire::frontend,
};

/// A backend of a pool while no session has it.
pub(super) struct Member {
    pub(super) stream: Stream,
    pub(super) tracked_state: Box<TrackedBackendState>,
    pub(super) running: Arc<Running>,
    pub(super) login: Arc<Welcome>,
    /// Where its socket is registered.
    pub(super) worker: usize,
}

/// What the pool knows of a backend, whoever has it.
pub(super) struct Tenant {
    pub(super) running: Arc<Running>,
    pub(super) permit: Permit,
    /// Counts it as open.
    #[expect(dead_code, reason = "it counts by being there")]
    pub(super) presence: Option<BackendPresence>,
    /// Not to be used again from then on.
    pub(super) expires: Option<Instant>,
    /// The pool's [`super::state::State::epoch`] when it was dialed.
    pub(super) epoch: u64,
    /// What is to be done once the cancel requests on their way have arrived, if it came back before.
    pub(super) chore: Chore,
}

// === impl Member ===

impl Member {
    /// What has come from the server since it was last asked something, as far as this process has noticed. Costs no system
    /// call while nothing came.
    pub(super) fn quiet(&self) -> Quiet {
        self.stream.quiet()
    }

    /// Makes the socket one of `worker`, which this is called on.
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

    /// Closes it, with a farewell if the socket takes one at once: a server logs those who leave without.
    pub(super) fn close(mut self) {
        let mut farewell = Vec::with_capacity(8);
        frontend::write_terminate(&mut farewell);
        let mut context = Context::from_waker(Waker::noop());
        let mut stream = Pin::new(&mut self.stream);
        // Whatever comes of it, the connection ends here.
        if stream.as_mut().poll_write(&mut context, &farewell).is_ready() {
            let _ = stream.poll_shutdown(&mut context);
        }
    }
}
