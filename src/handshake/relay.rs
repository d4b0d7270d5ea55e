//! Login `passthrough`: a client and an endpoint exchange authentication messages, observed by Gatekeeper.
//!
//! All messages pass unchanged, with three exceptions. Mechanisms with channel binding are removed from the offer,
//! because there are two channels. The cancel key is replaced by Gatekeeper's. The version is negotiated once for all
//! three parties.

use super::{
    MAX_FRAME_BYTES, Taken,
    error::{Refused, Violation},
    frame_within,
    method::Method,
    negotiation::Negotiation,
    parameters::Parameters,
};
use crate::{
    scram::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS},
    wire::{
        BackendKey, Frame, ProtocolVersion, Speaker, StartupMessage, TransactionStatus,
        authentication::{self, AuthenticationRequest, Mechanisms, SaslInitialResponse},
        backend::BackendMessage,
    },
};

/// Watches the dialog of a login.
pub struct Relay {
    phase: RelayPhase,
    negotiation: Negotiation,
    version: ProtocolVersion,
    method: Option<Method>,
    parameters: Parameters,
    server_key: Option<BackendKey>,
    our_key: OurKey,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RelayPhase {
    /// No message received from the server yet.
    Startup,
    /// Authentication requests of the server; the client responds.
    Dialog {
        /// A mechanism with channel binding was taken out of the offer.
        unbound: bool,
    },
    /// AuthenticationOk forwarded; startup messages follow. Further client messages belong to the session.
    Settling,
    Over,
}

/// Parts of Gatekeeper's cancel key. The length of the secret depends on the client's version.
struct OurKey {
    entropy: [u8; 32],
}

/// Where the dialog led.
pub enum Relayed {
    /// The server is ready for queries.
    LoggedIn {
        /// Protocol version of both legs.
        version: ProtocolVersion,
        /// Authentication method of the server.
        method: Method,
        /// Settings reported by the server, already forwarded.
        parameters: Parameters,
        /// The server's cancel key, if any.
        server_key: Option<BackendKey>,
        /// The client's cancel key, if the server sent a key.
        client_key: Option<BackendKey>,
        /// Transaction status.
        status: TransactionStatus,
    },
    /// Error of the server, already forwarded.
    Refused(Refused),
}

/// Why the dialog cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The server does not keep to the protocol.
    #[error(transparent)]
    Server(Violation),
    /// The client does not keep to the protocol.
    #[error(transparent)]
    Client(Violation),
    /// The server offers only mechanisms with channel binding, which cannot be relayed.
    #[error("the server offers only authentication bound to the TLS channel, which cannot be relayed")]
    OnlyChannelBinding,
    /// The client supports channel binding and reports so in the proof; the server supports binding, too, and would
    /// assume an attack. Remedy on the client: `channel_binding=disable`, or no TLS on one leg.
    #[error(
        "the client insists that the server cannot bind to the TLS channel, which a relayed login cannot keep up"
    )]
    ChannelBinding,
}

// === impl Relay ===

impl Relay {
    /// Starts a relay: `startup` (reduced by `negotiation`, both from [`super::Accept`]) is the first output to the
    /// server. The client gets the server's process ID and a secret of 4 or 32 bytes from `entropy`.
    #[must_use]
    pub fn new(startup: &StartupMessage, negotiation: Negotiation, entropy: [u8; 32]) -> Self {
        let mut to_server = Vec::new();
        startup.write(&mut to_server);
        Self {
            phase: RelayPhase::Startup,
            negotiation,
            version: startup.version(),
            method: None,
            parameters: Parameters::default(),
            server_key: None,
            our_key: OurKey { entropy },
            to_client: Vec::new(),
            to_server,
        }
    }

    /// Processes bytes read from the server.
    ///
    /// # Errors
    /// [`RelayError`]; both connections are over.
    pub fn on_server(&mut self, unread: &[u8]) -> Result<Taken<Relayed>, RelayError> {
        let mut bytes = 0;
        while self.phase != RelayPhase::Over
            && let Some(left) = unread.get(bytes..)
            && let Some(frame) = frame_within(Speaker::Server, left).map_err(RelayError::Server)?
        {
            bytes += frame.as_bytes().len();
            let outcome = self.on_server_frame(&frame)?;
            if outcome.is_some() {
                return Ok(Taken { bytes, outcome });
            }
        }
        Ok(Taken { bytes, outcome: None })
    }

    /// Processes bytes read from the client; returns the number consumed: zero before the first request of the server,
    /// and after the login.
    ///
    /// # Errors
    /// [`RelayError`]; both connections are over.
    pub fn on_client(&mut self, unread: &[u8]) -> Result<usize, RelayError> {
        let mut bytes = 0;
        while let RelayPhase::Dialog { unbound } = self.phase
            && let Some(left) = unread.get(bytes..)
            && let Some(frame) = frame_within(Speaker::StrangeClient, left).map_err(RelayError::Client)?
        {
            if unbound {
                check_binding(&frame)?;
                self.phase = RelayPhase::Dialog { unbound: false };
            }
            bytes += frame.as_bytes().len();
            self.to_server.extend_from_slice(frame.as_bytes());
        }
        Ok(bytes)
    }

    /// True if the server awaits a client message. Earlier and later client bytes should stay in the socket.
    #[must_use]
    pub fn listens_to_client(&self) -> bool {
        matches!(self.phase, RelayPhase::Dialog { .. })
    }

    /// Output for the client.
    pub fn poll_client_output(&mut self) -> Option<Vec<u8>> {
        (!self.to_client.is_empty()).then(|| std::mem::take(&mut self.to_client))
    }

    /// Output for the server.
    pub fn poll_server_output(&mut self) -> Option<Vec<u8>> {
        (!self.to_server.is_empty()).then(|| std::mem::take(&mut self.to_server))
    }

    fn on_server_frame(&mut self, frame: &Frame<'_>) -> Result<Option<Relayed>, RelayError> {
        let server = |violation| Err(RelayError::Server(violation));
        let message =
            BackendMessage::decode(frame).map_err(|error| RelayError::Server(Violation::Body(error)))?;
        if self.phase == RelayPhase::Startup
            && !matches!(
                message,
                BackendMessage::NegotiateProtocolVersion { .. } | BackendMessage::NoticeResponse(_)
            )
        {
            // The server does not negotiate; Gatekeeper may.
            self.negotiation.write(&mut self.to_client);
            self.phase = RelayPhase::Dialog { unbound: false };
        }
        let mut outcome = None;
        match (message, self.phase) {
            (BackendMessage::NegotiateProtocolVersion { version, .. }, RelayPhase::Startup) => {
                if !(ProtocolVersion::V3_0..=self.version).contains(&version) {
                    return server(Violation::Version(version));
                }
                self.version = version;
                self.negotiation.write_with(version, &mut self.to_client);
                self.phase = RelayPhase::Dialog { unbound: false };
            }
            (
                BackendMessage::Authentication(AuthenticationRequest::Sasl(offer)),
                RelayPhase::Dialog { .. },
            ) => self.on_offer(offer)?,
            (BackendMessage::Authentication(request), RelayPhase::Dialog { unbound }) => {
                self.note_method(request);
                self.forward_frame(frame);
                let settled = request == AuthenticationRequest::Ok;
                self.phase = if settled { RelayPhase::Settling } else { RelayPhase::Dialog { unbound } };
            }
            (BackendMessage::ParameterStatus(_), RelayPhase::Settling) => {
                self.parameters.push(frame);
                self.forward_frame(frame);
            }
            (BackendMessage::BackendKeyData(key), RelayPhase::Settling) => {
                self.our_key.instead_of(&key, self.version).write_key_data(&mut self.to_client);
                self.server_key = Some(key);
            }
            (BackendMessage::ReadyForQuery(status), RelayPhase::Settling) => {
                self.forward_frame(frame);
                outcome = Some(self.finish(status));
            }
            (BackendMessage::NoticeResponse(_), _) => self.forward_frame(frame),
            (BackendMessage::ErrorResponse(_), _) => {
                self.forward_frame(frame);
                self.phase = RelayPhase::Over;
                outcome = Some(Relayed::Refused(Refused::new(frame, self.method)));
            }
            (_, RelayPhase::Settling) => return server(Violation::OutOfTurn("ReadyForQuery")),
            _ => return server(Violation::OutOfTurn("an authentication request")),
        }
        if self.parameters.as_bytes().len() > MAX_FRAME_BYTES {
            return server(Violation::TooMuch);
        }
        Ok(outcome)
    }

    /// Forwards the offer without mechanisms that cannot be relayed.
    fn on_offer(&mut self, offer: Mechanisms<'_>) -> Result<(), RelayError> {
        let relayed = || offer.iter().filter(|name| !name.ends_with(b"-PLUS"));
        if relayed().next().is_none() {
            return Err(RelayError::OnlyChannelBinding);
        }
        authentication::write_sasl(&mut self.to_client, relayed());
        let scram = offer.contains(SCRAM_SHA_256.as_bytes());
        self.method = Some(if scram { Method::ScramSha256 } else { Method::OtherSasl });
        self.phase = RelayPhase::Dialog { unbound: offer.contains(SCRAM_SHA_256_PLUS.as_bytes()) };
        Ok(())
    }

    fn note_method(&mut self, request: AuthenticationRequest<'_>) {
        let method = match request {
            AuthenticationRequest::Ok => Method::Trust,
            AuthenticationRequest::CleartextPassword => Method::CleartextPassword,
            AuthenticationRequest::Md5Password(_) => Method::Md5Password,
            AuthenticationRequest::Gss | AuthenticationRequest::GssContinue(_) => Method::Gss,
            AuthenticationRequest::Sspi => Method::Sspi,
            AuthenticationRequest::KerberosV5 => Method::KerberosV5,
            AuthenticationRequest::Sasl(_)
            | AuthenticationRequest::SaslContinue(_)
            | AuthenticationRequest::SaslFinal(_) => Method::OtherSasl,
            AuthenticationRequest::Unknown(code) => Method::Unknown(code),
        };
        // The first request determines the method; the following requests belong to the same exchange.
        self.method.get_or_insert(method);
    }

    fn forward_frame(&mut self, frame: &Frame<'_>) {
        self.to_client.extend_from_slice(frame.as_bytes());
    }

    fn finish(&mut self, status: TransactionStatus) -> Relayed {
        self.phase = RelayPhase::Over;
        Relayed::LoggedIn {
            version: self.version,
            method: self.method.unwrap_or(Method::Trust),
            parameters: std::mem::take(&mut self.parameters),
            client_key: self.server_key.as_ref().map(|key| self.our_key.instead_of(key, self.version)),
            server_key: self.server_key.take(),
            status,
        }
    }
}

/// `y` in a SCRAM proof reports support for binding without an offer. A server with an offer rejects the proof, and the
/// proof covers the flag: Gatekeeper cannot change it.
fn check_binding(frame: &Frame<'_>) -> Result<(), RelayError> {
    let response = SaslInitialResponse::decode(frame.body())
        .map_err(|error| RelayError::Client(Violation::Body(error)))?;
    let insists = response.data.is_some_and(|data| data.starts_with(b"y"));
    match response.mechanism == SCRAM_SHA_256.as_bytes() && insists {
        true => Err(RelayError::ChannelBinding),
        false => Ok(()),
    }
}

// === impl OurKey ===

impl OurKey {
    /// Replacement for the server's key: the same process ID with another secret.
    fn instead_of(&self, server: &BackendKey, version: ProtocolVersion) -> BackendKey {
        let secret = self.entropy.get(..version.secret_bytes()).unwrap_or(&self.entropy);
        BackendKey::new(server.pid(), secret).expect("4 and 32 bytes are lengths of secrets")
    }
}
