//! Channel binding: proof that both ends of the TLS channel are those of the SCRAM exchange.
//!
//! The one type is `tls-server-end-point` (RFC 5929): a hash of the server's certificate, which `tls` computes.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

/// What a client knows of the channel it logs in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// There is no TLS, or it has no certificate to bind to.
    Unavailable,
    /// There is, but the server did not offer to bind to it. A server that did will notice.
    NotOffered,
    /// Bound to a server whose certificate has this hash.
    EndPoint(Vec<u8>),
}

/// The GS2 header's first field, which says what the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Unavailable,
    NotOffered,
    EndPoint,
}

impl ChannelBinding {
    /// The hash, if the exchange is bound.
    pub(super) fn data(&self) -> &[u8] {
        match self {
            Self::Unavailable | Self::NotOffered => &[],
            Self::EndPoint(hash) => hash,
        }
    }

    pub(super) const fn flag(&self) -> Flag {
        match self {
            Self::Unavailable => Flag::Unavailable,
            Self::NotOffered => Flag::NotOffered,
            Self::EndPoint(_) => Flag::EndPoint,
        }
    }
}

impl Flag {
    /// The whole GS2 header: the flag, and no authorization identity.
    pub(super) const fn header(self) -> &'static str {
        match self {
            Self::Unavailable => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint => "p=tls-server-end-point,,",
        }
    }

    /// The value of attribute `c`: header and channel's hash in base 64.
    pub(super) fn input(self, data: &[u8]) -> String {
        BASE64.encode([self.header().as_bytes(), data].concat())
    }
}
