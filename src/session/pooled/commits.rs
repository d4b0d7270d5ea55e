//! COMMIT in doubt: the id of the transaction, asked ahead of its end, and the status of the transaction, asked once the
//! backend was lost.
//!
//! Promises: an outcome is decided only by a server that has all that the lost one has flushed. Refuses to know: messages,
//! and where the next backend comes from.
//!
//! A server with the same timeline has: it is the same server, or the same storage after a crash. A promoted standby has
//! another timeline, and may lack what the lost server has committed; its ids may mean other transactions.

use crate::{
    client_error::ClientError,
    session::{
        commit_id::{CommitId, CommitOutcome, CommitStatus, ResolvedCommit},
        statement_report::StatementReport,
    },
};

/// The transaction that the client is committing.
#[derive(Default)]
pub(in crate::session) struct CommitTracker {
    id: TransactionId,
    /// A unit of the transaction changes rows.
    changes_rows: bool,
    doubt: Option<Box<CommitInDoubt>>,
    /// Decided, and not reported to the driver yet.
    resolved: Option<ResolvedCommit>,
}

/// Id of the client's transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::session) enum TransactionId {
    #[default]
    Unknown,
    /// The server is asked.
    Asked,
    /// The server has answered; `None` for a transaction that has written nothing.
    Known(Option<CommitId>),
}

/// A COMMIT whose backend was lost before the response.
pub(in crate::session) struct CommitInDoubt {
    xid: u64,
    /// Timeline of the lost backend's server.
    timeline: u32,
    /// Process id of the lost backend.
    backend_pid: i32,
    /// Rest of the server's response to a successful commit, without ReadyForQuery.
    success: Vec<u8>,
    /// Report of the statement, without an error.
    report: Option<StatementReport>,
    /// State of the session was lost that only the client can make again.
    is_state_lost: bool,
    /// No backend can be leased.
    is_given_up: bool,
    /// Count of status queries.
    queries: u8,
}

/// Next step towards the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum DoubtStep {
    /// The leased backend is asked for the status of the transaction `xid`, after a pause in seconds. `terminates` is the
    /// process id of the lost backend, if its transaction is still in progress for the first time.
    Ask { xid: u64, pause_seconds: &'static str, terminates: Option<i32> },
    /// The outcome is decided.
    Decided(CommitOutcome),
}

/// Maximum status queries for a transaction in progress: 5 s.
const MAX_QUERIES: u8 = 50;
const NO_PAUSE_SECONDS: &str = "0";
const PAUSE_SECONDS: &str = "0.1";

// === impl CommitTracker ===

impl CommitTracker {
    /// Id of the client's transaction.
    pub(in crate::session) const fn id(&self) -> TransactionId {
        self.id
    }

    /// Notes a unit that changes rows.
    pub(in crate::session) fn note_row_change(&mut self) {
        self.changes_rows = true;
    }

    /// True if the transaction changes rows, and the server was not asked for the id.
    pub(in crate::session) fn wants_id(&self) -> bool {
        self.changes_rows && self.id == TransactionId::Unknown
    }

    /// Notes that the server is asked for the id.
    pub(in crate::session) fn note_asked(&mut self) {
        self.id = TransactionId::Asked;
    }

    /// Notes the server's answer.
    pub(in crate::session) fn note_id(&mut self, id: Option<CommitId>) {
        self.id = TransactionId::Known(id);
    }

    /// Forgets the id: the transaction is over, or has failed.
    pub(in crate::session) fn forget_id(&mut self) {
        (self.id, self.changes_rows) = (TransactionId::Unknown, false);
    }

    /// Id of the transaction, once: its backend is lost.
    pub(in crate::session) fn take_id(&mut self) -> Option<CommitId> {
        match std::mem::take(&mut self.id) {
            TransactionId::Known(id) => id,
            TransactionId::Unknown | TransactionId::Asked => None,
        }
    }

    /// Notes a COMMIT in doubt.
    pub(in crate::session) fn begin(&mut self, doubt: CommitInDoubt) {
        self.doubt = Some(Box::new(doubt));
    }

    /// True if a COMMIT is in doubt.
    pub(in crate::session) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// No backend can be leased.
    pub(in crate::session) fn give_up(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.is_given_up = true;
        }
    }

    /// Step on the leased backend, whose server has the timeline in `leased`; `None` without a backend.
    pub(in crate::session) fn next_step(&mut self, leased: Option<Option<u32>>) -> Option<DoubtStep> {
        let doubt = self.doubt.as_mut()?;
        let timeline = match leased {
            None if !doubt.is_given_up => return None,
            leased => leased.flatten(),
        };
        if timeline != Some(doubt.timeline) {
            return Some(DoubtStep::Decided(CommitOutcome::Unresolved));
        }
        Some(DoubtStep::Ask { xid: doubt.xid, pause_seconds: NO_PAUSE_SECONDS, terminates: None })
    }

    /// Step behind the answer to a status query; `None` for an answer that decides nothing.
    pub(in crate::session) fn on_status(&mut self, status: Option<CommitStatus>) -> Option<DoubtStep> {
        let doubt = self.doubt.as_mut()?;
        Some(match status {
            Some(CommitStatus::Committed) => DoubtStep::Decided(CommitOutcome::Committed),
            Some(CommitStatus::Aborted) => DoubtStep::Decided(CommitOutcome::RolledBack),
            Some(CommitStatus::InProgress) if doubt.queries < MAX_QUERIES => {
                let terminates = (doubt.queries == 0).then_some(doubt.backend_pid);
                doubt.queries += 1;
                DoubtStep::Ask { xid: doubt.xid, pause_seconds: PAUSE_SECONDS, terminates }
            }
            Some(CommitStatus::InProgress) | None => DoubtStep::Decided(CommitOutcome::Unresolved),
        })
    }

    /// Ends the doubt with `outcome`.
    pub(in crate::session) fn decide(&mut self, outcome: CommitOutcome) -> Option<Box<CommitInDoubt>> {
        let doubt = self.doubt.take()?;
        self.resolved = Some(ResolvedCommit { xid: doubt.xid, outcome });
        Some(doubt)
    }

    /// A decided COMMIT, once.
    pub(in crate::session) fn poll_resolved(&mut self) -> Option<ResolvedCommit> {
        self.resolved.take()
    }
}

// === impl CommitInDoubt ===

impl CommitInDoubt {
    /// The transaction `id`, whose backend with the process id `backend_pid` was lost on a server with `timeline`. `None` if no
    /// server can tell the outcome.
    pub(in crate::session) fn new(id: CommitId, timeline: Option<u32>, backend_pid: i32) -> Option<Self> {
        let timeline = timeline.filter(|_| id.is_durable)?;
        Some(Self {
            xid: id.xid,
            timeline,
            backend_pid,
            success: Vec::new(),
            report: None,
            is_state_lost: false,
            is_given_up: false,
            queries: 0,
        })
    }

    /// With the rest of a successful response, the report of the statement, and the loss of session state.
    pub(in crate::session) fn with_response(
        self,
        success: Vec<u8>,
        report: Option<StatementReport>,
        is_state_lost: bool,
    ) -> Self {
        Self { success, report, is_state_lost, ..self }
    }

    /// True if state of the session was lost that only the client can make again.
    pub(in crate::session) const fn is_state_lost(&self) -> bool {
        self.is_state_lost
    }

    /// Writes the response to the client, without ReadyForQuery. Returns the report of the statement.
    pub(in crate::session) fn write_response(
        self,
        outcome: CommitOutcome,
        now: std::time::Instant,
        out: &mut Vec<u8>,
    ) -> Option<StatementReport> {
        let error = match outcome {
            CommitOutcome::Committed => None,
            CommitOutcome::RolledBack => Some(ClientError::transaction_rolled_back()),
            CommitOutcome::Unresolved => Some(ClientError::transaction_unresolved(self.xid)),
        };
        match &error {
            None => out.extend_from_slice(&self.success),
            Some(error) => error.write_error(out),
        }
        let sqlstate = error.map(|error| error.sqlstate);
        self.report.map(|report| StatementReport { ended: now, error: sqlstate, ..report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: CommitId = CommitId { xid: 7, is_durable: true };

    fn in_doubt() -> CommitTracker {
        let mut tracker = CommitTracker::default();
        tracker.begin(CommitInDoubt::new(ID, Some(1), 42).unwrap());
        tracker
    }

    #[test]
    fn another_timeline_decides_nothing() {
        for timeline in [None, Some(2)] {
            let step = in_doubt().next_step(Some(timeline));
            assert_eq!(step, Some(DoubtStep::Decided(CommitOutcome::Unresolved)));
        }
        let ask = DoubtStep::Ask { xid: 7, pause_seconds: "0", terminates: None };
        assert_eq!(in_doubt().next_step(Some(Some(1))), Some(ask));
    }

    #[test]
    fn a_doubt_without_a_backend_waits_or_ends() {
        let mut tracker = in_doubt();
        assert_eq!(tracker.next_step(None), None);
        tracker.give_up();
        assert_eq!(tracker.next_step(None), Some(DoubtStep::Decided(CommitOutcome::Unresolved)));
    }

    #[test]
    fn an_unflushed_commit_is_not_resolved() {
        assert!(CommitInDoubt::new(CommitId { is_durable: false, ..ID }, Some(1), 42).is_none());
        assert!(CommitInDoubt::new(ID, None, 42).is_none());
    }

    #[test]
    fn a_transaction_in_progress_is_asked_again_for_a_while() {
        let mut tracker = in_doubt();
        let mut terminated = Vec::new();
        loop {
            match tracker.on_status(Some(CommitStatus::InProgress)) {
                Some(DoubtStep::Ask { terminates, .. }) => terminated.push(terminates),
                step => break assert_eq!(step, Some(DoubtStep::Decided(CommitOutcome::Unresolved))),
            }
        }
        assert_eq!((terminated.len(), terminated[0]), (50, Some(42)));
        assert!(terminated[1..].iter().all(Option::is_none));
    }

    #[test]
    fn an_outcome_is_reported_once() {
        let mut tracker = in_doubt();
        assert_eq!(
            tracker.on_status(Some(CommitStatus::Aborted)),
            Some(DoubtStep::Decided(CommitOutcome::RolledBack))
        );
        assert!(tracker.decide(CommitOutcome::RolledBack).is_some() && !tracker.is_in_doubt());
        let resolved = ResolvedCommit { xid: 7, outcome: CommitOutcome::RolledBack };
        assert_eq!((tracker.poll_resolved(), tracker.poll_resolved()), (Some(resolved), None));
    }
}
