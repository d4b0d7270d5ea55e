//! Backend connection of a session.

use crate::{pool::Lease, tls::Stream};

/// Backend connection of a session.
pub(crate) enum SessionBackend {
    /// Backend connection of a dedicated session.
    Own(Stream),
    /// Leased backend connection.
    Leased(Lease),
    /// No backend: a pooled session between transactions.
    None,
}

// === impl SessionBackend ===

impl SessionBackend {
    /// The connection, if there is one.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Own(stream) => Some(stream),
            Self::Leased(lease) => Some(&mut lease.stream),
            Self::None => None,
        }
    }
}
