//! Admits or denies requests to the admin API; counts and records them.

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

/// Address of the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

/// Marks a response whose request has sent the key in its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authenticated;

/// Delay of a denial: slows down guessing of keys and flooding of the audit log.
const DENIAL_DELAY: Duration = Duration::from_millis(100);

/// Maximum recorded length of a path in bytes.
const MAX_RECORDED_PATH_BYTES: usize = 256;

/// Admits or denies a request; counts and records the request.
pub(super) async fn check_request(
    State(context): State<Arc<AdminContext>>,
    request: Request,
    next: Next,
) -> Response {
    let (client, method) = (request.extensions().get().copied(), request.method().clone());
    let path: String = request.uri().path().chars().take(MAX_RECORDED_PATH_BYTES).collect();
    let verdict = context.access.judge(&method, &path, request.headers());
    let response = match verdict.denial() {
        None => next.run(request).await,
        Some(problem) => {
            sleep(DENIAL_DELAY).await;
            problem.into_response()
        }
    };
    let status = response.status();
    let mut denied = verdict.denial().is_some();
    if !denied && status == StatusCode::UNAUTHORIZED {
        denied = true;
        sleep(DENIAL_DELAY).await;
    }
    context.metrics.record_request(match (denied, status.as_u16()) {
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
            authenticated: matches!(
                verdict,
                Verdict::Known | Verdict::Viewer | Verdict::ViewerChanges | Verdict::Session
            ) || response.extensions().get::<Authenticated>().is_some(),
            method: method.as_str().into(),
            path: path.into(),
            status: status.as_u16(),
        };
        // The response is final, so the record waits for room in the log.
        context.api.observers.audit.submit(Record::AdminRequest(Box::new(request))).await.ok();
    }
    response
}
