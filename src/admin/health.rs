//! Whether the process lives, and whether it can serve.

#![expect(unused_qualifications, reason = "utoipa writes the names of parameters in full")]

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    context::Context,
    error::{ErrorBody, Problem},
};
use crate::{
    frontend::ListenerSettings,
    names::EndpointName,
    route::{NoEndpoint, decide},
    topology::{EndpointStatus, Health, TopologySnapshot},
};

/// Which listeners are asked about.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The name of one listener; all of them when absent.
    listener: Option<String>,
}

/// Whether clients can be served.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// All of `listeners` are ready, and the program is not ending.
    ready: bool,
    /// The program is ending: clients should go elsewhere.
    draining: bool,
    /// The listeners that were asked about.
    listeners: Vec<ListenerReadiness>,
}

/// Whether a listener's route can serve.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ListenerReadiness {
    /// Its name.
    name: String,
    /// Where its statements may go.
    route: String,
    /// A session could begin now.
    ready: bool,
    /// An endpoint that would serve one.
    endpoint: Option<String>,
    /// Why that endpoint, or why none: a word of a closed set.
    reason: &'static str,
    /// What is wrong.
    problem: Option<String>,
}

/// Whether the process lives: it answers.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, description = "The process lives.", body = String, content_type = "text/plain"),
))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether every listener, or the one that is named, can serve now.
#[utoipa::path(get, path = "/readyz", tag = "health", params(Which), responses(
    (status = 200, description = "Clients can be served.", body = Readiness),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 404, description = "There is no listener of that name.", body = ErrorBody),
    (status = 503, description = "They cannot: the body says what is wrong.", body = Readiness),
))]
pub(super) async fn readyz(
    State(context): State<Arc<Context>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<(StatusCode, Json<Readiness>), Problem> {
    let Query(Which { listener: wanted }) = which.map_err(|error| Problem::bad_request(error.body_text()))?;
    let readiness = Readiness::of(&context, wanted.as_deref());
    if let (Some(name), true) = (wanted, readiness.listeners.is_empty()) {
        return Err(Problem::not_found(format!("there is no listener `{name}`")));
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(readiness)))
}

/// The same as `/livez`, which answers once the listeners are open: the path of Google's Auth Proxy.
#[utoipa::path(get, path = "/startup", tag = "health", responses(
    (status = 200, description = "The program has started.", body = String, content_type = "text/plain"),
))]
pub(super) async fn startup() -> &'static str {
    livez().await
}

/// The same as `/livez`: the path of Google's Auth Proxy.
#[utoipa::path(get, path = "/liveness", tag = "health", responses(
    (status = 200, description = "The process lives.", body = String, content_type = "text/plain"),
))]
pub(super) async fn liveness() -> &'static str {
    livez().await
}

/// The same as `/readyz`: the path of Google's Auth Proxy.
#[utoipa::path(get, path = "/readiness", tag = "health", params(Which), responses(
    (status = 200, description = "Clients can be served.", body = Readiness),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 404, description = "There is no listener of that name.", body = ErrorBody),
    (status = 503, description = "They cannot: the body says what is wrong.", body = Readiness),
))]
pub(super) async fn readiness(
    context: State<Arc<Context>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<(StatusCode, Json<Readiness>), Problem> {
    readyz(context, which).await
}

// === impl Readiness ===

impl Readiness {
    /// Of every listener.
    pub(super) fn of_all(context: &Context) -> Self {
        Self::of(context, None)
    }

    fn of(context: &Context, wanted: Option<&str>) -> Self {
        let snapshot = context.api.routing.topology.load();
        let sessions = &context.api.sessions;
        let listeners: Vec<_> = context
            .listeners()
            .iter()
            .filter(|listener| wanted.is_none_or(|name| listener.settings.name.as_str() == name))
            .map(|listener| assess(&listener.settings, &snapshot, |name| sessions.on_endpoint(name)))
            .collect();
        let draining = context.is_draining();
        let ready = !draining && listeners.iter().all(|listener| listener.ready);
        Self { ready, draining, listeners }
    }
}

/// Routing gives an endpoint the benefit of the doubt, since trying costs a client nothing it had. Readiness does not:
/// whoever asks has another place to send clients to.
fn assess(
    settings: &ListenerSettings,
    snapshot: &TopologySnapshot,
    load: impl Fn(&EndpointName) -> usize,
) -> ListenerReadiness {
    let decided = decide(&settings.route, snapshot, load, 0, &[]);
    let (endpoint, reason, problem) = match decided {
        Ok(decision) => {
            let name = &decision.endpoint.name;
            let problem = snapshot.get(name).and_then(trouble);
            (Some(name.to_string()), decision.reason.as_str(), problem)
        }
        Err(none) => (None, none.as_str(), Some(why(none, snapshot))),
    };
    ListenerReadiness {
        name: settings.name.to_string(),
        route: settings.route.to_string(),
        ready: problem.is_none(),
        endpoint,
        reason,
        problem,
    }
}

fn trouble(status: &EndpointStatus) -> Option<String> {
    let name = &status.endpoint.name;
    match (status.health, &status.last_error) {
        (Health::Up, _) => None,
        (Health::Unknown, Some(error)) => Some(format!("endpoint `{name}` was never logged in to: {error}")),
        (Health::Unknown, None) => Some(format!("endpoint `{name}` has not answered yet")),
        (Health::Down, Some(error)) => Some(format!("endpoint `{name}` is down: {error}")),
        (Health::Down, None) => Some(format!("endpoint `{name}` is down")),
    }
}

fn why(none: NoEndpoint, snapshot: &TopologySnapshot) -> String {
    let changed: Vec<_> = snapshot
        .endpoints
        .iter()
        .filter(|status| status.has_mismatch())
        .filter_map(|status| {
            let observed = status.observed?.as_str();
            let endpoint = &status.endpoint;
            Some(format!(
                "endpoint `{}` is declared {}, but says it is a {observed}",
                endpoint.name, endpoint.role
            ))
        })
        .collect();
    if changed.is_empty() { none.to_string() } else { format!("{none}: {}", changed.join(", ")) }
}
