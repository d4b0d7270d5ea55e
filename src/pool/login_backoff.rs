//! Backoff after failed logins of a pool.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::backend::ConnectError;

/// Failed logins since the last success.
pub(super) struct LoginBackoff {
    /// The last failure.
    pub(super) error: Arc<ConnectError>,
    /// Failures in a row. Overlapping logins count once.
    failures: u32,
    /// Start of the first failed login in the row.
    began: Instant,
    /// Time of the last failure.
    last: Instant,
    /// No login is tried before.
    pub(super) retry_at: Instant,
}

/// Consecutive failures after which, with [`DOWN_AFTER_SILENCE`], the endpoint counts as down even for pools with live
/// backends.
const DOWN_AFTER_FAILURES: u32 = 3;
/// Time without a returned backend since logins began to fail; beyond, leased backends count as hanging.
const DOWN_AFTER_SILENCE: Duration = Duration::from_secs(5);
/// Delay before the second attempt; doubled for each further attempt.
const MIN_LOGIN_PAUSE: Duration = Duration::from_millis(100);
/// Time for which an error is shown if no session wants another login.
const MAX_ERROR_AGE: Duration = Duration::from_secs(60);
/// The longest wait between two tries.
const MAX_LOGIN_PAUSE: Duration = Duration::from_secs(5);

impl LoginBackoff {
    /// Records a failed login that began at `begun`. `chance` (a random number) adds jitter across proxies.
    pub(super) fn after_failure(
        before: Option<Self>,
        error: Arc<ConnectError>,
        begun: Instant,
        now: Instant,
        chance: u64,
    ) -> Self {
        let began = before.as_ref().map_or(begun, |before| before.began);
        let failures = match before {
            Some(before) if begun < before.last => before.failures,
            Some(before) => before.failures.saturating_add(1),
            None => 1,
        };
        let wait = MAX_LOGIN_PAUSE.min(MIN_LOGIN_PAUSE * 2_u32.saturating_pow((failures - 1).min(16)));
        let sixteenths = u32::try_from(chance % 8).unwrap_or_default();
        Self { error, failures, began, last: now, retry_at: now + wait - wait * sixteenths / 16 }
    }

    /// True if waiting sessions should get the error now: `live` backends may still return; the last returned at
    /// `answered`.
    pub(super) fn is_hopeless(&self, live: usize, answered: Option<Instant>) -> bool {
        if live == 0 {
            return true;
        }
        let last_answer = answered.map_or(self.began, |answered| answered.max(self.began));
        self.failures >= DOWN_AFTER_FAILURES
            && self.is_silence()
            && self.last.saturating_duration_since(last_answer) >= DOWN_AFTER_SILENCE
    }

    /// True if the server is unresponsive or shutting down. Other rejections, a missing token or an untrusted
    /// certificate say nothing about logged-in backends.
    pub(super) fn is_silence(&self) -> bool {
        self.error.is_absence()
    }

    /// The next login may be tried at `now`: the server has answered the probe.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.retry_at = self.retry_at.min(now);
    }

    /// True if the last failure is too old for a conclusion about the next login.
    pub(super) fn is_past(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) > MAX_ERROR_AGE
    }

    /// True for the first failure of its kind.
    pub(super) fn is_news(&self) -> bool {
        self.failures == 1
    }
}
