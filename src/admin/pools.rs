//! The pools of backends: to list them, and to stop, restart and renew what they give out.

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
    context::Context,
    error::{ErrorBody, Problem},
};
use crate::{
    blame::Chain,
    closed_set::closed_set,
    events::Happening,
    names::{DatabaseName, EndpointName, ListenerName, NameError, UserName},
    pool::{Filter, Pool, Pools},
    telemetry::labels::BackendState,
};

/// Which pools are meant: all, or those that agree in everything that is said.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those of this listener.
    listener: Option<String>,
    /// Those to this endpoint.
    endpoint: Option<String>,
    /// Those of this database.
    database: Option<String>,
    /// Those of this database user.
    user: Option<String>,
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Patience {
    /// `pause` and `drain`: so many seconds at most for sessions to give their backends back; 0 when absent, and never more than
    /// 25.
    wait: Option<u64>,
}

closed_set! {
    /// What can be done with pools.
    #[derive(ToSchema)]
    #[schema(rename_all = "lowercase")]
    pub(super) enum Operation {
        /// They give out no backends until they are resumed, those made later too: whoever asks waits.
        Pause = "pause",
        /// They give out backends again, after a pause or a drain.
        Resume = "resume",
        /// As a pause, and backends are closed as they come back.
        Drain = "drain",
        /// Every backend is replaced: idle ones now, the others when they come back.
        Reconnect = "reconnect",
    }
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    /// Pools there are now that were meant.
    pools: usize,
    /// No session has a backend of those pools.
    quiet: bool,
}

/// The pools, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PoolList {
    pools: Vec<PoolView>,
}

/// The backends for one listener, endpoint, database and user. Sessions whose clients log in by their own dialog have backends
/// of their own, which are in none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PoolView {
    listener: String,
    endpoint: String,
    database: String,
    user: String,
    /// For how long a session keeps its backend: `session`, `transaction`.
    mode: &'static str,
    /// `open`, `paused`, `draining`, `withdrawn`, `closed`.
    state: &'static str,
    /// Backends it may have.
    size: usize,
    backends: BackendsView,
    /// Sessions that wait for a backend.
    waiting: usize,
    /// How long the one has waited that has waited longest.
    longest_wait_seconds: f64,
    /// Times that a backend was given to a session.
    leases: u64,
    /// Times that a session had to wait for it.
    waits: u64,
    /// How long they waited, all together.
    waited_seconds: f64,
    /// Why the last login failed, if none has succeeded since.
    last_error: Option<String>,
}

/// A pool's backends by what is done with them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackendsView {
    /// Being dialed and logged in.
    dialing: usize,
    /// Waiting for a session.
    idle: usize,
    /// A session has it.
    leased: usize,
    /// What the last session left is being taken away.
    resetting: usize,
    /// A cancel request is on its way to it, or may still have an effect.
    settling: usize,
    /// To be closed when they come back.
    close_needed: usize,
}

/// How long a caller may wait, in seconds: less than a request may take.
const LONGEST: u64 = 25;

/// The pools.
#[utoipa::path(get, path = "/v1/pools", operation_id = "pools", tag = "pools", params(Which), security(("key" = [])), responses(
    (status = 200, description = "All that are meant.", body = PoolList),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn list(
    State(context): State<Arc<Context>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<PoolList>, Problem> {
    let filter = understood(which)?.filter()?;
    let mut pools = context.api.routing.pools.list();
    pools.retain(|pool| filter.matches(pool.target()));
    let mut pools: Vec<_> = pools.iter().map(|pool| PoolView::new(pool)).collect();
    pools.sort_by(|a, b| a.names().cmp(&b.names()));
    Ok(Json(PoolList { pools }))
}

/// Pauses, resumes, drains or renews pools.
#[utoipa::path(post, path = "/v1/pools/{operation}", tag = "pools", security(("key" = [])),
    params(("operation" = Operation, Path, description = "What to do."), Which, Patience),
    responses(
        (status = 200, description = "It is done.", body = Done),
        (status = 400, description = "The query makes no sense.", body = ErrorBody),
        (status = 401, description = "No valid key was shown.", body = ErrorBody),
        (status = 404, description = "There is no such operation, or no such endpoint.", body = ErrorBody),
    ))]
pub(super) async fn operate(
    State(context): State<Arc<Context>>,
    Path(operation): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
    patience: Result<Query<Patience>, QueryRejection>,
) -> Result<Json<Done>, Problem> {
    let filter = understood(which)?.filter()?;
    perform(&context, &operation, filter, &understood(patience)?).await
}

/// Pauses, resumes, drains or renews the pools of an endpoint.
#[utoipa::path(post, path = "/v1/endpoints/{name}/{operation}", tag = "pools", security(("key" = [])),
    params(
        ("name" = String, Path, description = "The endpoint."),
        ("operation" = Operation, Path, description = "What to do."),
        Patience,
    ),
    responses(
        (status = 200, description = "It is done.", body = Done),
        (status = 400, description = "The query makes no sense.", body = ErrorBody),
        (status = 401, description = "No valid key was shown.", body = ErrorBody),
        (status = 404, description = "There is no such operation, or no such endpoint.", body = ErrorBody),
    ))]
pub(super) async fn operate_endpoint(
    State(context): State<Arc<Context>>,
    Path((name, operation)): Path<(String, String)>,
    patience: Result<Query<Patience>, QueryRejection>,
) -> Result<Json<Done>, Problem> {
    let Ok(name) = EndpointName::new(&name) else { return Err(no_such_endpoint()) };
    perform(&context, &operation, Filter::endpoint(name), &understood(patience)?).await
}

async fn perform(
    context: &Context,
    operation: &str,
    filter: Filter,
    patience: &Patience,
) -> Result<Json<Done>, Problem> {
    let api = &context.api;
    let pools: &Pools = &api.routing.pools;
    // Databases and users are not known before somebody uses them; endpoints are.
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
    tracing::info!(operation = operation.as_str(), ?filter, pools = found, "an operator works on pools");
    let what = format!("{} {}", operation.as_str(), spoken(&filter));
    api.observers.events.tell(Happening::Operated { through: "admin", what });
    let waits = matches!(operation, Operation::Pause | Operation::Drain);
    let wait = Duration::from_secs(patience.wait.filter(|_| waits).unwrap_or_default().min(LONGEST));
    let quiet = timeout(wait, pools.quiet(&filter)).await.is_ok();
    Ok(Json(Done { pools: found, quiet }))
}

/// The pools that are meant, in words.
fn spoken(filter: &Filter) -> String {
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

fn understood<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|error| Problem::bad_request(error.body_text()))
}

fn no_such_endpoint() -> Problem {
    Problem::not_found("there is no such endpoint")
}

// === impl PoolList ===

impl PoolList {
    /// The first `limit` of all.
    pub(super) fn first(context: &Context, limit: usize) -> Self {
        let mut pools: Vec<_> =
            context.api.routing.pools.list().iter().map(|pool| PoolView::new(pool)).collect();
        pools.sort_by(|a, b| a.names().cmp(&b.names()));
        pools.truncate(limit);
        Self { pools }
    }
}

// === impl Which ===

impl Which {
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
                dialing: count(BackendState::Dialing),
                idle: count(BackendState::Idle),
                leased: count(BackendState::Leased),
                resetting: count(BackendState::Resetting),
                settling: count(BackendState::Settling),
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
