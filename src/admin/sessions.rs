//! Sessions: list, and terminate one.

#![expect(unused_qualifications, reason = "utoipa writes the names of parameters in full")]

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
    moment::{Clock, Moment},
};
use crate::{
    events::EventKind,
    frontend::{CurrentBackend, SessionCommand, SessionEntry, SessionWait},
    session::Pin,
    wire::BackendKey,
};

/// Filter and page of the listed sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// Only sessions of this listener.
    listener: Option<String>,
    /// Only sessions on this endpoint.
    endpoint: Option<String>,
    /// Only sessions with a greater `id`: the last one of the previous page.
    after: Option<u64>,
    /// Maximum number of sessions: 1000 when absent, at most 10 000.
    limit: Option<usize>,
    /// `id` when absent; `state`: the oldest state first; `transaction`: the oldest transaction first.
    #[serde(default)]
    sort: SessionOrder,
}

/// Order of the listed sessions.
#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SessionOrder {
    /// Oldest session first.
    #[default]
    Id,
    /// Oldest state first.
    State,
    /// Longest transaction first; sessions without one last.
    Transaction,
}

/// A page of sessions, by default the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    /// Number of matching sessions, including later pages.
    total: usize,
    sessions: Vec<SessionView>,
}

/// A logged-in client.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// Unique while the process lives; the audit log's `session.id`.
    id: u64,
    listener: String,
    /// The client's address; absent on a Unix-domain socket.
    client: Option<String>,
    /// The TLS version of the client's connection; absent in plaintext.
    tls: Option<&'static str>,
    /// Authenticated user.
    user: Option<String>,
    /// Database user that runs the statements.
    database_user: Option<String>,
    database: Option<String>,
    /// The client's `application_name` at its login.
    application: Option<String>,
    /// Authentication method: `passthrough`, `scram`, `certificate`, `password`, `trust`.
    method: Option<&'static str>,
    /// Current endpoint; `null` for a pooled session without a lease.
    endpoint: Option<String>,
    /// The endpoint's declared role.
    backend_role: Option<&'static str>,
    /// Process id of the server's backend.
    backend_pid: Option<i32>,
    /// Address of the server.
    server: Option<String>,
    /// Reason for the endpoint, from a closed set.
    reason: &'static str,
    /// Pins from a closed set; empty without pins.
    pins: Vec<&'static str>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    state: &'static str,
    /// Begin of the statement, of the wait, or of the pause after a statement.
    state_since: Moment,
    /// Object of the statement's wait: `backend`, `writer`; absent without a wait.
    waits_for: Option<&'static str>,
    /// The pool in which the session waits, as `database/user@endpoint`.
    awaited_pool: Option<String>,
    /// Begin of the open transaction; absent outside a transaction block.
    transaction_since: Option<Moment>,
    /// Number of statements started.
    statements: u64,
    /// Time of the login.
    started: Moment,
}

/// Default size of a page.
const DEFAULT_PAGE_SESSIONS: usize = 1000;
/// Maximum size of a page: some megabytes, and some milliseconds of a control thread.
const MAX_PAGE_SESSIONS: usize = 10_000;

/// Lists logged-in sessions.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(SessionsQuery), security(("key" = [])), responses(
    (status = 200, description = "A page of them.", body = Page),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn list(
    State(context): State<Arc<AdminContext>>,
    which: Result<Query<SessionsQuery>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(which) = which.map_err(|error| Problem::bad_request(error.body_text()))?;
    let mut entries = context.api.sessions.list();
    entries.retain(|entry| which.wants(entry));
    which.sort.apply(&mut entries);
    let clock = Clock::now();
    let limit = which.limit.unwrap_or(DEFAULT_PAGE_SESSIONS).min(MAX_PAGE_SESSIONS);
    let sessions = entries.iter().take(limit).map(|entry| SessionView::new(entry, clock)).collect();
    Ok(Json(Page { total: entries.len(), sessions }))
}

/// Terminates a session at once; the client's error names an operator's command.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions", security(("key" = [])),
    params(("id" = u64, Path, description = "The session's `id`.")),
    responses(
        (status = 202, description = "Termination requested; the body shows the session as it was.", body = SessionView),
        (status = 401, description = "No valid key was shown.", body = ErrorBody),
        (status = 404, description = "Unknown or closed session.", body = ErrorBody),
    ))]
pub(super) async fn kill(
    State(context): State<Arc<AdminContext>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<SessionView>), Problem> {
    let entry = id.parse().ok().and_then(|id| context.api.sessions.get(id));
    let entry = entry.ok_or_else(|| Problem::not_found("unknown session"))?;
    let view = SessionView::new(&entry, Clock::now());
    entry.send_command(SessionCommand::Kill);
    tracing::info!(session = entry.id, listener = %entry.facts.listener, "session termination requested");
    let what = format!("ends session {} of listener `{}`", entry.id, entry.facts.listener);
    context.api.observers.events.record_event(EventKind::Operated { through: "admin", what });
    Ok((StatusCode::ACCEPTED, Json(view)))
}

// === impl Page ===

impl Page {
    /// At most `limit` sessions: waiting ones first, then those in a transaction, each the oldest first; then pinned ones,
    /// then active ones, then the newest.
    pub(super) fn most_interesting(context: &AdminContext, limit: usize, clock: Clock) -> Self {
        let mut entries = context.api.sessions.list();
        entries.sort_by_cached_key(|entry| {
            let activity = entry.activity();
            let waits_since = (activity.wait != SessionWait::Nothing).then(|| entry.state_start());
            let since = waits_since.or_else(|| entry.block_start());
            let (pinned, busy) = (entry.pins().iter().next().is_some(), activity.busy);
            (waits_since.is_none(), since.is_none(), since, !pinned, !busy, std::cmp::Reverse(entry.id))
        });
        let sessions = entries.iter().take(limit).map(|entry| SessionView::new(entry, clock)).collect();
        Self { total: entries.len(), sessions }
    }
}

// === impl SessionOrder ===

impl SessionOrder {
    fn apply(self, entries: &mut [Arc<SessionEntry>]) {
        match self {
            Self::Id => entries.sort_unstable_by_key(|entry| entry.id),
            Self::State => entries.sort_by_cached_key(|entry| (entry.state_start(), entry.id)),
            Self::Transaction => entries.sort_by_cached_key(|entry| {
                let since = entry.block_start();
                (since.is_none(), since, entry.id)
            }),
        }
    }
}

// === impl SessionsQuery ===

impl SessionsQuery {
    fn wants(&self, entry: &SessionEntry) -> bool {
        self.listener.as_deref().is_none_or(|name| entry.facts.listener.as_str() == name)
            && self.endpoint.as_deref().is_none_or(|name| {
                entry
                    .current_backend()
                    .is_some_and(|current_backend| current_backend.endpoint().name().as_str() == name)
            })
            && self.after.is_none_or(|after| entry.id > after)
    }
}

// === impl SessionView ===

impl SessionView {
    fn new(entry: &SessionEntry, clock: Clock) -> Self {
        let facts = &entry.facts;
        let activity = entry.activity();
        let current_backend = entry.current_backend();
        let text = |name: &dyn ToString| name.to_string();
        Self {
            id: entry.id,
            listener: text(&facts.listener),
            client: facts.client.as_ref().map(|address| text(address)),
            tls: facts.tls,
            user: facts.user.as_ref().map(|user| text(user)),
            database_user: facts.database_user.as_ref().map(|user| text(user)),
            database: facts.database.as_ref().map(|database| text(database)),
            application: facts.application.as_ref().map(|name| text(name)),
            method: facts.method,
            endpoint: current_backend.as_ref().map(|current_backend| text(current_backend.endpoint().name())),
            backend_role: current_backend
                .as_ref()
                .map(|current_backend| current_backend.endpoint().endpoint().role.as_str()),
            backend_pid: current_backend
                .as_ref()
                .and_then(|current_backend| current_backend.server_key().map(BackendKey::pid)),
            server: current_backend.as_ref().and_then(CurrentBackend::peer).map(|address| text(&address)),
            reason: entry.reason().as_str(),
            pins: entry.pins().iter().map(Pin::as_str).collect(),
            state: activity.as_str(),
            state_since: clock.since(entry.state_start()),
            waits_for: (activity.wait != SessionWait::Nothing).then_some(activity.wait.as_str()),
            awaited_pool: entry.awaited_pool().map(|pool| pool.target().to_string()),
            transaction_since: entry.block_start().map(|since| clock.since(since)),
            statements: activity.begun,
            started: clock.since_system(entry.started_at),
        }
    }
}
