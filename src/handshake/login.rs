//! Client side: from the StartupMessage to the first ReadyForQuery.

use std::borrow::Cow;

use super::{
    MAX_FRAME_BYTES, Taken,
    error::{LoginError, Refused, Violation},
    frame_within, md5,
    method::Method,
    parameters::Parameters,
};
use crate::{
    scram::{
        AwaitServerFinal, AwaitServerFirst, ChannelBinding, Keys, NONCE_BYTES, SCRAM_SHA_256,
        SCRAM_SHA_256_PLUS,
    },
    wire::{
        BackendKey, Frame, ProtocolVersion, Speaker, StartupMessage, TransactionStatus,
        authentication::{self, AuthenticationRequest, Mechanisms, SaslInitialResponse},
        backend::BackendMessage,
    },
};

/// Credential for a server.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// None: the server trusts the user, or knows the client certificate.
    None,
    /// A password.
    Password(&'a str),
    /// A short-lived token. The server needs clear text or MD5. A request for SCRAM means that the server has no token
    /// login for the user; [`Refused::method`] shows the request.
    Token(&'a str),
}

/// Logs in to a server.
pub struct ServerLogin<'a> {
    phase: LoginPhase,
    user: Vec<u8>,
    credential: Credential<'a>,
    end_point: Option<Vec<u8>>,
    nonce: [u8; NONCE_BYTES],
    kept: Option<&'a Keys>,
    asked: ProtocolVersion,
    output: Vec<u8>,
    so_far: SoFar,
}

enum LoginPhase {
    /// No authentication request received yet.
    Startup,
    /// A password was sent.
    Answered,
    SaslFirst(AwaitServerFirst),
    SaslFinal(AwaitServerFinal),
    /// The server proved knowledge of the password by SCRAM.
    Proved,
    /// AuthenticationOk received; startup messages follow.
    Settling,
    Over,
}

/// Results of an unfinished login.
struct SoFar {
    version: ProtocolVersion,
    method: Option<Method>,
    parameters: Parameters,
    notices: Vec<u8>,
    key: Option<BackendKey>,
    keys: Option<Keys>,
}

/// A server that is ready for queries.
pub struct LoggedIn {
    /// Negotiated version: the requested version, unless the server supports only an older version.
    pub version: ProtocolVersion,
    /// Authentication method of the server.
    pub method: Method,
    /// Settings reported by the server.
    pub parameters: Parameters,
    /// NoticeResponses, unchanged and concatenated.
    pub notices: Vec<u8>,
    /// Cancel key; some poolers send none.
    pub key: Option<BackendKey>,
    /// Transaction status: always idle after a login.
    pub status: TransactionStatus,
    /// Newly derived SCRAM keys, for [`ServerLogin::with_keys`] of the next login.
    pub keys: Option<Keys>,
}

// === impl ServerLogin ===

impl<'a> ServerLogin<'a> {
    /// Starts a login: the StartupMessage is the first output. `end_point` is the hash of the server's certificate on a
    /// TLS connection, and binds the exchange if the server offers binding.
    #[must_use]
    pub fn new(
        startup: &StartupMessage,
        credential: Credential<'a>,
        end_point: Option<Vec<u8>>,
        nonce: [u8; NONCE_BYTES],
    ) -> Self {
        let mut output = Vec::new();
        startup.write(&mut output);
        let asked = startup.version();
        Self {
            phase: LoginPhase::Startup,
            user: startup.get("user").unwrap_or_default().to_vec(),
            credential,
            end_point,
            nonce,
            kept: None,
            asked,
            output,
            so_far: SoFar {
                version: asked,
                method: None,
                parameters: Parameters::default(),
                notices: Vec::new(),
                key: None,
                keys: None,
            },
        }
    }

    /// Uses `kept` keys of the same password, if they fit: saves half a millisecond.
    #[must_use]
    pub const fn with_keys(mut self, kept: &'a Keys) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Authentication method, once requested by the server.
    #[must_use]
    pub const fn method(&self) -> Option<Method> {
        self.so_far.method
    }

    /// Processes read bytes. SCRAM without fitting keys computes for about 0.5 ms, at most for an eighth of a second.
    ///
    /// # Errors
    /// [`LoginError`]; the connection is over.
    pub fn on_bytes(&mut self, unread: &[u8]) -> Result<Taken<LoggedIn>, LoginError> {
        let mut bytes = 0;
        while let Some(left) = unread.get(bytes..)
            && let Some(frame) = frame_within(Speaker::Server, left).map_err(LoginError::Violation)?
        {
            bytes += frame.as_bytes().len();
            if let Some(status) = self.on_frame(&frame)? {
                return Ok(Taken { bytes, outcome: Some(self.finish(status)) });
            }
        }
        Ok(Taken { bytes, outcome: None })
    }

    /// Output to send.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    fn on_frame(&mut self, frame: &Frame<'_>) -> Result<Option<TransactionStatus>, LoginError> {
        let message = BackendMessage::decode(frame).map_err(violation(Violation::Body))?;
        match (message, &self.phase) {
            (BackendMessage::ErrorResponse(_), _) => {
                return Err(LoginError::Refused(Refused::new(frame, self.so_far.method)));
            }
            (BackendMessage::NoticeResponse(_), _) => {
                self.so_far.notices.extend_from_slice(frame.as_bytes());
            }
            (BackendMessage::NegotiateProtocolVersion { version, .. }, LoginPhase::Startup) => {
                self.lower_version(version)?
            }
            (BackendMessage::Authentication(request), _) => self.on_request(request)?,
            (BackendMessage::ParameterStatus(_), LoginPhase::Settling) => self.so_far.parameters.push(frame),
            (BackendMessage::BackendKeyData(key), LoginPhase::Settling) => self.so_far.key = Some(key),
            (BackendMessage::ReadyForQuery(status), LoginPhase::Settling) => {
                self.phase = LoginPhase::Over;
                return Ok(Some(status));
            }
            _ => return Err(LoginError::Violation(Violation::OutOfTurn(self.phase.awaited()))),
        }
        if self.so_far.notices.len() + self.so_far.parameters.as_bytes().len() > MAX_FRAME_BYTES {
            return Err(LoginError::Violation(Violation::TooMuch));
        }
        Ok(None)
    }

    fn lower_version(&mut self, version: ProtocolVersion) -> Result<(), LoginError> {
        if !(ProtocolVersion::V3_0..=self.asked).contains(&version) {
            return Err(LoginError::Violation(Violation::Version(version)));
        }
        self.so_far.version = version;
        Ok(())
    }

    fn on_request(&mut self, request: AuthenticationRequest<'_>) -> Result<(), LoginError> {
        let out_of_turn = Violation::OutOfTurn(self.phase.awaited());
        self.phase = match (std::mem::replace(&mut self.phase, LoginPhase::Over), request) {
            (LoginPhase::Startup | LoginPhase::Answered | LoginPhase::Proved, AuthenticationRequest::Ok) => {
                self.so_far.method.get_or_insert(Method::Trust);
                LoginPhase::Settling
            }
            (LoginPhase::Startup, AuthenticationRequest::Sasl(offer)) => self.begin_sasl(offer)?,
            (LoginPhase::Startup, request) => self.send_response(request)?,
            (LoginPhase::SaslFirst(first), AuthenticationRequest::SaslContinue(data)) => {
                let password = self.secret()?.as_bytes();
                let (proof, last, keys) =
                    first.on_server_first(data, password, self.kept).map_err(LoginError::Scram)?;
                if let Cow::Owned(derived) = keys {
                    self.so_far.keys = Some(derived);
                }
                authentication::write_sasl_response(&mut self.output, proof.as_bytes());
                LoginPhase::SaslFinal(last)
            }
            (LoginPhase::SaslFinal(last), AuthenticationRequest::SaslFinal(data)) => {
                last.on_server_final(data).map_err(LoginError::Scram)?;
                LoginPhase::Proved
            }
            _ => return Err(LoginError::Violation(out_of_turn)),
        };
        Ok(())
    }

    fn begin_sasl(&mut self, offer: Mechanisms<'_>) -> Result<LoginPhase, LoginError> {
        let plus = offer.contains(SCRAM_SHA_256_PLUS.as_bytes());
        let (binding, method) = match self.end_point.take() {
            Some(hash) if plus => (ChannelBinding::EndPoint(hash), Method::ScramSha256Plus),
            Some(_) => (ChannelBinding::NotOffered, Method::ScramSha256),
            None => (ChannelBinding::Unavailable, Method::ScramSha256),
        };
        if method == Method::ScramSha256 && !offer.contains(SCRAM_SHA_256.as_bytes()) {
            self.so_far.method = Some(Method::OtherSasl);
            return Err(LoginError::Unanswerable(Method::OtherSasl));
        }
        self.so_far.method = Some(method);
        self.secret()?;
        let first = AwaitServerFirst::new(binding, self.nonce);
        let message = first.first_message();
        SaslInitialResponse { mechanism: first.mechanism().as_bytes(), data: Some(message.as_bytes()) }
            .write(&mut self.output);
        Ok(LoginPhase::SaslFirst(first))
    }

    /// Responds to a request that has a single response.
    fn send_response(&mut self, request: AuthenticationRequest<'_>) -> Result<LoginPhase, LoginError> {
        let method = match request {
            AuthenticationRequest::CleartextPassword => Method::CleartextPassword,
            AuthenticationRequest::Md5Password(_) => Method::Md5Password,
            AuthenticationRequest::Gss => Method::Gss,
            AuthenticationRequest::Sspi => Method::Sspi,
            AuthenticationRequest::KerberosV5 => Method::KerberosV5,
            AuthenticationRequest::Unknown(code) => Method::Unknown(code),
            AuthenticationRequest::Ok
            | AuthenticationRequest::Sasl(_)
            | AuthenticationRequest::SaslContinue(_)
            | AuthenticationRequest::SaslFinal(_)
            | AuthenticationRequest::GssContinue(_) => {
                return Err(LoginError::Violation(Violation::OutOfTurn(LoginPhase::Startup.awaited())));
            }
        };
        self.so_far.method = Some(method);
        match request {
            AuthenticationRequest::CleartextPassword => {
                let secret = self.secret()?;
                authentication::write_password(&mut self.output, secret.as_bytes());
            }
            AuthenticationRequest::Md5Password(salt) => {
                let answer = md5::md5_response(&self.user, self.secret()?.as_bytes(), salt);
                authentication::write_password(&mut self.output, answer.as_bytes());
            }
            _ => return Err(LoginError::Unanswerable(method)),
        }
        Ok(LoginPhase::Answered)
    }

    fn secret(&self) -> Result<&'a str, LoginError> {
        match self.credential {
            Credential::Password(secret) | Credential::Token(secret) => Ok(secret),
            Credential::None => {
                Err(LoginError::NoCredential(self.so_far.method.unwrap_or(Method::CleartextPassword)))
            }
        }
    }

    fn finish(&mut self, status: TransactionStatus) -> LoggedIn {
        let version = self.so_far.version;
        let nothing = SoFar {
            version,
            method: None,
            parameters: Parameters::default(),
            notices: Vec::new(),
            key: None,
            keys: None,
        };
        let SoFar { method, parameters, notices, key, keys, .. } =
            std::mem::replace(&mut self.so_far, nothing);
        LoggedIn { version, method: method.unwrap_or(Method::Trust), parameters, notices, key, status, keys }
    }
}

fn violation<E>(wrap: fn(E) -> Violation) -> impl Fn(E) -> LoginError {
    move |error| LoginError::Violation(wrap(error))
}

// === impl LoginPhase ===

impl LoginPhase {
    const fn awaited(&self) -> &'static str {
        match self {
            Self::Startup => "an authentication request",
            Self::Answered | Self::Proved => "AuthenticationOk",
            Self::SaslFirst(_) => "AuthenticationSASLContinue",
            Self::SaslFinal(_) => "AuthenticationSASLFinal",
            Self::Settling => "ReadyForQuery",
            Self::Over => "nothing more",
        }
    }
}
