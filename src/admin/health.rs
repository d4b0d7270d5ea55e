//! Liveness of the process, and readiness to serve clients.

#![expect(unused_qualifications, reason = "utoipa writes the names of parameters in full")]

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
    monitor::ServiceMonitor,
};
use crate::{
    blame::Chain,
    frontend::{ListenerSettings, Routing},
    names::EndpointName,
    route::{NoEndpoint, RoutePolicy, decide},
    topology::{EndpointStatus, Health, TopologySnapshot},
};

/// Selects the listeners of a readiness check.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadinessQuery {
    /// Name of one listener; all listeners when absent.
    listener: Option<String>,
}

/// Readiness to serve clients.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// True if all of `listeners` are ready and the program is not shutting down.
    ready: bool,
    /// True while the program is shutting down; clients should connect elsewhere.
    draining: bool,
    /// Problem of the program that concerns all listeners, with its remedy.
    problem: Option<String>,
    /// The selected listeners.
    listeners: Vec<ListenerReadiness>,
}

/// Readiness of a listener's route.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ListenerReadiness {
    /// Name of the listener.
    name: String,
    /// Route of the listener.
    route: String,
    /// True if a session could begin now, or would wait for a writer that was lost less than the listener's `hold` ago.
    ready: bool,
    /// True if sessions wait for a writer.
    holding: bool,
    /// An endpoint that would serve a session.
    endpoint: Option<String>,
    /// Reason for the endpoint, or for its absence, from a closed set.
    reason: &'static str,
    /// Description of the problem.
    problem: Option<String>,
}

/// Liveness of the process.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, description = "The process lives.", body = String, content_type = "text/plain"),
))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Readiness of all listeners, or of one.
#[utoipa::path(get, path = "/readyz", tag = "health", params(ReadinessQuery), responses(
    (status = 200, description = "Clients can be served.", body = Readiness),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 404, description = "Unknown listener.", body = ErrorBody),
    (status = 503, description = "Not ready: the body states the reason.", body = Readiness),
))]
pub(super) async fn readyz(
    State(context): State<Arc<AdminContext>>,
    which: Result<Query<ReadinessQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<Readiness>), Problem> {
    let Query(ReadinessQuery { listener: wanted }) =
        which.map_err(|error| Problem::bad_request(error.body_text()))?;
    let readiness = Readiness::of(&context.monitor, wanted.as_deref());
    if let (Some(name), true) = (wanted, readiness.listeners.is_empty()) {
        return Err(Problem::not_found(format!("unknown listener `{name}`")));
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(readiness)))
}

/// Like `/livez`, available once the listeners are open: the path of Google's Auth Proxy.
#[utoipa::path(get, path = "/startup", tag = "health", responses(
    (status = 200, description = "The program has started.", body = String, content_type = "text/plain"),
))]
pub(super) async fn startup() -> &'static str {
    livez().await
}

/// Like `/livez`: the path of Google's Auth Proxy.
#[utoipa::path(get, path = "/liveness", tag = "health", responses(
    (status = 200, description = "The process lives.", body = String, content_type = "text/plain"),
))]
pub(super) async fn liveness() -> &'static str {
    livez().await
}

/// Like `/readyz`: the path of Google's Auth Proxy.
#[utoipa::path(get, path = "/readiness", tag = "health", params(ReadinessQuery), responses(
    (status = 200, description = "Clients can be served.", body = Readiness),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 404, description = "Unknown listener.", body = ErrorBody),
    (status = 503, description = "Not ready: the body states the reason.", body = Readiness),
))]
pub(super) async fn readiness(
    context: State<Arc<AdminContext>>,
    which: Result<Query<ReadinessQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<Readiness>), Problem> {
    readyz(context, which).await
}

// === impl Readiness ===

impl Readiness {
    /// Readiness of all listeners.
    pub(super) fn of_all(monitor: &ServiceMonitor) -> Self {
        Self::of(monitor, None)
    }

    /// True if all listeners can serve and the program is not shutting down.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready
    }

    /// True if sessions wait for a writer.
    pub(super) fn is_holding(&self) -> bool {
        self.listeners.iter().any(|listener| listener.holding)
    }

    /// Listeners that cannot serve, with their problem.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        let unready = self.listeners.iter().filter(|listener| !listener.ready);
        unready
            .map(|listener| (listener.name.as_str(), listener.problem.as_deref().unwrap_or("unknown reason")))
    }

    fn of(monitor: &ServiceMonitor, wanted: Option<&str>) -> Self {
        let snapshot = monitor.api.routing.topology.load();
        let sessions = &monitor.api.sessions;
        let absence = monitor
            .api
            .observers
            .events
            .writer_absence_start()
            .map(|start| Duration::try_from(Timestamp::now().duration_since(start)).unwrap_or_default());
        let listeners: Vec<_> = monitor
            .listeners()
            .iter()
            .filter(|listener| wanted.is_none_or(|name| listener.settings.name.as_str() == name))
            .map(|listener| {
                assess_listener(
                    &listener.settings,
                    &snapshot,
                    absence,
                    |name| sessions.on_endpoint(name),
                    |name| describe_missing_token(&monitor.api.routing, name),
                )
            })
            .collect();
        let draining = monitor.is_draining();
        let problem = monitor.api.observers.audit.blocking_error().map(describe_blocked_audit);
        let ready = !draining && problem.is_none() && listeners.iter().all(|listener| listener.ready);
        Self { ready, draining, problem, listeners }
    }
}

/// Stricter than routing. Routing tries an endpoint in doubt, because a failed attempt costs a client nothing. A
/// readiness check must fail, because a load balancer can send clients elsewhere. While clients wait for a lost writer it
/// succeeds: all instances wait, and none can do better. `absence` is the time since the writer was up. `missing_token`
/// describes an endpoint to which no login is possible, and no backend is left.
fn assess_listener(
    settings: &ListenerSettings,
    snapshot: &TopologySnapshot,
    absence: Option<Duration>,
    load: impl Fn(&EndpointName) -> usize,
    missing_token: impl Fn(&EndpointName) -> Option<String>,
) -> ListenerReadiness {
    let decided = decide(&settings.route, snapshot, load, 0, &[]);
    let (endpoint, reason, problem) = match decided {
        Ok(decision) => {
            let name = &decision.endpoint.name;
            let problem = missing_token(name).or_else(|| snapshot.get(name).and_then(describe_problem));
            (Some(name.to_string()), decision.reason.as_str(), problem)
        }
        Err(none) => (None, none.as_str(), Some(describe_missing_endpoint(none, snapshot))),
    };
    let waits_for_writer = matches!(settings.route, RoutePolicy::Primary | RoutePolicy::Split(_));
    let holding = problem.is_some()
        && waits_for_writer
        && absence.is_some_and(|absence| absence < settings.limits.hold);
    ListenerReadiness {
        name: settings.name.to_string(),
        route: settings.route.to_string(),
        ready: problem.is_none() || holding,
        holding,
        endpoint,
        reason,
        problem,
    }
}

/// The audit log blocks: every client and every statement is refused.
fn describe_blocked_audit(error: String) -> String {
    format!(
        "the audit log cannot be written, and on_full = \"block\" refuses clients: {error}; make the file in [audit] \
         writable, or free space"
    )
}

/// The endpoint's tokens cannot be minted, none is left, and no pool holds a backend.
fn describe_missing_token(routing: &Routing, name: &EndpointName) -> Option<String> {
    let endpoints = routing.endpoints.load();
    let tokens = endpoints.get(name)?.tokens()?.status();
    let error = tokens.failing.filter(|_| tokens.kept.is_empty() && !routing.pools.has_backends(name))?;
    Some(format!(
        "no token for endpoint `{name}`, and no backend is left: {}; `gatekeeper doctor` shows the remedy",
        Chain(&error)
    ))
}

fn describe_problem(status: &EndpointStatus) -> Option<String> {
    let name = &status.endpoint.name;
    match (status.health, &status.last_error) {
        (Health::Up, _) => None,
        (Health::Unknown, Some(error)) => Some(format!("endpoint `{name}` was never logged in to: {error}")),
        (Health::Unknown, None) => Some(format!("endpoint `{name}` has not answered yet")),
        (Health::Down, Some(error)) => Some(format!("endpoint `{name}` is down: {error}")),
        (Health::Down, None) => Some(format!("endpoint `{name}` is down")),
    }
}

fn describe_missing_endpoint(none: NoEndpoint, snapshot: &TopologySnapshot) -> String {
    let changed: Vec<_> = snapshot
        .endpoints
        .iter()
        .filter(|status| snapshot.has_mismatch(status))
        .filter_map(|status| {
            let observed = status.observed?.as_str();
            let endpoint = &status.endpoint;
            Some(format!(
                "endpoint `{}` is declared {}, but its server reports {observed}",
                endpoint.name, endpoint.role
            ))
        })
        .collect();
    if changed.is_empty() { none.to_string() } else { format!("{none}: {}", changed.join(", ")) }
}
