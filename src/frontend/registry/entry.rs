//! One session as others see it: who, where, doing what; and how it is told to do something else.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering},
    },
    task::Waker,
    time::SystemTime,
};

use tokio::sync::Notify;

use super::current_backend::{Cancel, CurrentBackend};
use crate::{
    audit::record,
    names::EndpointName,
    pool::BackendHandle,
    route::RouteReason,
    session::Pins,
    wire::{BackendKey, TransactionStatus},
};

/// One session, as others may see it.
pub struct SessionEntry {
    /// Unique in this process.
    pub id: u64,
    /// What the client was told to cancel with.
    pub key: BackendKey,
    /// Who the client is, where it came from and what it wanted.
    pub facts: Arc<record::Session>,
    /// When it was logged in, by the wall clock.
    pub started_at: SystemTime,
    backend: Mutex<Held>,
    /// What it is doing, packed by [`Activity`].
    activity: AtomicU64,
    pins: AtomicU16,
    /// It has given its backend back, or takes cancel requests for it again.
    exposed: Notify,
    /// Its wait for a backend is to end: the client has cancelled it.
    wait_cancelled: AtomicBool,
    command: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// The backend that a session has, if it has one, and why that one.
struct Held {
    current_backend: Option<CurrentBackend>,
    /// What runs on it is not the client's: a cancel request is to wait.
    sheltered: bool,
    /// Why the last one.
    reason: RouteReason,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Statements begun so far.
    pub begun: u64,
    /// A statement is under way.
    pub busy: bool,
    /// The transaction status that the server said last.
    pub status: TransactionStatus,
}

/// Command to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionCommand {
    /// End between two transactions.
    Drain,
    /// End now: an operator said so.
    Kill,
    /// End now: the program does.
    Stop,
}

// === impl SessionEntry ===

impl SessionEntry {
    /// A session that was logged in. `key` is what the client was told to cancel with, `current_backend` the backend that it has, if
    /// it has one yet, `reason` why that one.
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
            backend: Mutex::new(Held { current_backend, sheltered: false, reason }),
            exposed: Notify::new(),
            activity: AtomicU64::new(Activity::default().pack()),
            pins: AtomicU16::new(0),
            wait_cancelled: AtomicBool::new(false),
            command: AtomicU8::new(0),
            waker: Mutex::new(None),
        }
    }

    /// The backend that it has now.
    #[must_use]
    pub fn current_backend(&self) -> Option<CurrentBackend> {
        self.held().current_backend.clone()
    }

    /// The endpoint that it has a backend of for life.
    pub(crate) fn own_endpoint(&self) -> Option<EndpointName> {
        match &self.held().current_backend {
            Some(CurrentBackend::Own(own)) => Some(own.endpoint.name().clone()),
            _ => None,
        }
    }

    /// Why it has this backend, or had the last one.
    #[must_use]
    pub fn reason(&self) -> RouteReason {
        self.held().reason
    }

    /// It has leased a backend. With `sheltered`, cancel requests wait for [`Self::expose`]: they would hit the settings or
    /// the BEGIN that go ahead of the statement, and the statement would run without them.
    pub(crate) fn leased(&self, running: &Arc<BackendHandle>, reason: RouteReason, sheltered: bool) {
        *self.held() =
            Held { current_backend: Some(CurrentBackend::Leased(Arc::clone(running))), sheltered, reason };
    }

    /// What runs on its backend is the client's from now on.
    pub(crate) fn expose(&self) {
        self.held().sheltered = false;
        self.exposed.notify_waiters();
    }

    /// It is about to give its backend back: whoever wants to cancel finds it no more.
    pub(crate) fn released(&self) {
        let mut held = self.held();
        held.current_backend = None;
        if std::mem::take(&mut held.sheltered) {
            drop(held);
            self.exposed.notify_waiters();
        }
    }

    /// A cancel request for what runs now, whatever it is; `None` when the session has no backend.
    pub(crate) fn begin_cancel(&self) -> Option<Cancel> {
        // Under the lock: the backend is this session's for as long as it is held.
        self.held().current_backend.as_ref().map(CurrentBackend::begin_cancel)
    }

    /// A cancel request for the client's statement; `None` when the session has no backend. Its wait for one ends then.
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

    /// Whether the client has cancelled its wait since this was asked last.
    pub(crate) fn take_wait_cancelled(&self) -> bool {
        self.wait_cancelled.load(Ordering::Acquire) && self.wait_cancelled.swap(false, Ordering::AcqRel)
    }

    /// Why it may not give its backend back.
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

    /// What it is doing.
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
        match self.command.load(Ordering::Acquire) {
            0 => None,
            1 => Some(SessionCommand::Drain),
            2 => Some(SessionCommand::Kill),
            _ => Some(SessionCommand::Stop),
        }
    }

    /// Stores the waker for commands. Look at [`Self::pending_command`] after this, not before.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// Publishes the activity of the session.
    pub(crate) fn set_activity(&self, activity: Activity) {
        self.activity.store(activity.pack(), Ordering::Relaxed);
    }
}

// === impl Activity ===

impl Activity {
    fn pack(self) -> u64 {
        let status = match self.status {
            TransactionStatus::Idle => 0,
            TransactionStatus::Open => 1,
            TransactionStatus::Failed => 2,
        };
        self.begun << 3 | u64::from(self.busy) << 2 | status
    }

    fn unpack(packed: u64) -> Self {
        let status = match packed & 3 {
            0 => TransactionStatus::Idle,
            1 => TransactionStatus::Open,
            _ => TransactionStatus::Failed,
        };
        Self { begun: packed >> 3, busy: packed & 4 != 0, status }
    }

    /// The word used by the admin API.
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
        Self { begun: 0, busy: false, status: TransactionStatus::Idle }
    }
}
