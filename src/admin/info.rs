//! Version, settings and listeners of the running program.

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

/// The running program.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    version: &'static str,
    /// Process id.
    pid: u32,
    /// Identifies this run of the process in audit records, and in `application_name` of tagged sessions.
    boot_id: String,
    started: Moment,
    /// True while the program is shutting down.
    draining: bool,
    /// Logged-in clients.
    sessions: usize,
    listeners: Vec<ListenerView>,
}

/// A listener in its current configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListenerView {
    name: String,
    /// Address or path of the listening socket.
    bind: String,
    /// Route of the listener.
    route: String,
    /// Endpoints that the route may use, by name.
    targets: Vec<String>,
    /// Client authentication: `passthrough`, `scram`, `certificate`, `password`, `trust`.
    auth: &'static str,
    /// TLS towards clients: `off`, `optional`, `required`.
    tls: &'static str,
    /// Certificate presented to clients, and CAs that verify client certificates.
    certificates: Vec<CertificateView>,
    /// Connected clients, logged in or not.
    clients: usize,
    /// Maximum number of concurrent clients.
    max_clients: usize,
}

/// The running program and its listeners.
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
            pid: std::process::id(),
            boot_id: context.api.observers.audit.boot_id().to_owned(),
            started: clock.since_time(context.started),
            draining: context.monitor.is_draining(),
            sessions: context.api.sessions.count(),
            listeners: context.monitor.listeners().iter().map(|it| ListenerView::new(it, clock)).collect(),
        }
    }
}

// === impl ListenerView ===

impl ListenerView {
    fn new(listener: &ListenerContext, clock: Clock) -> Self {
        let settings = &listener.settings;
        let mut targets: Vec<_> = listener.paths.keys().map(ToString::to_string).collect();
        targets.sort();
        Self {
            name: settings.name.to_string(),
            bind: settings.bind.to_string(),
            route: settings.route.to_string(),
            targets,
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
