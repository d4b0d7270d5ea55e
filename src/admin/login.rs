//! Login of a browser: the key, sent once, gives a read-only cookie.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
    guard::Authenticated,
};

/// A login with the key.
#[derive(Deserialize, ToSchema)]
pub(super) struct LoginRequest {
    key: String,
}

/// Size limit of a login in bytes; a key is never longer than a request's head.
pub(super) const MAX_LOGIN_BYTES: usize = 4096;

/// Begins a browser session. The cookie permits reading; changes need the key itself.
#[utoipa::path(post, path = "/v1/login", tag = "page", request_body = LoginRequest, responses(
    (status = 204, description = "The cookie is set; it lasts half a day.",
        headers(("set-cookie" = String, description = "HttpOnly, SameSite=Strict, and Secure over TLS."))),
    (status = 400, description = "Malformed login.", body = ErrorBody),
    (status = 401, description = "Wrong key.", body = ErrorBody),
    (status = 404, description = "No key is configured, so no login is needed.", body = ErrorBody),
    (status = 503, description = "The system provides no random numbers.", body = ErrorBody),
))]
pub(super) async fn login(
    State(context): State<Arc<AdminContext>>,
    shown: Result<Json<LoginRequest>, JsonRejection>,
) -> Result<Response, Problem> {
    let access = &context.access;
    if !access.needs_key() {
        return Err(Problem::not_found("no key is configured, so no login is needed"));
    }
    // The error message must not repeat the input, which may be a key.
    let Json(shown) = shown.map_err(|_| Problem::bad_request("send {\"key\": \"…\"} as application/json"))?;
    let key = Zeroizing::new(shown.key);
    if !access.may_read(key.trim().as_bytes()) {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong_key", "the key is wrong"));
    }
    let cookie = access.cookies.open(Instant::now()).ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_entropy",
            "the system provides no random numbers: try again",
        )
    })?;
    let mut response = with_cookie(Some(cookie));
    response.extensions_mut().insert(Authenticated);
    Ok(response)
}

/// Ends the browser session of the request.
#[utoipa::path(post, path = "/v1/logout", tag = "page", security(("key" = [])), responses(
    (status = 204, description = "The session is over, if there was one."),
    (status = 401, description = "No session to end.", body = ErrorBody),
))]
pub(super) async fn logout(State(context): State<Arc<AdminContext>>, headers: HeaderMap) -> Response {
    with_cookie(context.access.cookies.close(&headers))
}

fn with_cookie(cookie: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
