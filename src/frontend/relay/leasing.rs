//! Leases backends for a pooled session and returns them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep};

use super::{
    backend_side::BackendSide,
    catalog_renewal::{CatalogRenewal, Renewed},
    forward::ForwardBuffer,
};
use crate::{
    client_error::ClientError,
    frontend::{
        acquire::{AcquireRequest, PooledAcquirer, Step},
        observe::recorder::Recorder,
        registry::{entry::SessionWait, sessions::Registered},
    },
    pool::{Disposition, Lease},
    session::Session,
    telemetry::labels::TerminationReason,
};

/// Least time a backend is kept for `lastval` after a possible sequence move; then the backend is kept until a session waits.
const SEQUENCE_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Lease state of a pooled session.
pub(super) struct Leasing {
    acquirer: Box<PooledAcquirer>,
    /// The session waits for a backend.
    is_waiting: bool,
    /// Cancel requests wait until the session's own messages ahead of a statement are answered.
    is_sheltered: bool,
    /// Time of the last lease.
    leased_at: Option<Instant>,
    renewal: CatalogRenewal,
    /// Delay until a session with a moved and unread sequence returns the backend.
    sequence_pause: Option<Pin<Box<Sleep>>>,
}

/// Parts of the relay that a lease changes.
pub(super) struct LeasingParts<'r> {
    pub(super) session: &'r mut Session,
    pub(super) backend: &'r mut BackendSide,
    pub(super) from_client: &'r ForwardBuffer,
    pub(super) registered: &'r Registered,
    pub(super) recorder: &'r mut Recorder,
    pub(super) now: Instant,
}

/// Progress towards a backend.
pub(super) enum LeaseProgress {
    /// The session has a backend, or its statement has failed.
    Done,
    /// The session waits long; the client gets a notice.
    Notice(Duration),
}

// === impl Leasing ===

impl Leasing {
    pub(super) fn new(acquirer: Box<PooledAcquirer>) -> Self {
        Self {
            acquirer,
            is_waiting: false,
            is_sheltered: false,
            leased_at: None,
            renewal: CatalogRenewal::default(),
            sequence_pause: None,
        }
    }

    /// True if the session waits for a backend.
    pub(super) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Reason for the session's wait.
    pub(super) const fn wait(&self) -> SessionWait {
        match (self.is_waiting, self.acquirer.is_held()) {
            (false, _) => SessionWait::Nothing,
            (true, false) => SessionWait::Backend,
            (true, true) => SessionWait::Writer,
        }
    }

    /// Leases a backend, if one is available now.
    pub(super) fn poll_lease(
        &mut self,
        parts: &mut LeasingParts<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<LeaseProgress> {
        if !self.is_waiting {
            self.is_waiting = true;
            parts.registered.take_wait_cancelled();
        } else if parts.registered.take_wait_cancelled() {
            self.acquirer.leave();
            return Poll::Ready(self.fail_statement(parts, ClientError::cancelled()));
        }
        let request = AcquireRequest {
            settings: parts.session.settings_mark(),
            need: parts.session.need(),
            floor: parts.session.floor(parts.now),
            apart: parts.session.is_apart(),
        };
        loop {
            let Poll::Ready(step) = self.acquirer.poll_lease(&request, cx) else {
                parts.registered.set_awaited_pool(self.acquirer.awaited_pool());
                return Poll::Pending;
            };
            return Poll::Ready(match step {
                Ok(Step::Acquired(lease)) if self.acquirer.has_writer_moved(&lease) => {
                    self.acquirer.refuse_lease(lease);
                    continue;
                }
                Ok(Step::Acquired(lease)) => {
                    self.attach(parts, lease);
                    LeaseProgress::Done
                }
                Ok(Step::Notice(waited)) => LeaseProgress::Notice(waited),
                Err(why) => self.fail_statement(parts, why.client_error()),
            });
        }
    }

    /// Fails the statement without a backend; the session goes on.
    fn fail_statement(&mut self, parts: &mut LeasingParts<'_>, client_error: ClientError) -> LeaseProgress {
        self.is_waiting = false;
        tracing::debug!(
            session = parts.registered.id,
            reason = client_error.reason.as_str(),
            "no backend connection for a statement"
        );
        let awaited = self.acquirer.take_awaited_pool();
        parts.registered.set_awaited_pool(None);
        if parts.session.fail(client_error.clone()) {
            let load = || awaited.as_ref().map(|awaited| self.acquirer.pool_load(&awaited.pool));
            parts.recorder.record_refusal(&client_error, awaited.as_ref(), load);
        }
        LeaseProgress::Done
    }

    fn attach(&mut self, parts: &mut LeasingParts<'_>, mut lease: Lease) {
        self.is_waiting = false;
        let acquirer = &mut self.acquirer;
        acquirer.take_awaited_pool();
        parts.recorder.record_lease(lease.running(), acquirer.reason(), acquirer.path());
        let untouched = acquirer.follows(&lease);
        if let Some(tracked_state) = lease.tracked_state.take() {
            match acquirer.assigned_backend(&lease) {
                Some(assigned) => parts.session.assign(tracked_state, untouched, assigned),
                None => parts.session.attach(tracked_state, untouched),
            }
        }
        parts.session.serves_as(lease.running().pid());
        self.is_sheltered = parts.session.is_preparing();
        parts.registered.leased(lease.running(), acquirer.reason(), self.is_sheltered);
        self.leased_at = Some(parts.now);
        parts.backend.attach(lease);
    }

    /// Expires the catalog if its last comparison was long ago; the session then compares it before it returns the backend.
    /// Due with every message of either side, because a transaction may use what was defined elsewhere since its lease.
    pub(super) fn expire_catalog(&self, now: Instant, backend: &BackendSide) {
        if backend.lease().is_some() {
            self.acquirer.expire_catalog(now);
        }
    }

    /// Admits cancel requests once the session's own messages ahead of the statement are answered.
    pub(super) fn expose_statement(&mut self, session: &Session, registered: &Registered) {
        if self.is_sheltered && !session.is_preparing() {
            self.is_sheltered = false;
            registered.admit_cancels();
        }
    }

    /// Returns the backend, if no session state is left on the backend. True if more client bytes can be processed
    /// now.
    pub(super) fn give_back(&mut self, parts: &mut LeasingParts<'_>) -> bool {
        // Most calls end here: no backend is leased, or the server owes a response.
        if parts.backend.lease().is_none() || !parts.session.is_settled() {
            return false;
        }
        // Unprocessed messages of the server belong to the session.
        if parts.backend.received.has_unjudged() || parts.backend.received.has_ended() {
            return false;
        }
        if parts.session.wants_catalogue() {
            return self.begin_renewal(parts);
        }
        if parts.session.poll_sequence_moved() {
            let sleep = || Box::pin(sleep(SEQUENCE_READ_TIMEOUT));
            let pause = self.sequence_pause.get_or_insert_with(sleep);
            pause.as_mut().reset(tokio::time::Instant::now() + SEQUENCE_READ_TIMEOUT);
        } else if self.sequence_pause.is_none() {
            parts.session.release_sequences();
        }
        let spoiled = parts.session.spoils_backend();
        let Some(tracked_state) = parts.session.detach() else { return false };
        parts.registered.clear_backend();
        let Some(mut lease) = parts.backend.detach() else { return false };
        // A backend without `tracked_state` is closed.
        lease.tracked_state = tracked_state.is_reusable().then_some(tracked_state);
        if spoiled {
            lease.release(Disposition::Discard);
        } else {
            self.acquirer.release(parts.now, lease);
        }
        // Messages that could not be sent to this backend may be sent to another.
        !parts.from_client.unprocessed().is_empty() || parts.session.has_gathered()
    }

    /// Compares the names of the database with the server's, over the session's own backend. True if a comparison has
    /// begun.
    fn begin_renewal(&mut self, parts: &mut LeasingParts<'_>) -> bool {
        let has_unsent = parts.from_client.has_cleared() || parts.session.to_backend().is_some();
        if self.renewal.is_running() || has_unsent {
            return false;
        }
        let pause = self.acquirer.renewal_pause(parts.now);
        if !pause.is_zero() && parts.session.may_defer_catalogue() {
            self.renewal.defer(pause);
            return false;
        }
        parts.session.begin_catalogue();
        let Some(lease) = parts.backend.detach() else { return false };
        // A cancel request of the client must not reach the catalog queries.
        parts.registered.leased(lease.running(), self.acquirer.reason(), true);
        self.renewal.start(lease, self.acquirer.shared());
        true
    }

    /// Sends a Sync ahead of the client's next message if the endpoint has not answered the last probe: what is not sent to a
    /// server that is gone cannot have taken effect. True if the message must wait.
    pub(super) fn begins_ping(&mut self, parts: &mut LeasingParts<'_>) -> bool {
        let is_suspect = parts.backend.lease().is_some_and(|lease| self.acquirer.is_suspect_writer(lease));
        if !is_suspect
            || self.renewal.is_running()
            || parts.from_client.has_cleared()
            || parts.session.to_backend().is_some()
            || !parts.session.may_ping()
        {
            return false;
        }
        let Some(lease) = parts.backend.detach() else { return false };
        // A cancel request has no statement to cancel yet.
        parts.registered.leased(lease.running(), self.acquirer.reason(), true);
        self.renewal.start_ping(lease);
        true
    }

    /// True if the client's next message waits for the response to a Sync.
    pub(super) const fn is_pinging(&self) -> bool {
        self.renewal.is_pinging()
    }

    /// True if a catalog comparison, or a ping, uses the backend.
    pub(super) const fn is_renewing(&self) -> bool {
        self.renewal.is_running()
    }

    /// The end of a running catalog comparison or ping.
    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Option<Renewed> {
        self.renewal.poll(cx)
    }

    /// True once at the end of a pause; the session may then return the backend.
    pub(super) fn is_pause_over(&mut self, backend: &BackendSide, cx: &mut Context<'_>) -> bool {
        let mut is_over = self.renewal.is_pause_over(cx);
        while let Some(sleep) = &mut self.sequence_pause
            && sleep.as_mut().poll(cx).is_ready()
        {
            if backend.lease().is_some_and(|lease| !lease.is_wanted()) {
                // No session waits for the backend, and `lastval` may still be called.
                sleep.as_mut().reset(tokio::time::Instant::now() + SEQUENCE_READ_TIMEOUT);
            } else {
                self.sequence_pause = None;
                is_over = true;
            }
        }
        is_over
    }

    /// The backend is lost, and the session goes on without the backend.
    pub(super) fn lose_backend(&mut self, backend: &mut BackendSide) {
        // A running comparison uses the lost backend.
        self.renewal = CatalogRenewal::default();
        if let Some(lease) = backend.detach() {
            self.acquirer.node_failed(&lease);
        }
        backend.received = ForwardBuffer::default();
    }

    /// Time within which a read pool begins to answer a read; zero without a limit.
    pub(super) fn read_deadline(&self) -> Duration {
        self.acquirer.read_deadline()
    }

    /// Requests a probe of the read pool: the leased backend has not begun to answer a read for long.
    pub(super) fn report_slow_reader(&self, backend: &BackendSide) {
        if let Some(lease) = backend.lease() {
            self.acquirer.report_silence(lease);
        }
    }

    /// True if the read pool of the leased backend does not answer the probe: the backend is given up, and counted.
    pub(super) fn gives_up_reader(&self, backend: &BackendSide) -> bool {
        let lease = backend.lease().filter(|lease| self.acquirer.is_silent(lease));
        if let Some(lease) = lease {
            lease.running().endpoint().metrics().backends_terminated(TerminationReason::Silence, 1);
        }
        lease.is_some()
    }

    /// Reports a replay position and a commit of the session.
    pub(super) fn report_positions(&self, session: &mut Session, backend: &BackendSide) {
        if let Some(replayed) = session.poll_position()
            && let (Some(lease), Some(asked_at)) = (backend.lease(), self.leased_at)
        {
            self.acquirer.replayed(lease, replayed, asked_at);
        }
        if session.poll_wrote() {
            self.acquirer.wrote();
        }
    }
}
