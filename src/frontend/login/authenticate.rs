//! Authentication by Gatekeeper.

use jiff::Timestamp;

use super::{
    backend_login::{BackendLogin, Failed},
    greet::GreetError,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    client_error::ClientError,
    frontend::{Auth, IdentityMap},
    handshake::{Challenge, ChallengeError},
    scram::{NONCE_BYTES, Verifier},
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
    /// The connection ended during authentication.
    Greet(GreetError),
    /// No server was available to verify the password.
    Unjudged(Failed),
    /// The client failed to authenticate.
    Failed(AuthFailure, ClientError),
}

/// Runs the listener's method for the client of `login`. `first` is sent together with the first request.
///
/// Cancel safety: dropped half-way, the dialog is broken; close the connection.
///
/// # Errors
/// [`AuthenticateError`]
pub(crate) async fn authenticate(
    client: &mut UnauthenticatedClient,
    login: &BackendLogin<'_>,
    first: Vec<u8>,
) -> Result<AuthenticatedClient, AuthenticateError> {
    let BackendLogin { context, services, user, .. } = login;
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
                AuthenticateError::Greet(GreetError::Refused(ClientError::internal(
                    "the system provides no random numbers",
                )))
            })?;
            let end_point = client.stream.server_end_point();
            run_scram(client, Challenge::new(verifier, nonce, end_point), first).await.map_err(|failure| {
                match failure {
                    ScramFailure::Gone(error) => AuthenticateError::Greet(GreetError::Gone(error)),
                    ScramFailure::Challenge(error) => {
                        let label = match (unknown, &error) {
                            (true, _) => AuthFailure::UnknownUser,
                            (false, ChallengeError::Violation(_)) => AuthFailure::Protocol,
                            (false, ChallengeError::Scram(_)) => AuthFailure::WrongPassword,
                        };
                        let client_error =
                            ClientError { sqlstate: error.sqlstate(), ..ClientError::authentication(name) };
                        AuthenticateError::Failed(label, client_error)
                    }
                }
            })
        }
        // The configuration allows `trust` on local sockets, or with `insecure_trust`.
        (Auth::Trust, _) => Ok(AuthenticatedClient { output: first }),
        (Auth::Certificate { name: kind, map }, _) => {
            check_certificate(client, login, listed, kind, map)?;
            Ok(AuthenticatedClient { output: first })
        }
        (Auth::Password { remember }, _) => {
            // Boxed, because the future contains a server login: large and short.
            Box::pin(password::authenticate_by_password(client, login, listed, *remember, first)).await
        }
        (Auth::Scram { .. }, None) | (Auth::Passthrough, _) => {
            Err(AuthenticateError::Greet(GreetError::Refused(ClientError::internal(
                "this listener has no endpoint that can authenticate the client",
            ))))
        }
    }
}

/// Checks that the client's certificate, verified in the TLS handshake, is valid for the user.
fn check_certificate(
    client: &UnauthenticatedClient,
    login: &BackendLogin<'_>,
    listed: bool,
    kind: &CertificateName,
    map: &IdentityMap,
) -> Result<(), AuthenticateError> {
    let user = &login.user;
    let failed = |client_error| AuthenticateError::Failed(AuthFailure::Certificate, client_error);
    let Some(certificate) = client.stream.peer_certificate() else {
        return Err(failed(ClientError::certificate_required()));
    };
    let names = kind.of(certificate, Timestamp::now());
    if listed && names.iter().any(|held| map.permits(held, user)) {
        return Ok(());
    }
    tracing::info!(
        listener = %login.context.settings.name,
        %user,
        ?names,
        "client certificate is not valid for the requested user"
    );
    Err(failed(ClientError::certificate(user.as_str())))
}

enum ScramFailure {
    Gone(std::io::Error),
    Challenge(ChallengeError),
}

async fn run_scram(
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
            let response = challenge.poll_output();
            match (taken.outcome, response) {
                (Some(()), response) => {
                    return Ok(AuthenticatedClient { output: response.unwrap_or_default() });
                }
                (None, Some(response)) => break response,
                (None, None) => client.read_more().await.map_err(ScramFailure::Gone)?,
            }
        };
    }
}
