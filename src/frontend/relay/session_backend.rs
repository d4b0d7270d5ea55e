//! The way from a session to its backend.

use crate::{pool::Lease, tls::Stream};

/// The way from a session to its backend.
pub(crate) enum Link {
    /// A backend of its own, for life.
    Own(Stream),
    /// A backend that it has leased.
    Leased(Lease),
    /// None: it shares backends and needs none now.
    None,
}

// === impl Link ===

impl Link {
    /// The connection, if there is one.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Own(stream) => Some(stream),
            Self::Leased(lease) => Some(&mut lease.stream),
            Self::None => None,
        }
    }
}
