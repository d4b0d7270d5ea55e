//! A password in the clear, judged by the server that knows it.
//!
//! The first time, the route's endpoint is logged in to with it, and left again; after that it is remembered, and the
//! client comes in without asking the server. A stranger and a wrong password look and last alike: both are checked
//! against a verifier first, and then put to the server, whose own answer takes as long for both.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{AuthenticateError, AuthenticatedClient};
use crate::{
    backend::{AcceptedPassword, ConnectError, EndpointHandle},
    blame::Chain,
    credentials::{Login as EndpointLogin, Secret},
    frontend::{
        acquire::{self, AcquireError},
        login::{
            backend_login::{Failed, Login},
            greet::GreetError,
            unauthenticated_client::UnauthenticatedClient,
        },
    },
    handshake::AwaitPassword,
    scram::{ITERATIONS, Verifier},
    session::Refusal,
    telemetry::labels::AuthFailure,
    tls::Stream,
    wire::SqlState,
};

/// Has the client of `login` say its password, and finds out whether it is the right one. `listed`: whether the user may
/// come in at all. `first` is said along with the request.
///
/// Cancel safety: dropped half-way, the dialog is broken; close the connection.
///
/// # Errors
/// [`AuthenticateError`]
pub(crate) async fn password(
    client: &mut UnauthenticatedClient,
    login: &Login<'_>,
    listed: bool,
    remember: Duration,
    first: Vec<u8>,
) -> Result<AuthenticatedClient, AuthenticateError> {
    if !is_private(&client.stream) {
        return Err(AuthenticateError::Greet(GreetError::Refused(Refusal::tls_required())));
    }
    let name = login.user.as_str();
    let password = ask(client, first, name).await?;
    if password.reveal().is_empty() {
        return Err(AuthenticateError::Failed(AuthFailure::WrongPassword, Refusal::authentication(name)));
    }
    let reached = reached(login);
    let known = remembered(&reached, login, remember);
    let fits = match &known {
        Some(known) => known.matches_password(password.reveal()),
        None => Verifier::mock_for(&login.services.mock_secret, name.as_bytes(), ITERATIONS)
            .matches_password(password.reveal().as_bytes()),
    };
    if fits && listed {
        return Ok(AuthenticatedClient { output: Vec::new() });
    }
    let (endpoint, accepted) = verify_password(client, login, password).await?;
    // Only now, so that it takes as long, and fails in the same ways, as with somebody who is listed.
    if !listed {
        return Err(AuthenticateError::Failed(AuthFailure::UnknownUser, Refusal::authentication(name)));
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

/// Whether nobody but this machine and the client can listen.
fn is_private(stream: &Stream) -> bool {
    let peer = || stream.tcp().and_then(|tcp| tcp.peer_addr().ok()).map(|address| address.ip());
    stream.is_tls()
        || matches!(stream, Stream::Unix(_))
        || peer().is_some_and(|peer: IpAddr| peer.is_loopback())
}

async fn ask(
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
            let refusal = Refusal { sqlstate: SqlState::PROTOCOL_VIOLATION, ..Refusal::authentication(name) };
            AuthenticateError::Failed(AuthFailure::Protocol, refusal)
        })?;
        client.wipe(taken.bytes);
        if let Some(mut password) = taken.outcome {
            return Ok(Secret::new(std::mem::take(&mut *password)));
        }
        client.read_more().await.map_err(gone)?;
    }
}

/// The endpoints that the route may lead to.
fn reached(login: &Login<'_>) -> Vec<EndpointHandle> {
    let route = &login.context.settings.route;
    let endpoints = login.services.routing.endpoints.load();
    endpoints.iter().filter(|handle| route.may_reach(handle.endpoint())).cloned().collect()
}

/// What all of `reached` remember of the user: one password, not older than `remember`. Where one of them has refused it
/// since, or is new, the password is put to the server again.
fn remembered(
    reached: &[EndpointHandle],
    login: &Login<'_>,
    remember: Duration,
) -> Option<Arc<AcceptedPassword>> {
    let (first, others) = reached.split_first()?;
    let known = first.accepted(&login.user)?;
    let same = |other: &EndpointHandle| {
        other.accepted(&login.user).is_some_and(|accepted| Arc::ptr_eq(&accepted, &known))
    };
    (known.age() < remember && others.iter().all(same)).then_some(known)
}

/// Puts `password` to the server, unless the client leaves meanwhile.
async fn verify_password(
    client: &mut UnauthenticatedClient,
    login: &Login<'_>,
    password: Secret,
) -> Result<(EndpointHandle, AcceptedPassword), AuthenticateError> {
    let judge = |endpoint: EndpointHandle| {
        let (startup, password) = (&login.startup, password.clone());
        async move { endpoint.verify_password(startup, password).await }
    };
    let judged = tokio::select! {
        judged = acquire::connect(login.services, login.context, judge) => judged,
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
                "the server did not accept a client's password"
            );
            let refusal = Refusal::authentication(login.user.as_str());
            Err(AuthenticateError::Failed(AuthFailure::Endpoint, refusal))
        }
        Err(why) => Err(AuthenticateError::Unjudged(Failed::without_backend(login.context, &why))),
    }
}

/// Whether the server's answer is about the client; all such answers become one and the same.
fn refuses_the_client(error: &ConnectError) -> bool {
    error.refused().is_some_and(|refused| refused.is_authorization())
}
