//! A backend, for whoever has to find it while somebody else uses it.

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
    backend::{Backend, ConnectError, EndpointHandle},
    tls::TlsFacts,
    topology::NodeId,
    wire::BackendKey,
};

/// What stays the same about a backend, and how many cancel requests are on their way to it.
pub struct Running {
    endpoint: EndpointHandle,
    pool: Weak<Pool>,
    slot: u32,
    key: Option<BackendKey>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    opened: SystemTime,
    node: Option<NodeId>,
    /// Cancel requests whose sockets have not closed yet.
    cancels: AtomicUsize,
    /// One was sent since the backend was last known to be past it.
    cancelled: AtomicBool,
}

/// A cancel request is on its way: while this lives the backend is given to nobody else.
pub struct CancelGuard {
    running: Arc<Running>,
}

// === impl Running ===

impl Running {
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
            node,
            cancels: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
        }
    }

    /// The way to its endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &EndpointHandle {
        &self.endpoint
    }

    /// The node it is a connection to; `None` where nobody asked, or the server would not say.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// What cancels its statements; `None` from servers that give none.
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

    /// Our own end of the connection; `None` for a Unix-domain socket.
    #[must_use]
    pub const fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// What was agreed upon in the TLS handshake; `None` in plaintext.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// When it logged in.
    #[must_use]
    pub const fn opened(&self) -> SystemTime {
        self.opened
    }

    /// Cancel requests on their way to it.
    #[must_use]
    pub fn cancels(&self) -> usize {
        self.cancels.load(Relaxed)
    }

    /// A cancel request sets out. Whoever calls this has to know that the session in question still holds its lease: take this
    /// value out of a place that the session empties before it releases, and call this under that place's lock.
    #[must_use]
    pub fn begin_cancel(self: &Arc<Self>) -> CancelGuard {
        self.cancels.fetch_add(1, SeqCst);
        self.cancelled.store(true, SeqCst);
        CancelGuard { running: Arc::clone(self) }
    }

    /// Whether a cancel request was sent since the last [`Running::settled`].
    pub(super) fn was_cancelled(&self) -> bool {
        self.cancelled.load(SeqCst)
    }

    /// Whether one is still on its way.
    pub(super) fn is_being_cancelled(&self) -> bool {
        self.cancels.load(SeqCst) > 0
    }

    /// The server has answered something that was asked after the last request had arrived.
    pub(super) fn settled(&self) {
        self.cancelled.store(false, SeqCst);
    }
}

// === impl CancelGuard ===

impl CancelGuard {
    /// Sends the request, and waits until the server has acted on it. Nothing is sent to a server that gave no key.
    ///
    /// Cancel safety: dropping it may or may not have cancelled the statement.
    ///
    /// # Errors
    /// [`ConnectError`] when the request could not be delivered.
    pub async fn send(&self) -> Result<(), ConnectError> {
        let Running { endpoint, key, peer, .. } = &*self.running;
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
