//! The status snapshot as server-sent events, for the status page.
//!
//! One request lasts for minutes, so the audit log has one line per viewer. Each snapshot is built once for all
//! viewers.
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
    diagnosis::Diagnosis,
    error::{ErrorBody, Problem},
    events::{DEFAULT_EVENT_COUNT, EventList},
    health::Readiness,
    info::Info,
    moment::Clock,
    pools::PoolList,
    sessions::Page,
    topology::Topology,
    traffic::Traffic,
};

/// The content of the status page.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusSnapshot {
    /// The server's time, the reference of all ages.
    now: String,
    info: Info,
    readiness: Readiness,
    topology: Topology,
    verdict: Diagnosis,
    traffic: Traffic,
    pools: PoolList,
    /// Some sessions: pinned ones first, then active ones.
    sessions: Page,
    events: EventList,
}

/// A client of the stream.
struct Spectator {
    context: Arc<AdminContext>,
    ticks: Interval,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

/// Interval of snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// Duration of one stream, shorter than the lifetime of a connection. The page then reconnects with its cookie.
const STREAM_DURATION: Duration = Duration::from_secs(540);
/// Maximum number of sessions in a snapshot.
const MAX_SNAPSHOT_SESSIONS: usize = 100;
/// Maximum number of pools in a snapshot.
const MAX_SNAPSHOT_POOLS: usize = 200;

/// The status snapshot, each second: an event named `picture` whose data is JSON.
#[utoipa::path(get, path = "/v1/stream", tag = "page", security(("key" = [])), responses(
    (status = 200, description = "Server-sent events; the stream ends after some minutes: ask again.", body = StatusSnapshot,
        content_type = "text/event-stream"),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
    (status = 503, description = "Too many look on at this moment.", body = ErrorBody),
))]
pub(super) async fn stream(State(context): State<Arc<AdminContext>>) -> Result<Response, Problem> {
    let place = context.broadcaster.client_permits().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many look on at this moment")
    })?;
    let mut ticks = interval(SNAPSHOT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let spectator = Spectator { context, ticks, until: Instant::now() + STREAM_DURATION, _place: place };
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
    // Buffering proxies would delay events.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    Ok(([kind, unbuffered], Body::from_stream(frames)).into_response())
}

// === impl StatusSnapshot ===

impl StatusSnapshot {
    fn new(context: &AdminContext) -> Self {
        let clock = Clock::now();
        let readiness = Readiness::of_all(&context.monitor);
        let traffic = context.monitor.traffic.traffic(&context.api.metrics, Instant::now());
        Self {
            now: clock.now_shown(),
            info: Info::new(context, clock),
            verdict: Diagnosis::new(&context.monitor, &readiness, &traffic, clock),
            readiness,
            traffic,
            topology: Topology::new(context, clock),
            pools: PoolList::first(context, MAX_SNAPSHOT_POOLS),
            sessions: Page::most_interesting(context, MAX_SNAPSHOT_SESSIONS, clock),
            events: EventList::new(context, 0, DEFAULT_EVENT_COUNT, clock),
        }
    }

    /// The snapshot as a server-sent event.
    fn to_event(&self) -> Bytes {
        // serde_json writes no line breaks, so the data is one line. Serialization of these types cannot fail.
        let json = serde_json::to_string(self).unwrap_or_default();
        Bytes::from(format!("event: picture\nretry: 1000\ndata: {json}\n\n"))
    }
}
