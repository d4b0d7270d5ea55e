//! What happened lately.

#![expect(unused_qualifications, reason = "utoipa writes the names of parameters in full")]

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
    moment::{Clock, Moment},
};
use crate::events::Event;

/// EventsQuery events are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Those with a greater `seq`: the greatest one that was seen before.
    after: Option<u64>,
    /// So many at most, the newest: 100 when absent.
    limit: Option<usize>,
}

/// What happened lately.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventList {
    /// The newest first. Some hundreds are kept; the audit log has them all.
    events: Vec<EventView>,
}

/// Something that happened, once or many times.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventView {
    /// Greater than that of every event before. What happens again gets a new one.
    seq: u64,
    /// A word of a closed set: `topology`, `refused`, `reloaded`, `reload_failed`, `files_reloaded`, `files_unusable`,
    /// `token_failed`, `operated`, `draining`.
    kind: &'static str,
    /// `info`, `warning`, `alarm`.
    severity: &'static str,
    /// The endpoint it is about.
    endpoint: Option<String>,
    /// The listener it is about.
    listener: Option<String>,
    /// A sentence for people; it may change.
    text: String,
    /// When it happened first.
    first: Moment,
    /// When it happened last.
    last: Moment,
    /// How many times.
    times: u64,
}

/// Events in an answer, unless somebody wants more.
pub(super) const EVENTS: usize = 100;

/// What happened lately: changes of the topology, reloads, refusals, failed mints, what operators did.
#[utoipa::path(get, path = "/v1/events", operation_id = "events", tag = "topology", params(EventsQuery), security(("key" = [])), responses(
    (status = 200, description = "The newest first.", body = EventList),
    (status = 400, description = "The query makes no sense.", body = ErrorBody),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn list(
    State(context): State<Arc<AdminContext>>,
    which: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventList>, Problem> {
    let Query(which) = which.map_err(|error| Problem::bad_request(error.body_text()))?;
    let (after, limit) = (which.after.unwrap_or_default(), which.limit.unwrap_or(EVENTS));
    Ok(Json(EventList::new(&context, after, limit, Clock::now())))
}

// === impl EventList ===

impl EventList {
    pub(super) fn new(context: &AdminContext, after: u64, limit: usize, clock: Clock) -> Self {
        let events = context.api.observers.events.after(after, limit);
        Self { events: events.iter().map(|event| EventView::new(event, clock)).collect() }
    }
}

// === impl EventView ===

impl EventView {
    fn new(event: &Event, clock: Clock) -> Self {
        let what = &event.what;
        Self {
            seq: event.seq,
            kind: what.kind(),
            severity: what.severity().as_str(),
            endpoint: what.endpoint().map(ToString::to_string),
            listener: what.listener().map(ToString::to_string),
            text: what.to_string(),
            first: clock.since_time(event.first),
            last: clock.since_time(event.last),
            times: event.times,
        }
    }
}
