//! Results of the lookahead over buffered client messages.

use crate::{route::RoutingUnit, sql::StatementAccess};

/// Classification of the client's next messages.
#[derive(Default)]
pub(in crate::session) struct Lookahead {
    /// Count of messages, from the next one on, that may be sent to a read pool.
    classified: usize,
    /// The next message begins a unit.
    begins_unit: Option<UnitProof>,
    /// Pending responses of the read pool may begin or end a transaction.
    txn_state_unknown: bool,
    wait: BatchWait,
}

/// Proof of a unit, before any of its messages is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum UnitProof {
    /// The unit is proved to read, begins no transaction, and leaves no state of the session.
    Read,
    /// The unit is proved to read, and begins a transaction.
    Begin,
    /// The unit is not proved to read.
    None,
}

/// Wait for the end of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum BatchWait {
    #[default]
    None,
    Waiting,
    TimedOut,
}

// === impl UnitProof ===

impl UnitProof {
    /// Proof of the foreseen `unit`.
    pub(in crate::session) fn of(unit: &RoutingUnit) -> Self {
        match unit.access {
            // Sent to the writer alone.
            StatementAccess::Read if unit.touches_session => Self::None,
            StatementAccess::Read if unit.begins.is_some() => Self::Begin,
            StatementAccess::Read => Self::Read,
            _ => Self::None,
        }
    }
}

// === impl Lookahead ===

impl Lookahead {
    /// Notes `count` classified messages; the first begins a unit, if `begins_unit` holds its proof.
    pub(in crate::session) fn classify(&mut self, count: usize, begins_unit: Option<UnitProof>) {
        (self.classified, self.begins_unit) = (count, begins_unit);
    }

    /// True if the next message is classified.
    pub(in crate::session) fn is_classified(&self) -> bool {
        self.classified > 0
    }

    /// Counts a message sent.
    pub(in crate::session) fn on_sent(&mut self) {
        self.classified = self.classified.saturating_sub(1);
    }

    /// Proof of the unit that begins with the next message, once.
    pub(in crate::session) fn take_unit(&mut self) -> Option<UnitProof> {
        self.begins_unit.take()
    }

    /// True if pending responses may begin or end a transaction.
    pub(in crate::session) const fn is_txn_state_unknown(&self) -> bool {
        self.txn_state_unknown
    }

    /// Notes a message able to begin or end a transaction.
    pub(in crate::session) fn note_txn_state_unknown(&mut self) {
        self.txn_state_unknown = true;
    }

    /// Notes that all responses have arrived.
    pub(in crate::session) fn on_settled(&mut self) {
        self.txn_state_unknown = false;
    }

    /// True if the end of a batch is awaited.
    pub(in crate::session) fn is_waiting(&self) -> bool {
        self.wait == BatchWait::Waiting
    }

    /// True if the wait for the end of a batch has timed out.
    pub(in crate::session) fn has_timed_out(&self) -> bool {
        self.wait == BatchWait::TimedOut
    }

    /// Waits for the end of a batch.
    pub(in crate::session) fn wait(&mut self) {
        self.wait = BatchWait::Waiting;
    }

    /// Ends the wait: the batch is here, or is classified without its end.
    pub(in crate::session) fn end_wait(&mut self) {
        self.wait = BatchWait::None;
    }

    /// Notes the end of the time for a batch.
    pub(in crate::session) fn on_timeout(&mut self) {
        self.wait = BatchWait::TimedOut;
    }

    /// Forgets the classification: the backend is returned.
    pub(in crate::session) fn on_return(&mut self) {
        *self = Self { wait: self.wait, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_count_down() {
        let mut lookahead = Lookahead::default();
        lookahead.classify(2, Some(UnitProof::Read));
        assert_eq!((lookahead.take_unit(), lookahead.take_unit()), (Some(UnitProof::Read), None));
        lookahead.on_sent();
        assert!(lookahead.is_classified());
        lookahead.on_sent();
        lookahead.on_sent();
        assert!(!lookahead.is_classified());
    }

    #[test]
    fn a_wait_times_out_once() {
        let mut lookahead = Lookahead::default();
        lookahead.wait();
        assert!(lookahead.is_waiting() && !lookahead.has_timed_out());
        lookahead.on_timeout();
        assert!(lookahead.has_timed_out() && !lookahead.is_waiting());
        lookahead.on_return();
        assert!(lookahead.has_timed_out(), "the batch is still without its end");
        lookahead.end_wait();
        assert!(!lookahead.has_timed_out());
    }

    #[test]
    fn a_returned_backend_ends_the_classification() {
        let mut lookahead = Lookahead::default();
        lookahead.classify(2, Some(UnitProof::Read));
        lookahead.note_txn_state_unknown();
        lookahead.on_return();
        assert!(!lookahead.is_classified() && lookahead.take_unit().is_none());
        assert!(!lookahead.is_txn_state_unknown());
    }
}
