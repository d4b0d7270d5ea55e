//! Units of the client without a complete response, when their backend is lost: the fate of each, and the response.
//!
//! A unit is a Query, or a batch up to its Sync. Promises: no unit that may have taken effect is reported as rolled back;
//! each unit gets at most one error. Refuses to know: where requests are kept, and how a response is sent.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use crate::{
    session::{
        Fate,
        pending_request::{BatchFacts, PendingRequest},
    },
    sql::TransactionCommands,
    wire::{
        TransactionStatus,
        backend::{write_command_complete, write_ready_for_query},
        tag::backend as b,
        write_frame,
    },
};

/// A unit without a complete response.
pub(in crate::session) struct InterruptedUnit {
    /// End of the unit.
    pub(in crate::session) end: UnitEnd,
    /// What the unit executes.
    pub(in crate::session) facts: BatchFacts,
    /// The unit takes COPY data, and the client has not sent the end.
    pub(in crate::session) copies_in: bool,
    /// Requests of the unit without a response, in the order sent.
    pub(in crate::session) requests: Vec<PendingRequest>,
}

/// End of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum UnitEnd {
    /// A Query or FunctionCall.
    Whole,
    /// A batch with its Sync.
    Sync,
    /// A batch without its Sync.
    Open,
}

/// Response to an interrupted unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct UnitFate {
    /// Fate of the unit.
    pub(in crate::session) fate: Fate,
    /// Status of the client's transaction behind the unit.
    pub(in crate::session) status: TransactionStatus,
    /// The client has the error already.
    pub(in crate::session) is_reported: bool,
}

/// The client's transaction between two interrupted units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// The status is known.
    Known(TransactionStatus),
    /// A unit of the transaction has failed for the client; a later one may commit all of them.
    Uncertain,
}

/// The fate of each of `units`, which the client has sent in a transaction of `status`.
pub(in crate::session) fn fates(units: &[InterruptedUnit], status: TransactionStatus) -> Vec<UnitFate> {
    let commits_from = |index: usize| units[index..].iter().any(InterruptedUnit::may_commit);
    let mut between = Between::Known(status);
    let mut fates = Vec::with_capacity(units.len());
    for (index, unit) in units.iter().enumerate() {
        let fate;
        (fate, between) = unit.fate(between, commits_from(index));
        let status = match between {
            Between::Known(status) => status,
            Between::Uncertain => TransactionStatus::Failed,
        };
        fates.push(UnitFate { fate, status, is_reported: unit.facts.has_failed });
    }
    fates
}

// === impl InterruptedUnit ===

impl InterruptedUnit {
    fn commands(&self) -> TransactionCommands {
        self.facts.commands
    }

    /// Count of statements that the unit executes. The facts of a batch that takes COPY data go with the Sync that the
    /// server ignores; its Execute is not answered yet.
    fn executes(&self) -> usize {
        let is_execute = |request: &&PendingRequest| matches!(request, PendingRequest::Execute { .. });
        usize::from(self.facts.executes).max(self.requests.iter().filter(is_execute).count())
    }

    fn may_commit(&self) -> bool {
        self.commands().intersects(TransactionCommands::COMMIT)
    }

    /// Fate of the unit, and the transaction behind it; `may_commit`: the unit, or a later one, may commit.
    fn fate(&self, before: Between, may_commit: bool) -> (Fate, Between) {
        let Between::Known(status) = before else { return self.uncertain_fate() };
        let begins = self.commands().intersects(TransactionCommands::BEGIN);
        let failed = match status {
            TransactionStatus::Idle if !begins => TransactionStatus::Idle,
            _ => TransactionStatus::Failed,
        };
        if self.facts.has_failed {
            (Fate::RolledBack, Between::Known(failed))
        } else if self.is_rollback(status) {
            (Fate::Committed, Between::Known(TransactionStatus::Idle))
        } else if self.is_harmless(status, may_commit) {
            (Fate::RolledBack, Between::Known(failed))
        } else if failed == TransactionStatus::Idle {
            (Fate::Unknown, Between::Known(TransactionStatus::Idle))
        } else {
            self.uncertain_fate()
        }
    }

    /// Fate of a unit in a transaction that the unit, or a later one, may have committed.
    fn uncertain_fate(&self) -> (Fate, Between) {
        if self.commands() == TransactionCommands::ROLLBACK {
            (Fate::Committed, Between::Known(TransactionStatus::Idle))
        } else if self.may_commit() {
            (Fate::Unknown, Between::Known(TransactionStatus::Idle))
        } else {
            (Fate::Unknown, Between::Uncertain)
        }
    }

    /// True if the unit does nothing but end a transaction, without effect.
    fn is_rollback(&self, status: TransactionStatus) -> bool {
        let commands = self.commands();
        self.executes() == 1
            && (commands == TransactionCommands::ROLLBACK
                || (commands == TransactionCommands::COMMIT && status == TransactionStatus::Failed))
    }

    /// True if nothing that the unit has executed can have taken effect.
    fn is_harmless(&self, status: TransactionStatus, may_commit: bool) -> bool {
        match status {
            TransactionStatus::Failed => true,
            TransactionStatus::Open => !may_commit,
            TransactionStatus::Idle => {
                let begins = self.commands().intersects(TransactionCommands::BEGIN);
                let has_begun = begins && !may_commit;
                // Without the end of its data a COPY takes nothing in, and without its Sync a batch does not commit.
                let is_unfinished = self.copies_in || self.end == UnitEnd::Open;
                has_begun || self.executes() == 0 || (is_unfinished && !self.may_commit())
            }
        }
    }

    /// Writes the rest of the response to a successful `ROLLBACK`.
    pub(in crate::session) fn write_rollback(&self, out: &mut Vec<u8>) {
        for tag in self.requests.iter().flat_map(PendingRequest::success_tags) {
            match *tag {
                b::COMMAND_COMPLETE => write_command_complete(out, "ROLLBACK"),
                // Without parameters.
                b::PARAMETER_DESCRIPTION => write_frame(out, *tag, |body| body.extend_from_slice(&[0, 0])),
                tag => write_frame(out, tag, |_| ()),
            }
        }
    }

    /// Writes the ReadyForQuery of the unit, if the client has asked for it.
    pub(in crate::session) fn write_end(&self, status: TransactionStatus, out: &mut Vec<u8>) {
        if self.end != UnitEnd::Open {
            write_ready_for_query(out, status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Commands = TransactionCommands;
    use TransactionStatus::{Failed, Idle, Open};

    fn unit(end: UnitEnd, commands: Commands) -> InterruptedUnit {
        let facts = BatchFacts { commands, executes: 1, has_failed: false };
        InterruptedUnit { end, facts, copies_in: false, requests: Vec::new() }
    }

    fn query(commands: Commands) -> InterruptedUnit {
        unit(UnitEnd::Whole, commands)
    }

    fn told(units: &[InterruptedUnit], status: TransactionStatus) -> Vec<(Fate, TransactionStatus)> {
        fates(units, status).into_iter().map(|fate| (fate.fate, fate.status)).collect()
    }

    #[test]
    fn each_state_of_the_table_has_its_fate() {
        let batch = |commands| unit(UnitEnd::Sync, commands);
        for (what, unit, status, wanted) in [
            ("autocommit", query(Commands::NONE), Idle, (Fate::Unknown, Idle)),
            ("an autocommit batch", batch(Commands::NONE), Idle, (Fate::Unknown, Idle)),
            ("a batch without its Sync", unit(UnitEnd::Open, Commands::NONE), Idle, (Fate::RolledBack, Idle)),
            ("BEGIN and a statement", batch(Commands::BEGIN), Idle, (Fate::RolledBack, Failed)),
            ("a whole transaction", query(Commands::BEGIN | Commands::COMMIT), Idle, (Fate::Unknown, Idle)),
            ("a statement", query(Commands::NONE), Open, (Fate::RolledBack, Failed)),
            ("COMMIT", query(Commands::COMMIT), Open, (Fate::Unknown, Idle)),
            ("COMMIT without Sync", unit(UnitEnd::Open, Commands::COMMIT), Open, (Fate::Unknown, Idle)),
            ("ROLLBACK", query(Commands::ROLLBACK), Open, (Fate::Committed, Idle)),
            ("COMMIT of a failed transaction", query(Commands::COMMIT), Failed, (Fate::Committed, Idle)),
            ("ROLLBACK of a failed transaction", query(Commands::ROLLBACK), Failed, (Fate::Committed, Idle)),
            ("a statement of a failed one", query(Commands::NONE), Failed, (Fate::RolledBack, Failed)),
        ] {
            assert_eq!(told(&[unit], status), [wanted], "{what}");
        }
    }

    #[test]
    fn a_pipelined_commit_makes_all_before_it_uncertain() {
        let units = [query(Commands::NONE), query(Commands::COMMIT), query(Commands::NONE)];
        assert_eq!(
            told(&units, Open),
            [(Fate::Unknown, Failed), (Fate::Unknown, Idle), (Fate::Unknown, Idle)]
        );
    }

    #[test]
    fn a_reported_error_is_not_repeated() {
        let mut failed = query(Commands::NONE);
        failed.facts.has_failed = true;
        let wanted = UnitFate { fate: Fate::RolledBack, status: Failed, is_reported: true };
        assert_eq!(fates(&[failed], Open), [wanted]);
    }

    #[test]
    fn a_copy_without_its_end_takes_nothing_in() {
        let mut copy = query(Commands::NONE);
        copy.copies_in = true;
        assert_eq!(told(&[copy], Idle), [(Fate::RolledBack, Idle)]);
    }

    #[test]
    fn nothing_executed_took_no_effect() {
        let mut parse = unit(UnitEnd::Sync, Commands::NONE);
        parse.facts.executes = 0;
        assert_eq!(told(&[parse], Idle), [(Fate::RolledBack, Idle)]);
    }
}
