//! Authentication by a password in the clear, verified by a server.
//!
//! The first login with a password connects to the route's endpoint and disconnects. Then the password is remembered,
//! and the client logs in without a query to the server. Unknown users and wrong passwords have equal responses and
//! timing: both are checked against a verifier first, and then by the server, whose response takes equally long for
//! both.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{AuthenticateError, AuthenticatedClient};
use crate::{
    backend::{AcceptedPassword, ConnectError, EndpointHandle},
    blame::Chain,
    client_error::ClientError,
    credentials::{Login as EndpointLogin, Secret},
    frontend::{
        acquire::{self, AcquireError},
        login::{
            backend_login::{BackendLogin, Failed},
            greet::GreetError,
            unauthenticated_client::UnauthenticatedClient,
        },
    },
    handshake::AwaitPassword,
    scram::{DEFAULT_ITERATIONS, Verifier},
    telemetry::labels::AuthFailure,
    tls::Stream,
    wire::SqlState,
};

/// Requests the password of the client of `login`, and verifies it. `listed` is false for a user who must be rejected.
/// `first` is sent together with the request.
///
/// Cancel safety: dropped half-way, the dialog is broken; close the connection.
///
/// # Errors
/// [`AuthenticateError`]
pub(crate) async fn authenticate_by_password(
    client: &mut UnauthenticatedClient,
    login: &BackendLogin<'_>,
    listed: bool,
    remember: Duration,
    first: Vec<u8>,
) -> Result<AuthenticatedClient, AuthenticateError> {
    if !is_private(&client.stream) {
        return Err(AuthenticateError::Greet(GreetError::Refused(ClientError::tls_required())));
    }
    let name = login.user.as_str();
    let password = request_password(client, first, name).await?;
    if password.reveal().is_empty() {
        return Err(AuthenticateError::Failed(AuthFailure::WrongPassword, ClientError::authentication(name)));
    }
    let reached = reachable_endpoints(login);
    let known = remembered_password(&reached, login, remember);
    let fits = match &known {
        Some(known) => known.matches_password(password.reveal()),
        None => Verifier::mock_for(&login.services.mock_secret, name.as_bytes(), DEFAULT_ITERATIONS)
            .matches_password(password.reveal().as_bytes()),
    };
    if fits && listed {
        return Ok(AuthenticatedClient { output: Vec::new() });
    }
    let (endpoint, accepted) = verify_on_server(client, login, password).await?;
    // Rejected only now, so that timing and errors equal those of listed users.
    if !listed {
        return Err(AuthenticateError::Failed(AuthFailure::UnknownUser, ClientError::authentication(name)));
    }
    let logs_in = |endpoint: &EndpointHandle| endpoint.settings().login == EndpointLogin::Passthrough;
    let accepted = match reached.iter().any(logs_in) {
        true => accepted,
        false => accepted.verifier_only(),
    };
    let accepted = Arc::new(accepted);
    for endpoint in reached.iter().chain([&endpoint]) {
        endpoint.keep_accepted(&login.user, &accepted);
    }
    Ok(AuthenticatedClient { output: Vec::new() })
}

/// True if the connection cannot be read by others: TLS, or local.
fn is_private(stream: &Stream) -> bool {
    let peer = || stream.tcp().and_then(|tcp| tcp.peer_addr().ok()).map(|address| address.ip());
    stream.is_tls()
        || matches!(stream, Stream::Unix(_))
        || peer().is_some_and(|peer: IpAddr| peer.is_loopback())
}

async fn request_password(
    client: &mut UnauthenticatedClient,
    first: Vec<u8>,
    name: &str,
) -> Result<Secret, AuthenticateError> {
    let gone = |error| AuthenticateError::Greet(GreetError::Gone(error));
    let mut output = first;
    let mut awaited = AwaitPassword::ask(&mut output);
    client.say(&output).await.map_err(gone)?;
    loop {
        let taken = awaited.on_bytes(client.unread()).map_err(|violation| {
            tracing::debug!(%violation, "a client that was asked for its password");
            let client_error =
                ClientError { sqlstate: SqlState::PROTOCOL_VIOLATION, ..ClientError::authentication(name) };
            AuthenticateError::Failed(AuthFailure::Protocol, client_error)
        })?;
        client.wipe_bytes(taken.bytes);
        if let Some(mut password) = taken.outcome {
            return Ok(Secret::new(std::mem::take(&mut *password)));
        }
        client.read_more().await.map_err(gone)?;
    }
}

/// Endpoints to which the route may lead.
fn reachable_endpoints(login: &BackendLogin<'_>) -> Vec<EndpointHandle> {
    let route = &login.context.settings.route;
    let endpoints = login.services.routing.endpoints.load();
    endpoints.iter().filter(|handle| route.may_reach(handle.endpoint())).cloned().collect()
}

/// The password remembered by all of `reached` for the user, not older than `remember`. If an endpoint has rejected the
/// password since, or is new, the server verifies again.
fn remembered_password(
    reached: &[EndpointHandle],
    login: &BackendLogin<'_>,
    remember: Duration,
) -> Option<Arc<AcceptedPassword>> {
    let (first, others) = reached.split_first()?;
    let known = first.accepted(&login.user)?;
    let same = |other: &EndpointHandle| {
        other.accepted(&login.user).is_some_and(|accepted| Arc::ptr_eq(&accepted, &known))
    };
    (known.age() < remember && others.iter().all(same)).then_some(known)
}

/// Verifies `password` on the server, unless the client leaves.
async fn verify_on_server(
    client: &mut UnauthenticatedClient,
    login: &BackendLogin<'_>,
    password: Secret,
) -> Result<(EndpointHandle, AcceptedPassword), AuthenticateError> {
    let judge = |endpoint: EndpointHandle| {
        let (startup, password) = (&login.startup, password.clone());
        async move { endpoint.verify_password(startup, password).await }
    };
    let judged = tokio::select! {
        judged = acquire::acquire_dedicated(login.services, login.context, judge) => judged,
        gone = client.gone() => return Err(AuthenticateError::Greet(GreetError::Gone(gone))),
    };
    match judged {
        Ok((judged, _reason)) => Ok((judged.endpoint, judged.backend)),
        Err(AcquireError::Down(endpoint, error)) if refuses_the_client(&error) => {
            tracing::info!(
                listener = %login.context.settings.name,
                %endpoint,
                user = %login.user,
                error = %Chain(&*error),
                "client password rejected by the server"
            );
            let client_error = ClientError::authentication(login.user.as_str());
            Err(AuthenticateError::Failed(AuthFailure::Endpoint, client_error))
        }
        Err(why) => Err(AuthenticateError::Unjudged(Failed::without_backend(login.context, &why))),
    }
}

/// True if the server's error concerns the client; all such errors become equal.
fn refuses_the_client(error: &ConnectError) -> bool {
    error.refused().is_some_and(|refused| refused.is_authorization())
}
