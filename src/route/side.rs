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
    /// It may change or read what belongs to the session and outlives the transaction.
    pub touches_session: bool,
    /// What a comment in front of it asks for.
    pub hint: Option<Hint>,
    /// More of it is to come, and nobody knows what.
    pub unfinished: bool,
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
        touches_session: false,
        hint: None,
        unfinished: false,
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
        if self.unfinished {
            return writer(Reason::Unfinished);
        }
        let refused = if self.touches_session && self.ground == Ground::Read {
            writer(Reason::Statement(Ground::SessionState))
        } else {
            writer(Reason::Statement(self.ground))
        };
        if modes.read_only.unwrap_or(situation.read_only) {
            if self.touches_session || !self.suits_read_only() {
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
        if self.access == Access::Read && self.ground.may_leave_primary() {
            return reader(Reason::Statement(Ground::Read));
        }
        let could_be = self.access != Access::Write && self.ground != Ground::LearnedWrite;
        if hint == Some(Hint::Read) && situation.hints.may_call_a_read() && could_be {
            return reader(hinted);
        }
        refused
    }

    /// Whether a standby can serve it, once the client has said that it only reads. What would write is refused by the
    /// writer, too; a standby might say it in other words.
    #[must_use]
    pub const fn suits_read_only(&self) -> bool {
        matches!(
            self.ground,
            Ground::Read
                | Ground::Transaction
                | Ground::SessionState
                | Ground::Named
                | Ground::Definition
                | Ground::VolatileFunction
                | Ground::UnknownRelation
                | Ground::UnknownFunction
                | Ground::Encoding
                | Ground::Unparsable
                | Ground::Uncovered
                | Ground::TooLong
                | Ground::TooDeep
                | Ground::ParsersDisagree
        )
    }

    /// This and `other` together.
    pub fn add(&mut self, other: &Self) {
        self.access = self.access.max(other.access);
        self.ground = self.ground.max(other.ground);
        if let Some(modes) = other.begins {
            self.begins = Some(modes.over(self.begins.unwrap_or_default()));
        }
        self.touches_session |= other.touches_session;
        self.hint = self.hint.or(other.hint);
        self.unfinished |= other.unfinished;
    }
}

const fn writer(reason: Reason) -> Need {
    Need { side: Side::Writer, reason }
}

const fn reader(reason: Reason) -> Need {
    Need { side: Side::Reader, reason }
}
