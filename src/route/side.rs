//! Which side of a split listener a unit of work goes to: the writer, or the read pools.
//!
//! A unit is what is judged together: a Query with all its statements, or a batch of extended messages up to its Sync.
//! Fail closed: it leaves the writer only if all of it is proved to read, or if the client itself has said that it only
//! reads (a READ ONLY transaction or session, or a hint that the listener allows).

use super::{Hints, Reason, Side};
use crate::sql::{Access, Ground, Hint, Modes};

/// Which side a unit needs, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Who may serve it.
    pub side: Side,
    /// Why.
    pub reason: Reason,
}

/// What is about to be said, as far as it decides where that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// The worst of what its statements may do.
    pub access: Access,
    /// The heaviest reason for that.
    pub ground: Ground,
    /// It begins a transaction, in these modes.
    pub begins: Option<Modes>,
    /// Ends a transaction.
    pub ends: bool,
    /// It may change or read what belongs to the session and outlives the transaction.
    pub touches_session: bool,
    /// May leave state pinning the session to the backend.
    pub pins: bool,
    /// What a comment in front of it asks for.
    pub hint: Option<Hint>,
    /// More of it is to come, and nobody knows what.
    pub unfinished: bool,
    /// Binds a portal and continues after a Flush with unknown messages. The unit cannot move any more then.
    pub keeps_portal: bool,
}

/// What else decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Situation {
    /// The modes of a transaction that the client has begun and no server has heard of.
    pub begun: Option<Modes>,
    /// `default_transaction_read_only`.
    pub read_only: bool,
    /// `default_transaction_isolation` is `serializable`.
    pub serializable: bool,
    /// What `SET gatekeeper.route` asks for.
    pub wish: Option<Hint>,
    /// What hints may do on this listener.
    pub hints: Hints,
}

// === impl Unit ===

impl Unit {
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        access: Access::Read,
        ground: Ground::Read,
        begins: None,
        ends: false,
        touches_session: false,
        pins: false,
        hint: None,
        unfinished: false,
        keeps_portal: false,
    };

    /// Where it goes.
    #[must_use]
    pub fn need(&self, situation: &Situation) -> Need {
        let hint = self.hint.or(situation.wish);
        let hinted = if self.hint.is_some() { Reason::Hint } else { Reason::SessionSetting };
        if hint == Some(Hint::Primary) && situation.hints.may_force_primary() {
            return writer(hinted);
        }
        let transaction = match (self.begins, situation.begun) {
            (Some(modes), Some(before)) => Some(modes.over(before)),
            (modes, before) => modes.or(before),
        };
        let modes = transaction.unwrap_or_default();
        if modes.serializable.unwrap_or(situation.serializable) {
            return writer(Reason::Statement(Ground::Serializable));
        }
        let read_only = modes.read_only.unwrap_or(situation.read_only);
        let declared = read_only || (hint == Some(Hint::Read) && situation.hints.may_call_a_read());
        // A unit declared as read-only by the client stays in place, regardless of later messages.
        if self.unfinished || (self.keeps_portal && !declared) {
            return writer(Reason::Unfinished);
        }
        let refused = if self.touches_session && self.ground == Ground::Read {
            writer(Reason::Statement(Ground::SessionState))
        } else {
            writer(Reason::Statement(self.ground))
        };
        if read_only {
            if self.touches_session || !self.ground.suits_read_only() {
                return refused;
            }
            return reader(Reason::ReadOnly);
        }
        if transaction.is_some() {
            return writer(Reason::Statement(Ground::Transaction));
        }
        if self.touches_session {
            return refused;
        }
        if self.access == Access::Read && self.ground.leaves_primary() {
            return reader(Reason::Statement(Ground::Read));
        }
        let could_be = self.access != Access::Write && self.ground != Ground::LearnedWrite;
        if hint == Some(Hint::Read) && situation.hints.may_call_a_read() && could_be {
            return reader(hinted);
        }
        refused
    }

    /// True if the writer serves the unit in a READ ONLY transaction, and a standby does not, or not for long.
    #[must_use]
    pub const fn needs_writer_to_read(&self) -> bool {
        self.pins || !(self.ground.suits_read_only() || self.ground.fails_read_only())
    }

    /// This and `other` together.
    pub fn add(&mut self, other: &Self) {
        self.access = self.access.max(other.access);
        self.ground = self.ground.max(other.ground);
        if let Some(modes) = other.begins {
            self.begins = Some(modes.over(self.begins.unwrap_or_default()));
        }
        self.ends |= other.ends;
        self.touches_session |= other.touches_session;
        self.pins |= other.pins;
        self.hint = self.hint.or(other.hint);
        self.unfinished |= other.unfinished;
        self.keeps_portal |= other.keeps_portal;
    }
}

const fn writer(reason: Reason) -> Need {
    Need { side: Side::Writer, reason }
}

const fn reader(reason: Reason) -> Need {
    Need { side: Side::Reader, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_ONLY: Modes = Modes { read_only: Some(true), serializable: None };
    const READ_WRITE: Modes = Modes { read_only: Some(false), serializable: None };
    const SERIALIZABLE: Modes = Modes { read_only: Some(true), serializable: Some(true) };
    const PLAIN: Modes = Modes { read_only: None, serializable: None };

    fn on(ground: Ground) -> Unit {
        Unit { access: ground.access(), ground, ..Unit::EMPTY }
    }

    fn goes(unit: Unit, situation: Situation) -> (Side, &'static str) {
        let need = unit.need(&situation);
        (need.side, need.reason.as_str())
    }

    #[test]
    fn only_what_is_proved_to_read_leaves_the_writer_by_itself() {
        for ground in Ground::ALL {
            let (side, reason) = goes(on(ground), Situation::default());
            assert_eq!(side == Side::Reader, ground == Ground::Read, "{ground:?}");
            assert_eq!(reason, Reason::Statement(ground).as_str());
        }
        let touches = Unit { touches_session: true, ..Unit::EMPTY };
        assert_eq!(goes(touches, Situation::default()), (Side::Writer, "session-state"));
        let unfinished = Unit { unfinished: true, ..Unit::EMPTY };
        assert_eq!(goes(unfinished, Situation::default()), (Side::Writer, "unfinished"));
    }

    #[test]
    fn a_transaction_goes_by_its_modes() {
        let begins = |modes| Unit { begins: Some(modes), ..on(Ground::Transaction) };
        let begun = |modes| Situation { begun: Some(modes), ..Situation::default() };
        for (modes, expected) in [
            (PLAIN, (Side::Writer, "transaction")),
            (READ_WRITE, (Side::Writer, "transaction")),
            (READ_ONLY, (Side::Reader, "read-only")),
            (SERIALIZABLE, (Side::Writer, "serializable")),
        ] {
            assert_eq!(goes(begins(modes), Situation::default()), expected, "{modes:?}");
            assert_eq!(goes(Unit::EMPTY, begun(modes)), expected, "{modes:?}");
        }
        // A standby refuses READ WRITE, before READ ONLY and behind it.
        assert_eq!(goes(begins(READ_ONLY), begun(READ_WRITE)).0, Side::Writer);
        assert_eq!(goes(begins(READ_WRITE), begun(READ_ONLY)).0, Side::Writer);
    }

    #[test]
    fn whoever_only_reads_gets_doubtful_statements_read_elsewhere_but_no_others() {
        let session = Situation { read_only: true, ..Situation::default() };
        for ground in Ground::ALL {
            let doubtful = matches!(
                ground,
                Ground::VolatileFunction | Ground::UnknownFunction | Ground::Named | Ground::Unparsable
            );
            let (side, _) = goes(on(ground), session);
            if doubtful || ground == Ground::Read {
                assert_eq!(side, Side::Reader, "{ground:?}");
            }
            if ground.access() == Access::Write || matches!(ground, Ground::ServerState | Ground::Unlogged) {
                assert_eq!(side, Side::Writer, "{ground:?}");
            }
        }
        let writes = Unit { begins: Some(READ_WRITE), ..on(Ground::Transaction) };
        assert_eq!(goes(writes, session).0, Side::Writer);
    }

    #[test]
    fn what_only_the_writer_can_do_in_a_read_only_transaction_is_known() {
        for (ground, expected) in [
            (Ground::Read, false),
            (Ground::SessionState, false),
            (Ground::Writes, false),
            (Ground::Ddl, false),
            (Ground::Locks, true),
            (Ground::Utility, true),
            (Ground::ServerState, true),
            (Ground::Sequence, true),
        ] {
            assert_eq!(on(ground).needs_writer_to_read(), expected, "{ground:?}");
        }
        assert!(Unit { pins: true, ..Unit::EMPTY }.needs_writer_to_read());
    }

    #[test]
    fn hints_do_what_the_listener_lets_them() {
        let said = |hint, ground| Unit { hint: Some(hint), ..on(ground) };
        let under = |hints| Situation { hints, ..Situation::default() };
        let primary = said(Hint::Primary, Ground::Read);
        assert_eq!(goes(primary, under(Hints::Off)).0, Side::Reader);
        assert_eq!(goes(primary, under(Hints::Primary)), (Side::Writer, "hint"));
        let read = said(Hint::Read, Ground::VolatileFunction);
        assert_eq!(goes(read, under(Hints::Primary)).0, Side::Writer);
        assert_eq!(goes(read, under(Hints::All)), (Side::Reader, "hint"));
        assert_eq!(goes(said(Hint::Read, Ground::Writes), under(Hints::All)).0, Side::Writer);
        assert_eq!(goes(said(Hint::Read, Ground::LearnedWrite), under(Hints::All)).0, Side::Writer);
        // What the session says counts for statements that say nothing themselves.
        let wish = Situation { wish: Some(Hint::Primary), ..under(Hints::All) };
        assert_eq!(goes(Unit::EMPTY, wish), (Side::Writer, "session-setting"));
        assert_eq!(goes(read, wish), (Side::Reader, "hint"));
    }

    #[test]
    fn a_portal_that_outlives_what_is_known_stays_on_the_writer_unless_all_is_said_to_read() {
        let keeps = Unit { keeps_portal: true, ..Unit::EMPTY };
        assert_eq!(goes(keeps, Situation::default()), (Side::Writer, "unfinished"));
        let session = Situation { read_only: true, ..Situation::default() };
        assert_eq!(goes(keeps, session), (Side::Reader, "read-only"));
        let begun = Situation { begun: Some(READ_ONLY), ..Situation::default() };
        assert_eq!(goes(keeps, begun), (Side::Reader, "read-only"));
        assert_eq!(goes(Unit { unfinished: true, ..keeps }, begun).0, Side::Writer);
        let hinted = Unit { hint: Some(Hint::Read), ..keeps };
        let under = |hints| Situation { hints, ..Situation::default() };
        assert_eq!(goes(hinted, under(Hints::All)).0, Side::Reader);
        assert_eq!(goes(hinted, under(Hints::Primary)).0, Side::Writer);
    }

    #[test]
    fn a_batch_is_as_bad_as_its_worst_statement() {
        let mut batch = Unit::EMPTY;
        batch.add(&on(Ground::Read));
        batch.add(&on(Ground::Locks));
        batch.add(&on(Ground::ServerState));
        assert_eq!(goes(batch, Situation::default()), (Side::Writer, "locks"));
    }
}
