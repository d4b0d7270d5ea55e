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
    session::{
        Fate,
        commit_id::{CommitOutcome, ServerIdentity},
        conversation::Conversation,
    },
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
    /// Server of the held backend.
    server: Option<ServerIdentity>,
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
            server: session.backend.held().and_then(|held| held.server()),
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
        let (id, status) = (self.commits.take_id(), self.conversation.status());
        let is_at_boundary = self.conversation.is_client_at_boundary();
        match (units, id, self.server) {
            ([unit], Some(id), Some(server)) if unit.only_commits(status) && is_at_boundary => {
                let mut success = Vec::new();
                unit.write_success("COMMIT", &mut success);
                let report = self.conversation.report_interrupted(now, unit.requests(), None);
                // Side effects of the transaction itself are lost, too, if it has committed.
                let has_left_nothing = self.cleanup.has_left_nothing();
                let is_state_lost = self.cleanup.on_backend_lost() || !has_left_nothing;
                let state_error = is_state_lost.then(ClientError::session_state_lost);
                let doubt = CommitInDoubt::new(id, server, self.backend_pid);
                self.commits.begin(doubt.with_response(success, report).with_state_error(state_error));
                true
            }
            _ => false,
        }
    }

    /// Answers the COMMIT at `now`.
    pub(super) fn answer(&mut self, now: Instant, outcome: CommitOutcome) {
        if let Some(mut doubt) = self.commits.decide(outcome) {
            if let Some(error) = doubt.take_state_error(outcome) {
                self.request.report_interruption(error);
            }
            let report = doubt.write_response(outcome, now, self.outgoing.client());
            backend::write_ready_for_query(self.outgoing.client(), TransactionStatus::Idle);
            self.conversation.end_resolved(report);
        }
        *self.fate = Some(match outcome {
            CommitOutcome::Committed => Fate::Committed,
            CommitOutcome::RolledBack => Fate::RolledBack,
            CommitOutcome::Unresolved => Fate::Unknown,
        });
    }
}
