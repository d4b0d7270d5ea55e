//! What is running here, and where it listens.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    context::AdminContext,
    endpoint::CertificateView,
    error::ErrorBody,
    moment::{Clock, Moment},
};
use crate::frontend::ListenerContext;

/// What is running here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    version: &'static str,
    started: Moment,
    /// The program is ending.
    draining: bool,
    /// Clients that are logged in.
    sessions: usize,
    listeners: Vec<ListenerView>,
}

/// A listener as it is configured now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListenerView {
    name: String,
    /// The address or path it listens on.
    bind: String,
    /// Where its statements may go.
    route: String,
    /// How clients prove who they are: `passthrough`, `scram`, `certificate`, `password`, `trust`.
    auth: &'static str,
    /// TLS towards clients: `off`, `optional`, `required`.
    tls: &'static str,
    /// What is shown to clients, and the CAs that their certificates are checked against.
    certificates: Vec<CertificateView>,
    /// Clients it has now, logged in or not.
    clients: usize,
    /// Clients it accepts at one time.
    max_clients: usize,
}

/// What is running here, and where it listens.
#[utoipa::path(get, path = "/v1/info", tag = "info", security(("key" = [])), responses(
    (status = 200, description = "What is running here.", body = Info),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn info(State(context): State<Arc<AdminContext>>) -> Json<Info> {
    Json(Info::new(&context, Clock::now()))
}

// === impl Info ===

impl Info {
    pub(super) fn new(context: &AdminContext, clock: Clock) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started: clock.since_time(context.started),
            draining: context.is_draining(),
            sessions: context.api.sessions.count(),
            listeners: context.listeners().iter().map(|it| ListenerView::new(it, clock)).collect(),
        }
    }
}

// === impl ListenerView ===

impl ListenerView {
    fn new(listener: &ListenerContext, clock: Clock) -> Self {
        let settings = &listener.settings;
        Self {
            name: settings.name.to_string(),
            bind: settings.bind.to_string(),
            route: settings.route.to_string(),
            auth: settings.auth.as_str(),
            tls: match &listener.tls {
                None => "off",
                Some(tls) if tls.required() => "required",
                Some(_) => "optional",
            },
            certificates: listener
                .tls
                .iter()
                .flat_map(|tls| tls.certificates())
                .map(|facts| CertificateView::new(facts, clock))
                .collect(),
            clients: listener.clients(),
            max_clients: settings.limits.max_clients,
        }
    }
}
