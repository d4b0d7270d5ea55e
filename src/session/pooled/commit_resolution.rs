//! Outcome of a COMMIT whose backend was lost: begins with the loss, and ends with the response to the client.
//!
//! Promises: the client gets one response, and success only for a transaction that took effect. Refuses to know: how the
//! server is asked.

use std::time::Instant;

use super::{
    Pooled,
    cleanup::Cleanup,
    commits::{CommitInDoubt, CommitTracker},
    interrupted_units::InterruptedUnit,
    outgoing::Outgoing,
    request_state::RequestState,
};
use crate::{
    client_error::ClientError,
    session::{Fate, commit_id::CommitOutcome, conversation::Conversation},
    wire::{TransactionStatus, backend},
};

/// The parts of a session that a COMMIT in doubt changes.
pub(super) struct CommitResolution<'a> {
    commits: &'a mut CommitTracker,
    conversation: &'a mut Conversation,
    cleanup: &'a mut Cleanup,
    request: &'a mut RequestState,
    outgoing: &'a mut Outgoing,
    fate: &'a mut Option<Fate>,
    /// Timeline of the held backend's server.
    timeline: Option<u32>,
    backend_pid: i32,
}

// === impl CommitResolution ===

impl<'a> CommitResolution<'a> {
    /// Resolution for `session`; `None` if the session resolves no commits.
    pub(super) fn of(session: &'a mut Pooled) -> Option<Self> {
        Some(Self {
            commits: session.commits.as_deref_mut()?,
            conversation: &mut session.conversation,
            cleanup: &mut session.cleanup,
            request: &mut session.request,
            outgoing: &mut session.outgoing,
            fate: &mut session.fate,
            timeline: session.backend.held().and_then(|held| held.timeline()),
            backend_pid: session.process_ids.backend_pid,
        })
    }

    /// The held backend is lost at `now`, with `units` of the client without a complete response. True if a COMMIT is in doubt
    /// whose outcome a server can tell.
    pub(super) fn begin(&mut self, now: Instant, units: &[InterruptedUnit]) -> bool {
        if self.commits.is_in_doubt() {
            // The lost backend was asked for the outcome.
            return true;
        }
        let id = self.commits.take_id();
        let doubt = id.and_then(|id| CommitInDoubt::new(id, self.timeline, self.backend_pid));
        let ([unit], Some(doubt)) = (units, doubt) else { return false };
        if !unit.only_commits(self.conversation.status()) || !self.conversation.is_client_at_boundary() {
            return false;
        }
        let mut success = Vec::new();
        unit.write_success("COMMIT", &mut success);
        let report = self.conversation.report_interrupted(now, unit.requests(), None);
        let is_state_lost = self.cleanup.on_backend_lost();
        self.commits.begin(doubt.with_response(success, report, is_state_lost));
        true
    }

    /// Answers the COMMIT at `now`.
    pub(super) fn answer(&mut self, now: Instant, outcome: CommitOutcome) {
        let Some(doubt) = self.commits.decide(outcome) else { return };
        if doubt.is_state_lost() && outcome == CommitOutcome::Committed {
            self.request.report_interruption(ClientError::session_state_lost());
        }
        let report = doubt.write_response(outcome, now, self.outgoing.client());
        backend::write_ready_for_query(self.outgoing.client(), TransactionStatus::Idle);
        self.conversation.end_resolved(report);
        *self.fate = Some(match outcome {
            CommitOutcome::Committed => Fate::Committed,
            CommitOutcome::RolledBack => Fate::RolledBack,
            CommitOutcome::Unresolved => Fate::Unknown,
        });
    }
}
