//! Why a handshake with an endpoint fails.

use super::method::Method;
use crate::{
    scram::ScramError,
    wire::{DecodeError, ErrorFields, Frame, FrameError, Header, ProtocolVersion},
};

/// A peer that does not keep to the protocol. The connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(FrameError),
    /// A body that does not fit the tag.
    #[error(transparent)]
    Body(DecodeError),
    /// A message above the size limit, or too many messages.
    #[error("the handshake is too long")]
    TooMuch,
    /// An unexpected message; carries the awaited message.
    #[error("unexpected message while waiting for {0}")]
    OutOfTurn(&'static str),
    /// A version that was not requested.
    #[error("the server chose protocol version {0}, which was not requested")]
    Version(ProtocolVersion),
}

/// Error of a server that ended a login, unchanged.
#[derive(Clone, PartialEq, Eq)]
pub struct Refused {
    bytes: Vec<u8>,
    method: Option<Method>,
}

/// Why there is no login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Error reported by the server.
    #[error("{0}")]
    Refused(Refused),
    /// A request that neither password nor token can satisfy.
    #[error("the server requests {0}, which is not supported")]
    Unanswerable(Method),
    /// The server requests a password, and none is configured.
    #[error("the server requests a password ({0}), and none is configured")]
    NoCredential(Method),
    /// The SCRAM exchange failed locally: a malformed message, or a server without proof.
    #[error(transparent)]
    Scram(ScramError),
    /// The server does not keep to the protocol.
    #[error(transparent)]
    Violation(Violation),
}

// === impl Refused ===

impl Refused {
    pub(super) fn new(frame: &Frame<'_>, method: Option<Method>) -> Self {
        Self { bytes: frame.as_bytes().to_vec(), method }
    }

    /// A refusal with the given SQLSTATE.
    #[cfg(test)]
    pub(crate) fn scripted(sqlstate: [u8; 5]) -> Self {
        use crate::wire::{ErrorResponse, Severity, SqlState};
        let mut bytes = Vec::new();
        ErrorResponse::new(Severity::Fatal, SqlState::new(sqlstate), "scripted").write(&mut bytes);
        Self { bytes, method: None }
    }

    /// The whole ErrorResponse, for forwarding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// View of the error's fields.
    #[must_use]
    pub fn fault(&self) -> ErrorFields<'_> {
        ErrorFields::new(self.bytes.get(Header::BYTES..).unwrap_or_default())
    }

    /// Authentication method requested before the error, if any; helps to explain the error.
    #[must_use]
    pub const fn method(&self) -> Option<Method> {
        self.method
    }
}

impl std::fmt::Display for Refused {
    /// The server's own words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fault().message())
    }
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Refused({:?}, {:?})", self.fault(), self.method)
    }
}
