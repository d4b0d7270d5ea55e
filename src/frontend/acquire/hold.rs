//! Wait for a writer that is away, as in a failover.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    live::Live,
    topology::{DeclaredRole, TopologySnapshot},
};

/// Time between two tries to reach a writer that is away, unless the topology changes first.
pub(crate) const ACQUIRE_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Interval between two checks for a node that is fresh enough.
const FRESHNESS_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A pause before the next try, and the time spent on tries so far.
#[derive(Default)]
pub(super) struct Hold {
    /// Start of the wait for a writer.
    since: Option<Instant>,
    /// Start of the wait for a fresh node.
    stale_since: Option<Instant>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

// === impl Hold ===

impl Hold {
    /// True if a writer that is away is still waited for: it was seen up, and the limit is not reached.
    pub(super) fn may_wait(&self, snapshot: &TopologySnapshot, limit: Duration) -> bool {
        let waited = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        writer_seen_up(snapshot) && waited < limit
    }

    /// Pauses until the topology changes, at most [`ACQUIRE_RETRY_INTERVAL`].
    pub(super) fn wait_for_writer(&mut self, topology: &Live<TopologySnapshot>) {
        self.since.get_or_insert_with(Instant::now);
        let mut changes = topology.changes();
        self.pause = Some(Box::pin(async move {
            timeout(ACQUIRE_RETRY_INTERVAL, changes.changed()).await.ok();
        }));
    }

    /// Pauses for a fresh node; false if the wait has reached `limit`.
    pub(super) fn wait_for_fresh_node(&mut self, limit: Duration) -> bool {
        let since = *self.stale_since.get_or_insert_with(Instant::now);
        let waits = since.elapsed() < limit;
        if waits {
            self.pause = Some(Box::pin(sleep(FRESHNESS_CHECK_INTERVAL)));
        }
        waits
    }

    /// True during a pause.
    pub(super) const fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Waits for the end of the pause, if any; true if a pause has ended.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(pause) = &mut self.pause else { return Poll::Ready(false) };
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(true)
    }
}

/// True if an endpoint declared primary has worked since the program's start: otherwise its absence is a mistake to be
/// reported at once, and not a failover.
fn writer_seen_up(snapshot: &TopologySnapshot) -> bool {
    snapshot
        .endpoints
        .iter()
        .any(|status| status.endpoint.role == DeclaredRole::Primary && status.last_success.is_some())
}
