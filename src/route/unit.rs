//! Which side of a split listener a unit of work goes to: the writer, or the read pools.
//!
//! A routing unit is routed as a whole: a Query with all statements, or a batch of extended-protocol messages up to
//! Sync. Fail closed: a unit leaves the writer only if every statement is a proven read, or if the client declared the
//! unit read-only (a READ ONLY transaction or session, or a permitted hint).

use super::{Hints, RouteReason, RouteSide};
use crate::sql::{ClassifyReason, Hint, StatementAccess, TransactionModes};

/// Which side a unit needs, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteNeed {
    /// Side that may serve the unit.
    pub side: RouteSide,
    /// Why.
    pub reason: RouteReason,
}

/// Properties of a unit that determine the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingUnit {
    /// Highest access of the statements.
    pub access: StatementAccess,
    /// The heaviest reason for that.
    pub classify_reason: ClassifyReason,
    /// The unit begins a transaction, with the given modes.
    pub begins: Option<TransactionModes>,
    /// Ends a transaction.
    pub ends: bool,
    /// The unit may change or read session state that outlives the transaction.
    pub touches_session: bool,
    /// May leave state pinning the session to the backend.
    pub pins: bool,
    /// Hint in a leading comment.
    pub hint: Option<Hint>,
    /// The unit is incomplete, and the rest is unknown.
    pub unfinished: bool,
    /// Binds a portal and continues after a Flush with unknown messages. The unit cannot move any more then.
    pub keeps_portal: bool,
}

/// Session state that determines the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionRouteState {
    /// Modes of a deferred BEGIN.
    pub begun: Option<TransactionModes>,
    /// `default_transaction_read_only`.
    pub read_only: bool,
    /// `default_transaction_isolation` is `serializable`.
    pub serializable: bool,
    /// Value of `SET gatekeeper.route`.
    pub wish: Option<Hint>,
    /// Permitted effect of hints on the listener.
    pub hints: Hints,
}

// === impl RoutingUnit ===

impl RoutingUnit {
    /// A unit without statements.
    pub const EMPTY: Self = Self {
        access: StatementAccess::Read,
        classify_reason: ClassifyReason::Read,
        begins: None,
        ends: false,
        touches_session: false,
        pins: false,
        hint: None,
        unfinished: false,
        keeps_portal: false,
    };

    /// Computes the route.
    #[must_use]
    pub fn need(&self, situation: &SessionRouteState) -> RouteNeed {
        let hint = self.hint.or(situation.wish);
        let hinted = if self.hint.is_some() { RouteReason::Hint } else { RouteReason::SessionSetting };
        if hint == Some(Hint::Primary) && situation.hints.may_force_primary() {
            return need_writer(hinted);
        }
        let transaction = match (self.begins, situation.begun) {
            (Some(modes), Some(before)) => Some(modes.over(before)),
            (modes, before) => modes.or(before),
        };
        let modes = transaction.unwrap_or_default();
        if modes.serializable.unwrap_or(situation.serializable) {
            return need_writer(RouteReason::Statement(ClassifyReason::Serializable));
        }
        let read_only = modes.read_only.unwrap_or(situation.read_only);
        let declared = read_only || (hint == Some(Hint::Read) && situation.hints.may_call_a_read());
        // A unit declared as read-only by the client stays in place, regardless of later messages.
        if self.unfinished || (self.keeps_portal && !declared) {
            return need_writer(RouteReason::Unfinished);
        }
        let refused = if self.touches_session && self.classify_reason == ClassifyReason::Read {
            need_writer(RouteReason::Statement(ClassifyReason::SessionState))
        } else {
            need_writer(RouteReason::Statement(self.classify_reason))
        };
        if read_only {
            if self.touches_session || !self.classify_reason.suits_read_only() {
                return refused;
            }
            return need_reader(RouteReason::ReadOnly);
        }
        if transaction.is_some() {
            return need_writer(RouteReason::Statement(ClassifyReason::Transaction));
        }
        if self.touches_session {
            return refused;
        }
        if self.access == StatementAccess::Read && self.classify_reason.leaves_primary() {
            return need_reader(RouteReason::Statement(ClassifyReason::Read));
        }
        let could_be =
            self.access != StatementAccess::Write && self.classify_reason != ClassifyReason::LearnedWrite;
        if hint == Some(Hint::Read) && situation.hints.may_call_a_read() && could_be {
            return need_reader(hinted);
        }
        refused
    }

    /// True if the writer serves the unit in a READ ONLY transaction, and a standby does not, or not for long.
    #[must_use]
    pub const fn needs_writer_to_read(&self) -> bool {
        self.pins || !(self.classify_reason.suits_read_only() || self.classify_reason.fails_read_only())
    }

    /// Adds the properties of `other`.
    pub fn add(&mut self, other: &Self) {
        self.access = self.access.max(other.access);
        self.classify_reason = self.classify_reason.max(other.classify_reason);
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

const fn need_writer(reason: RouteReason) -> RouteNeed {
    RouteNeed { side: RouteSide::Writer, reason }
}

const fn need_reader(reason: RouteReason) -> RouteNeed {
    RouteNeed { side: RouteSide::Reader, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_ONLY: TransactionModes = TransactionModes { read_only: Some(true), serializable: None };
    const READ_WRITE: TransactionModes = TransactionModes { read_only: Some(false), serializable: None };
    const SERIALIZABLE: TransactionModes =
        TransactionModes { read_only: Some(true), serializable: Some(true) };
    const PLAIN: TransactionModes = TransactionModes { read_only: None, serializable: None };

    fn on(classify_reason: ClassifyReason) -> RoutingUnit {
        RoutingUnit { access: classify_reason.access(), classify_reason, ..RoutingUnit::EMPTY }
    }

    fn goes(unit: RoutingUnit, situation: SessionRouteState) -> (RouteSide, &'static str) {
        let need = unit.need(&situation);
        (need.side, need.reason.as_str())
    }

    #[test]
    fn only_what_is_proved_to_read_leaves_the_writer_by_itself() {
        for classify_reason in ClassifyReason::ALL {
            let (side, reason) = goes(on(classify_reason), SessionRouteState::default());
            assert_eq!(
                side == RouteSide::Reader,
                classify_reason == ClassifyReason::Read,
                "{classify_reason:?}"
            );
            assert_eq!(reason, RouteReason::Statement(classify_reason).as_str());
        }
        let touches = RoutingUnit { touches_session: true, ..RoutingUnit::EMPTY };
        assert_eq!(goes(touches, SessionRouteState::default()), (RouteSide::Writer, "session-state"));
        let unfinished = RoutingUnit { unfinished: true, ..RoutingUnit::EMPTY };
        assert_eq!(goes(unfinished, SessionRouteState::default()), (RouteSide::Writer, "unfinished"));
    }

    #[test]
    fn a_transaction_goes_by_its_modes() {
        let begins = |modes| RoutingUnit { begins: Some(modes), ..on(ClassifyReason::Transaction) };
        let begun = |modes| SessionRouteState { begun: Some(modes), ..SessionRouteState::default() };
        for (modes, expected) in [
            (PLAIN, (RouteSide::Writer, "transaction")),
            (READ_WRITE, (RouteSide::Writer, "transaction")),
            (READ_ONLY, (RouteSide::Reader, "read-only")),
            (SERIALIZABLE, (RouteSide::Writer, "serializable")),
        ] {
            assert_eq!(goes(begins(modes), SessionRouteState::default()), expected, "{modes:?}");
            assert_eq!(goes(RoutingUnit::EMPTY, begun(modes)), expected, "{modes:?}");
        }
        // A standby rejects READ WRITE, before and after READ ONLY.
        assert_eq!(goes(begins(READ_ONLY), begun(READ_WRITE)).0, RouteSide::Writer);
        assert_eq!(goes(begins(READ_WRITE), begun(READ_ONLY)).0, RouteSide::Writer);
    }

    #[test]
    fn whoever_only_reads_gets_doubtful_statements_read_elsewhere_but_no_others() {
        let session = SessionRouteState { read_only: true, ..SessionRouteState::default() };
        for classify_reason in ClassifyReason::ALL {
            let doubtful = matches!(
                classify_reason,
                ClassifyReason::VolatileFunction
                    | ClassifyReason::UnknownFunction
                    | ClassifyReason::Named
                    | ClassifyReason::Unparsable
            );
            let (side, _) = goes(on(classify_reason), session);
            if doubtful || classify_reason == ClassifyReason::Read {
                assert_eq!(side, RouteSide::Reader, "{classify_reason:?}");
            }
            if classify_reason.access() == StatementAccess::Write
                || matches!(classify_reason, ClassifyReason::ServerState | ClassifyReason::Unlogged)
            {
                assert_eq!(side, RouteSide::Writer, "{classify_reason:?}");
            }
        }
        let writes = RoutingUnit { begins: Some(READ_WRITE), ..on(ClassifyReason::Transaction) };
        assert_eq!(goes(writes, session).0, RouteSide::Writer);
    }

    #[test]
    fn what_only_the_writer_can_do_in_a_read_only_transaction_is_known() {
        for (classify_reason, expected) in [
            (ClassifyReason::Read, false),
            (ClassifyReason::SessionState, false),
            (ClassifyReason::Writes, false),
            (ClassifyReason::Ddl, false),
            (ClassifyReason::Locks, true),
            (ClassifyReason::Utility, true),
            (ClassifyReason::ServerState, true),
            (ClassifyReason::Sequence, true),
        ] {
            assert_eq!(on(classify_reason).needs_writer_to_read(), expected, "{classify_reason:?}");
        }
        assert!(RoutingUnit { pins: true, ..RoutingUnit::EMPTY }.needs_writer_to_read());
    }

    #[test]
    fn hints_do_what_the_listener_lets_them() {
        let hinted = |hint, classify_reason| RoutingUnit { hint: Some(hint), ..on(classify_reason) };
        let under = |hints| SessionRouteState { hints, ..SessionRouteState::default() };
        let primary = hinted(Hint::Primary, ClassifyReason::Read);
        assert_eq!(goes(primary, under(Hints::Off)).0, RouteSide::Reader);
        assert_eq!(goes(primary, under(Hints::Primary)), (RouteSide::Writer, "hint"));
        let read = hinted(Hint::Read, ClassifyReason::VolatileFunction);
        assert_eq!(goes(read, under(Hints::Primary)).0, RouteSide::Writer);
        assert_eq!(goes(read, under(Hints::All)), (RouteSide::Reader, "hint"));
        assert_eq!(goes(hinted(Hint::Read, ClassifyReason::Writes), under(Hints::All)).0, RouteSide::Writer);
        assert_eq!(
            goes(hinted(Hint::Read, ClassifyReason::LearnedWrite), under(Hints::All)).0,
            RouteSide::Writer
        );
        // The session's setting applies to statements without a hint.
        let wish = SessionRouteState { wish: Some(Hint::Primary), ..under(Hints::All) };
        assert_eq!(goes(RoutingUnit::EMPTY, wish), (RouteSide::Writer, "session-setting"));
        assert_eq!(goes(read, wish), (RouteSide::Reader, "hint"));
    }

    #[test]
    fn a_portal_that_outlives_what_is_known_stays_on_the_writer_unless_all_is_said_to_read() {
        let keeps = RoutingUnit { keeps_portal: true, ..RoutingUnit::EMPTY };
        assert_eq!(goes(keeps, SessionRouteState::default()), (RouteSide::Writer, "unfinished"));
        let session = SessionRouteState { read_only: true, ..SessionRouteState::default() };
        assert_eq!(goes(keeps, session), (RouteSide::Reader, "read-only"));
        let begun = SessionRouteState { begun: Some(READ_ONLY), ..SessionRouteState::default() };
        assert_eq!(goes(keeps, begun), (RouteSide::Reader, "read-only"));
        assert_eq!(goes(RoutingUnit { unfinished: true, ..keeps }, begun).0, RouteSide::Writer);
        let hinted = RoutingUnit { hint: Some(Hint::Read), ..keeps };
        let under = |hints| SessionRouteState { hints, ..SessionRouteState::default() };
        assert_eq!(goes(hinted, under(Hints::All)).0, RouteSide::Reader);
        assert_eq!(goes(hinted, under(Hints::Primary)).0, RouteSide::Writer);
    }

    #[test]
    fn a_batch_is_as_bad_as_its_worst_statement() {
        let mut batch = RoutingUnit::EMPTY;
        batch.add(&on(ClassifyReason::Read));
        batch.add(&on(ClassifyReason::Locks));
        batch.add(&on(ClassifyReason::ServerState));
        assert_eq!(goes(batch, SessionRouteState::default()), (RouteSide::Writer, "locks"));
    }
}
