//! Wait for a writer that is absent, as in a failover.
//!
//! Promises: one deadline from the first wait of an acquisition, whatever the session waits for; time on hold is renewed
//! only after the writer was up for as long as a hold may take. Refuses to know: how a backend is provided.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::{
    live::Live,
    names::EndpointName,
    probe::HeldClient,
    telemetry::{HoldPresence, labels::HoldOutcome},
    topology::{DeclaredRole, EndpointStatus, TopologySnapshot},
};

/// Time between two attempts at an endpoint that refuses logins for a reason of its own, a full server for instance.
pub(crate) const ACQUIRE_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Time after which a session attempts to reach a silent writer by itself. The probe attempts a login every 250 ms and
/// ends the pause; its credentials may be refused where those of the session are not.
pub(super) const UNPROBED_PAUSE: Duration = Duration::from_secs(5);

/// Interval between two checks for a node that is fresh enough.
const FRESHNESS_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A pause before the next try, and the time spent on tries so far.
#[derive(Default)]
pub(super) struct Hold {
    /// Start of the first wait of the acquisition.
    began: Option<Instant>,
    /// End of the last pause on hold.
    resumed: Option<Instant>,
    /// Start of the wait for a fresh node.
    stale_since: Option<Instant>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The client is on hold.
    held: Option<Box<HeldSession>>,
}

/// A session on hold.
struct HeldSession {
    since: Instant,
    deadline: Pin<Box<Sleep>>,
    presence: HoldPresence,
    #[expect(dead_code, reason = "the probe hurries while it is there")]
    client: HeldClient,
}

/// Event that ends a pause.
pub(super) enum Pause {
    /// A writer.
    NoWriter,
    /// An answer of the endpoint to a probe, later than the failure at the given time.
    Silent(EndpointName, std::time::Instant),
    /// [`ACQUIRE_RETRY_INTERVAL`].
    Refused,
}

/// Time that a session may spend on hold.
#[derive(Default)]
pub(super) struct HoldBudget {
    spent: Duration,
    ended: Option<Instant>,
}

// === impl Hold ===

impl Hold {
    /// Start of the first wait.
    pub(super) const fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Start of the time that counts for `query_wait_timeout`: time on hold does not.
    pub(super) fn counted_since(&self) -> Option<Instant> {
        self.resumed.or(self.began)
    }

    /// The acquisition waits, for whatever reason.
    pub(super) fn begin_wait(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// True if the client may be on hold, or go on being so, for up to `limit` from the first wait.
    pub(super) fn may_hold(&self, limit: impl FnOnce() -> Duration) -> bool {
        match &self.held {
            Some(held) => Instant::now() < held.deadline.deadline(),
            None => self.began.map_or(Duration::ZERO, |began| began.elapsed()) < limit(),
        }
    }

    /// The client is on hold, for up to `limit` from the first wait.
    pub(super) fn begin_hold(&mut self, limit: Duration, presence: HoldPresence, client: HeldClient) {
        let since = Instant::now();
        let began = *self.began.get_or_insert(since);
        let deadline = Box::pin(sleep_until(began + limit));
        self.held = Some(Box::new(HeldSession { since, deadline, presence, client }));
    }

    /// True while the client is on hold.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Ready at the deadline of a hold.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.held {
            Some(held) => held.deadline.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Ends the hold, if the client is on hold.
    pub(super) fn end_hold(&mut self, outcome: HoldOutcome, budget: &mut HoldBudget) {
        if let Some(held) = self.held.take() {
            budget.spend(held.since.elapsed());
            held.presence.end(outcome);
        }
    }

    /// Pauses before the next try.
    pub(super) fn pause_for(&mut self, pause: Pause, topology: &Live<TopologySnapshot>) {
        let topology = topology.clone();
        self.pause = Some(Box::pin(async move {
            match &pause {
                Pause::Refused => sleep(ACQUIRE_RETRY_INTERVAL).await,
                Pause::NoWriter => wait_until(&topology, |snapshot| snapshot.writer.is_some()).await,
                Pause::Silent(endpoint, since) => {
                    let answers = wait_until(&topology, |snapshot| answers_since(snapshot, endpoint, *since));
                    timeout(UNPROBED_PAUSE, answers).await.ok();
                }
            }
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
        if self.is_held() {
            self.resumed = Some(Instant::now());
        }
        Poll::Ready(true)
    }
}

// === impl HoldBudget ===

impl HoldBudget {
    /// Time left for a hold that begins now, of `limit`. The budget is renewed once the writer was up for `limit`.
    pub(super) fn left(&mut self, limit: Duration) -> Duration {
        if self.ended.is_some_and(|ended| ended.elapsed() >= limit) {
            *self = Self::default();
        }
        limit.saturating_sub(self.spent)
    }

    /// Time spent on hold.
    pub(super) const fn spent(&self) -> Duration {
        self.spent
    }

    fn spend(&mut self, held: Duration) {
        self.spent += held;
        self.ended = Some(Instant::now());
    }
}

/// Waits until the topology fulfils `condition`.
async fn wait_until(topology: &Live<TopologySnapshot>, condition: impl Fn(&TopologySnapshot) -> bool) {
    let mut changes = topology.changes();
    while !condition(&topology.load()) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// True if the endpoint has answered a probe since `then`, or is no longer the writer.
fn answers_since(snapshot: &TopologySnapshot, endpoint: &EndpointName, then: std::time::Instant) -> bool {
    snapshot.writer.as_ref() != Some(endpoint)
        || snapshot
            .get(endpoint)
            .and_then(|status| status.last_success)
            .is_some_and(|answered| answered > then)
}

/// True if an endpoint declared primary has worked since the program's start, or if an operator moves the writer:
/// otherwise the absence of a writer is a mistake to be reported at once, and not a failover.
pub(super) fn writer_seen_up(snapshot: &TopologySnapshot) -> bool {
    let has_worked = |status: &EndpointStatus| {
        status.endpoint.role == DeclaredRole::Primary && status.last_success.is_some()
    };
    snapshot.control.is_held || snapshot.endpoints.iter().any(has_worked)
}
