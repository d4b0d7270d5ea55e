//! Error responses of the admin API.

use axum::{
    BoxError, Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// An error response.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: ErrorBody,
}

/// The body of every error response.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorFacts,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorFacts {
    /// Stable code for programs.
    code: &'static str,
    /// Message for people; may change.
    message: String,
    /// All mistakes, if there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let error = ErrorFacts { code, message: message.into(), details: Vec::new() };
        Self { status, body: ErrorBody { error } }
    }

    pub(super) fn with_details(mut self, details: Vec<String>) -> Self {
        self.body.error.details = details;
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn draining() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "the program is shutting down")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1: a 401 response names the expected authentication.
            let challenge = header::HeaderValue::from_static("Bearer realm=\"gatekeeper\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Response for an unknown path.
pub(super) async fn no_such_path() -> Problem {
    Problem::not_found("unknown path: GET /openapi.json lists all paths")
}

/// Response for an unsupported method of a known path.
pub(super) async fn no_such_method() -> Problem {
    let message = "this path takes another method: GET /openapi.json lists them all";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Response on connections beyond the limit, except for health checks.
pub(super) fn too_many_connections() -> Problem {
    let message = "too many connections to the admin API: try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
}

/// Response to an error of tower's limits.
pub(super) async fn on_limit_error(error: BoxError) -> Problem {
    if error.is::<tower::timeout::error::Elapsed>() {
        let message = "this takes longer than a request may; it may be done all the same";
        return Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message);
    }
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many requests at one time: try again")
}
