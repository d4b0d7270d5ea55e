//! Drives the login machine over a connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ConnectFailure, Refused, login_method::PasswordMethod, refused::CredentialKind};
use crate::{
    credentials::TokenLogin,
    handshake::{Credential, LoggedIn, LoginError, ServerLogin},
    scram::NONCE_BYTES,
    telemetry::labels::ConnectPhase,
    tls::{Stream, TlsError},
    wire::StartupMessage,
};

/// Credential shown to the server.
pub(super) enum Proof<'a> {
    Nothing,
    Password(&'a PasswordMethod),
    Token(TokenLogin),
}

/// Expected bytes of a server's messages during login: about 500.
const EXPECTED_LOGIN_BYTES: usize = 2048;

/// Logs in; also returns the bytes behind the first ReadyForQuery.
///
/// Cancel safety: the connection is of no further use.
pub(super) async fn log_in(
    stream: &mut Stream,
    startup: &StartupMessage,
    proof: &Proof<'_>,
) -> Result<(LoggedIn, Vec<u8>), ConnectFailure> {
    // With TLS 1.3 the server's rejection of Gatekeeper's certificate arrives with the first bytes.
    let broken = |source| match TlsError::explain(&source) {
        Some(error) => ConnectFailure::Tls(error),
        None => ConnectFailure::Broken { phase: ConnectPhase::Login, source },
    };
    let kept = proof.keys();
    let mut login = ServerLogin::new(startup, proof.credential(), stream.server_end_point(), random_nonce());
    if let Some(keys) = &kept {
        login = login.with_keys(keys);
    }
    let mut unread = Vec::with_capacity(EXPECTED_LOGIN_BYTES);
    loop {
        if let Some(output) = login.poll_output() {
            let output = zeroize::Zeroizing::new(output);
            stream.write_all(&output).await.map_err(broken)?;
            stream.flush().await.map_err(broken)?;
        }
        if stream.read_buf(&mut unread).await.map_err(broken)? == 0 {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = login.on_bytes(&unread).map_err(|error| proof.failure(error))?;
        unread.drain(..taken.bytes);
        if let Some(mut logged_in) = taken.outcome {
            if let (Proof::Password(login_method), Some(keys)) = (proof, logged_in.keys.take()) {
                login_method.keep(keys);
            }
            return Ok((logged_in, unread));
        }
    }
}

fn random_nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).expect("the system's random generator does not fail");
    nonce
}

// === impl Proof ===

impl Proof<'_> {
    fn credential(&self) -> Credential<'_> {
        match self {
            Self::Nothing => Credential::None,
            Self::Password(login_method) => Credential::Password(login_method.password()),
            Self::Token(login) => Credential::Token(login.reveal()),
        }
    }

    fn keys(&self) -> Option<std::sync::Arc<crate::scram::Keys>> {
        match self {
            Self::Password(login_method) => login_method.keys(),
            Self::Nothing | Self::Token(_) => None,
        }
    }

    fn failure(&self, error: LoginError) -> ConnectFailure {
        let LoginError::Refused(response) = error else { return ConnectFailure::Login(error) };
        let (shown, token) = match self {
            Self::Nothing => (CredentialKind::Nothing, None),
            Self::Password(_) => (CredentialKind::Password, None),
            Self::Token(login) => (CredentialKind::Token, Some(login.token().clone())),
        };
        ConnectFailure::Refused(Box::new(Refused { response, shown, token }))
    }
}
