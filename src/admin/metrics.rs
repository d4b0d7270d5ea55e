//! The page for Prometheus.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::context::Context;

/// Prometheus' text format.
///
/// <https://prometheus.io/docs/instrumenting/exposition_formats/#basic-info>
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, description = "Prometheus' text format, version 0.0.4.", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(context): State<Arc<Context>>) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], context.api.metrics.render()).into_response()
}
