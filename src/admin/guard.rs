//! Lets requests to the admin API through or denies them, and counts and records them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::sleep;

use super::{
    access::{Verdict, is_health},
    context::AdminContext,
    page::is_page,
};
use crate::{
    audit::{Record, record::AdminRequest},
    telemetry::labels::AdminOutcome,
};

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

/// An answer says that its request has shown the key in its own way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authenticated;

/// How long a denial is held back: keys are not found by trying, and the audit log is not filled by it.
const DISCOURAGEMENT: Duration = Duration::from_millis(100);

/// Bytes of a path that are worth recording.
const PATH: usize = 256;

/// Lets a request through or denies it, and counts and records it.
pub(super) async fn guard(
    State(context): State<Arc<AdminContext>>,
    request: Request,
    next: Next,
) -> Response {
    let (client, method) = (request.extensions().get().copied(), request.method().clone());
    let path: String = request.uri().path().chars().take(PATH).collect();
    let verdict = context.access.judge(&method, &path, request.headers());
    let response = match verdict.denial() {
        None => next.run(request).await,
        Some(problem) => {
            sleep(DISCOURAGEMENT).await;
            problem.into_response()
        }
    };
    let status = response.status();
    let mut denied = verdict.denial().is_some();
    if !denied && status == StatusCode::UNAUTHORIZED {
        denied = true;
        sleep(DISCOURAGEMENT).await;
    }
    context.metrics.answered(match (denied, status.as_u16()) {
        (true, _) => AdminOutcome::Denied,
        (false, ..400) => AdminOutcome::Ok,
        (false, _) => AdminOutcome::Error,
    });
    if denied {
        tracing::warn!(client = ?client.map(|Client(address)| address), %method, path, ?verdict, "admin API request denied");
    }
    if denied || !(is_health(&path) || is_page(&path)) {
        let request = AdminRequest {
            client: client.map(|Client(address)| address),
            authenticated: matches!(verdict, Verdict::Known | Verdict::Session)
                || response.extensions().get::<Authenticated>().is_some(),
            method: method.as_str().into(),
            path: path.into(),
            status: status.as_u16(),
        };
        // The answer is made: it is told late rather than not at all, once the log has room.
        context.api.observers.audit.submit(Record::AdminRequest(Box::new(request))).await.ok();
    }
    response
}
