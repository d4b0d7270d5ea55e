//! Reasons for a session without a backend, and the ErrorResponse for the client.

use std::{sync::Arc, time::Duration};

use crate::{
    backend::{ConnectError, ConnectFailure, EndpointHandle},
    client_error::ClientError,
    route::NoEndpoint,
    telemetry::labels::ConnectPhase,
};

/// Reason for a session without a backend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// No endpoint is eligible now.
    #[error("no endpoint is eligible")]
    NoEndpoint(#[source] NoEndpoint),
    /// The last endpoint rejected the login or is unreachable.
    #[error("login to endpoint `{0}` failed")]
    Down(Box<str>, #[source] Arc<ConnectError>),
    /// No backend of the pool became free in time.
    #[error("no backend of pool {pool} became free within {waited:?}")]
    Timeout { pool: String, waited: Duration },
    /// The program is shutting down.
    #[error("the program is shutting down")]
    Closed,
}

// === impl AcquireError ===

impl AcquireError {
    /// The login at `endpoint` failed.
    pub(crate) fn down(endpoint: &EndpointHandle, error: Arc<ConnectError>) -> Self {
        Self::Down(endpoint.name().as_str().into(), error)
    }

    /// The ErrorResponse for the client. A server's refusal keeps its SQLSTATE and message.
    pub(crate) fn client_error(&self) -> ClientError {
        match self {
            Self::NoEndpoint(none) => ClientError::no_endpoint(none.to_string()),
            Self::Timeout { pool, waited } => ClientError::pool_timeout(pool, *waited),
            Self::Closed => ClientError::shutdown(),
            Self::Down(endpoint, error) => match error.refused() {
                Some(refused) => {
                    let fault = refused.said.fault();
                    ClientError::by_server(error.blame(), fault.sqlstate(), fault.message().into_owned())
                }
                None => {
                    let what = format!("endpoint \"{endpoint}\" {}", describe_failure(error));
                    ClientError::endpoint(error.blame(), what)
                }
            },
        }
    }
}

/// The failure as the end of a sentence, without addresses and other details of the endpoint.
fn describe_failure(error: &ConnectError) -> &'static str {
    match (error.failure(), error.phase()) {
        (ConnectFailure::Timeout { .. }, _) => "did not answer in time",
        (ConnectFailure::Broken { .. }, _) => "broke the connection off",
        (ConnectFailure::TlsRefused, _) => "does not offer TLS",
        (ConnectFailure::Tls(error), _) if !error.is_about_the_certificate() => {
            "could not be spoken to over TLS"
        }
        (_, ConnectPhase::Resolve | ConnectPhase::Tcp) => "cannot be reached",
        (_, ConnectPhase::Tls) => "could not be verified",
        (_, ConnectPhase::Token) => "could not be logged in to: no token",
        (_, ConnectPhase::Login) => "refused the login",
    }
}
