//! Reasons for a session without a backend, and the ErrorResponse for the client.

use std::{sync::Arc, time::Duration};

use crate::{
    backend::{ConnectError, ConnectFailure, EndpointHandle},
    blame::Blame,
    client_error::ClientError,
    pool::QueueEstimate,
    route::NoEndpoint,
    telemetry::labels::{ConnectPhase, HoldOutcome},
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
    /// The probe reports the endpoint down.
    #[error("endpoint `{0}` is down: {1}")]
    ProbedDown(Box<str>, Arc<str>),
    /// No writer was available before the end of the hold; carries the last reason.
    #[error("no writer was available within {waited:?}")]
    HoldExpired {
        waited: Duration,
        #[source]
        cause: Box<Self>,
    },
    /// No backend of the pool became free in time.
    #[error("no backend of pool {pool} became free within {waited:?}")]
    Timeout { pool: String, waited: Duration },
    /// The wait for a backend of the pool would exceed `query_wait_timeout`.
    #[error("pool {pool} is overloaded: estimated wait {:?} in place {}", estimate.wait, estimate.position)]
    Overloaded { pool: String, estimate: QueueEstimate, limit: Duration },
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

    /// The probe reports `endpoint` down for `reason`.
    pub(crate) fn probed_down(endpoint: &EndpointHandle, reason: Arc<str>) -> Self {
        Self::ProbedDown(endpoint.name().as_str().into(), reason)
    }

    /// Outcome of a hold that ends with the error. A hold that ends with an answer of a server was served.
    pub(super) fn hold_outcome(&self) -> HoldOutcome {
        match self {
            Self::Closed => HoldOutcome::Shutdown,
            Self::HoldExpired { .. } | Self::NoEndpoint(_) => HoldOutcome::Expired,
            Self::Down(..) | Self::ProbedDown(..) | Self::Timeout { .. } | Self::Overloaded { .. } => {
                HoldOutcome::Served
            }
        }
    }

    /// The ErrorResponse for the client. A server's refusal keeps its SQLSTATE and message.
    pub(crate) fn client_error(&self) -> ClientError {
        match self {
            Self::NoEndpoint(none) => ClientError::no_endpoint(none.to_string()),
            Self::Timeout { pool, waited } => ClientError::pool_timeout(pool, *waited),
            Self::Overloaded { pool, estimate, limit } => {
                ClientError::pool_overloaded(pool, estimate.position, estimate.wait, *limit)
            }
            Self::Closed => ClientError::shutdown(),
            Self::ProbedDown(..) => ClientError::endpoint(Blame::Endpoint, self.describe()),
            Self::HoldExpired { waited, cause } => ClientError::hold_expired(*waited, &cause.describe()),
            Self::Down(_, error) => match error.refused() {
                Some(refused) => {
                    let fault = refused.response.fault();
                    ClientError::by_server(error.blame(), fault.sqlstate(), fault.message().into_owned())
                }
                None => ClientError::endpoint(error.blame(), self.describe()),
            },
        }
    }

    /// The reason, without addresses and other details of the endpoint.
    fn describe(&self) -> String {
        match self {
            Self::NoEndpoint(none) => none.to_string(),
            Self::ProbedDown(endpoint, _) => format!("endpoint \"{endpoint}\" does not answer"),
            Self::Down(endpoint, error) => match error.refused() {
                Some(refused) => {
                    format!("endpoint \"{endpoint}\" reports: {}", refused.response.fault().message())
                }
                None => format!("endpoint \"{endpoint}\" {}", describe_failure(error)),
            },
            Self::HoldExpired { cause, .. } => cause.describe(),
            Self::Timeout { .. } | Self::Overloaded { .. } | Self::Closed => self.to_string(),
        }
    }
}

/// The failure as the end of a sentence, without addresses and other details of the endpoint.
fn describe_failure(error: &ConnectError) -> &'static str {
    match (error.failure(), error.phase()) {
        (ConnectFailure::Timeout { .. }, _) => "did not answer in time",
        (ConnectFailure::Broken { .. }, _) => "broke the connection off",
        (ConnectFailure::InRecovery, _) => "is in recovery",
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
