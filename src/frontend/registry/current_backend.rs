//! The backend that runs a session's statements.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    audit::record,
    backend::{ConnectError, EndpointHandle, TcpPath},
    pool::{BackendHandle, CancelGuard},
    wire::BackendKey,
};

/// The backend that runs a session's statements.
#[derive(Clone)]
pub enum CurrentBackend {
    /// A dedicated backend.
    Own(Arc<OwnBackend>),
    /// Leased backend.
    Leased(Arc<BackendHandle>),
}

/// A backend that belongs to one dedicated session.
pub struct OwnBackend {
    /// Endpoint of the connection.
    pub endpoint: EndpointHandle,
    /// The server's cancel key.
    pub server_key: Option<BackendKey>,
    /// Address of the server.
    pub peer: Option<SocketAddr>,
    /// Local address of the connection.
    pub local: Option<SocketAddr>,
}

/// A pending cancel request. A leased backend is not leased to another session until the request is dropped.
pub(crate) enum Cancel {
    /// To the backend of a dedicated session.
    Own(Arc<OwnBackend>),
    /// To a leased backend.
    Leased(CancelGuard),
}

// === impl CurrentBackend ===

impl CurrentBackend {
    /// Endpoint of the connection.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointHandle {
        match self {
            Self::Own(own) => &own.endpoint,
            Self::Leased(running) => running.endpoint(),
        }
    }

    /// Address of the server; `None` for a Unix-domain socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Own(own) => own.peer,
            Self::Leased(running) => running.peer(),
        }
    }

    /// Addresses of the connection; `None` for a Unix-domain socket.
    pub(crate) fn tcp_path(&self) -> Option<TcpPath> {
        let (local, peer) = match self {
            Self::Own(own) => (own.local, own.peer),
            Self::Leased(running) => (running.local(), running.peer()),
        };
        Some(TcpPath { local: local?, peer: peer? })
    }

    /// The server's cancel key.
    #[must_use]
    pub fn server_key(&self) -> Option<&BackendKey> {
        match self {
            Self::Own(own) => own.server_key.as_ref(),
            Self::Leased(running) => running.server_key(),
        }
    }

    /// True if both are the same connection.
    pub(crate) fn is_same_connection(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => Arc::ptr_eq(one, other),
            (Self::Leased(one), Self::Leased(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The server in the audit log's form.
    #[must_use]
    pub fn record(&self) -> record::ServerRecord {
        record::ServerRecord {
            endpoint: Arc::clone(self.endpoint().endpoint()),
            backend_pid: self.server_key().map(BackendKey::pid),
        }
    }

    /// Begins a cancel request to this backend.
    pub(crate) fn begin_cancel(&self) -> Cancel {
        match self {
            Self::Own(own) => Cancel::Own(Arc::clone(own)),
            Self::Leased(running) => Cancel::Leased(running.begin_cancel()),
        }
    }
}

// === impl Cancel ===

impl Cancel {
    /// Cancels the running statement and waits until the server has acted. Sends no request to a server without a
    /// cancel key.
    ///
    /// Cancel safety: if dropped, the statement may or may not be canceled.
    ///
    /// # Errors
    /// [`ConnectError`] if the request could not be delivered.
    pub(crate) async fn send(&self) -> Result<(), ConnectError> {
        match self {
            Self::Own(own) => match &own.server_key {
                Some(key) => own.endpoint.cancel(key, own.peer).await,
                None => Ok(()),
            },
            Self::Leased(guard) => guard.send().await,
        }
    }
}
