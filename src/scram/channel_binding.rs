//! Channel binding: proof that the TLS channel and the SCRAM exchange have the same ends.
//!
//! The only supported type is `tls-server-end-point` (RFC 5929): a hash of the server's certificate, computed by `tls`.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

/// Channel binding as seen by a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// No TLS, or no certificate to bind to.
    Unavailable,
    /// The client supports binding, but the server offered none. A server that did offer binding rejects the login.
    NotOffered,
    /// Bound to the server certificate with the given hash.
    EndPoint(Vec<u8>),
}

/// First field of the GS2 header: the client's view of channel binding.
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

    pub(super) const fn gs2_flag(&self) -> Flag {
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
