//! Moments as they are shown: on the wall clock, and how far from now.

use std::time::{Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// Now, on the clock that measures and on the one that is shown. Read once for each answer, so that its moments agree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    instant: Instant,
    time: Timestamp,
}

/// A moment that has passed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Moment {
    /// RFC 3339, in UTC.
    at: String,
    /// Seconds since then.
    age_seconds: f64,
}

/// A moment to come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Expiry {
    /// RFC 3339, in UTC.
    at: String,
    /// Seconds until then; negative when it has passed.
    in_seconds: f64,
}

// === impl Clock ===

impl Clock {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }

    /// Now, as it is shown.
    pub(super) fn now_shown(self) -> String {
        show(self.time)
    }

    /// A moment of the clock that measures.
    pub(super) fn since(self, instant: Instant) -> Moment {
        let age = self.instant.saturating_duration_since(instant);
        let at = SignedDuration::try_from(age).ok().and_then(|age| self.time.checked_sub(age).ok());
        Moment { at: show(at.unwrap_or(Timestamp::MIN)), age_seconds: seconds(age.as_secs_f64()) }
    }

    /// A moment of the clock that is shown.
    pub(super) fn since_time(self, time: Timestamp) -> Moment {
        Moment { at: show(time), age_seconds: seconds(self.time.duration_since(time).as_secs_f64().max(0.0)) }
    }
    /// As [`Clock::since_time`].
    pub(super) fn since_system(self, time: SystemTime) -> Moment {
        self.since_time(Timestamp::try_from(time).unwrap_or(Timestamp::MIN))
    }

    pub(super) fn until(self, time: Timestamp) -> Expiry {
        Expiry { at: show(time), in_seconds: seconds(time.duration_since(self.time).as_secs_f64()) }
    }

    /// Seconds since `instant`.
    pub(super) fn age(self, instant: Instant) -> f64 {
        seconds(self.instant.saturating_duration_since(instant).as_secs_f64())
    }
}

fn show(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// To the millisecond: more would be noise.
fn seconds(exact: f64) -> f64 {
    (exact * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_of_both_clocks_agree() {
        let clock = Clock {
            instant: Instant::now() + Duration::from_secs(100),
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
        };
        let then = clock.since(clock.instant - Duration::from_millis(61_500));
        assert_eq!((then.at.as_str(), then.age_seconds), ("2026-01-02T03:03:03.500Z", 61.5));
        let same = clock.since_time(then.at.parse().unwrap());
        assert_eq!((same.at, same.age_seconds), (then.at, then.age_seconds));
        assert_eq!(clock.age(clock.instant + Duration::from_secs(1)), 0.0, "nothing is younger than now");
    }

    #[test]
    fn what_has_expired_is_negative() {
        let clock = Clock { instant: Instant::now(), time: "2026-01-02T03:04:05Z".parse().unwrap() };
        let expired = clock.until("2026-01-02T03:04:00Z".parse().unwrap());
        assert_eq!((expired.at.as_str(), expired.in_seconds), ("2026-01-02T03:04:00.000Z", -5.0));
    }
}
