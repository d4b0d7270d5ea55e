//! Registry entry of one session: identity, activity, and commands to the session.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use super::{
    activity_times::ActivityTimes,
    current_backend::{Cancel, CurrentBackend},
};
use crate::{
    audit::record,
    backend::TcpPath,
    closed_set::closed_set,
    names::EndpointName,
    pool::{BackendHandle, Pool},
    route::RouteReason,
    session::Pins,
    telemetry::labels::TerminationReason,
    tls::Stream,
    topology::{DeclaredRole, TopologySnapshot},
    wire::{BackendKey, TransactionStatus},
};

/// Registry entry of one session.
pub struct SessionEntry {
    /// Unique in this process.
    pub id: u64,
    /// Cancel key of the client.
    pub key: BackendKey,
    /// Identity, address and startup parameters of the client.
    pub facts: Arc<record::Session>,
    /// Wall-clock time of the login.
    pub started_at: SystemTime,
    /// Addresses of the client's connection; `None` for a Unix-domain socket.
    client_path: Option<TcpPath>,
    /// True for a session with one backend for life.
    is_dedicated: bool,
    loss_limit: Duration,
    /// When [`Self::end_writer_role`] was called first, for a dedicated session.
    withdrawn_at: OnceLock<Instant>,
    backend: Mutex<Held>,
    /// Current activity, packed by [`Activity`].
    activity: AtomicU64,
    times: ActivityTimes,
    pins: AtomicU16,
    /// Notified when the backend is returned, or accepts cancel requests again.
    exposed: Notify,
    /// The client has canceled the wait for a backend.
    wait_cancelled: AtomicBool,
    /// [`Held::is_lost`] was set since the last call of [`Self::take_backend_lost`].
    backend_lost: AtomicBool,
    command: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// The current backend of a session, with the reason for its endpoint.
struct Held {
    current_backend: Option<CurrentBackend>,
    /// Internal statements run on the backend: cancel requests must wait.
    sheltered: bool,
    /// The backend belongs to a server that is gone, even if the connection has not ended.
    is_lost: bool,
    /// Reason for the last endpoint.
    reason: RouteReason,
    /// Pool in which the session waits.
    awaited: Option<Arc<Pool>>,
}

/// Activity of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Number of statements started.
    pub begun: u64,
    /// A statement is running, or waits.
    pub busy: bool,
    /// Reason for a wait of the statement.
    pub wait: SessionWait,
    /// Transaction status last reported by the server.
    pub status: TransactionStatus,
}

closed_set! {
    /// Reason for which a statement does not run yet.
    pub enum SessionWait {
        /// The statement does not wait.
        Nothing = "nothing",
        /// All backends of the pool are in use, or none is logged in.
        Backend = "backend",
        /// No writer is available: the client is on hold.
        Writer = "writer",
    }
}

/// Command to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionCommand {
    /// End between two transactions: the endpoint is no longer the writer.
    Withdraw,
    /// End between two transactions.
    Drain,
    /// Terminate at once: the endpoint is no longer the writer, and the transaction takes too long.
    Expel,
    /// Terminate at once, by an operator's command.
    Kill,
    /// Terminate at once, because the program stops.
    Stop,
    /// Terminate at once: the client's machine is gone.
    GiveUp,
}

/// Shortest time after which a silent server counts as lost, and a transaction on an endpoint that is no longer the writer
/// ends: shorter interruptions of a network are usual.
const MIN_LOSS_LIMIT: Duration = Duration::from_secs(10);

// === impl SessionEntry ===

impl SessionEntry {
    /// Entry of a logged-in session. `key` is the client's cancel key, `current_backend` the backend of a dedicated
    /// session, and `reason` the reason for its endpoint.
    #[must_use]
    pub fn new(
        facts: Arc<record::Session>,
        key: BackendKey,
        current_backend: Option<CurrentBackend>,
        reason: RouteReason,
    ) -> Self {
        Self {
            id: facts.id,
            key,
            facts,
            started_at: SystemTime::now(),
            client_path: None,
            // A pooled session begins without a backend.
            is_dedicated: current_backend.is_some(),
            loss_limit: MIN_LOSS_LIMIT,
            withdrawn_at: OnceLock::new(),
            backend: Mutex::new(Held {
                current_backend,
                sheltered: false,
                is_lost: false,
                reason,
                awaited: None,
            }),
            exposed: Notify::new(),
            activity: AtomicU64::new(Activity::default().pack()),
            times: ActivityTimes::idle_since(Instant::now()),
            pins: AtomicU16::new(0),
            wait_cancelled: AtomicBool::new(false),
            backend_lost: AtomicBool::new(false),
            command: AtomicU8::new(0),
            waker: Mutex::new(None),
        }
    }

    /// Notes the client's connection, and sets [`Self::loss_limit`] to the `hold` of the listener, or to the shortest limit.
    pub(crate) fn with_client(self, client: &Stream, hold: Duration) -> Self {
        Self { client_path: TcpPath::of(client), ..self.with_loss_limit(hold) }
    }

    /// Sets [`Self::loss_limit`] to `hold`, or to the shortest limit.
    pub(in crate::frontend) fn with_loss_limit(self, hold: Duration) -> Self {
        Self { loss_limit: hold.max(MIN_LOSS_LIMIT), ..self }
    }

    /// Addresses of the client's connection; `None` for a Unix-domain socket.
    pub(crate) const fn client_path(&self) -> Option<TcpPath> {
        self.client_path
    }

    /// Wait for a silent server, or for a transaction on an endpoint that lost the role of writer.
    pub(crate) const fn loss_limit(&self) -> Duration {
        self.loss_limit
    }

    /// True if the session may have a backend. No lock is taken.
    pub(crate) fn may_hold_backend(&self) -> bool {
        let activity = self.activity();
        let is_at_rest = !activity.busy && activity.status == TransactionStatus::Idle;
        self.is_dedicated || !is_at_rest || !self.pins().is_empty()
    }

    /// True for a session with one backend for life.
    pub(crate) const fn is_dedicated(&self) -> bool {
        self.is_dedicated
    }

    /// Ends the use of the backend if its endpoint has lost the role of writer. A pooled session loses the backend at once; a
    /// dedicated session ends after its transaction. Sessions whose route names the endpoint stay.
    pub(crate) fn follow_writer_role(&self, topology: &TopologySnapshot, now: Instant) {
        let Some(backend) = self.current_backend() else { return };
        let endpoint = backend.endpoint();
        let is_lost = endpoint.endpoint().role == DeclaredRole::Primary
            && self.reason() != RouteReason::Named
            && topology.has_lost_writer_role(endpoint.name());
        if is_lost && self.end_writer_role(&backend, now) {
            tracing::debug!(session = self.id, endpoint = %endpoint.name(), "endpoint lost the role of writer");
            endpoint.metrics().backends_terminated(TerminationReason::Role, 1);
        }
    }

    /// Ends the use of `backend`, whose endpoint has lost the role of writer. True for the first call.
    fn end_writer_role(&self, backend: &CurrentBackend, now: Instant) -> bool {
        if !self.is_dedicated {
            return self.lose_backend(|current| current.is_same_connection(backend));
        }
        let is_first = self.note_withdrawal(now);
        if is_first {
            self.send_command(SessionCommand::Withdraw);
        }
        is_first
    }

    /// Notes that the endpoint of a dedicated session has lost the role of writer. True for the first call.
    fn note_withdrawal(&self, now: Instant) -> bool {
        self.withdrawn_at.set(now).is_ok()
    }

    /// Ends a dedicated session at once, whose endpoint has lost the role of writer. True if the loss is new.
    pub(super) fn expel(&self, now: Instant) -> bool {
        self.send_command(SessionCommand::Expel);
        self.note_withdrawal(now)
    }

    /// Ends a session at once that was withdrawn [`Self::loss_limit`] ago.
    pub(crate) fn expel_late(&self, now: Instant) {
        let withdrawn_at = self.withdrawn_at.get();
        if withdrawn_at.is_some_and(|then| now.saturating_duration_since(*then) >= self.loss_limit) {
            self.send_command(SessionCommand::Expel);
        }
    }

    /// The current backend.
    #[must_use]
    pub fn current_backend(&self) -> Option<CurrentBackend> {
        self.held().current_backend.clone()
    }

    /// Endpoint of a dedicated session.
    pub(crate) fn own_endpoint(&self) -> Option<EndpointName> {
        match &self.held().current_backend {
            Some(CurrentBackend::Own(own)) => Some(own.endpoint.name().clone()),
            _ => None,
        }
    }

    /// Reason for the endpoint of the current or the last backend.
    #[must_use]
    pub fn reason(&self) -> RouteReason {
        self.held().reason
    }

    /// Records a lease. With `sheltered`, cancel requests wait for [`Self::admit_cancels`]: they would cancel the
    /// settings or the BEGIN sent ahead of the statement, and the statement would run without them.
    pub(crate) fn leased(&self, running: &Arc<BackendHandle>, reason: RouteReason, sheltered: bool) {
        let current_backend = Some(CurrentBackend::Leased(Arc::clone(running)));
        *self.held() = Held { current_backend, sheltered, is_lost: false, reason, awaited: None };
    }

    /// Notes the pool in which the session waits; `None` at the end of a wait without a lease.
    pub(crate) fn set_awaited_pool(&self, pool: Option<&Arc<Pool>>) {
        self.held().awaited = pool.map(Arc::clone);
    }

    /// The pool in which the session waits.
    #[must_use]
    pub fn awaited_pool(&self) -> Option<Arc<Pool>> {
        self.held().awaited.clone()
    }

    /// From now on, the client's own statement runs on the backend.
    pub(crate) fn admit_cancels(&self) {
        self.held().sheltered = false;
        self.exposed.notify_waiters();
    }

    /// Removes the backend before its return, so that later cancel requests do not reach it.
    pub(crate) fn clear_backend(&self) {
        let mut held = self.held();
        held.current_backend = None;
        held.is_lost = false;
        if std::mem::take(&mut held.sheltered) {
            drop(held);
            self.exposed.notify_waiters();
        }
    }

    /// Ends the use of the current backend, if `is_lost`: the connection counts as broken. True if so.
    pub(crate) fn lose_backend(&self, is_lost: impl FnOnce(&CurrentBackend) -> bool) -> bool {
        let mut held = self.held();
        let loses = !held.is_lost && held.current_backend.as_ref().is_some_and(is_lost);
        if loses {
            held.is_lost = true;
            drop(held);
            self.backend_lost.store(true, Ordering::Release);
            self.wake();
        }
        loses
    }

    /// True once per [`Self::lose_backend`] of the backend still in use.
    pub(crate) fn take_backend_lost(&self) -> bool {
        let was_lost =
            self.backend_lost.load(Ordering::Acquire) && self.backend_lost.swap(false, Ordering::AcqRel);
        was_lost && std::mem::take(&mut self.held().is_lost)
    }

    /// A cancel request for the current backend; `None` without a backend.
    pub(crate) fn begin_cancel(&self) -> Option<Cancel> {
        // Under the lock, so that the backend still belongs to this session.
        self.held().current_backend.as_ref().map(CurrentBackend::begin_cancel)
    }

    /// A cancel request for the client's statement. Without a backend, ends the wait for one and returns `None`.
    ///
    /// Cancel safe.
    pub(crate) async fn begin_cancel_of_statement(&self) -> Option<Cancel> {
        loop {
            let exposed = self.exposed.notified();
            {
                let held = self.held();
                match &held.current_backend {
                    Some(current_backend) if !held.sheltered => return Some(current_backend.begin_cancel()),
                    Some(_) => {}
                    None => break,
                }
            }
            exposed.await;
        }
        self.wait_cancelled.store(true, Ordering::Release);
        self.wake();
        None
    }

    /// True if the client has canceled the wait since the last call.
    pub(crate) fn take_wait_cancelled(&self) -> bool {
        self.wait_cancelled.load(Ordering::Acquire) && self.wait_cancelled.swap(false, Ordering::AcqRel)
    }

    /// Pins of the session.
    #[must_use]
    pub fn pins(&self) -> Pins {
        Pins::from_bits(self.pins.load(Ordering::Relaxed))
    }

    /// Publishes the pins of the session.
    pub(crate) fn set_pins(&self, pins: Pins) {
        self.pins.store(pins.bits(), Ordering::Relaxed);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Current activity.
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity::unpack(self.activity.load(Ordering::Relaxed))
    }

    /// Sends a command; the strongest command counts.
    pub fn send_command(&self, command: SessionCommand) {
        self.command.fetch_max(command as u8 + 1, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Command to the session, if any.
    pub(crate) fn pending_command(&self) -> Option<SessionCommand> {
        let number = self.command.load(Ordering::Acquire);
        SessionCommand::ALL.into_iter().find(|command| *command as u8 + 1 == number)
    }

    /// Stores the waker for commands. Read [`Self::pending_command`] after this call, not before.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Publishes the activity of the session, which differs from the last one since `now`.
    pub(crate) fn set_activity(&self, activity: Activity, now: Instant) {
        self.times.note_state(now);
        self.activity.store(activity.pack(), Ordering::Relaxed);
    }

    /// Publishes the start of the transaction that is open on a backend; `None` without one.
    pub(crate) fn set_transaction(&self, start: Option<Instant>) {
        self.times.note_transaction(start);
    }

    /// Start of the current activity: of the statement, the wait, or the pause between statements.
    #[must_use]
    pub fn state_start(&self) -> Instant {
        self.times.state_start()
    }

    /// Start of the transaction that is open on a backend; a statement outside a transaction block counts as one.
    #[must_use]
    pub fn transaction_start(&self) -> Option<Instant> {
        self.times.transaction_start()
    }

    /// Start of the open transaction block; `None` outside of one.
    #[must_use]
    pub fn block_start(&self) -> Option<Instant> {
        self.transaction_start().filter(|_| self.activity().status != TransactionStatus::Idle)
    }
}

// === impl SessionCommand ===

impl SessionCommand {
    const ALL: [Self; 6] = [Self::Withdraw, Self::Drain, Self::Expel, Self::Kill, Self::Stop, Self::GiveUp];
}

// === impl Activity ===

impl Activity {
    fn pack(self) -> u64 {
        let status = match self.status {
            TransactionStatus::Idle => 0,
            TransactionStatus::Open => 1,
            TransactionStatus::Failed => 2,
        };
        self.begun << 5 | (self.wait.index() as u64) << 3 | u64::from(self.busy) << 2 | status
    }

    fn unpack(packed: u64) -> Self {
        let status = match packed & 3 {
            0 => TransactionStatus::Idle,
            1 => TransactionStatus::Open,
            _ => TransactionStatus::Failed,
        };
        let wait = match packed >> 3 & 3 {
            0 => SessionWait::Nothing,
            1 => SessionWait::Backend,
            _ => SessionWait::Writer,
        };
        Self { begun: packed >> 5, busy: packed & 4 != 0, wait, status }
    }

    /// Name in the admin API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.busy, self.status) {
            (true, _) => "active",
            (false, TransactionStatus::Idle) => "idle",
            (false, TransactionStatus::Open) => "idle in transaction",
            (false, TransactionStatus::Failed) => "idle in transaction (aborted)",
        }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self { begun: 0, busy: false, wait: SessionWait::Nothing, status: TransactionStatus::Idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_survives_its_packing() {
        for wait in SessionWait::ALL {
            for status in [TransactionStatus::Idle, TransactionStatus::Open, TransactionStatus::Failed] {
                for (begun, busy) in [(0, false), (7, true), (1 << 40, true)] {
                    let activity = Activity { begun, busy, wait, status };
                    assert_eq!(Activity::unpack(activity.pack()), activity);
                }
            }
        }
    }
}
