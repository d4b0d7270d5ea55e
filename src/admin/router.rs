//! The paths of the API with their handlers and costs.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    error_handling::HandleErrorLayer,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::{MethodRouter, delete, get, post},
};
use tower::{
    ServiceBuilder, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer, timeout::TimeoutLayer,
};

use super::{
    access::is_health_check,
    context::AdminContext,
    diagnosis,
    error::{no_such_method, no_such_path, on_limit_error, too_many_connections},
    events,
    guard::check_request,
    health, info,
    login::{self, MAX_LOGIN_BYTES},
    metrics, openapi, operations, page, pools, sessions, stream, topology, writer,
};

/// One path with its handler and cost.
pub(super) struct Route {
    pub(super) path: &'static str,
    cost: Cost,
    handler: MethodRouter<Arc<AdminContext>>,
}

/// Cost class of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Almost none; answered under any load.
    Nothing,
    /// Processor time of the control threads, which also accept clients and probe endpoints.
    Work,
    /// Waiting.
    Patience,
}

/// Maximum number of concurrent requests, except health checks. Further requests must be retried.
const MAX_CONCURRENT_REQUESTS: usize = 32;
/// Time limit of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// All routes, one for each path and method.
pub(super) fn all_routes() -> Vec<Route> {
    let route = |path, cost, handler| Route { path, cost, handler };
    vec![
        route("/livez", Cost::Nothing, get(health::livez)),
        route("/readyz", Cost::Nothing, get(health::readyz)),
        route("/startup", Cost::Nothing, get(health::startup)),
        route("/liveness", Cost::Nothing, get(health::liveness)),
        route("/readiness", Cost::Nothing, get(health::readiness)),
        route("/metrics", Cost::Work, get(metrics::metrics)),
        route("/", Cost::Work, get(page::index)),
        route("/page/{file}", Cost::Work, get(page::file)),
        route("/v1/login", Cost::Work, post(login::login)),
        route("/v1/logout", Cost::Work, post(login::logout)),
        route("/v1/stream", Cost::Work, get(stream::stream)),
        route("/v1/events", Cost::Work, get(events::list)),
        route("/v1/topology", Cost::Work, get(topology::topology)),
        route("/v1/topology/writer", Cost::Patience, post(writer::move_writer).delete(writer::cancel_move)),
        route("/v1/topology/fences/{name}", Cost::Patience, delete(writer::end_fence)),
        route("/v1/verdict", Cost::Work, get(diagnosis::verdict)),
        route("/v1/sessions", Cost::Work, get(sessions::list)),
        route("/v1/sessions/{id}", Cost::Work, delete(sessions::kill)),
        route("/v1/pools", Cost::Work, get(pools::list)),
        route("/v1/pools/{operation}", Cost::Patience, post(pools::operate)),
        route("/v1/endpoints/{name}/{operation}", Cost::Patience, post(pools::operate_endpoint)),
        route("/v1/reload", Cost::Patience, post(operations::reload)),
        route("/v1/log", Cost::Work, post(operations::set_log_filter)),
        route("/v1/restart", Cost::Work, post(operations::restart)),
        route("/v1/stop", Cost::Patience, post(operations::stop)),
        route("/v1/info", Cost::Work, get(info::info)),
        route("/openapi.json", Cost::Work, get(openapi::openapi)),
    ]
}

/// Restricts `router` to health checks, for connections beyond the limit; all remaining requests must be retried.
pub(super) fn health_only(router: Router) -> Router {
    router.layer(middleware::from_fn(async |request: Request, next: Next| {
        match is_health_check(request.uri().path()) {
            true => next.run(request).await,
            false => too_many_connections().into_response(),
        }
    }))
}

/// All routes, behind the guard.
pub(super) fn build_router(context: Arc<AdminContext>) -> Router {
    let with = |cost| {
        let chosen = all_routes().into_iter().filter(move |route| route.cost == cost);
        chosen.fold(Router::new(), |router, route| router.route(route.path, route.handler))
    };
    // One response is built at a time, so that other tasks of the control threads run in between.
    let work = with(Cost::Work).layer(GlobalConcurrencyLimitLayer::new(1));
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(on_limit_error))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(MAX_CONCURRENT_REQUESTS))
        .layer(TimeoutLayer::new(RESPONSE_TIMEOUT));
    work.merge(with(Cost::Patience))
        .layer(limits)
        .merge(with(Cost::Nothing))
        .method_not_allowed_fallback(no_such_method)
        .fallback(no_such_path)
        .layer(DefaultBodyLimit::max(MAX_LOGIN_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&context), check_request))
        .layer(middleware::from_fn(page::add_headers))
        .with_state(context)
}
