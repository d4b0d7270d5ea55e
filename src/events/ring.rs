//! The last events, oldest first: a new event replaces the oldest.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::{Event, EventKind};

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Ring {
    kept: VecDeque<Event>,
    seq: u64,
}

/// Maximum number of events.
pub(super) const MAX_EVENTS: usize = 256;
/// An event repeated within this time of its last occurrence is counted with that event.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);

impl Ring {
    /// Records an event at `now`.
    pub(super) fn push(&mut self, what: EventKind, now: Timestamp) {
        self.seq += 1;
        let seq = self.seq;
        let same = |event: &Event| event.what == what && now.duration_since(event.last) <= AGAIN;
        let before = match what.comes_in_floods() {
            true => self.kept.iter().rposition(same).and_then(|at| self.kept.remove(at)),
            false => None,
        };
        let event = match before {
            Some(event) => Event { seq, last: now, times: event.times + 1, ..event },
            None => Event { seq, what, first: now, last: now, times: 1 },
        };
        if self.kept.len() >= MAX_EVENTS {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }

    /// Events with a `seq` greater than `after`, newest first.
    pub(super) fn newest_first(&self, after: u64) -> impl Iterator<Item = &Event> {
        self.kept.iter().rev().take_while(move |event| event.seq > after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ListenerName;

    fn refusal(reason: &'static str) -> EventKind {
        EventKind::Refused { listener: ListenerName::new("app").unwrap(), reason }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_flood_of_refusals_takes_one_place_and_drives_nothing_out() {
        let mut ring = Ring::default();
        ring.push(EventKind::Draining, at(0));
        for second in 0..10_000 {
            ring.push(refusal("max_clients"), at(second));
        }
        let seen: Vec<_> = ring.newest_first(0).map(|event| (event.what.kind(), event.times)).collect();
        assert_eq!(seen, [("refused", 10_000), ("draining", 1)]);
        let flood = ring.newest_first(0).next().unwrap();
        assert_eq!((flood.first, flood.last), (at(0), at(9_999)));
    }

    #[test]
    fn what_happens_again_after_a_while_is_another_event() {
        let mut ring = Ring::default();
        for second in [0, 600, 1201] {
            ring.push(refusal("max_clients"), at(second));
        }
        ring.push(refusal("login_timeout"), at(1201));
        let seen: Vec<_> = ring.newest_first(0).map(|event| (event.last, event.times)).collect();
        assert_eq!(seen, [(at(1201), 1), (at(1201), 1), (at(600), 2)]);
    }

    #[test]
    fn what_changes_the_picture_is_an_event_each_time_and_the_oldest_go() {
        let mut ring = Ring::default();
        for second in 0..1000 {
            ring.push(EventKind::Draining, at(second));
        }
        let seen: Vec<_> = ring.newest_first(0).collect();
        assert_eq!(seen.len(), MAX_EVENTS);
        assert_eq!((seen[0].seq, seen[0].last), (1000, at(999)));
        assert_eq!(ring.newest_first(997).map(|event| event.seq).collect::<Vec<_>>(), [1000, 999, 998]);
    }
}
