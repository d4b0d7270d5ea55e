//! We are the server: the first packets, up to the StartupMessage.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

use super::{Taken, negotiation::Negotiation};
use crate::wire::{BackendKey, FirstPacket, ProtocolVersion, SqlState, StartupError, StartupMessage};

/// Takes a client's first packets.
#[derive(Debug)]
pub struct Accept {
    tls_offered: bool,
    /// Whether an SSLRequest can come, or TLS at once.
    tls: Asked,
    gss: Asked,
    output: Option<u8>,
}

/// How often a client may ask for encryption of one kind: once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    NotYet,
    Already,
}

/// Where a client's first packets lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// To a TLS handshake, once the output is sent. Behind it the machine goes on with what the client says encrypted.
    Tls {
        /// The client began it without asking (`sslnegotiation=direct`). Nothing was taken: what was read is the beginning of its
        /// ClientHello. It must then agree on ALPN `postgresql`, or another protocol's client could be led here.
        direct: bool,
    },
    /// To a login. The message is already brought down to what the negotiation says; where the negotiation is
    /// needed, the client is to be told before anything else.
    Startup(StartupMessage, Negotiation),
    /// To the cancelling of another session's statement. There is no answer: the connection is closed when it is done.
    Cancel(BackendKey),
}

/// Why a client's first packets lead nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Not the protocol.
    #[error(transparent)]
    Startup(StartupError),
    /// TLS at once, where none is offered.
    #[error("the client speaks TLS, which this listener does not offer")]
    TlsNotOffered,
    /// Bytes behind a request for encryption, from before the encryption: somebody put them there for us to believe that they
    /// came encrypted (CVE-2021-23214).
    #[error("received unencrypted data after a request for encryption")]
    UnencryptedData,
    /// A version with another major number, or a second request for encryption, which looks like one.
    #[error("unsupported frontend protocol {0}: 3.0 to 3.2 are spoken here")]
    Version(ProtocolVersion),
    /// Nobody wants to come in.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
}

/// The first byte of a TLS ClientHello; no packet of PostgreSQL's begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

// === impl Accept ===

impl Accept {
    /// A machine for a new connection.
    #[must_use]
    pub const fn new(tls_offered: bool) -> Self {
        Self { tls_offered, tls: Asked::NotYet, gss: Asked::NotYet, output: None }
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// [`AcceptError`]; the connection is over, but see [`AcceptError::sqlstate`].
    pub fn on_bytes(&mut self, unread: &[u8]) -> Result<Taken<Accepted>, AcceptError> {
        if unread.first() == Some(&TLS_HANDSHAKE) && (self.tls, self.gss) == (Asked::NotYet, Asked::NotYet) {
            if !self.tls_offered {
                return Err(AcceptError::TlsNotOffered);
            }
            self.encrypt();
            return Ok(Taken { bytes: 0, outcome: Some(Accepted::Tls { direct: true }) });
        }
        let Some((packet, bytes)) = FirstPacket::read(unread).map_err(AcceptError::Startup)? else {
            return Ok(Taken { bytes: 0, outcome: None });
        };
        if matches!(packet, FirstPacket::SslRequest | FirstPacket::GssEncRequest) && bytes < unread.len() {
            return Err(AcceptError::UnencryptedData);
        }
        let outcome = match packet {
            FirstPacket::SslRequest if self.tls == Asked::Already => {
                return Err(AcceptError::Version(ProtocolVersion { major: 1234, minor: 5679 }));
            }
            FirstPacket::SslRequest if self.tls_offered => {
                self.encrypt();
                self.output = Some(b'S');
                Some(Accepted::Tls { direct: false })
            }
            FirstPacket::SslRequest => {
                self.tls = Asked::Already;
                self.output = Some(b'N');
                None
            }
            FirstPacket::GssEncRequest if self.gss == Asked::Already => {
                return Err(AcceptError::Version(ProtocolVersion { major: 1234, minor: 5680 }));
            }
            FirstPacket::GssEncRequest => {
                self.gss = Asked::Already;
                self.output = Some(b'N');
                None
            }
            FirstPacket::CancelRequest(key) => Some(Accepted::Cancel(key)),
            FirstPacket::Startup(startup) => Some(start(startup)?),
        };
        Ok(Taken { bytes, outcome })
    }

    /// What to send now: `S` or `N`.
    pub const fn poll_output(&mut self) -> Option<u8> {
        self.output.take()
    }

    /// Within TLS nothing but a login or a cancellation can follow.
    const fn encrypt(&mut self) {
        self.tls = Asked::Already;
        self.gss = Asked::Already;
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
    /// The state to tell the client; `None` if whoever it is does not speak the protocol and is better told nothing.
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
