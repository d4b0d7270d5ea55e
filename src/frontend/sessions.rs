//! Every session of the process: to find one by its cancel key, to list them, to end them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Instant, SystemTime},
};

use tokio::sync::Notify;

use crate::{
    audit::record,
    backend::EndpointHandle,
    names::EndpointName,
    route::Reason,
    wire::{BackendKey, TransactionStatus},
};

/// The sessions that are logged in.
#[derive(Default)]
pub struct Sessions {
    registry: Mutex<Registry>,
    last_id: AtomicU64,
    count: AtomicUsize,
    emptied: Notify,
}

#[derive(Default)]
struct Registry {
    by_pid: HashMap<i32, Vec<Arc<SessionEntry>>>,
    on_endpoint: HashMap<EndpointName, usize>,
}

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

/// Membership of one session; dropping it removes the session.
pub struct Registered {
    sessions: Arc<Sessions>,
    entry: Arc<SessionEntry>,
}

/// What the registry does not make up itself.
pub struct NewSession {
    /// See [`SessionEntry::key`].
    pub key: BackendKey,
    /// See [`SessionEntry::server_key`].
    pub server_key: Option<BackendKey>,
    /// See [`SessionEntry::facts`].
    pub facts: Arc<record::Session>,
    /// See [`SessionEntry::endpoint`].
    pub endpoint: EndpointHandle,
    /// See [`SessionEntry::peer`].
    pub peer: Option<SocketAddr>,
    /// See [`SessionEntry::reason`].
    pub reason: Reason,
}

// === impl Sessions ===

impl Sessions {
    /// A number no other session of this process has.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a session.
    #[must_use]
    pub fn register(self: &Arc<Self>, new: NewSession) -> Registered {
        let entry = Arc::new(SessionEntry {
            id: new.facts.id,
            key: new.key,
            server_key: new.server_key,
            facts: new.facts,
            endpoint: new.endpoint,
            peer: new.peer,
            reason: new.reason,
            started_at: SystemTime::now(),
            started: Instant::now(),
            activity: AtomicU64::new(Activity::default().pack()),
            order: AtomicU8::new(0),
            waker: Mutex::new(None),
        });
        let mut registry = self.lock();
        registry.by_pid.entry(entry.key.pid()).or_default().push(Arc::clone(&entry));
        *registry.on_endpoint.entry(entry.endpoint.name().clone()).or_default() += 1;
        drop(registry);
        self.count.fetch_add(1, Ordering::Relaxed);
        Registered { sessions: Arc::clone(self), entry }
    }

    /// The session that was given this key. Process ids repeat across servers, so the secret decides.
    #[must_use]
    pub fn find(&self, key: &BackendKey) -> Option<Arc<SessionEntry>> {
        self.lock().by_pid.get(&key.pid())?.iter().find(|entry| entry.key == *key).cloned()
    }

    /// The session with this number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<SessionEntry>> {
        self.lock().by_pid.values().flatten().find(|entry| entry.id == id).cloned()
    }

    /// All sessions, in no particular order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<SessionEntry>> {
        self.lock().by_pid.values().flatten().cloned().collect()
    }

    /// How many an endpoint serves.
    #[must_use]
    pub fn on_endpoint(&self, name: &EndpointName) -> usize {
        self.lock().on_endpoint.get(name).copied().unwrap_or(0)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Asks every session to do the same.
    pub fn order_all(&self, order: Order) {
        for entry in self.list() {
            entry.order(order);
        }
    }

    /// Returns when no session is left.
    ///
    /// Cancel safe.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn remove(&self, entry: &SessionEntry) {
        let mut registry = self.lock();
        if let Some(entries) = registry.by_pid.get_mut(&entry.key.pid()) {
            entries.retain(|other| other.id != entry.id);
            if entries.is_empty() {
                registry.by_pid.remove(&entry.key.pid());
            }
        }
        if let Some(count) = registry.on_endpoint.get_mut(entry.endpoint.name()) {
            *count -= 1;
            if *count == 0 {
                registry.on_endpoint.remove(entry.endpoint.name());
            }
        }
        drop(registry);
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.emptied.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SessionEntry ===

impl SessionEntry {
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

// === impl Registered ===

impl std::ops::Deref for Registered {
    type Target = Arc<SessionEntry>;

    fn deref(&self) -> &Self::Target {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.remove(&self.entry);
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
