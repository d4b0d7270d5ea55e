//! State of sequences in the backend (`currval`, `lastval`), as far as a session depends on it.

/// Dependence of a session on the state of sequences in its backend.
#[derive(Default)]
pub(in crate::session) struct SequenceTracker {
    /// The state in the held backend is the session's own.
    is_own: bool,
    usage: SequenceUse,
}

/// Use of the sequence state by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum SequenceUse {
    /// No statement of the session has read sequence state.
    #[default]
    Unread,
    /// No statement has read sequence state; a statement may have moved a sequence since the last report to the driver.
    Moved,
    /// A statement has read sequence state, or was prepared to do so.
    Read,
}

// === impl SequenceTracker ===

impl SequenceTracker {
    /// Notes a leased backend. `untouched`: no other session has used the backend since this session returned it.
    pub(in crate::session) fn on_lease(&mut self, untouched: bool) {
        self.is_own &= untouched;
    }

    /// True if the state in the held backend is the session's own.
    pub(in crate::session) const fn is_own(&self) -> bool {
        self.is_own
    }

    /// Notes that the state in the held backend is the session's own: cleared, or made by the session.
    pub(in crate::session) fn note_own(&mut self) {
        self.is_own = true;
    }

    /// Notes that the state in the held backend may be another session's: the server has cleared nothing.
    pub(in crate::session) fn note_foreign(&mut self) {
        self.is_own = false;
    }

    /// Notes a statement that may move a sequence.
    pub(in crate::session) fn note_move(&mut self) {
        if self.usage == SequenceUse::Unread {
            self.usage = SequenceUse::Moved;
        }
    }

    /// Notes a read, now or soon, of sequence state left by an earlier statement.
    pub(in crate::session) fn note_read(&mut self) {
        self.usage = SequenceUse::Read;
    }

    /// True once per move, in a session without reads so far.
    pub(in crate::session) fn take_moved(&mut self) -> bool {
        let has_moved = self.usage == SequenceUse::Moved;
        if has_moved {
            self.usage = SequenceUse::Unread;
        }
        has_moved
    }

    /// True if the session has read no sequence, and the driver knows of every move.
    pub(in crate::session) fn is_unread(&self) -> bool {
        self.usage == SequenceUse::Unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_reported_once_and_never_after_a_read() {
        let mut sequences = SequenceTracker::default();
        assert!(sequences.is_unread() && !sequences.take_moved());
        sequences.note_move();
        assert!(!sequences.is_unread() && sequences.take_moved() && !sequences.take_moved());
        sequences.note_read();
        sequences.note_move();
        assert!(!sequences.is_unread() && !sequences.take_moved());
    }

    #[test]
    fn another_session_may_change_the_state_between_leases() {
        let mut sequences = SequenceTracker::default();
        sequences.on_lease(false);
        sequences.note_own();
        sequences.on_lease(true);
        assert!(sequences.is_own());
        sequences.on_lease(false);
        assert!(!sequences.is_own());
    }
}
