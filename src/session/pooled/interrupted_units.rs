//! Units of the client without a complete response, when their backend is lost: the fate of each, and the response.
//!
//! A unit is a Query, or a batch up to its Sync. Promises: no unit that may have taken effect is reported as rolled back;
//! each unit gets at most one error. Refuses to know: where requests are kept, and how a response is sent.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use crate::{
    session::{Fate, batch_facts::BatchFacts, pending_request::PendingRequest},
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
    end: UnitEnd,
    facts: BatchFacts,
    /// Requests of the unit without a response, in the order sent.
    requests: Vec<PendingRequest>,
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

/// Fate of an interrupted unit, and the status of the client's transaction behind it.
pub(in crate::session) type UnitFate = (Fate, TransactionStatus);

/// The client's transaction between two interrupted units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// The status is known.
    Known(TransactionStatus),
    /// A unit of the transaction has failed for the client; a later one may commit all of them.
    Uncertain,
}

/// The fate of each of `units`, which the client has sent in a transaction of `status`; `has_begun`: the first unit has begun
/// a transaction; `may_have_written`: the transaction, or a unit, may write.
pub(in crate::session) fn fates(
    units: &[InterruptedUnit],
    status: TransactionStatus,
    has_begun: bool,
    may_have_written: bool,
) -> Vec<UnitFate> {
    let may_commit =
        |index: usize| may_have_written && units[index..].iter().any(InterruptedUnit::may_commit);
    let mut between = Between::Known(status);
    let mut fates = Vec::with_capacity(units.len());
    for (index, unit) in units.iter().enumerate() {
        let fate;
        (fate, between) = match between {
            // The client knows the server's error, and the server's responses before.
            Between::Known(status) if unit.is_reported() => {
                (Fate::RolledBack, unit.reported_status(status, has_begun))
            }
            Between::Known(status) if may_have_written => unit.fate(status, may_commit(index)),
            Between::Known(status) => unit.fate_of_read(status),
            Between::Uncertain => unit.uncertain_fate(),
        };
        let status = match between {
            Between::Known(status) => status,
            Between::Uncertain => TransactionStatus::Failed,
        };
        fates.push((fate, status));
    }
    fates
}

// === impl InterruptedUnit ===

impl InterruptedUnit {
    /// A unit with this end, these facts, and the requests without a response.
    pub(in crate::session) const fn new(
        end: UnitEnd,
        facts: BatchFacts,
        requests: Vec<PendingRequest>,
    ) -> Self {
        Self { end, facts, requests }
    }

    /// Requests of the unit without a response.
    pub(in crate::session) fn requests(&self) -> &[PendingRequest] {
        &self.requests
    }

    /// The requests of the unit without a response.
    pub(in crate::session) fn into_requests(self) -> Vec<PendingRequest> {
        self.requests
    }

    /// True if the client has received the server's error.
    pub(in crate::session) fn is_reported(&self) -> bool {
        self.facts.has_failed()
    }

    /// True if nothing of the unit but the end of a transaction of `status` is unanswered: COMMIT, or the Sync of a batch that
    /// is a transaction.
    pub(in crate::session) fn only_commits(&self, status: TransactionStatus) -> bool {
        let is_whole = !self.is_open() && !self.is_reported();
        is_whole
            && match status {
                TransactionStatus::Open => self.is_only(TransactionCommands::PLAIN_COMMIT),
                TransactionStatus::Idle => matches!(self.requests[..], [PendingRequest::Sync { .. }]),
                TransactionStatus::Failed => false,
            }
    }

    /// True if the client has not sent the Sync of the batch.
    pub(in crate::session) fn is_open(&self) -> bool {
        self.end == UnitEnd::Open
    }

    const fn commands(&self) -> TransactionCommands {
        self.facts.commands()
    }

    /// Count of statements that the unit executes. The facts of a batch that takes COPY data go with the Sync that the
    /// server ignores; its Execute is not answered yet.
    fn executes(&self) -> usize {
        let is_execute = |request: &&PendingRequest| {
            matches!(request, PendingRequest::Execute { .. } | PendingRequest::Whole { .. })
        };
        usize::from(self.facts.executes()).max(self.requests.iter().filter(is_execute).count())
    }

    /// True if the unit does nothing but execute a text that is `command`.
    fn is_only(&self, command: TransactionCommands) -> bool {
        let count =
            |is_meant: fn(&PendingRequest) -> bool| self.requests.iter().filter(|it| is_meant(it)).count();
        let parses = count(|request| matches!(request, PendingRequest::Parse { .. }));
        let binds = count(|request| matches!(request, PendingRequest::Bind { .. }));
        self.commands() == command
            && self.executes() == 1
            && self.facts.has_one_statement()
            && parses <= 1
            && binds <= 1
            && !self.executes_earlier_portal()
            && !(self.has_query() && self.requests.len() > 1)
    }

    /// True if an Execute precedes a Bind.
    fn executes_earlier_portal(&self) -> bool {
        let mut from_execute =
            self.requests.iter().skip_while(|request| !matches!(request, PendingRequest::Execute { .. }));
        from_execute.any(|request| matches!(request, PendingRequest::Bind { .. }))
    }

    /// True if the unit does nothing but end a transaction.
    fn is_end(&self) -> bool {
        self.is_only(TransactionCommands::PLAIN_COMMIT) || self.is_only(TransactionCommands::ROLLBACK)
    }

    /// True if a Query follows steps of the batch.
    fn has_query(&self) -> bool {
        self.requests.iter().any(|request| matches!(request, PendingRequest::Whole { .. }))
    }

    const fn may_commit(&self) -> bool {
        self.commands().intersects(TransactionCommands::COMMIT)
    }

    /// True if the unit begins a transaction: all that it binds is executed, and a BEGIN may be among it.
    fn begins(&self) -> bool {
        let executes = self.executes();
        let executes_all = executes > 0 && usize::from(self.facts.binds()) <= executes;
        executes_all && self.commands().intersects(TransactionCommands::BEGIN)
    }

    /// Status of a transaction of `status` behind the unit, if the unit fails.
    fn failed_status(&self, status: TransactionStatus) -> TransactionStatus {
        match status {
            TransactionStatus::Idle if !self.begins() => status,
            _ => TransactionStatus::Failed,
        }
    }

    /// Status of a transaction of `status` behind the failed unit; `has_begun`: the unit has begun a transaction.
    const fn reported_status(&self, status: TransactionStatus, has_begun: bool) -> Between {
        match status {
            TransactionStatus::Idle if !has_begun => Between::Known(status),
            _ => Between::Known(TransactionStatus::Failed),
        }
    }

    /// Fate of the unit in a transaction of `status`; `may_commit`: the unit, or a later one, may commit.
    fn fate(&self, status: TransactionStatus, may_commit: bool) -> (Fate, Between) {
        let failed = self.failed_status(status);
        if self.ends_without_effect(status) {
            (Fate::Committed, Between::Known(TransactionStatus::Idle))
        } else if self.is_harmless(status, may_commit) {
            (Fate::RolledBack, Between::Known(failed))
        } else if failed == TransactionStatus::Idle {
            (Fate::Unknown, Between::Known(TransactionStatus::Idle))
        } else {
            self.uncertain_fate()
        }
    }

    /// Fate of the unit in a transaction of `status` that only reads.
    fn fate_of_read(&self, status: TransactionStatus) -> (Fate, Between) {
        let is_end = self.is_end() && status != TransactionStatus::Idle;
        let failed = self.failed_status(status);
        if is_end {
            (Fate::Committed, Between::Known(TransactionStatus::Idle))
        } else if self.facts.has_sent_rows() && failed == TransactionStatus::Idle {
            (Fate::ReadInterrupted, Between::Known(failed))
        } else {
            (Fate::RolledBack, Between::Known(failed))
        }
    }

    /// Fate of a unit in a transaction that the unit, or a later one, may have committed.
    fn uncertain_fate(&self) -> (Fate, Between) {
        if self.is_only(TransactionCommands::ROLLBACK) {
            (Fate::Committed, Between::Known(TransactionStatus::Idle))
        } else if self.may_commit() {
            (Fate::Unknown, Between::Known(TransactionStatus::Idle))
        } else {
            (Fate::Unknown, Between::Uncertain)
        }
    }

    /// True if the unit does nothing but end a transaction, without effect.
    fn ends_without_effect(&self, status: TransactionStatus) -> bool {
        self.is_only(TransactionCommands::ROLLBACK)
            || (status == TransactionStatus::Failed && self.is_only(TransactionCommands::PLAIN_COMMIT))
    }

    /// True if nothing that the unit has executed can have taken effect.
    fn is_harmless(&self, status: TransactionStatus, may_commit: bool) -> bool {
        match status {
            TransactionStatus::Failed => true,
            TransactionStatus::Open => !may_commit,
            TransactionStatus::Idle => {
                let has_begun = self.begins() && !may_commit;
                // Without the end of its data a COPY takes nothing in, and without its Sync a batch does not commit.
                let is_unfinished = self.facts.takes_data() || (self.is_open() && !self.has_query());
                has_begun || self.executes() == 0 || (is_unfinished && !self.may_commit())
            }
        }
    }

    /// Writes the rest of the response to a successful end of a transaction with `command`.
    pub(in crate::session) fn write_success(&self, command: &str, out: &mut Vec<u8>) {
        for tag in self.requests.iter().flat_map(PendingRequest::success_tags) {
            match *tag {
                b::COMMAND_COMPLETE => write_command_complete(out, command),
                // Without parameters.
                b::PARAMETER_DESCRIPTION => write_frame(out, *tag, |body| body.extend_from_slice(&[0, 0])),
                tag => write_frame(out, tag, |_| ()),
            }
        }
    }

    /// Command tag of a successful end of a transaction of `status`, which has read only.
    pub(in crate::session) fn end_command(&self, status: TransactionStatus) -> &'static str {
        let commits = self.may_commit() && status == TransactionStatus::Open;
        if commits { "COMMIT" } else { "ROLLBACK" }
    }

    /// Writes the ReadyForQuery of the unit, if the client has asked for it.
    pub(in crate::session) fn write_end(&self, status: TransactionStatus, out: &mut Vec<u8>) {
        if !self.is_open() {
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
        InterruptedUnit::new(end, BatchFacts::whole(commands), Vec::new())
    }

    fn query(commands: Commands) -> InterruptedUnit {
        unit(UnitEnd::Whole, commands)
    }

    #[test]
    fn each_state_of_the_table_has_its_fate() {
        let batch = |commands| unit(UnitEnd::Sync, commands);
        let open = |commands| unit(UnitEnd::Open, commands);
        for (what, unit, status, wanted) in [
            ("autocommit", query(Commands::NONE), Idle, (Fate::Unknown, Idle)),
            ("an autocommit batch", batch(Commands::NONE), Idle, (Fate::Unknown, Idle)),
            ("a batch without its Sync", open(Commands::NONE), Idle, (Fate::RolledBack, Idle)),
            ("a batch without its Sync, and COMMIT", open(Commands::COMMIT), Idle, (Fate::Unknown, Idle)),
            ("BEGIN and a statement", batch(Commands::BEGIN), Idle, (Fate::RolledBack, Failed)),
            ("a whole transaction", query(Commands::UNKNOWN), Idle, (Fate::Unknown, Idle)),
            ("a statement", query(Commands::NONE), Open, (Fate::RolledBack, Failed)),
            ("COMMIT", query(Commands::PLAIN_COMMIT), Open, (Fate::Unknown, Idle)),
            ("COMMIT without Sync", open(Commands::COMMIT), Open, (Fate::Unknown, Idle)),
            ("ROLLBACK", query(Commands::ROLLBACK), Open, (Fate::Committed, Idle)),
            (
                "COMMIT of a failed transaction",
                query(Commands::PLAIN_COMMIT),
                Failed,
                (Fate::Committed, Idle),
            ),
            ("ROLLBACK of a failed transaction", query(Commands::ROLLBACK), Failed, (Fate::Committed, Idle)),
            ("PREPARE in a failed one", query(Commands::COMMIT), Failed, (Fate::RolledBack, Failed)),
            ("a statement of a failed one", query(Commands::NONE), Failed, (Fate::RolledBack, Failed)),
        ] {
            assert_eq!(fates(&[unit], status, false, true), [wanted], "{what}");
        }
    }

    #[test]
    fn a_transaction_that_only_reads_takes_no_effect() {
        for (what, unit, status, wanted) in [
            ("autocommit", query(Commands::NONE), Idle, (Fate::RolledBack, Idle)),
            ("a statement", query(Commands::NONE), Open, (Fate::RolledBack, Failed)),
            ("COMMIT", query(Commands::PLAIN_COMMIT), Open, (Fate::Committed, Idle)),
            ("ROLLBACK", query(Commands::ROLLBACK), Open, (Fate::Committed, Idle)),
            ("a whole transaction", query(Commands::UNKNOWN), Idle, (Fate::RolledBack, Failed)),
        ] {
            assert_eq!(fates(&[unit], status, false, false), [wanted], "{what}");
        }
        for (status, wanted) in [(Idle, (Fate::ReadInterrupted, Idle)), (Open, (Fate::RolledBack, Failed))] {
            let facts = BatchFacts::whole(Commands::NONE).sending_rows();
            let sending = || InterruptedUnit::new(UnitEnd::Whole, facts, Vec::new());
            assert_eq!(fates(&[sending()], status, false, false), [wanted]);
            let is_unknown = fates(&[sending()], status, false, true)[0].0 == Fate::Unknown;
            assert_eq!(is_unknown, status == Idle, "rows of a statement that may write prove nothing");
        }
        assert_eq!(query(Commands::PLAIN_COMMIT).end_command(Open), "COMMIT");
        assert_eq!(query(Commands::PLAIN_COMMIT).end_command(Failed), "ROLLBACK");
    }

    #[test]
    fn a_pipelined_commit_makes_all_before_it_uncertain() {
        let units = [query(Commands::NONE), query(Commands::PLAIN_COMMIT), query(Commands::NONE)];
        let wanted = [(Fate::Unknown, Failed), (Fate::Unknown, Idle), (Fate::Unknown, Idle)];
        assert_eq!(fates(&units, Open, false, true), wanted);
        let units = [query(Commands::NONE), query(Commands::ROLLBACK), query(Commands::PLAIN_COMMIT)];
        let wanted = [(Fate::Unknown, Failed), (Fate::Committed, Idle), (Fate::Unknown, Idle)];
        assert_eq!(fates(&units, Open, false, true), wanted);
    }

    #[test]
    fn a_bound_begin_begins_nothing() {
        let mut facts = BatchFacts::default();
        facts.add_bind(Commands::BEGIN);
        let bound = |facts| InterruptedUnit::new(UnitEnd::Sync, facts, Vec::new());
        let units = [bound(facts), query(Commands::NONE)];
        assert_eq!(fates(&units, Idle, false, true), [(Fate::RolledBack, Idle), (Fate::Unknown, Idle)]);
        // Another statement is executed, and commits with the Sync.
        facts.add_bind(Commands::NONE);
        facts.add_execute();
        assert_eq!(fates(&[bound(facts)], Idle, false, true), [(Fate::Unknown, Idle)]);
    }

    #[test]
    fn a_reported_error_is_not_repeated() {
        let failed = InterruptedUnit::new(UnitEnd::Whole, BatchFacts::default().failed(), Vec::new());
        assert!(failed.is_reported());
        assert_eq!(fates(&[failed], Open, false, true), [(Fate::RolledBack, Failed)]);
    }

    #[test]
    fn a_reported_error_leaves_the_servers_status() {
        for (has_begun, status) in [(false, Idle), (true, Failed)] {
            let failed = unit(UnitEnd::Sync, Commands::UNKNOWN);
            let failed = InterruptedUnit { facts: failed.facts.failed(), ..failed };
            assert_eq!(fates(&[failed], Idle, has_begun, true), [(Fate::RolledBack, status)]);
        }
    }

    #[test]
    fn a_copy_without_its_end_takes_nothing_in() {
        let facts = BatchFacts::whole(Commands::NONE).taking_data();
        let copy = InterruptedUnit::new(UnitEnd::Whole, facts, Vec::new());
        assert_eq!(fates(&[copy], Idle, false, true), [(Fate::RolledBack, Idle)]);
    }

    #[test]
    fn nothing_executed_took_no_effect() {
        let parse = InterruptedUnit::new(UnitEnd::Sync, BatchFacts::default(), Vec::new());
        assert_eq!(fates(&[parse], Idle, false, true), [(Fate::RolledBack, Idle)]);
    }
}
