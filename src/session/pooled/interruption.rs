//! Loss of a backend: the error for each unit of the client, and whether the session continues.
//!
//! Promises: a session without pins continues, and each unit of the client is answered once. Refuses to know: why the
//! backend was lost, and where the next one comes from.

use std::time::Instant;

use super::{
    Pooled,
    cleanup::Cleanup,
    deferred_begin::DeferredBegin,
    interrupted_units::{InterruptedUnit, UnitFate, fates},
    outgoing::Outgoing,
    request_state::RequestState,
};
use crate::{
    client_error::ClientError,
    session::{
        Fate,
        conversation::Conversation,
        pin::{Pin, Pins},
        split::BeginScript,
    },
    wire::{SqlState, TransactionStatus},
};

/// Pins whose state the client cannot do without: their loss ends the session.
const ESSENTIAL: Pins = Pins::NONE
    .with(Pin::Listen)
    .with(Pin::TemporaryObject)
    .with(Pin::AdvisoryLock)
    .with(Pin::SqlPrepared)
    .with(Pin::HoldCursor)
    .with(Pin::Load)
    .with(Pin::Unproved);

/// The parts of a session that a lost backend changes.
pub(super) struct Interruption<'a> {
    conversation: &'a mut Conversation,
    cleanup: &'a mut Cleanup,
    begin: &'a mut DeferredBegin,
    request: &'a mut RequestState,
    outgoing: &'a mut Outgoing,
    /// The first unit has begun a transaction.
    has_begun: bool,
}

/// True for an error by which a server ends all its connections: the client gets the fate of its transaction instead.
///
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) fn is_shutdown(state: SqlState) -> bool {
    [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(&state)
}

/// True if the loss of `pins` ends the session.
pub(super) fn ends_session(pins: Pins) -> bool {
    pins.minus(ESSENTIAL) != pins
}

// === impl Interruption ===

impl<'a> Interruption<'a> {
    /// The interruption of `session`.
    pub(super) fn of(session: &'a mut Pooled) -> Self {
        Self {
            conversation: &mut session.conversation,
            cleanup: &mut session.cleanup,
            begin: &mut session.begin,
            request: &mut session.request,
            outgoing: &mut session.outgoing,
            has_begun: session.batch.has_begun(),
        }
    }

    /// Answers the `units` of the client without a complete response; `may_have_written`: the transaction, or a unit, may
    /// write. Returns the fate of the transaction; `None` if there is none.
    pub(super) fn answer(
        mut self,
        now: Instant,
        units: &[InterruptedUnit],
        may_have_written: bool,
    ) -> Option<Fate> {
        let before = self.conversation.status();
        let is_state_lost = self.cleanup.on_backend_lost();
        let fates = fates(units, before, self.has_begun, may_have_written);
        for (unit, fate) in units.iter().zip(&fates) {
            self.answer_unit(now, unit, *fate);
        }
        if !self.conversation.is_client_at_boundary() && !self.request.is_gathering() {
            self.request.set_discards_rest(true);
        }
        if units.is_empty() && before == TransactionStatus::Open && !self.begin.is_pending() {
            self.request.report_interruption(ClientError::transaction_rolled_back());
            self.conversation.fail_transaction();
        }
        if is_state_lost {
            self.request.report_lost_state();
        }
        if self.conversation.status() == TransactionStatus::Failed {
            // The next backend opens the failed transaction again.
            self.begin.move_with(BeginScript::plain(), true);
        }
        match fates.iter().find(|(fate, _)| *fate == Fate::Unknown).or(fates.first()) {
            Some((fate, _)) => Some(*fate),
            None => (before == TransactionStatus::Open).then_some(Fate::RolledBack),
        }
    }

    fn answer_unit(&mut self, now: Instant, unit: &InterruptedUnit, (fate, status): UnitFate) {
        let to_client = self.outgoing.client();
        if fate == Fate::Committed {
            unit.write_success(unit.end_command(self.conversation.status()), to_client);
        } else {
            let error = match fate {
                Fate::Unknown => ClientError::transaction_unknown(),
                Fate::ReadInterrupted => ClientError::read_interrupted(),
                _ => ClientError::transaction_rolled_back(),
            };
            if !unit.is_reported() {
                error.write_error(to_client);
            }
            if unit.is_open() {
                self.conversation.leave_batch();
                self.request.skip_to_sync();
            }
        }
        unit.write_end(status, self.outgoing.client());
        self.conversation.on_interrupted(now, unit.requests(), fate.sqlstate(), status);
    }
}
