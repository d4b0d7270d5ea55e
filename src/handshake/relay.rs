//! Client and endpoint speak with each other, and we watch: login `passthrough`.
//!
//! All is forwarded as it came, but for three things. SASL mechanisms that bind to the TLS channel are taken out of the
//! offer, for there are two channels; the cancel key is replaced by one of ours; and the version is negotiated
//! once for all three.

use super::{
    FRAME_MAX, Taken,
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
    phase: Phase,
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
enum Phase {
    /// The server has said nothing yet.
    Startup,
    /// The server has something to ask: the client answers.
    Dialog {
        /// A mechanism with channel binding was taken out of the offer.
        unbound: bool,
    },
    /// The server let the client in, and gets ready. What the client says now is for the session.
    Settling,
    Over,
}

/// What our own cancel key is made of: its secret is as long as the client's version wants it.
struct OurKey {
    entropy: [u8; 32],
}

/// Where the dialog led.
pub enum Relayed {
    /// The server is ready for queries.
    LoggedIn {
        /// The version spoken on both legs.
        version: ProtocolVersion,
        /// What the server asked for.
        method: Method,
        /// What it reported; it was forwarded already.
        parameters: Parameters,
        /// Its own cancel key, if it gave one.
        server_key: Option<BackendKey>,
        /// The key that the client got, if the server gave one.
        client_key: Option<BackendKey>,
        /// Where it stands.
        status: TransactionStatus,
    },
    /// The server said no; it was forwarded already.
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
    /// The server offers nothing but mechanisms that bind to the TLS channel, which cannot be relayed.
    #[error("the server offers only authentication bound to the TLS channel, which cannot be relayed")]
    OnlyChannelBinding,
    /// The client could bind to the TLS channel and says so in its proof; the server could too, and would take it for an attack.
    /// The remedy is the client's: `channel_binding=disable`, or no TLS on one of the legs.
    #[error(
        "the client insists that the server cannot bind to the TLS channel, which a relayed login cannot keep up"
    )]
    ChannelBinding,
}

// === impl Relay ===

impl Relay {
    /// Begins: `startup` (settled by `negotiation`, as [`super::Accept`] gives both) is the first output to the server. The client will
    /// be given the server's process id and a secret from `entropy`, 4 or all 32 bytes of it.
    #[must_use]
    pub fn new(startup: &StartupMessage, negotiation: Negotiation, entropy: [u8; 32]) -> Self {
        let mut to_server = Vec::new();
        startup.write(&mut to_server);
        Self {
            phase: Phase::Startup,
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

    /// Takes what was read from the server.
    ///
    /// # Errors
    /// [`RelayError`]; both connections are over.
    pub fn on_server(&mut self, unread: &[u8]) -> Result<Taken<Relayed>, RelayError> {
        let mut bytes = 0;
        while self.phase != Phase::Over
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

    /// Takes what was read from the client, and says how many bytes that is: none while the server has not asked for anything, nor
    /// after it let the client in.
    ///
    /// # Errors
    /// [`RelayError`]; both connections are over.
    pub fn on_client(&mut self, unread: &[u8]) -> Result<usize, RelayError> {
        let mut bytes = 0;
        while let Phase::Dialog { unbound } = self.phase
            && let Some(left) = unread.get(bytes..)
            && let Some(frame) = frame_within(Speaker::StrangeClient, left).map_err(RelayError::Client)?
        {
            if unbound {
                check_binding(&frame)?;
                self.phase = Phase::Dialog { unbound: false };
            }
            bytes += frame.as_bytes().len();
            self.to_server.extend_from_slice(frame.as_bytes());
        }
        Ok(bytes)
    }

    /// Whether anything of the client's is wanted now. What it says before it is asked, or behind its login, is for later: it is best
    /// left in its socket.
    #[must_use]
    pub fn listens_to_client(&self) -> bool {
        matches!(self.phase, Phase::Dialog { .. })
    }

    /// What to send to the client now.
    pub fn poll_client_output(&mut self) -> Option<Vec<u8>> {
        (!self.to_client.is_empty()).then(|| std::mem::take(&mut self.to_client))
    }

    /// What to send to the server now.
    pub fn poll_server_output(&mut self) -> Option<Vec<u8>> {
        (!self.to_server.is_empty()).then(|| std::mem::take(&mut self.to_server))
    }

    fn on_server_frame(&mut self, frame: &Frame<'_>) -> Result<Option<Relayed>, RelayError> {
        let server = |violation| Err(RelayError::Server(violation));
        let message =
            BackendMessage::decode(frame).map_err(|error| RelayError::Server(Violation::Body(error)))?;
        if self.phase == Phase::Startup
            && !matches!(
                message,
                BackendMessage::NegotiateProtocolVersion { .. } | BackendMessage::NoticeResponse(_)
            )
        {
            // The server has nothing to negotiate. Perhaps we have.
            self.negotiation.write(&mut self.to_client);
            self.phase = Phase::Dialog { unbound: false };
        }
        let mut outcome = None;
        match (message, self.phase) {
            (BackendMessage::NegotiateProtocolVersion { version, .. }, Phase::Startup) => {
                if !(ProtocolVersion::V3_0..=self.version).contains(&version) {
                    return server(Violation::Version(version));
                }
                self.version = version;
                self.negotiation.write_with(version, &mut self.to_client);
                self.phase = Phase::Dialog { unbound: false };
            }
            (BackendMessage::Authentication(AuthenticationRequest::Sasl(offer)), Phase::Dialog { .. }) => {
                self.on_offer(offer)?
            }
            (BackendMessage::Authentication(request), Phase::Dialog { unbound }) => {
                self.note(request);
                self.forward(frame);
                let settled = request == AuthenticationRequest::Ok;
                self.phase = if settled { Phase::Settling } else { Phase::Dialog { unbound } };
            }
            (BackendMessage::ParameterStatus(_), Phase::Settling) => {
                self.parameters.push(frame);
                self.forward(frame);
            }
            (BackendMessage::BackendKeyData(key), Phase::Settling) => {
                self.our_key.instead_of(&key, self.version).write_key_data(&mut self.to_client);
                self.server_key = Some(key);
            }
            (BackendMessage::ReadyForQuery(status), Phase::Settling) => {
                self.forward(frame);
                outcome = Some(self.finish(status));
            }
            (BackendMessage::NoticeResponse(_), _) => self.forward(frame),
            (BackendMessage::ErrorResponse(_), _) => {
                self.forward(frame);
                self.phase = Phase::Over;
                outcome = Some(Relayed::Refused(Refused::new(frame, self.method)));
            }
            (_, Phase::Settling) => return server(Violation::OutOfTurn("ReadyForQuery")),
            _ => return server(Violation::OutOfTurn("an authentication request")),
        }
        if self.parameters.as_bytes().len() > FRAME_MAX {
            return server(Violation::TooMuch);
        }
        Ok(outcome)
    }

    /// Forwards the offer without what cannot be relayed.
    fn on_offer(&mut self, offer: Mechanisms<'_>) -> Result<(), RelayError> {
        let relayed = || offer.iter().filter(|name| !name.ends_with(b"-PLUS"));
        if relayed().next().is_none() {
            return Err(RelayError::OnlyChannelBinding);
        }
        authentication::write_sasl(&mut self.to_client, relayed());
        let scram = offer.contains(SCRAM_SHA_256.as_bytes());
        self.method = Some(if scram { Method::ScramSha256 } else { Method::OtherSasl });
        self.phase = Phase::Dialog { unbound: offer.contains(SCRAM_SHA_256_PLUS.as_bytes()) };
        Ok(())
    }

    fn note(&mut self, request: AuthenticationRequest<'_>) {
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
        // The first request says it; what follows belongs to it.
        self.method.get_or_insert(method);
    }

    fn forward(&mut self, frame: &Frame<'_>) {
        self.to_client.extend_from_slice(frame.as_bytes());
    }

    fn finish(&mut self, status: TransactionStatus) -> Relayed {
        self.phase = Phase::Over;
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

/// `y` in a SCRAM proof means: "I could bind, and was told that you cannot". Where the offer to bind was taken out on
/// the way, the server refuses that, and the proof covers it, so that it cannot be mended.
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
    /// In place of the server's: the same process id, another secret.
    fn instead_of(&self, server: &BackendKey, version: ProtocolVersion) -> BackendKey {
        let secret = self.entropy.get(..version.secret_bytes()).unwrap_or(&self.entropy);
        BackendKey::new(server.pid(), secret).expect("4 and 32 bytes are lengths of secrets")
    }
}
