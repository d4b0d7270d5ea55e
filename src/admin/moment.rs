//! Times in responses: wall-clock time and distance from now.

use std::time::{Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// The current time, on the monotonic clock and on the wall clock. Read once per response for consistency.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    instant: Instant,
    time: Timestamp,
}

/// A time in the past.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Moment {
    /// RFC 3339, in UTC.
    at: String,
    #[serde(skip)]
    time: Timestamp,
    /// Seconds since then.
    age_seconds: f64,
}

/// A time in the future.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Expiry {
    /// RFC 3339, in UTC.
    at: String,
    /// Seconds until then; negative if past.
    in_seconds: f64,
}

// === impl Moment ===

impl Moment {
    /// The time, in UTC.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Seconds since then.
    #[must_use]
    pub const fn age_seconds(&self) -> f64 {
        self.age_seconds
    }
}

// === impl Clock ===

impl Clock {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }

    /// The current wall-clock time.
    pub(super) const fn time(self) -> Timestamp {
        self.time
    }

    /// The current wall-clock time as text.
    pub(super) fn now_shown(self) -> String {
        format_time(self.time)
    }

    /// A time of the monotonic clock.
    pub(super) fn since(self, instant: Instant) -> Moment {
        let age = self.instant.saturating_duration_since(instant);
        let time = SignedDuration::try_from(age).ok().and_then(|age| self.time.checked_sub(age).ok());
        let time = time.unwrap_or(Timestamp::MIN);
        Moment { at: format_time(time), time, age_seconds: round_seconds(age.as_secs_f64()) }
    }

    /// The time `age` ago.
    pub(super) fn before(self, age: std::time::Duration) -> Moment {
        self.since(self.instant.checked_sub(age).unwrap_or(self.instant))
    }

    /// A time of the wall clock.
    pub(super) fn since_time(self, time: Timestamp) -> Moment {
        Moment {
            at: format_time(time),
            time,
            age_seconds: round_seconds(self.time.duration_since(time).as_secs_f64().max(0.0)),
        }
    }

    /// As [`Clock::since_time`].
    pub(super) fn since_system(self, time: SystemTime) -> Moment {
        self.since_time(Timestamp::try_from(time).unwrap_or(Timestamp::MIN))
    }

    pub(super) fn until(self, time: Timestamp) -> Expiry {
        Expiry {
            at: format_time(time),
            in_seconds: round_seconds(time.duration_since(self.time).as_secs_f64()),
        }
    }

    /// Seconds since `instant`.
    pub(super) fn age(self, instant: Instant) -> f64 {
        round_seconds(self.instant.saturating_duration_since(instant).as_secs_f64())
    }
}

fn format_time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Rounded to the millisecond.
pub(super) fn round_seconds(exact: f64) -> f64 {
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
