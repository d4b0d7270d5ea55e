//! Has a client prove who it is, where that is ours to check.

use jiff::Timestamp;

use super::{
    backend_login::{Failed, Login},
    greet::GreetError,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    frontend::{Auth, IdentityMap},
    handshake::{Challenge, ChallengeError},
    scram::{NONCE_BYTES, Verifier},
    session::Refusal,
    telemetry::labels::AuthFailure,
    tls::CertificateName,
};

mod password;

/// A client with a verified identity; AuthenticationOk is not sent yet.
pub(crate) struct AuthenticatedClient {
    /// Messages to send before AuthenticationOk.
    pub(crate) output: Vec<u8>,
}

/// Reason of a failed authentication.
pub(crate) enum AuthenticateError {
    /// The connection ended first.
    Greet(GreetError),
    /// There was no server to judge it.
    Unjudged(Failed),
    /// The proof did not hold.
    Failed(AuthFailure, Refusal),
}

/// Runs the listener's method for the client of `login`. `first` is said along with the first request.
///
/// Cancel safety: dropped half-way, the dialog is broken; close the connection.
///
/// # Errors
/// [`AuthenticateError`]
pub(crate) async fn authenticate(
    client: &mut UnauthenticatedClient,
    login: &Login<'_>,
    first: Vec<u8>,
) -> Result<AuthenticatedClient, AuthenticateError> {
    let Login { context, services, user, .. } = login;
    let name = user.as_str();
    let listed = context.settings.access.has_user(user);
    match (&context.settings.auth, &context.users) {
        (Auth::Scram { .. }, Some(users)) => {
            let users = users.load();
            let known = users.verifier(name).filter(|_| listed).cloned();
            let unknown = known.is_none();
            let stranger =
                || Verifier::mock_for(&services.mock_secret, name.as_bytes(), users.usual_iterations());
            let verifier = known.unwrap_or_else(stranger);
            let mut nonce = [0; NONCE_BYTES];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_| {
                AuthenticateError::Greet(GreetError::Refused(Refusal::internal(
                    "no random numbers to be had",
                )))
            })?;
            let end_point = client.stream.server_end_point();
            scram(client, Challenge::new(verifier, nonce, end_point), first).await.map_err(|failure| {
                match failure {
                    ScramFailure::Gone(error) => AuthenticateError::Greet(GreetError::Gone(error)),
                    ScramFailure::Challenge(error) => {
                        let label = match (unknown, &error) {
                            (true, _) => AuthFailure::UnknownUser,
                            (false, ChallengeError::Violation(_)) => AuthFailure::Protocol,
                            (false, ChallengeError::Scram(_)) => AuthFailure::WrongPassword,
                        };
                        let refusal = Refusal { sqlstate: error.sqlstate(), ..Refusal::authentication(name) };
                        AuthenticateError::Failed(label, refusal)
                    }
                }
            })
        }
        // The configuration allows it only where that is safe, or where somebody insisted.
        (Auth::Trust, _) => Ok(AuthenticatedClient { output: first }),
        (Auth::Certificate { name: kind, map }, _) => {
            certificate(client, login, listed, kind, map)?;
            Ok(AuthenticatedClient { output: first })
        }
        (Auth::Password { remember }, _) => {
            // A login of its own inside: large, and over soon.
            Box::pin(password::password(client, login, listed, *remember, first)).await
        }
        (Auth::Scram { .. }, None) | (Auth::Passthrough, _) => Err(AuthenticateError::Greet(
            GreetError::Refused(Refusal::internal("this listener has nobody to ask")),
        )),
    }
}

/// Checks that the client's certificate, which the TLS handshake has verified, stands for the user.
fn certificate(
    client: &UnauthenticatedClient,
    login: &Login<'_>,
    listed: bool,
    kind: &CertificateName,
    map: &IdentityMap,
) -> Result<(), AuthenticateError> {
    let user = &login.user;
    let failed = |refusal| AuthenticateError::Failed(AuthFailure::Certificate, refusal);
    let Some(certificate) = client.stream.peer_certificate() else {
        return Err(failed(Refusal::certificate_required()));
    };
    let names = kind.of(certificate, Timestamp::now());
    if listed && names.iter().any(|held| map.permits(held, user)) {
        return Ok(());
    }
    tracing::info!(
        listener = %login.context.settings.name,
        %user,
        ?names,
        "a client's certificate does not stand for the user that it asked for"
    );
    Err(failed(Refusal::certificate(user.as_str())))
}

enum ScramFailure {
    Gone(std::io::Error),
    Challenge(ChallengeError),
}

async fn scram(
    client: &mut UnauthenticatedClient,
    mut challenge: Challenge,
    first: Vec<u8>,
) -> Result<AuthenticatedClient, ScramFailure> {
    let mut output = first;
    output.extend(challenge.poll_output().unwrap_or_default());
    loop {
        client.say(&output).await.map_err(ScramFailure::Gone)?;
        output = loop {
            let taken = challenge.on_bytes(client.unread()).map_err(ScramFailure::Challenge)?;
            client.take(taken.bytes);
            let said = challenge.poll_output();
            match (taken.outcome, said) {
                (Some(()), said) => return Ok(AuthenticatedClient { output: said.unwrap_or_default() }),
                (None, Some(said)) => break said,
                (None, None) => client.read_more().await.map_err(ScramFailure::Gone)?,
            }
        };
    }
}
