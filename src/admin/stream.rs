//! The whole picture, again and again, for the status page: server-sent events.
//!
//! One request for minutes rather than some each second: the audit log has a line for who looked on, not for each look. A
//! picture is made once for all who look on at that moment.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Interval, MissedTickBehavior, interval},
};
use utoipa::ToSchema;

use super::{
    context::AdminContext,
    error::{ErrorBody, Problem},
    events::{EVENTS, EventList},
    health::Readiness,
    info::Info,
    moment::Clock,
    pools::PoolList,
    sessions::Page,
    topology::Topology,
};

/// All that the status page shows.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusSnapshot {
    /// The server's time: ages count from here.
    now: String,
    info: Info,
    readiness: Readiness,
    topology: Topology,
    pools: PoolList,
    /// Some of the sessions: those that are held to a backend first, then those at work.
    sessions: Page,
    events: EventList,
}

/// One who looks on.
struct Spectator {
    context: Arc<AdminContext>,
    ticks: Interval,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

/// Between two pictures.
const PACE: Duration = Duration::from_secs(1);
/// How long one stream lasts: shorter than its connection may. The page asks again, and shows its cookie again.
const LENGTH: Duration = Duration::from_secs(540);
/// Sessions in a picture.
const SESSIONS: usize = 100;
/// Pools in a picture.
const POOLS: usize = 200;

/// The whole picture, each second: an event named `picture` whose data is JSON.
#[utoipa::path(get, path = "/v1/stream", tag = "page", security(("key" = [])), responses(
    (status = 200, description = "Server-sent events; the stream ends after some minutes: ask again.", body = StatusSnapshot,
        content_type = "text/event-stream"),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 503, description = "Too many look on at this moment.", body = ErrorBody),
))]
pub(super) async fn stream(State(context): State<Arc<AdminContext>>) -> Result<Response, Problem> {
    let place = context.broadcaster.places().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many look on at this moment")
    })?;
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let spectator = Spectator { context, ticks, until: Instant::now() + LENGTH, _place: place };
    let frames = unfold(spectator, |mut spectator| async move {
        spectator.ticks.tick().await;
        let now = Instant::now();
        if now >= spectator.until {
            return None;
        }
        let picture = || StatusSnapshot::new(&spectator.context).to_event();
        let frame = spectator.context.broadcaster.frame(now, picture).await;
        Some((Ok::<_, Infallible>(frame), spectator))
    });
    let kind = (header::CONTENT_TYPE, "text/event-stream");
    // Proxies that gather answers would show the past.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    Ok(([kind, unbuffered], Body::from_stream(frames)).into_response())
}

// === impl StatusSnapshot ===

impl StatusSnapshot {
    fn new(context: &AdminContext) -> Self {
        let clock = Clock::now();
        Self {
            now: clock.now_shown(),
            info: Info::new(context, clock),
            readiness: Readiness::of_all(context),
            topology: Topology::new(context, clock),
            pools: PoolList::first(context, POOLS),
            sessions: Page::most_interesting(context, SESSIONS, clock),
            events: EventList::new(context, 0, EVENTS, clock),
        }
    }

    /// The picture as a server-sent event.
    fn to_event(&self) -> Bytes {
        // JSON has no line breaks of its own, so that it is one line of data. Our own views can be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        Bytes::from(format!("event: picture\nretry: 1000\ndata: {json}\n\n"))
    }
}
