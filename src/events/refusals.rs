//! Refused clients and statements of the last minute, by listener and reason.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::EventKind;
use crate::names::ListenerName;

/// Refusals of one kind within the last minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentRefusals {
    /// The listener.
    pub listener: ListenerName,
    /// Refused clients or statements.
    pub of: RefusalKind,
    /// Reason from a closed set.
    pub reason: &'static str,
    /// Number in the last minute.
    pub count: u64,
    /// Time of the first refusal without a whole minute of peace since.
    pub since: Timestamp,
}

/// Object of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// A client, before its session began.
    Client,
    /// A statement of a session.
    Statement,
}

/// Counts of refusals.
#[derive(Default)]
pub(super) struct RefusalCounts {
    series: Vec<RefusalSeries>,
}

struct RefusalSeries {
    listener: ListenerName,
    of: RefusalKind,
    reason: &'static str,
    since: Timestamp,
    /// Counts by second, the oldest first.
    seconds: VecDeque<(i64, u64)>,
}

/// Length of the period.
const PERIOD: SignedDuration = SignedDuration::from_secs(60);

// === impl RefusalCounts ===

impl RefusalCounts {
    /// Counts `event`, if it is a refusal.
    pub(super) fn note(&mut self, event: &EventKind, now: Timestamp) {
        let (listener, reason, of) = match event {
            EventKind::Refused { listener, reason } => (listener, *reason, RefusalKind::Client),
            EventKind::StatementRefused { listener, reason } => (listener, *reason, RefusalKind::Statement),
            _ => return,
        };
        self.expire(now);
        let same =
            |series: &RefusalSeries| (&series.listener, series.of, series.reason) == (listener, of, reason);
        let at = self.series.iter().position(same).unwrap_or_else(|| {
            let seconds = VecDeque::new();
            self.series.push(RefusalSeries { listener: listener.clone(), of, reason, since: now, seconds });
            self.series.len() - 1
        });
        let Some(series) = self.series.get_mut(at) else { return };
        match series.seconds.back_mut() {
            Some((second, count)) if *second == now.as_second() => *count += 1,
            _ => series.seconds.push_back((now.as_second(), 1)),
        }
    }

    /// Refusals of the last minute.
    pub(super) fn recent(&mut self, now: Timestamp) -> Vec<RecentRefusals> {
        self.expire(now);
        let recent = |series: &RefusalSeries| RecentRefusals {
            listener: series.listener.clone(),
            of: series.of,
            reason: series.reason,
            count: series.seconds.iter().map(|(_, count)| count).sum(),
            since: series.since,
        };
        self.series.iter().map(recent).collect()
    }

    fn expire(&mut self, now: Timestamp) {
        let first = now.checked_sub(PERIOD).unwrap_or(Timestamp::MIN).as_second();
        for series in &mut self.series {
            while series.seconds.front().is_some_and(|(second, _)| *second <= first) {
                series.seconds.pop_front();
            }
        }
        self.series.retain(|series| !series.seconds.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn refusals_of_the_last_minute_are_counted() {
        let mut counts = RefusalCounts::default();
        let listener: ListenerName = "app".parse().unwrap();
        let statement = EventKind::StatementRefused { listener: listener.clone(), reason: "pool_timeout" };
        for second in 0..200 {
            counts.note(&statement, at(second));
            counts.note(&statement, at(second));
        }
        counts.note(&EventKind::Refused { listener: listener.clone(), reason: "max_clients" }, at(199));
        counts.note(&EventKind::Draining, at(199));
        let shown = |counts: &mut RefusalCounts, second| -> Vec<_> {
            let recent = counts.recent(at(second));
            recent.into_iter().map(|it| (it.of, it.reason, it.count, it.since)).collect()
        };
        let (client, of_statement) = (RefusalKind::Client, RefusalKind::Statement);
        assert_eq!(
            shown(&mut counts, 200),
            [(of_statement, "pool_timeout", 118, at(0)), (client, "max_clients", 1, at(199))]
        );
        assert!(counts.series.iter().all(|series| series.seconds.len() <= 60));
        assert_eq!(shown(&mut counts, 260), [], "a minute of peace");
        counts.note(&statement, at(300));
        assert_eq!(shown(&mut counts, 300), [(of_statement, "pool_timeout", 1, at(300))]);
    }
}
