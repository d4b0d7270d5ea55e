//! Operator commands: reload and stop.

use std::sync::Arc;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ReloadFailure, ReloadReport,
    context::AdminContext,
    error::{ErrorBody, Problem},
};

/// Reloads the configuration and all files. A mistake leaves everything unchanged.
#[utoipa::path(post, path = "/v1/reload", tag = "operations", security(("key" = [])), responses(
    (status = 200, description = "The configuration is in use; the body lists what changed.", body = ReloadReport),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 409, description = "The configuration is valid but cannot be applied; `details` has one line for each reason.", body = ErrorBody),
    (status = 422, description = "It has mistakes; `details` lists them all.", body = ErrorBody),
    (status = 503, description = "The program is ending.", body = ErrorBody),
    (status = 504, description = "It takes long; it goes on.", body = ErrorBody),
))]
pub(super) async fn reload(State(context): State<Arc<AdminContext>>) -> Result<Json<ReloadReport>, Problem> {
    // A program that is shutting down receives no commands.
    if context.monitor.is_draining() {
        return Err(Problem::draining());
    }
    context.api.control.reload("admin").await.map(Json).map_err(Problem::from)
}

/// Replaces the filter of the log until the next start, or a reload with another filter.
#[utoipa::path(post, path = "/v1/log", tag = "operations", security(("key" = [])), request_body = LogFilterBody, responses(
    (status = 200, description = "The filter is in use.", body = LogFilterBody),
    (status = 400, description = "The body has no filter.", body = ErrorBody),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 422, description = "The filter is invalid; the previous one stays in use.", body = ErrorBody),
    (status = 503, description = "The program is ending.", body = ErrorBody),
))]
pub(super) async fn set_log_filter(
    State(context): State<Arc<AdminContext>>,
    body: Result<Json<LogFilterBody>, JsonRejection>,
) -> Result<Json<LogFilterBody>, Problem> {
    let Json(body) = body.map_err(|error| Problem::bad_request(error.body_text()))?;
    if context.monitor.is_draining() {
        return Err(Problem::draining());
    }
    match context.api.control.set_log_filter(body.filter.clone()).await {
        Some(Ok(())) => Ok(Json(body)),
        Some(Err(mistake)) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_filter", mistake)),
        None => Err(Problem::draining()),
    }
}

/// A filter of the log.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFilterBody {
    /// A level, such as `debug`, or pairs of a module and a level, such as `gatekeeper::tls=debug`.
    filter: String,
}

/// Starts another process of the program, which takes over the listeners and serves new clients. This one drains.
#[utoipa::path(post, path = "/v1/restart", tag = "operations", security(("key" = [])), responses(
    (status = 202, description = "Another process starts.", body = Restarting),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 409, description = "`runtime.handover` is not in use, the writer is being moved, or the process cannot be started.", body = ErrorBody),
    (status = 503, description = "The program is ending.", body = ErrorBody),
))]
pub(super) async fn restart(
    State(context): State<Arc<AdminContext>>,
) -> Result<(StatusCode, Json<Restarting>), Problem> {
    if context.monitor.is_draining() {
        return Err(Problem::draining());
    }
    match context.api.control.restart().await {
        Some(Ok(pid)) => Ok((StatusCode::ACCEPTED, Json(Restarting { pid }))),
        Some(Err(error)) => Err(Problem::new(StatusCode::CONFLICT, "no_successor", error.to_string())),
        None => Err(Problem::draining()),
    }
}

/// Another process starts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Restarting {
    /// Its process id.
    pid: u32,
}

/// Drains and stops the program, like SIGTERM. Readiness turns off at once. Repeated requests have no effect.
#[utoipa::path(post, path = "/v1/stop", tag = "operations", security(("key" = [])), responses(
    (status = 202, description = "The program is ending.", body = Stopping),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn stop(State(context): State<Arc<AdminContext>>) -> (StatusCode, Json<Stopping>) {
    // A second command would not be received, and must not count as the second signal, which terminates sessions.
    if context.monitor.drain() {
        context.api.control.stop().await;
    }
    (StatusCode::ACCEPTED, Json(Stopping { sessions: context.api.sessions.count() }))
}

/// The program is shutting down.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stopping {
    /// Remaining sessions.
    sessions: usize,
}

impl From<ReloadFailure> for Problem {
    fn from(failure: ReloadFailure) -> Self {
        let (status, code) = match failure {
            ReloadFailure::Config(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration"),
            ReloadFailure::Unusable(_) => (StatusCode::CONFLICT, "unusable_configuration"),
            ReloadFailure::Ending => return Self::draining(),
        };
        Self::new(status, code, format!("{failure}; nothing changed")).with_details(failure.detail_lines())
    }
}
