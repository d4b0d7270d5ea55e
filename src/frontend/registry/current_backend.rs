//! Backend that runs the statements of a session now.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    audit::record,
    backend::{ConnectError, EndpointHandle},
    pool::{BackendHandle, CancelGuard},
    wire::BackendKey,
};

/// Backend that runs the statements of a session now.
#[derive(Clone)]
pub enum CurrentBackend {
    /// Its own, for life.
    Own(Arc<OwnBackend>),
    /// Leased backend.
    Leased(Arc<BackendHandle>),
}

/// A backend that belongs to one session for life.
pub struct OwnBackend {
    /// The endpoint it is a connection to.
    pub endpoint: EndpointHandle,
    /// What the server wants to hear for a cancel.
    pub server_key: Option<BackendKey>,
    /// The address that it was reached at.
    pub peer: Option<SocketAddr>,
}

/// A cancel request that is about to be sent: a leased backend goes to nobody else while this lives.
pub(crate) enum Cancel {
    /// To the backend of a dedicated session.
    Own(Arc<OwnBackend>),
    /// To a leased backend.
    Leased(CancelGuard),
}

// === impl CurrentBackend ===

impl CurrentBackend {
    /// The endpoint it is a connection to.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointHandle {
        match self {
            Self::Own(own) => &own.endpoint,
            Self::Leased(running) => running.endpoint(),
        }
    }

    /// The address that it was reached at; `None` for a Unix-domain socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Own(own) => own.peer,
            Self::Leased(running) => running.peer(),
        }
    }

    /// What the server wants to hear for a cancel.
    #[must_use]
    pub fn server_key(&self) -> Option<&BackendKey> {
        match self {
            Self::Own(own) => own.server_key.as_ref(),
            Self::Leased(running) => running.server_key(),
        }
    }

    /// The server as the audit log names it.
    #[must_use]
    pub fn record(&self) -> record::Server {
        record::Server {
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
    /// Has the statement cancelled that runs there, and waits until the server has acted on it. Nothing is sent to a server
    /// that gave no key.
    ///
    /// Cancel safety: dropping it may or may not have cancelled the statement.
    ///
    /// # Errors
    /// [`ConnectError`] when the request could not be delivered.
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
