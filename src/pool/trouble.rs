//! Logins of a pool that failed, one after the other.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::backend::ConnectError;

/// Logins failed since the last one that did not.
pub(super) struct Trouble {
    /// The last failure.
    pub(super) error: Arc<ConnectError>,
    /// How many in a row. Those that were under way together count as one.
    failures: u32,
    /// When the last one failed.
    last: Instant,
    /// No login is tried before.
    pub(super) retry_at: Instant,
}

/// After so many failures in a row the endpoint counts as down even for pools that still hold backends: those may hang.
const DOWN: u32 = 3;
/// Before the second try; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Trouble {
    /// One more login failed, which began at `begun`. `chance` (any number) keeps many proxies from trying in step.
    pub(super) fn after(
        before: Option<Self>,
        error: Arc<ConnectError>,
        begun: Instant,
        now: Instant,
        chance: u64,
    ) -> Self {
        let failures = match before {
            Some(before) if begun < before.last => before.failures,
            Some(before) => before.failures.saturating_add(1),
            None => 1,
        };
        let wait = LONGEST_WAIT.min(FIRST_WAIT * 2_u32.saturating_pow((failures - 1).min(16)));
        let sixteenths = u32::try_from(chance % 8).unwrap_or_default();
        Self { error, failures, last: now, retry_at: now + wait - wait * sixteenths / 16 }
    }

    /// Whether whoever waits should hear of it rather than wait on: `live` backends may still become free.
    pub(super) fn is_hopeless(&self, live: usize) -> bool {
        // A server that is full is not down: whoever has a backend there goes on.
        live == 0 || (self.failures >= DOWN && !self.is_saturation())
    }

    /// Whether it is the first of its kind.
    pub(super) fn is_news(&self) -> bool {
        self.failures == 1
    }

    fn is_saturation(&self) -> bool {
        let refused = self.error.refused().and_then(|refused| refused.sqlstate());
        refused.is_some_and(|state| state.class() == "53")
    }
}
