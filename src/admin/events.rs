//! Recent events.

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

/// Filter and limit of the listed events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only events with a greater `seq`: the greatest value seen before.
    after: Option<u64>,
    /// Maximum number of events, newest first; 100 when absent.
    limit: Option<usize>,
}

/// Recent events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventList {
    /// Newest first. Some hundreds are kept in memory; the audit log has all.
    events: Vec<EventView>,
}

/// An event, with the number of its occurrences.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventView {
    /// Sequence number, greater than of all earlier events. A repeated event gets a new number.
    seq: u64,
    /// Kind, from a closed set: `topology`, `refused`, `reloaded`, `reload_failed`, `files_reloaded`, `files_unusable`,
    /// `token_failed`, `operated`, `writer_move`, `draining`.
    kind: &'static str,
    /// `info`, `warning`, `alarm`.
    severity: &'static str,
    /// The endpoint concerned.
    endpoint: Option<String>,
    /// The listener concerned.
    listener: Option<String>,
    /// Message for people; may change.
    text: String,
    /// Time of the first occurrence.
    first: Moment,
    /// Time of the last occurrence.
    last: Moment,
    /// Number of occurrences.
    times: u64,
}

/// Default number of events in a response.
pub(super) const DEFAULT_EVENT_COUNT: usize = 100;

/// Recent events: topology changes, reloads, rejected clients, failed mints, operator commands.
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
    let (after, limit) = (which.after.unwrap_or_default(), which.limit.unwrap_or(DEFAULT_EVENT_COUNT));
    Ok(Json(EventList::new(&context, after, limit, Clock::now())))
}

// === impl EventList ===

impl EventList {
    pub(super) fn new(context: &AdminContext, after: u64, limit: usize, clock: Clock) -> Self {
        let events = context.api.observers.events.events_after(after, limit);
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
