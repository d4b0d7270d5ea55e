//! Backend pools: list, pause, resume, drain and reconnect.

#![expect(unused_qualifications, reason = "utoipa writes the names of parameters in full")]

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
};
use crate::{
    blame::Chain,
    closed_set::closed_set,
    events::EventKind,
    names::{DatabaseName, EndpointName, ListenerName, NameError, UserName},
    pool::{Filter, Pool, Pools},
    telemetry::labels::PoolBackendState,
};

/// Selects pools: all, or those that match every given parameter.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PoolsQuery {
    /// Only pools of this listener.
    listener: Option<String>,
    /// Only pools of this endpoint.
    endpoint: Option<String>,
    /// Only pools of this database.
    database: Option<String>,
    /// Only pools of this database user.
    user: Option<String>,
}

/// Time limit of an operation.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitTimeout {
    /// `pause` and `drain`: maximum number of seconds to wait for leased backends to return; 0 when absent, at most 25.
    wait: Option<u64>,
}

closed_set! {
    /// An operation on pools.
    #[derive(ToSchema)]
    #[schema(rename_all = "lowercase")]
    pub(super) enum Operation {
        /// Stops leasing backends until resumed, also in pools created later. Sessions wait.
        Pause = "pause",
        /// Leases backends again, after a pause or a drain.
        Resume = "resume",
        /// Like `pause`; also closes backends as they return.
        Drain = "drain",
        /// Replaces every backend: idle ones now, leased ones when they return.
        Reconnect = "reconnect",
    }
}

/// Result of an operation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    /// Number of matching pools.
    pools: usize,
    /// True if no session has a backend of these pools.
    quiet: bool,
}

/// The pools, ordered by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PoolList {
    pools: Vec<PoolView>,
}

/// The backends for one listener, endpoint, database and user. Backends of clients that log in by their own dialog with
/// the server belong to no pool.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PoolView {
    listener: String,
    endpoint: String,
    database: String,
    user: String,
    /// Pool mode: `session`, `transaction`.
    mode: &'static str,
    /// `open`, `paused`, `draining`, `withdrawn`, `closed`.
    state: &'static str,
    /// Maximum number of backends.
    size: usize,
    backends: BackendsView,
    /// Sessions waiting for a backend.
    waiting: usize,
    /// Longest current wait of a session.
    longest_wait_seconds: f64,
    /// Leases given to sessions.
    leases: u64,
    /// Leases that a session had to wait for.
    waits: u64,
    /// Sum of all waits.
    waited_seconds: f64,
    /// Error of the last login; absent after a success, and after a minute without another try.
    last_error: Option<String>,
}

/// Backends of a pool, by state.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackendsView {
    /// Connecting or logging in.
    dialing: usize,
    /// Available for a lease.
    idle: usize,
    /// Leased to a session.
    leased: usize,
    /// Being reset after a session.
    resetting: usize,
    /// A cancel request is on its way to the backend, or may still take effect.
    settling: usize,
    /// Will be closed when returned.
    close_needed: usize,
}

/// Maximum wait of a caller in seconds: less than the time limit of a request.
const MAX_WAIT_SECONDS: u64 = 25;

/// Lists pools.
#[utoipa::path(get, path = "/v1/pools", operation_id = "pools", tag = "pools", params(PoolsQuery), security(("key" = [])), responses(
    (status = 200, description = "All that are meant.", body = PoolList),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn list(
    State(context): State<Arc<AdminContext>>,
    which: Result<Query<PoolsQuery>, QueryRejection>,
) -> Result<Json<PoolList>, Problem> {
    let filter = parse_query(which)?.filter()?;
    let mut pools = context.api.routing.pools.list();
    pools.retain(|pool| filter.matches(pool.target()));
    let mut pools: Vec<_> = pools.iter().map(|pool| PoolView::new(pool)).collect();
    pools.sort_by(|a, b| a.names().cmp(&b.names()));
    Ok(Json(PoolList { pools }))
}

/// Pauses, resumes, drains or reconnects pools.
#[utoipa::path(post, path = "/v1/pools/{operation}", tag = "pools", security(("key" = [])),
    params(("operation" = Operation, Path, description = "What to do."), PoolsQuery, WaitTimeout),
    responses(
        (status = 200, description = "It is done.", body = Done),
        (status = 400, description = "The query makes no sense.", body = ErrorBody),
        (status = 401, description = "No valid key was shown.", body = ErrorBody),
        (status = 404, description = "Unknown operation or endpoint.", body = ErrorBody),
    ))]
pub(super) async fn operate(
    State(context): State<Arc<AdminContext>>,
    Path(operation): Path<String>,
    which: Result<Query<PoolsQuery>, QueryRejection>,
    patience: Result<Query<WaitTimeout>, QueryRejection>,
) -> Result<Json<Done>, Problem> {
    let filter = parse_query(which)?.filter()?;
    perform_operation(&context, &operation, filter, &parse_query(patience)?).await
}

/// Pauses, resumes, drains or reconnects the pools of an endpoint.
#[utoipa::path(post, path = "/v1/endpoints/{name}/{operation}", tag = "pools", security(("key" = [])),
    params(
        ("name" = String, Path, description = "The endpoint."),
        ("operation" = Operation, Path, description = "What to do."),
        WaitTimeout,
    ),
    responses(
        (status = 200, description = "It is done.", body = Done),
        (status = 400, description = "The query makes no sense.", body = ErrorBody),
        (status = 401, description = "No valid key was shown.", body = ErrorBody),
        (status = 404, description = "Unknown operation or endpoint.", body = ErrorBody),
    ))]
pub(super) async fn operate_endpoint(
    State(context): State<Arc<AdminContext>>,
    Path((name, operation)): Path<(String, String)>,
    patience: Result<Query<WaitTimeout>, QueryRejection>,
) -> Result<Json<Done>, Problem> {
    let Ok(name) = EndpointName::new(&name) else { return Err(no_such_endpoint()) };
    perform_operation(&context, &operation, Filter::endpoint(name), &parse_query(patience)?).await
}

async fn perform_operation(
    context: &AdminContext,
    operation: &str,
    filter: Filter,
    patience: &WaitTimeout,
) -> Result<Json<Done>, Problem> {
    let api = &context.api;
    let pools: &Pools = &api.routing.pools;
    // Databases and users become known with their first use, endpoints with the configuration.
    if filter.endpoint.as_ref().is_some_and(|name| api.routing.endpoints.load().get(name).is_none()) {
        return Err(no_such_endpoint());
    }
    let operation = Operation::find(operation)
        .ok_or_else(|| Problem::not_found("pools can pause, resume, drain and reconnect"))?;
    let found = match operation {
        Operation::Pause => pools.pause(&filter),
        Operation::Resume => pools.resume(&filter),
        Operation::Drain => pools.drain(&filter),
        Operation::Reconnect => pools.reconnect(&filter),
    };
    tracing::info!(operation = operation.as_str(), ?filter, pools = found, "pool operation requested");
    let what = format!("{} {}", operation.as_str(), describe_filter(&filter));
    api.observers.events.record_event(EventKind::Operated { through: "admin", what });
    let waits = matches!(operation, Operation::Pause | Operation::Drain);
    let wait = Duration::from_secs(patience.wait.filter(|_| waits).unwrap_or_default().min(MAX_WAIT_SECONDS));
    let quiet = timeout(wait, pools.quiet(&filter)).await.is_ok();
    Ok(Json(Done { pools: found, quiet }))
}

/// Description of the selected pools.
fn describe_filter(filter: &Filter) -> String {
    let Filter { listener, endpoint, database, user } = filter;
    let named = [
        ("listener", listener.as_ref().map(ListenerName::as_str)),
        ("endpoint", endpoint.as_ref().map(EndpointName::as_str)),
        ("database", database.as_ref().map(DatabaseName::as_str)),
        ("user", user.as_ref().map(UserName::as_str)),
    ];
    let named: Vec<_> =
        named.into_iter().filter_map(|(what, name)| Some(format!("{what} `{}`", name?))).collect();
    if named.is_empty() { "all pools".to_owned() } else { format!("the pools of {}", named.join(", ")) }
}

fn parse_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|error| Problem::bad_request(error.body_text()))
}

fn no_such_endpoint() -> Problem {
    Problem::not_found("unknown endpoint")
}

// === impl PoolList ===

impl PoolList {
    /// The first `limit` pools.
    pub(super) fn first(context: &AdminContext, limit: usize) -> Self {
        let mut pools: Vec<_> =
            context.api.routing.pools.list().iter().map(|pool| PoolView::new(pool)).collect();
        pools.sort_by(|a, b| a.names().cmp(&b.names()));
        pools.truncate(limit);
        Self { pools }
    }
}

// === impl PoolsQuery ===

impl PoolsQuery {
    fn filter(&self) -> Result<Filter, Problem> {
        fn name<N>(
            text: Option<&String>,
            new: fn(&str) -> Result<N, NameError>,
        ) -> Result<Option<N>, Problem> {
            let checked = text.map(|text| new(text).map_err(|error| (text, error))).transpose();
            checked.map_err(|(text, error)| Problem::bad_request(format!("\"{text}\": {error}")))
        }
        Ok(Filter {
            listener: name(self.listener.as_ref(), ListenerName::new)?,
            endpoint: name(self.endpoint.as_ref(), EndpointName::new)?,
            database: name(self.database.as_ref(), DatabaseName::new)?,
            user: name(self.user.as_ref(), UserName::new)?,
        })
    }
}

// === impl Operation ===

impl Operation {
    fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == word)
    }
}

// === impl PoolView ===

impl PoolView {
    fn new(pool: &Pool) -> Self {
        let status = pool.status();
        let count = |state| status.count(state);
        Self {
            listener: status.target.listener.to_string(),
            endpoint: status.target.endpoint.to_string(),
            database: status.target.database.to_string(),
            user: status.target.user.to_string(),
            mode: status.target.mode.as_str(),
            state: status.phase.as_str(),
            size: status.settings.size,
            backends: BackendsView {
                dialing: count(PoolBackendState::Dialing),
                idle: count(PoolBackendState::Idle),
                leased: count(PoolBackendState::Leased),
                resetting: count(PoolBackendState::Resetting),
                settling: count(PoolBackendState::Settling),
                close_needed: status.backends.iter().filter(|backend| backend.close_needed).count(),
            },
            waiting: status.waiting,
            longest_wait_seconds: status.longest_wait.as_secs_f64(),
            leases: status.leases,
            waits: status.waits,
            waited_seconds: status.waited.as_secs_f64(),
            last_error: status.last_login_error.as_ref().map(|error| Chain(&**error).to_string()),
        }
    }

    fn names(&self) -> (&str, &str, &str, &str) {
        (&self.listener, &self.endpoint, &self.database, &self.user)
    }
}
