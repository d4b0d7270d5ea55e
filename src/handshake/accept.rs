//! Server side: the first packets, up to the StartupMessage.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

use super::{Taken, negotiation::Negotiation};
use crate::wire::{BackendKey, FirstPacket, ProtocolVersion, SqlState, StartupError, StartupMessage};

/// Takes a client's first packets.
#[derive(Debug)]
pub struct Accept {
    tls_offered: bool,
    /// State of TLS: an SSLRequest, or a TLS handshake at once, may still follow.
    tls: EncryptionState,
    gss: EncryptionState,
    output: Option<u8>,
}

/// State of an encryption kind; a client may ask once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EncryptionState {
    NotYet,
    Already,
}

/// Where a client's first packets lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// TLS handshake, after the output is sent. The machine then continues with the decrypted bytes.
    Tls {
        /// The client began without an SSLRequest (`sslnegotiation=direct`). No bytes are consumed: the unread bytes
        /// begin the ClientHello. The client must agree on ALPN `postgresql`; otherwise a client of another protocol
        /// could be redirected here.
        direct: bool,
    },
    /// Login. The message is already reduced to the negotiated version and options; a needed negotiation message is
    /// sent before any other message.
    Startup(StartupMessage, Negotiation),
    /// Request to cancel another session's statement. No response: the connection closes afterwards.
    Cancel(BackendKey),
}

/// Why a client's first packets lead nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Not the protocol.
    #[error(transparent)]
    Startup(StartupError),
    /// TLS at once, on a listener without TLS.
    #[error("the client began TLS, which this listener does not offer")]
    TlsNotOffered,
    /// Unencrypted bytes behind an encryption request: an attacker may have injected them (CVE-2021-23214).
    #[error("received unencrypted data after a request for encryption")]
    UnencryptedData,
    /// Another major version, or a second encryption request, which looks like a version.
    #[error("unsupported frontend protocol {0}: 3.0 to 3.2 are supported")]
    Version(ProtocolVersion),
    /// No user name.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
}

/// First byte of a TLS ClientHello; no PostgreSQL packet begins with the value.
const TLS_HANDSHAKE: u8 = 0x16;

// === impl Accept ===

impl Accept {
    /// A machine for a new connection.
    #[must_use]
    pub const fn new(tls_offered: bool) -> Self {
        Self { tls_offered, tls: EncryptionState::NotYet, gss: EncryptionState::NotYet, output: None }
    }

    /// Processes read bytes.
    ///
    /// # Errors
    /// [`AcceptError`]; the connection is over, but see [`AcceptError::sqlstate`].
    pub fn on_bytes(&mut self, unread: &[u8]) -> Result<Taken<Accepted>, AcceptError> {
        if unread.first() == Some(&TLS_HANDSHAKE)
            && (self.tls, self.gss) == (EncryptionState::NotYet, EncryptionState::NotYet)
        {
            if !self.tls_offered {
                return Err(AcceptError::TlsNotOffered);
            }
            self.note_encryption();
            return Ok(Taken { bytes: 0, outcome: Some(Accepted::Tls { direct: true }) });
        }
        let Some((packet, bytes)) = FirstPacket::read(unread).map_err(AcceptError::Startup)? else {
            return Ok(Taken { bytes: 0, outcome: None });
        };
        if matches!(packet, FirstPacket::SslRequest | FirstPacket::GssEncRequest) && bytes < unread.len() {
            return Err(AcceptError::UnencryptedData);
        }
        let outcome = match packet {
            FirstPacket::SslRequest if self.tls == EncryptionState::Already => {
                return Err(AcceptError::Version(ProtocolVersion { major: 1234, minor: 5679 }));
            }
            FirstPacket::SslRequest if self.tls_offered => {
                self.note_encryption();
                self.output = Some(b'S');
                Some(Accepted::Tls { direct: false })
            }
            FirstPacket::SslRequest => {
                self.tls = EncryptionState::Already;
                self.output = Some(b'N');
                None
            }
            FirstPacket::GssEncRequest if self.gss == EncryptionState::Already => {
                return Err(AcceptError::Version(ProtocolVersion { major: 1234, minor: 5680 }));
            }
            FirstPacket::GssEncRequest => {
                self.gss = EncryptionState::Already;
                self.output = Some(b'N');
                None
            }
            FirstPacket::CancelRequest(key) => Some(Accepted::Cancel(key)),
            FirstPacket::Startup(startup) => Some(start(startup)?),
        };
        Ok(Taken { bytes, outcome })
    }

    /// Output to send: `S` or `N`.
    pub const fn poll_output(&mut self) -> Option<u8> {
        self.output.take()
    }

    /// Inside TLS only a login or a cancel request may follow.
    const fn note_encryption(&mut self) {
        self.tls = EncryptionState::Already;
        self.gss = EncryptionState::Already;
    }
}

fn start(mut startup: StartupMessage) -> Result<Accepted, AcceptError> {
    if startup.version().major != 3 {
        return Err(AcceptError::Version(startup.version()));
    }
    if startup.get("user").is_none_or(<[u8]>::is_empty) {
        return Err(AcceptError::NoUser);
    }
    let negotiation = Negotiation::settle(&mut startup);
    Ok(Accepted::Startup(startup, negotiation))
}

// === impl AcceptError ===

impl AcceptError {
    /// SQLSTATE for the client; `None` if the peer does not speak the protocol and gets no response.
    #[must_use]
    pub const fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::TlsNotOffered | Self::Startup(StartupError::Length(_)) => None,
            Self::Startup(StartupError::Layout(_)) | Self::UnencryptedData => {
                Some(SqlState::PROTOCOL_VIOLATION)
            }
            Self::Version(_) => Some(SqlState::FEATURE_NOT_SUPPORTED),
            Self::NoUser => Some(SqlState::INVALID_AUTHORIZATION),
        }
    }
}
