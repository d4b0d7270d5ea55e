//! Limits repeated log lines: one line per subject and reason in ten seconds, with the number of the others.
//!
//! Promises: the first occurrence is logged at once; no occurrence is lost from the numbers; memory is bounded. Plain
//! data: time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

/// Occurrences since the last line of each subject and reason.
#[derive(Debug, Default)]
pub struct LogLimiter {
    intervals: HashMap<(Box<str>, &'static str), LogInterval, RandomState>,
}

#[derive(Debug)]
struct LogInterval {
    began: Instant,
    unlogged: u64,
}

/// Occurrences that were not logged, at the end of their interval.
#[derive(Debug, PartialEq, Eq)]
pub struct UnloggedCount {
    /// Subject, such as a pool.
    pub subject: Box<str>,
    /// Reason from a closed set.
    pub reason: &'static str,
    /// Their number.
    pub count: u64,
}

/// Time between two lines of a subject and reason.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Subjects and reasons with a line of their own within an interval; clients choose names of pools.
const MAX_SUBJECTS: usize = 1000;

/// Subject of all others.
const OTHERS: &str = "others";

// === impl LogLimiter ===

impl LogLimiter {
    /// `Some` if an occurrence is to be logged, with the number of those before that were not.
    pub fn admit(&mut self, subject: &str, reason: &'static str, now: Instant) -> Option<u64> {
        let mut key = (Box::from(subject), reason);
        if self.intervals.len() >= MAX_SUBJECTS && !self.intervals.contains_key(&key) {
            key.0 = OTHERS.into();
        }
        match self.intervals.get_mut(&key) {
            Some(interval) if now.saturating_duration_since(interval.began) < LOG_INTERVAL => {
                interval.unlogged += 1;
                None
            }
            Some(interval) => {
                interval.began = now;
                Some(std::mem::take(&mut interval.unlogged))
            }
            None => {
                self.intervals.insert(key, LogInterval { began: now, unlogged: 0 });
                Some(0)
            }
        }
    }

    /// Occurrences that no later line will report: their interval is over.
    pub fn take_unlogged(&mut self, now: Instant) -> Vec<UnloggedCount> {
        let mut counts = Vec::new();
        self.intervals.retain(|(subject, reason), interval| {
            let is_over = now.saturating_duration_since(interval.began) >= LOG_INTERVAL;
            if is_over && interval.unlogged > 0 {
                counts.push(UnloggedCount { subject: subject.clone(), reason, count: interval.unlogged });
                // The report is the line of a new interval.
                (interval.began, interval.unlogged) = (now, 0);
                return true;
            }
            !is_over
        });
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_a_minute_takes_few_lines() {
        let start = Instant::now();
        let mut limiter = LogLimiter::default();
        let (mut lines, mut counted, mut occurred) = (0, 0, 0);
        // 2,000 clients in four pools try each second, for a minute; two reasons.
        for tick in 0..600_u64 {
            let now = start + Duration::from_millis(100) * u32::try_from(tick).unwrap();
            for client in 0..200_u64 {
                let pool = ["a", "b", "c", "d"][usize::try_from(client % 4).unwrap()];
                let reason = if client % 3 == 0 { "pool_timeout" } else { "no_endpoint" };
                occurred += 1;
                if let Some(before) = limiter.admit(pool, reason, now) {
                    lines += 1;
                    counted += 1 + before;
                }
            }
            for unlogged in limiter.take_unlogged(now) {
                lines += 1;
                counted += unlogged.count;
            }
        }
        for unlogged in limiter.take_unlogged(start + Duration::from_secs(80)) {
            lines += 1;
            counted += unlogged.count;
        }
        assert_eq!(counted, occurred, "no occurrence is lost");
        assert!((8..=64).contains(&lines), "{lines} lines");
    }

    #[test]
    fn the_first_occurrence_is_logged_at_once() {
        let start = Instant::now();
        let mut limiter = LogLimiter::default();
        assert_eq!(limiter.admit("pool", "pool_timeout", start), Some(0));
        assert_eq!(limiter.admit("pool", "no_endpoint", start), Some(0));
        assert_eq!(limiter.admit("pool", "pool_timeout", start), None);
        assert_eq!(limiter.admit("pool", "pool_timeout", start + LOG_INTERVAL), Some(1));
    }

    #[test]
    fn the_last_occurrences_are_reported() {
        let start = Instant::now();
        let mut limiter = LogLimiter::default();
        for _ in 0..5 {
            limiter.admit("pool", "pool_timeout", start);
        }
        assert_eq!(limiter.take_unlogged(start + Duration::from_secs(9)), []);
        let count = UnloggedCount { subject: "pool".into(), reason: "pool_timeout", count: 4 };
        assert_eq!(limiter.take_unlogged(start + LOG_INTERVAL), [count]);
        assert_eq!(limiter.take_unlogged(start + LOG_INTERVAL * 3), []);
        assert!(limiter.intervals.is_empty());
    }

    #[test]
    fn names_that_clients_choose_take_bounded_memory() {
        let start = Instant::now();
        let mut limiter = LogLimiter::default();
        let lines =
            (0..100_000).filter(|name| limiter.admit(&name.to_string(), "x", start).is_some()).count();
        assert_eq!((lines, limiter.intervals.len()), (MAX_SUBJECTS + 1, MAX_SUBJECTS + 1));
    }
}
