//! Client messages kept for a replay until the response begins: units sent to a read pool, and reads sent to the writer.
//!
//! Promises: a unit that must not run twice is never repeatable; at most [`MAX_REPLAY_BYTES`] are kept. Refuses to know:
//! why a backend is lost, and which server runs the unit again.

use std::collections::VecDeque;

use super::BeginScript;

/// Client bytes by unit: a Query, or a batch up to Sync.
#[derive(Default)]
pub(in crate::session) struct ReplayBuffer {
    bytes: Vec<u8>,
    units: VecDeque<ReplayUnit>,
    last: LastUnit,
}

/// State of the last unit.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum LastUnit {
    /// No unit, or complete.
    #[default]
    Ended,
    /// More messages of the unit follow.
    Open,
    /// More messages follow, and the unit has bound a portal: no other server has the portal.
    OpenWithPortal,
}

/// One unit.
struct ReplayUnit {
    byte_count: usize,
    /// Count of statements started before the unit.
    statements_started: u64,
    kept: Kept,
    /// Deferred commands sent ahead of the unit.
    before: Option<BeginScript>,
}

/// Possibility of a replay of a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// All bytes are kept, and the unit is proved to read: a replay is safe, however far the server got.
    Proved,
    /// All bytes are kept: a replay is safe if the server refuses the unit.
    Unproved,
    /// The unit is too long, or must not run twice.
    No,
    /// The client has received the beginning of the response.
    Answered,
}

/// Maximum bytes of the kept units.
const MAX_REPLAY_BYTES: usize = 64 << 10;
/// Capacity in bytes kept between two units.
const IDLE_CAPACITY_BYTES: usize = 1024;

// === impl ReplayBuffer ===

impl ReplayBuffer {
    /// Begins a unit behind `statements_started` statements and the deferred commands `before`.
    pub(in crate::session) fn begin(
        &mut self,
        statements_started: u64,
        is_proved: bool,
        before: Option<BeginScript>,
    ) {
        let kept = if is_proved { Kept::Proved } else { Kept::Unproved };
        self.units.push_back(ReplayUnit { byte_count: 0, statements_started, kept, before });
        self.last = LastUnit::Open;
    }

    /// True if more messages of the last unit follow.
    pub(in crate::session) fn is_open(&self) -> bool {
        self.last != LastUnit::Ended
    }

    fn open_unit(&mut self) -> Option<&mut ReplayUnit> {
        if self.is_open() { self.units.back_mut() } else { None }
    }

    /// Begins a unit that must not run twice, and of which no bytes are kept.
    pub(in crate::session) fn begin_unrepeatable(&mut self, statements_started: u64) {
        self.units.push_back(ReplayUnit { byte_count: 0, statements_started, kept: Kept::No, before: None });
        self.last = LastUnit::Open;
    }

    /// The open unit executes a statement that must not run twice.
    pub(in crate::session) fn spoil(&mut self) {
        if let Some(unit) = self.open_unit() {
            unit.kept = Kept::No;
        }
    }

    /// True without units.
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// True with a single unit.
    pub(in crate::session) fn is_single(&self) -> bool {
        self.units.len() == 1
    }

    /// True if the last unit is proved to read, so that a unit behind begins outside of a transaction.
    pub(in crate::session) fn ends_with_read(&self) -> bool {
        self.units.back().is_some_and(|unit| matches!(unit.kept, Kept::Proved | Kept::Answered))
    }

    /// True if all bytes of a unit are kept.
    pub(in crate::session) fn keeps_unit(&self) -> bool {
        self.units.iter().any(|unit| unit.kept.is_whole())
    }

    /// Notes a portal bound by the current unit; no further server has the portal.
    pub(in crate::session) fn bind(&mut self) {
        if self.is_open() {
            self.last = LastUnit::OpenWithPortal;
        }
    }

    /// Transaction beginning before the current unit, known to the client and to no server.
    pub(in crate::session) fn before(&self) -> Option<&BeginScript> {
        self.units.back().filter(|_| self.is_open())?.before.as_ref()
    }

    /// True if the current unit has bound a portal.
    pub(in crate::session) fn keeps_portal(&self) -> bool {
        self.last == LastUnit::OpenWithPortal
    }

    /// Keeps more bytes of the open unit.
    pub(in crate::session) fn say(&mut self, bytes: &[u8]) {
        let has_room = self.bytes.len() + bytes.len() <= MAX_REPLAY_BYTES;
        match self.open_unit() {
            Some(unit) if unit.kept.is_whole() && has_room => {
                unit.byte_count += bytes.len();
                self.bytes.extend_from_slice(bytes);
            }
            Some(unit) if unit.kept.is_whole() => unit.kept = Kept::No,
            _ => {}
        }
    }

    /// Ends the unit; the unit is kept only if `whole`.
    pub(in crate::session) fn end(&mut self, whole: bool) {
        if let Some(unit) = self.open_unit().filter(|unit| unit.kept.is_whole() && !whole) {
            unit.kept = Kept::No;
        }
        self.last = LastUnit::Ended;
    }

    /// True if all units without a response can be replayed.
    pub(in crate::session) fn is_repeatable(&self) -> bool {
        !self.units.is_empty() && self.units.iter().all(|unit| unit.kept.is_whole())
    }

    /// True if all units can be replayed, however far the server got.
    pub(in crate::session) fn is_proved(&self) -> bool {
        !self.units.is_empty() && self.units.iter().all(|unit| unit.kept == Kept::Proved)
    }

    /// Notes the beginning of the response to the first unit.
    pub(in crate::session) fn answered(&mut self) {
        if let Some(unit) = self.units.front_mut() {
            unit.kept = Kept::Answered;
        }
    }

    /// Notes the end of the response to the first unit.
    pub(in crate::session) fn over(&mut self) {
        if let Some(unit) = self.units.pop_front() {
            self.bytes.drain(..unit.byte_count);
        }
        if self.units.is_empty() {
            self.last = LastUnit::Ended;
        }
        if self.bytes.is_empty() {
            self.bytes.shrink_to(IDLE_CAPACITY_BYTES);
        }
    }

    /// Drops the messages of the open unit: all were answered, and only prepared statements.
    pub(in crate::session) fn prepared(&mut self) {
        if let Some(unit) = self.units.back_mut() {
            let kept = self.bytes.len() - unit.byte_count;
            self.bytes.truncate(kept);
            unit.byte_count = 0;
        }
    }

    /// Drops all units.
    pub(in crate::session) fn forget(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(IDLE_CAPACITY_BYTES);
        self.units.clear();
        self.last = LastUnit::Ended;
    }

    /// Moves all bytes to the end of `again`, for a replay. Returns the count of statements started before the first unit,
    /// and the deferred commands sent ahead of the unit.
    pub(in crate::session) fn take(&mut self, again: &mut Vec<u8>) -> Option<(u64, Option<BeginScript>)> {
        again.append(&mut self.bytes);
        self.bytes.shrink_to(IDLE_CAPACITY_BYTES);
        self.last = LastUnit::Ended;
        let first = self.units.drain(..).next()?;
        Some((first.statements_started, first.before))
    }
}

// === impl Kept ===

impl Kept {
    /// True if all bytes are kept.
    const fn is_whole(self) -> bool {
        matches!(self, Self::Proved | Self::Unproved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(attempt: &mut ReplayBuffer, bytes: &[u8]) {
        attempt.begin(7, true, None);
        attempt.say(bytes);
        attempt.end(true);
    }

    #[test]
    fn what_was_not_answered_is_said_again_in_its_order() {
        let mut attempt = ReplayBuffer::default();
        for unit in [b"one", b"two", b"six"] {
            send(&mut attempt, unit);
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
        send(&mut attempt, b"one");
        send(&mut attempt, &[0; MAX_REPLAY_BYTES]);
        assert!(!attempt.is_repeatable());
        attempt.over();
        attempt.over();
        send(&mut attempt, b"two");
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
