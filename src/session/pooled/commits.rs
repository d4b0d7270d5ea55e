//! COMMIT in doubt: the id of the transaction, asked ahead of its end, and the status of the transaction, asked once the
//! backend was lost.
//!
//! Promises: an outcome is decided only by a server that has all that the lost one has flushed. Refuses to know: messages,
//! and where the next backend comes from.
//!
//! A server with the same timeline has: it is the same server, or the same storage after a crash. A promoted standby has
//! another timeline, and may lack what the lost server has committed; its ids may mean other transactions. A server that was
//! started since the loss also shows that it has the WAL of the transaction.

use std::time::Instant;

use crate::{
    client_error::ClientError,
    session::{
        commit_id::{
            CommitId, CommitOutcome, CommitStatus, ResolvedCommit, ServerIdentity, ServerSuccession,
            StatusQuery,
        },
        statement_report::StatementReport,
    },
};

/// The transaction that the client is committing.
#[derive(Default)]
pub(in crate::session) struct CommitTracker {
    id: TransactionId,
    doubt: Option<Box<CommitInDoubt>>,
    /// Decided, and not reported to the driver yet.
    resolved: Option<ResolvedCommit>,
}

/// Id of the client's transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::session) enum TransactionId {
    #[default]
    Unknown,
    /// Unknown, and the transaction changes rows.
    Wanted,
    /// The server is asked.
    Asked,
    /// The server has answered; `None` for a transaction whose outcome no server can tell.
    Known(Option<CommitId>),
}

/// A COMMIT whose backend was lost before the response.
pub(in crate::session) struct CommitInDoubt {
    id: CommitId,
    /// Server of the lost backend.
    server: ServerIdentity,
    /// Process id of the lost backend.
    backend_pid: i32,
    /// Rest of the server's response to a successful commit, without ReadyForQuery.
    success: Vec<u8>,
    /// Report of the statement, without an error.
    report: Option<StatementReport>,
    /// Error behind a successful commit, for session state that was lost.
    state_error: Option<ClientError>,
    progress: DoubtProgress,
}

/// Progress of a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DoubtProgress {
    Waiting,
    /// No backend can be leased.
    GivenUp,
    /// A server is asked again, for a transaction in progress.
    Asking {
        succession: ServerSuccession,
        queries: u8,
    },
}

/// Next step towards the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum DoubtStep {
    /// The leased backend is asked for the status of the transaction. `terminates` is the process id of the lost backend, if its
    /// transaction is still in progress for the first time.
    Ask { query: StatusQuery, terminates: Option<i32> },
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
        if self.id == TransactionId::Unknown {
            self.id = TransactionId::Wanted;
        }
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
        self.id = TransactionId::Unknown;
    }

    /// Id of the transaction, once: its backend is lost.
    pub(in crate::session) fn take_id(&mut self) -> Option<CommitId> {
        match std::mem::take(&mut self.id) {
            TransactionId::Known(id) => id,
            TransactionId::Unknown | TransactionId::Wanted | TransactionId::Asked => None,
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
            doubt.progress = DoubtProgress::GivenUp;
        }
    }

    /// Step on the leased backend, with the server in `leased`; `None` without a backend.
    pub(in crate::session) fn next_step(
        &mut self,
        leased: Option<Option<ServerIdentity>>,
    ) -> Option<DoubtStep> {
        let doubt = self.doubt.as_mut()?;
        let server = match leased {
            None if doubt.progress != DoubtProgress::GivenUp => return None,
            leased => leased.flatten(),
        };
        let succession = doubt.server.succession(server);
        if succession == ServerSuccession::Other {
            return Some(DoubtStep::Decided(CommitOutcome::Unresolved));
        }
        doubt.progress = DoubtProgress::Asking { succession, queries: 0 };
        let query = StatusQuery::new(doubt.id, succession, NO_PAUSE_SECONDS);
        Some(DoubtStep::Ask { query, terminates: None })
    }

    /// Step behind the answer to a status query; `None` for an answer that decides nothing.
    pub(in crate::session) fn on_status(&mut self, status: Option<CommitStatus>) -> Option<DoubtStep> {
        let doubt = self.doubt.as_mut()?;
        Some(match (status, doubt.progress) {
            (Some(CommitStatus::Committed), _) => DoubtStep::Decided(CommitOutcome::Committed),
            (Some(CommitStatus::Aborted), _) => DoubtStep::Decided(CommitOutcome::RolledBack),
            (Some(CommitStatus::InProgress), DoubtProgress::Asking { succession, queries })
                if queries < MAX_QUERIES =>
            {
                doubt.progress = DoubtProgress::Asking { succession, queries: queries + 1 };
                let query = StatusQuery::new(doubt.id, succession, PAUSE_SECONDS);
                DoubtStep::Ask { query, terminates: (queries == 0).then_some(doubt.backend_pid) }
            }
            _ => DoubtStep::Decided(CommitOutcome::Unresolved),
        })
    }

    /// Ends the doubt with `outcome`.
    pub(in crate::session) fn decide(&mut self, outcome: CommitOutcome) -> Option<Box<CommitInDoubt>> {
        let doubt = self.doubt.take()?;
        self.resolved = Some(ResolvedCommit { xid: doubt.id.xid(), outcome });
        Some(doubt)
    }

    /// A decided COMMIT, once.
    pub(in crate::session) fn poll_resolved(&mut self) -> Option<ResolvedCommit> {
        self.resolved.take()
    }
}

// === impl CommitInDoubt ===

impl CommitInDoubt {
    /// The transaction `id`, whose backend with the process id `backend_pid` was lost on `server`.
    pub(in crate::session) fn new(id: CommitId, server: ServerIdentity, backend_pid: i32) -> Self {
        Self {
            id,
            server,
            backend_pid,
            success: Vec::new(),
            report: None,
            state_error: None,
            progress: DoubtProgress::Waiting,
        }
    }

    /// With the rest of a successful response, and the report of the statement.
    pub(in crate::session) fn with_response(self, success: Vec<u8>, report: Option<StatementReport>) -> Self {
        Self { success, report, ..self }
    }

    /// With an error for the request behind a successful commit: session state was lost.
    pub(in crate::session) fn with_state_error(self, state_error: Option<ClientError>) -> Self {
        Self { state_error, ..self }
    }

    /// Error for the request behind the commit, if `outcome` is a successful one.
    pub(in crate::session) fn take_state_error(&mut self, outcome: CommitOutcome) -> Option<ClientError> {
        self.state_error.take().filter(|_| outcome == CommitOutcome::Committed)
    }

    /// Writes the response to the client, without ReadyForQuery. Returns the report of the statement.
    pub(in crate::session) fn write_response(
        self,
        outcome: CommitOutcome,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<StatementReport> {
        let error = match outcome {
            CommitOutcome::Committed => None,
            CommitOutcome::RolledBack => Some(ClientError::transaction_rolled_back()),
            CommitOutcome::Unresolved => Some(ClientError::transaction_unresolved(self.id.xid())),
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

    const SERVER: ServerIdentity = ServerIdentity::new(1, 100);

    fn id() -> CommitId {
        CommitId::parse("on 30 20 7").unwrap()
    }

    fn in_doubt() -> CommitTracker {
        let mut tracker = CommitTracker::default();
        tracker.begin(CommitInDoubt::new(id(), SERVER, 42));
        tracker
    }

    #[test]
    fn another_timeline_decides_nothing() {
        for server in [None, Some(ServerIdentity::new(2, 100))] {
            let step = in_doubt().next_step(Some(server));
            assert_eq!(step, Some(DoubtStep::Decided(CommitOutcome::Unresolved)));
        }
        for (started_us, succession) in [(100, ServerSuccession::Same), (200, ServerSuccession::Restarted)] {
            let query = StatusQuery::new(id(), succession, "0");
            let step = in_doubt().next_step(Some(Some(ServerIdentity::new(1, started_us))));
            assert_eq!(step, Some(DoubtStep::Ask { query, terminates: None }));
        }
    }

    #[test]
    fn a_doubt_without_a_backend_waits_or_ends() {
        let mut tracker = in_doubt();
        assert_eq!(tracker.next_step(None), None);
        tracker.give_up();
        assert_eq!(tracker.next_step(None), Some(DoubtStep::Decided(CommitOutcome::Unresolved)));
    }

    #[test]
    fn a_transaction_in_progress_is_asked_again_for_a_while() {
        let mut tracker = in_doubt();
        tracker.next_step(Some(Some(SERVER)));
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
        tracker.next_step(Some(Some(SERVER)));
        assert_eq!(
            tracker.on_status(Some(CommitStatus::Aborted)),
            Some(DoubtStep::Decided(CommitOutcome::RolledBack))
        );
        assert!(tracker.decide(CommitOutcome::RolledBack).is_some() && !tracker.is_in_doubt());
        let resolved = ResolvedCommit { xid: 7, outcome: CommitOutcome::RolledBack };
        assert_eq!((tracker.poll_resolved(), tracker.poll_resolved()), (Some(resolved), None));
    }
}
