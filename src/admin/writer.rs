//! Moves the writer to another endpoint, and ends fences.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
    guard::Client,
    moment::{Clock, Moment},
};
use crate::{
    names::EndpointName,
    topology::DecisionError,
    writer_move::{MoveError, MoveOrigin, MoveProgress, MoveReport, MoveRequest},
};

/// Request to move the writer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    /// The new writer.
    endpoint: String,
    /// Seconds for running transactions to end by themselves; 10 when absent. Then they get 40001.
    wait: Option<u64>,
    /// Seconds for the server to be promoted while new transactions wait; 0 when absent: a server in recovery is refused
    /// at once.
    promotion_wait: Option<u64>,
}

/// A finished move.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MovedView {
    /// The writer.
    writer: String,
    /// The previous writer, fenced now; absent if unknown, or if the endpoint was the writer already.
    from: Option<String>,
    /// Pooled sessions whose transaction or pinned backend was ended.
    ended_leases: usize,
    /// Sessions with a backend for life that were ended after the wait.
    ended_sessions: usize,
    /// Seconds in which new transactions waited.
    held_seconds: f64,
}

/// A move under way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MoveView {
    /// The previous writer, if known.
    from: Option<String>,
    /// The new writer.
    to: String,
    /// `check`, `hold` (transactions end), `quiet` (no session uses the previous writer: promote now), `moved`.
    phase: &'static str,
    since: Moment,
}

/// An endpoint without writes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FenceView {
    endpoint: String,
    /// `moved`: an operator moved the writer; `replaced`: the election did; `two_writers`: the server accepted writes
    /// beside the writer.
    cause: &'static str,
}

/// Time for a response about a move under way: less than the time limit of a request.
const RESPONSE_WAIT: Duration = Duration::from_secs(25);

/// Moves the writer to an endpoint: holds new transactions, waits for running ones, checks the new server, switches,
/// fences the previous writer, and releases the held clients. Lasts until the next start: change the configuration, too.
#[utoipa::path(post, path = "/v1/topology/writer", tag = "topology", request_body = MoveBody, security(("key" = [])), responses(
    (status = 200, description = "The endpoint is the writer.", body = MovedView),
    (status = 202, description = "The move takes long; it goes on, and `GET /v1/topology` shows it.", body = MoveView),
    (status = 400, description = "The body makes no sense.", body = ErrorBody),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 404, description = "Unknown endpoint.", body = ErrorBody),
    (status = 409, description = "The writer stays: the body states the reason.", body = ErrorBody),
    (status = 503, description = "The program is ending.", body = ErrorBody),
))]
pub(super) async fn move_writer(
    State(context): State<Arc<AdminContext>>,
    client: Option<Extension<Client>>,
    body: Bytes,
) -> Result<Response, Problem> {
    if context.monitor.is_draining() {
        return Err(Problem::draining());
    }
    let request = read_request(&body, origin_of(client))?;
    let pending = context.api.mover.begin_move(request)?;
    if let Ok(ended) = timeout(RESPONSE_WAIT, pending.wait_for_end()).await {
        return Ok(Json(MovedView::from(ended?)).into_response());
    }
    let progress = context.api.mover.progress().map(|progress| MoveView::new(progress, Clock::now()));
    Ok((StatusCode::ACCEPTED, Json(progress)).into_response())
}

/// Cancels a move that is under way: the held clients are released, and the writer stays.
#[utoipa::path(delete, path = "/v1/topology/writer", tag = "topology", security(("key" = [])), responses(
    (status = 202, description = "Cancellation requested; the body shows the move as it was.", body = MoveView),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 404, description = "The writer is not being moved.", body = ErrorBody),
))]
pub(super) async fn cancel_move(
    State(context): State<Arc<AdminContext>>,
) -> Result<(StatusCode, Json<MoveView>), Problem> {
    let progress = context.api.mover.cancel_move();
    let progress = progress.ok_or_else(|| Problem::not_found("the writer is not being moved"))?;
    Ok((StatusCode::ACCEPTED, Json(MoveView::new(progress, Clock::now()))))
}

/// Ends the fence of an endpoint: if declared primary, the endpoint may be the writer again.
#[utoipa::path(delete, path = "/v1/topology/fences/{name}", tag = "topology", security(("key" = [])),
    params(("name" = String, Path, description = "The endpoint.")),
    responses(
        (status = 204, description = "The endpoint is no longer fenced."),
        (status = 401, description = "No valid key was shown.", body = ErrorBody),
        (status = 404, description = "The endpoint is not fenced.", body = ErrorBody),
        (status = 409, description = "Its server accepts writes beside the writer.", body = ErrorBody),
        (status = 503, description = "The program is ending.", body = ErrorBody),
    ))]
pub(super) async fn end_fence(
    State(context): State<Arc<AdminContext>>,
    client: Option<Extension<Client>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let not_fenced = || Problem::not_found("the endpoint is not fenced");
    let name = EndpointName::new(&name).map_err(|_| not_fenced())?;
    match context.api.mover.end_fence(&name, &origin_of(client)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DecisionError::Ended) => Err(Problem::draining()),
        Err(error @ DecisionError::StillWritable) => {
            let message = format!("{error}: stop or demote it first, or move the writer to it");
            Err(Problem::new(StatusCode::CONFLICT, "still_writable", message))
        }
        Err(_) => Err(not_fenced()),
    }
}

fn origin_of(client: Option<Extension<Client>>) -> MoveOrigin {
    MoveOrigin { through: "admin", client: client.map(|Extension(Client(address))| address), user: None }
}

fn read_request(body: &[u8], origin: MoveOrigin) -> Result<MoveRequest, Problem> {
    let form = "send {\"endpoint\": \"NAME\", \"wait\": SECONDS, \"promotion_wait\": SECONDS}; only the endpoint is required";
    let body: MoveBody =
        serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("{error}: {form}")))?;
    let to = EndpointName::new(&body.endpoint).map_err(|error| Problem::bad_request(error.to_string()))?;
    let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
    let wait = seconds(body.wait, MoveRequest::DEFAULT_WAIT);
    let promotion_wait = seconds(body.promotion_wait, Duration::ZERO);
    if wait.max(promotion_wait) > MoveRequest::MAX_WAIT {
        let limit = MoveRequest::MAX_WAIT.as_secs();
        return Err(Problem::bad_request(format!("a wait takes at most {limit} seconds")));
    }
    Ok(MoveRequest { to, wait, promotion_wait, origin })
}

// === impl MovedView ===

impl From<MoveReport> for MovedView {
    fn from(report: MoveReport) -> Self {
        let MoveReport { from, to, ended_leases, ended_sessions, held } = report;
        Self {
            writer: to.to_string(),
            from: from.map(|from| from.to_string()),
            ended_leases,
            ended_sessions,
            held_seconds: held.as_secs_f64(),
        }
    }
}

// === impl MoveView ===

impl MoveView {
    pub(super) fn new(progress: MoveProgress, clock: Clock) -> Self {
        let MoveProgress { from, to, phase, since } = progress;
        Self {
            from: from.map(|from| from.to_string()),
            to: to.to_string(),
            phase: phase.as_str(),
            since: clock.since(since),
        }
    }
}

// === impl FenceView ===

impl FenceView {
    /// Fences of a snapshot.
    pub(super) fn all(control: &crate::topology::WriterControl) -> Vec<Self> {
        let view = |fence: &crate::topology::Fence| Self {
            endpoint: fence.endpoint.to_string(),
            cause: fence.cause.as_str(),
        };
        control.fences.iter().map(view).collect()
    }
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        let status = match error {
            MoveError::UnknownEndpoint(_) => StatusCode::NOT_FOUND,
            MoveError::ShuttingDown => return Self::draining(),
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, error.code(), error.to_string())
    }
}
