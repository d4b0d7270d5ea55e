//! Estimate of the wait in a pool's queue.
//!
//! Promises: an estimate rests on grants of this queue while sessions waited without a break; a queue counts as
//! overloaded only if the fastest service that these grants permit is too slow. Refuses to know: the queue, and the clock. Slow statements, a growing pool and a short history give no
//! estimate: a session then waits.

use std::time::Duration;

use tokio::time::Instant;

use super::refused_sessions::RefusedSessions;

/// Service rate of a queue, and the decision to refuse waits that would exceed the limit.
pub(super) struct OverloadDetector {
    measured: Option<ServiceRate>,
    /// The shortest possible wait of the whole queue has exceeded the limit, and has not fallen well below it since.
    is_overloaded: bool,
    refused: RefusedSessions,
}

/// Load of a queue, for a new waiter.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLoad {
    /// Start of the new waiter's first unserved wait.
    pub(super) rank: Instant,
    /// Waiters, with the new one.
    pub(super) waiting: usize,
    /// Waiters that are served before the new one.
    pub(super) ahead: usize,
    /// Backends, with logins under way.
    pub(super) backends: usize,
}

/// Estimated wait of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEstimate {
    /// Place in the queue, from 1, behind the refused sessions that have waited longer.
    pub position: usize,
    /// Estimated wait: rarely exceeded.
    pub wait: Duration,
}

/// Grants by time, since a moment at which sessions waited and have waited ever since.
struct ServiceRate {
    slice: Duration,
    /// Start of the current slice.
    slice_start: Instant,
    /// Grants of the current slice and of those before, newest first.
    grants: [u32; SLICES],
    /// Complete slices.
    complete: usize,
    /// The most backends that the pool has had.
    backends: usize,
}

/// Grants per second.
#[derive(Clone, Copy)]
struct Rates {
    /// The highest rate that the grants of any recent span permit: a short pause of the server, or a few slow
    /// statements, do not make a queue look overloaded.
    highest: f64,
    /// Mean of the whole measurement.
    mean: f64,
    /// The lowest rate that the grants of the whole measurement permit: who waits at such a rate is served in time.
    lowest: f64,
}

/// Slices of a measurement; together they last as long as `query_wait_timeout`.
const SLICES: usize = 7;

/// Bounds of a slice: several ticks, and no more than a few statements' time.
const MIN_SLICE: Duration = Duration::from_millis(250);
const MAX_SLICE: Duration = Duration::from_secs(10);

/// Longest time for which a place is kept for a refused session.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Grants below which a rate is unsure.
const MIN_GRANTS: u32 = 20;

// === impl OverloadDetector ===

impl OverloadDetector {
    pub(super) const fn new() -> Self {
        Self { measured: None, is_overloaded: false, refused: RefusedSessions::new() }
    }

    /// Begins a measurement for waits of at most `limit`. Called when the first session begins to wait, and when the
    /// pool serves again after an interruption.
    pub(super) fn restart(&mut self, now: Instant, limit: Duration) {
        let slice = (limit / (SLICES as u32 - 1)).clamp(MIN_SLICE, MAX_SLICE);
        self.measured =
            Some(ServiceRate { slice, slice_start: now, grants: [0; SLICES], complete: 0, backends: 0 });
        self.is_overloaded = false;
    }

    /// A waiter has got one of `backends` backends.
    pub(super) fn note_grant(&mut self, now: Instant, backends: usize) {
        let Some(rate) = &mut self.measured else { return };
        if backends > rate.backends {
            // A pool that grows becomes faster.
            *rate = ServiceRate {
                slice_start: now,
                grants: [0; SLICES],
                complete: 0,
                backends,
                slice: rate.slice,
            };
        }
        rate.advance(now);
        rate.grants[0] = rate.grants[0].saturating_add(1);
    }

    /// The estimate for a new waiter, if its wait would exceed `limit` and the queue is overloaded. Otherwise the session
    /// has to wait.
    pub(super) fn refusal(
        &mut self,
        now: Instant,
        limit: Duration,
        load: QueueLoad,
    ) -> Option<QueueEstimate> {
        let refused = self.estimate(now, limit, load);
        match refused {
            Some(_) => self.refused.note(load.rank, now),
            None => self.refused.remove(load.rank),
        }
        refused
    }

    /// Forgets sessions that were refused and have not tried again for a while.
    pub(super) fn expire_refused(&mut self, now: Instant, limit: Duration) {
        if let Some(then) = now.checked_sub((limit / 4).min(MAX_RETRY_PAUSE)) {
            self.refused.expire(then);
        }
    }

    fn estimate(&mut self, now: Instant, limit: Duration, load: QueueLoad) -> Option<QueueEstimate> {
        let rate = self.measured.as_mut().filter(|rate| load.backends <= rate.backends)?;
        rate.advance(now);
        let rates = rate.per_second(now)?;
        let (shortest, likely) =
            (estimate_wait(load.waiting, rates.highest), estimate_wait(load.waiting, rates.mean));
        // Two thresholds, so that a queue about as long as the limit does not change its mind with each session.
        self.is_overloaded = match self.is_overloaded {
            false => shortest > limit,
            true => shortest > limit / 3 && likely > limit / 2,
        };
        // Places for refused sessions that have waited longer.
        let position = load.ahead + self.refused.count_ahead(load.rank) + 1;
        let estimate = QueueEstimate { position, wait: estimate_wait(position, rates.lowest) };
        (self.is_overloaded && estimate.wait > limit).then_some(estimate)
    }
}

// === impl ServiceRate ===

impl ServiceRate {
    /// Moves on to the slice of `now`.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.slice_start).as_nanos() / self.slice.as_nanos();
        for _ in 0..passed.min(SLICES as u128) {
            self.grants.rotate_right(1);
            self.grants[0] = 0;
            self.complete = (self.complete + 1).min(SLICES - 1);
        }
        self.slice_start += self.slice * u32::try_from(passed).unwrap_or(u32::MAX);
    }

    /// Grants per second. `None` while unsure.
    fn per_second(&self, now: Instant) -> Option<Rates> {
        let mut granted = self.grants[0];
        let mut span = now.saturating_duration_since(self.slice_start);
        let mut rates = None::<Rates>;
        for grants in self.grants.iter().skip(1).take(self.complete) {
            granted = granted.saturating_add(*grants);
            span += self.slice;
            if granted >= MIN_GRANTS {
                let (granted, seconds) = (f64::from(granted), span.as_secs_f64());
                // Two standard deviations from the mean, if the grants are random.
                let highest = (granted + 2.0 * granted.sqrt()) / seconds;
                let highest = rates.map_or(highest, |rates| rates.highest.max(highest));
                let lowest = (granted - 2.0 * granted.sqrt()) / seconds;
                rates = Some(Rates { highest, mean: granted / seconds, lowest });
            }
        }
        rates
    }
}

fn estimate_wait(place: usize, per_second: f64) -> Duration {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    Duration::try_from_secs_f64(f64::from(place) / per_second).unwrap_or(Duration::MAX)
}
