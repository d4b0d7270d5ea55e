//! One session as others see it: who, where, doing what; and how it is told to do something else.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Instant, SystemTime},
};

use crate::{
    audit::record,
    backend::EndpointHandle,
    route::Reason,
    wire::{BackendKey, TransactionStatus},
};

/// One session, as others may see it.
pub struct SessionEntry {
    /// Unique in this process.
    pub id: u64,
    /// What the client was told to cancel with: the server's process id, and a secret of ours.
    pub key: BackendKey,
    /// What the server wants to hear for a cancel.
    pub server_key: Option<BackendKey>,
    /// Who the client is, where it came from and what it wanted.
    pub facts: Arc<record::Session>,
    /// The endpoint that serves it.
    pub endpoint: EndpointHandle,
    /// The address that the backend was reached at.
    pub peer: Option<SocketAddr>,
    /// Why that one.
    pub reason: Reason,
    /// When it was logged in, by the wall clock.
    pub started_at: SystemTime,
    /// When it was logged in.
    pub started: Instant,
    /// What it is doing, packed by [`Activity`].
    activity: AtomicU64,
    order: AtomicU8,
    waker: Mutex<Option<Waker>>,
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

/// What a session is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// End between two transactions.
    Drain,
    /// End now: an operator said so.
    Kill,
    /// End now: the program does.
    Stop,
}

// === impl SessionEntry ===

impl SessionEntry {
    /// A session that has its backend now. `key` is what the client was told to cancel with, `server_key` what the server
    /// wants to hear; `peer` is the address that the backend was reached at.
    #[must_use]
    pub fn new(
        facts: Arc<record::Session>,
        key: BackendKey,
        server_key: Option<BackendKey>,
        endpoint: EndpointHandle,
        peer: Option<SocketAddr>,
        reason: Reason,
    ) -> Self {
        Self {
            id: facts.id,
            key,
            server_key,
            facts,
            endpoint,
            peer,
            reason,
            started_at: SystemTime::now(),
            started: Instant::now(),
            activity: AtomicU64::new(Activity::default().pack()),
            order: AtomicU8::new(0),
            waker: Mutex::new(None),
        }
    }

    /// The server that serves it, as the audit log names it.
    #[must_use]
    pub fn server(&self) -> record::Server {
        record::Server {
            endpoint: Arc::clone(self.endpoint.endpoint()),
            backend_pid: self.server_key.as_ref().map(BackendKey::pid),
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity::unpack(self.activity.load(Ordering::Relaxed))
    }

    /// Asks it to do something; the strongest order counts.
    pub fn order(&self, order: Order) {
        self.order.fetch_max(order as u8 + 1, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What it was asked to do.
    pub(super) fn ordered(&self) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Order::Drain),
            2 => Some(Order::Kill),
            _ => Some(Order::Stop),
        }
    }

    /// Says whom to wake for an order. Look at [`Self::ordered`] after this, not before.
    pub(super) fn wake_with(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    pub(super) fn set_activity(&self, activity: Activity) {
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
