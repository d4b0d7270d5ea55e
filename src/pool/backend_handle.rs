//! Handle of a backend, for lookups during a lease.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::SystemTime,
};

use super::Pool;
use crate::{
    backend::{Backend, ConnectError, EndpointHandle, RoleReport},
    tls::TlsFacts,
    topology::NodeId,
    wire::BackendKey,
};

/// Constant facts of a backend, and the number of pending cancel requests.
pub struct BackendHandle {
    endpoint: EndpointHandle,
    pool: Weak<Pool>,
    slot: u32,
    key: Option<BackendKey>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    opened: SystemTime,
    /// The server reported recovery at the login.
    was_in_recovery: bool,
    node: Option<NodeId>,
    /// Cancel requests with open sockets.
    cancels: AtomicUsize,
    /// A cancel request was sent since the backend last settled.
    cancelled: AtomicBool,
}

/// A pending cancel request: until dropped, the backend is not leased to another session.
pub struct CancelGuard {
    running: Arc<BackendHandle>,
}

// === impl BackendHandle ===

impl BackendHandle {
    pub(super) fn new(pool: &Arc<Pool>, slot: u32, backend: &Backend, node: Option<NodeId>) -> Self {
        Self {
            endpoint: pool.endpoint().clone(),
            pool: Arc::downgrade(pool),
            slot,
            key: backend.logged_in.key.clone(),
            peer: backend.peer,
            local: backend.stream.tcp().and_then(|tcp| tcp.local_addr().ok()),
            tls: backend.stream.facts(),
            opened: SystemTime::now(),
            was_in_recovery: backend.is_in_recovery(),
            node,
            cancels: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
        }
    }

    /// The endpoint's handle.
    #[must_use]
    pub const fn endpoint(&self) -> &EndpointHandle {
        &self.endpoint
    }

    /// Node of the connection; `None` if unknown.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// Key to cancel the backend's statements; `None` if the server sent none.
    #[must_use]
    pub const fn server_key(&self) -> Option<&BackendKey> {
        self.key.as_ref()
    }

    /// The server's process id; 0 without a key.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.key.as_ref().map_or(0, BackendKey::pid)
    }

    /// The address that answered; `None` for a Unix-domain socket.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Local address of the connection; `None` for a Unix-domain socket.
    #[must_use]
    pub const fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Results of the TLS handshake; `None` in plaintext.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// Time of the login.
    #[must_use]
    pub const fn opened(&self) -> SystemTime {
        self.opened
    }

    /// Number of pending cancel requests.
    #[must_use]
    pub fn cancels(&self) -> usize {
        self.cancels.load(Relaxed)
    }

    /// Time of the login, if the server reported recovery then.
    #[must_use]
    pub fn in_recovery_at(&self) -> Option<SystemTime> {
        self.was_in_recovery.then_some(self.opened)
    }

    /// Starts a cancel request. The caller must ensure that the session still holds the lease: keep the handle in a
    /// place that the session clears before the release, and call the method under the lock of the place.
    #[must_use]
    pub fn begin_cancel(self: &Arc<Self>) -> CancelGuard {
        self.cancels.fetch_add(1, SeqCst);
        self.cancelled.store(true, SeqCst);
        CancelGuard { running: Arc::clone(self) }
    }

    /// True if a cancel request was sent since the last [`BackendHandle::settled`].
    pub(super) fn was_cancelled(&self) -> bool {
        self.cancelled.load(SeqCst)
    }

    /// True if a cancel request is pending.
    pub(super) fn is_being_cancelled(&self) -> bool {
        self.cancels.load(SeqCst) > 0
    }

    /// The server has answered a query sent after the last cancel request had arrived.
    pub(super) fn settled(&self) {
        self.cancelled.store(false, SeqCst);
    }
}

// === impl CancelGuard ===

impl CancelGuard {
    /// Sends the request and waits until the server has processed the request. Without a key nothing is sent.
    ///
    /// Cancel safety: after a drop the statement may or may not be canceled.
    ///
    /// # Errors
    /// [`ConnectError`] when the request could not be delivered.
    pub async fn send(&self) -> Result<(), ConnectError> {
        let BackendHandle { endpoint, key, peer, .. } = &*self.running;
        match key {
            Some(key) => endpoint.cancel(key, *peer).await,
            None => Ok(()),
        }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if self.running.cancels.fetch_sub(1, SeqCst) == 1
            && let Some(pool) = self.running.pool.upgrade()
        {
            pool.cancels_ended(self.running.slot, &self.running);
        }
    }
}
