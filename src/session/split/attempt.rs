//! What the client has said to a read pool, kept until the answer to it begins: then it need not be said again.

use std::collections::VecDeque;

use super::BeginScript;

/// The client's own bytes, unit by unit: a Query, or a batch up to its Sync.
#[derive(Default)]
pub(in crate::session) struct ReplayBuffer {
    bytes: Vec<u8>,
    units: VecDeque<ReplayUnit>,
    /// The last unit goes on.
    open: bool,
}

/// One unit.
struct ReplayUnit {
    bytes: usize,
    /// Statements that were begun before it.
    begun: u64,
    /// Some of its answer has gone to the client.
    answered: bool,
    /// All of it is kept.
    whole: bool,
    /// The unit has bound a portal.
    bound: bool,
    /// It is proved to read: even if nobody knows how far the server got, it may be said again.
    proved: bool,
    /// What the client was told of its transaction before it, and no server was.
    before: Option<BeginScript>,
}

/// Bytes of units that are kept.
const KEPT: usize = 64 << 10;
/// Room that is kept between two attempts.
const ROOM: usize = 1024;

// === impl ReplayBuffer ===

impl ReplayBuffer {
    /// A unit begins, when `begun` statements were begun. `before` is what the client was told of its transaction, and no
    /// server was.
    pub(in crate::session) fn begin(&mut self, begun: u64, proved: bool, before: Option<BeginScript>) {
        self.units.push_back(ReplayUnit {
            bytes: 0,
            begun,
            answered: false,
            whole: true,
            bound: false,
            proved,
            before,
        });
        self.open = true;
    }

    /// Whether a unit goes on.
    pub(in crate::session) const fn is_open(&self) -> bool {
        self.open
    }

    /// Notes a portal bound by the current unit; no further server has the portal.
    pub(in crate::session) fn bind(&mut self) {
        if let Some(last) = self.units.back_mut().filter(|_| self.open) {
            last.bound = true;
        }
    }

    /// Transaction beginning before the current unit, known to the client and to no server.
    pub(in crate::session) fn before(&self) -> Option<&BeginScript> {
        self.units.back().filter(|_| self.open)?.before.as_ref()
    }

    /// True if the current unit has bound a portal.
    pub(in crate::session) fn keeps_portal(&self) -> bool {
        self.open && self.units.back().is_some_and(|unit| unit.bound)
    }

    /// The client has said more of the unit that goes on.
    pub(in crate::session) fn say(&mut self, bytes: &[u8]) {
        let Some(last) = self.units.back_mut().filter(|_| self.open) else { return };
        last.whole &= self.bytes.len() + bytes.len() <= KEPT;
        if last.whole {
            self.bytes.extend_from_slice(bytes);
            last.bytes += bytes.len();
        }
    }

    /// Ends the unit; the unit is kept only if `whole`.
    pub(in crate::session) fn end(&mut self, whole: bool) {
        if let Some(last) = self.units.back_mut().filter(|_| self.open) {
            last.whole &= whole;
        }
        self.open = false;
    }

    /// Whether the unit that is answered next could be said again.
    pub(in crate::session) fn is_repeatable(&self) -> bool {
        self.units.front().is_some_and(|unit| !unit.answered) && self.units.iter().all(|unit| unit.whole)
    }

    /// Whether it could even if nobody knows how far the server got, and all behind it, too.
    pub(in crate::session) fn is_proved(&self) -> bool {
        self.is_repeatable() && self.units.iter().all(|unit| unit.proved)
    }

    /// Its answer has begun.
    pub(in crate::session) fn answered(&mut self) {
        if let Some(unit) = self.units.front_mut() {
            unit.answered = true;
        }
    }

    /// Its answer is over.
    pub(in crate::session) fn over(&mut self) {
        let Some(unit) = self.units.pop_front() else { return };
        self.open &= !self.units.is_empty();
        self.bytes.drain(..unit.bytes);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(ROOM);
        }
    }

    /// What the client has said of the unit that goes on was answered, and did nothing but prepare statements: it need not be
    /// said again.
    pub(in crate::session) fn prepared(&mut self) {
        if let Some(unit) = self.units.back_mut() {
            let kept = self.bytes.len() - unit.bytes;
            self.bytes.truncate(kept);
            unit.bytes = 0;
        }
    }

    /// None of it will be said again.
    pub(in crate::session) fn forget(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ROOM);
        self.units.clear();
        self.open = false;
    }

    /// All of it is to be said again: its bytes go to the end of `again`. Comes back how many statements were begun before
    /// it, and what no server had been told then.
    pub(in crate::session) fn take(&mut self, again: &mut Vec<u8>) -> Option<(u64, Option<BeginScript>)> {
        again.append(&mut self.bytes);
        self.bytes.shrink_to(ROOM);
        self.open = false;
        let first = self.units.drain(..).next()?;
        Some((first.begun, first.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(attempt: &mut ReplayBuffer, bytes: &[u8]) {
        attempt.begin(7, true, None);
        attempt.say(bytes);
        attempt.end(true);
    }

    #[test]
    fn what_was_not_answered_is_said_again_in_its_order() {
        let mut attempt = ReplayBuffer::default();
        for unit in [b"one", b"two", b"six"] {
            said(&mut attempt, unit);
        }
        attempt.answered();
        assert!(!attempt.is_repeatable(), "the client has some of its answer");
        attempt.over();
        assert!(attempt.is_repeatable() && attempt.is_proved());
        let mut again = Vec::new();
        assert_eq!(attempt.take(&mut again).map(|(begun, _)| begun), Some(7));
        assert_eq!(again, b"twosix");
        assert!(!attempt.is_repeatable());
    }

    #[test]
    fn what_is_too_long_is_not_said_again_nor_what_stands_before_it() {
        let mut attempt = ReplayBuffer::default();
        said(&mut attempt, b"one");
        said(&mut attempt, &[0; KEPT]);
        assert!(!attempt.is_repeatable());
        attempt.over();
        attempt.over();
        said(&mut attempt, b"two");
        assert!(attempt.is_repeatable());
    }

    #[test]
    fn doubt_is_only_said_again_when_the_server_says_that_it_refused() {
        let mut attempt = ReplayBuffer::default();
        attempt.begin(0, false, None);
        attempt.say(b"SELECT f()");
        assert!(attempt.is_repeatable() && !attempt.is_proved());
    }
}
