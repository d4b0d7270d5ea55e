//! Routing of the client's next messages on a split route.
//!
//! Promises: a read pool gets a unit only if the unit is proved to read, or can be replayed on the writer. Refuses to know:
//! endpoints, and how a backend is given up.

use super::{
    BackendLossPolicy, Pooled,
    client_input::{ClientInput, NextPortalUse},
    client_message::ClientMessage,
    deferred_begin::DeferredBegin,
    unit_classifier::{Foreseen, MAY_WRITE, UnitClassifier},
};
use crate::{
    route::{RouteNeed, RouteSide},
    session::{
        conversation::Conversation,
        setting_values::SettingValues,
        split::{BeginScript, Opening, PortalUse, ReplayBuffer, Router, UnitProof},
        tracked_backend_state::TrackedBackendState,
    },
    sql::{
        self, Analysis, ClassifyReason, Effects, SessionStatement, StatementAccess, TransactionControl,
        TransactionModes,
    },
    wire::{TransactionStatus, tag::frontend as f},
};

/// Routing of the client's next messages.
pub(super) struct UnitRouting<'a> {
    router: &'a mut Router,
    texts: UnitClassifier<'a>,
    begin: &'a mut DeferredBegin,
    settings: &'a SettingValues,
    conversation: &'a Conversation,
    /// Messages kept for a replay; `None` without a backend.
    attempt: Option<&'a mut ReplayBuffer>,
    /// Nothing of the session but its transaction ties it to the backend.
    is_free: bool,
    /// Reads on the writer are kept for a replay.
    keeps_writer_reads: bool,
}

/// Decision about the held backend, for the client's next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StayDecision {
    /// The message may be sent there.
    Stay,
    /// More of the unit is awaited.
    AwaitInput,
    /// Pending responses decide.
    AwaitResponses,
    /// Another backend must serve the unit.
    Leave,
    /// The writer must serve the unit, and commands recreate the transaction there.
    Move,
}

// === impl UnitRouting ===

impl<'a> UnitRouting<'a> {
    /// Routing for `session`; `None` without a split route.
    pub(super) fn of(session: &'a mut Pooled) -> Option<Self> {
        let router = session.router.as_deref_mut()?;
        let is_free = session.cleanup.is_clean() && !session.statements.is_on_backend();
        let keeps_writer_reads = is_free && session.on_backend_loss != BackendLossPolicy::Disconnect;
        Some(Self {
            texts: UnitClassifier::new(&session.database, &session.statements, &session.texts),
            router,
            begin: &mut session.begin,
            settings: session.settings.values(),
            conversation: &session.conversation,
            attempt: session.backend.held_mut().map(TrackedBackendState::replay_buffer_mut),
            is_free,
            keeps_writer_reads,
        })
    }

    /// Notes which backend the client's message needs; false until more of the unit is here.
    pub(super) fn want(&mut self, message: &ClientMessage<'_>, shown: &ClientInput<'_>) -> bool {
        let need = self.need_of(message, shown);
        if let Some((need, count, proof)) = need {
            self.router.want_unit(need, count, proof);
        }
        need.is_some()
    }

    /// Decides whether the client's message may be sent to the held backend. `has_pins`: the session is tied to it.
    pub(super) fn stay(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &ClientInput<'_>,
        has_pins: bool,
    ) -> StayDecision {
        let (queue, in_batch) = (self.conversation.queue(), self.conversation.is_in_batch());
        let keeps_portal = self.attempt.as_ref().is_some_and(|attempt| attempt.keeps_portal());
        if !self.router.is_on_reader()
            || self.router.lookahead().is_classified()
            || matches!(message.tag(), f::SYNC | f::FLUSH)
            // The server skips the message here; another server would execute the message.
            || queue.is_skipping()
            // The bound portal exists only on the current backend.
            || (in_batch && keeps_portal)
        {
            return StayDecision::Stay;
        }
        let is_settled = queue.is_settled();
        if self.router.lookahead().is_txn_state_unknown() && !is_settled && !in_batch {
            // In which state of its transaction the session will be only the answers tell.
            return StayDecision::AwaitResponses;
        }
        if self.conversation.status() != TransactionStatus::Idle || has_pins {
            // The transaction began READ ONLY, and ends on the same backend, unless the transaction turns to something
            // else.
            return self.moves_transaction(message, shown);
        }
        match self.need_of(message, shown) {
            None => StayDecision::AwaitInput,
            Some((need, count, proof)) if need.side == RouteSide::Reader => {
                self.router.lookahead_mut().classify(count, (!in_batch).then_some(proof));
                StayDecision::Stay
            }
            Some(_) if is_settled => StayDecision::Leave,
            Some(_) => StayDecision::AwaitResponses,
        }
    }

    /// Need of the unit that comes, its count of messages, and its proof. `None` until more is here.
    fn need_of(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &ClientInput<'_>,
    ) -> Option<(RouteNeed, usize, UnitProof)> {
        let situation = self.router.situation(self.begin.modes(), self.settings);
        let (mut unit, count) =
            match self.texts.foresee(message, self.conversation.is_in_batch(), shown, &situation) {
                Foreseen::Unit(unit, count) => (unit, count),
                Foreseen::More(mut unit, count) => {
                    unit.unfinished = self.router.lookahead().has_timed_out() || shown.is_stuck();
                    if !unit.unfinished && unit.need(&situation).side == RouteSide::Reader {
                        self.router.lookahead_mut().wait();
                        return None;
                    }
                    (unit, count)
                }
            };
        self.router.lookahead_mut().end_wait();
        if self.begin.has_failed() {
            unit.unfinished = true;
        }
        let need = self.router.replay().route(unit.need(&situation));
        Some((need, count, UnitProof::of(&unit)))
    }

    // --- a transaction on a read pool

    /// Handles a message within a READ ONLY transaction on a read pool. Releases the read pool's backend if the writer
    /// must serve the message, and commands alone recreate the transaction on the writer.
    ///
    /// Commands suffice while the transaction has only savepoints, local settings, and reads with a snapshot per
    /// statement. Commands also suffice if the message ends the transaction before more statements
    /// (`COMMIT; INSERT …`).
    fn moves_transaction(&mut self, message: &ClientMessage<'_>, shown: &ClientInput<'_>) -> StayDecision {
        if self.conversation.is_in_batch() || !self.is_free || !self.conversation.queue().is_settled() {
            return StayDecision::Stay;
        }
        let movable = self.movable_opening(message, shown);
        let has_read = movable.as_ref().is_none_or(|(has_read, _)| *has_read);
        let (begun, has_failed) = match (movable, self.conversation.status()) {
            (_, TransactionStatus::Idle) => return StayDecision::Stay,
            (Some((_, begun)), TransactionStatus::Open) => (begun, false),
            (_, status) if self.texts.ends_transaction_first(message) => {
                let mut begun = BeginScript::default();
                begun.say(b"BEGIN READ ONLY", TransactionModes { read_only: Some(true), serializable: None });
                (begun, status == TransactionStatus::Failed)
            }
            _ => return StayDecision::Stay,
        };
        let situation = self.router.situation(Some(begun.modes()), self.settings);
        let is_late = self.router.lookahead().has_timed_out() || shown.is_stuck();
        let foreseen = self.texts.foresee(message, self.conversation.is_in_batch(), shown, &situation);
        let waits =
            matches!(&foreseen, Foreseen::More(unit, _) if unit.need(&situation).side == RouteSide::Reader);
        if waits && !is_late {
            // The batch may end the transaction, and continue with something else.
            self.router.lookahead_mut().wait();
            return StayDecision::AwaitInput;
        }
        self.router.lookahead_mut().end_wait();
        let (Foreseen::Unit(mut unit, _) | Foreseen::More(mut unit, _)) = foreseen;
        unit.unfinished |= waits;
        let may_turn = !has_read
            || unit.unfinished
            || (unit.ends && unit.begins == Some(MAY_WRITE))
            || unit.needs_writer_to_read()
            || self.texts.ends_transaction(message);
        if !may_turn || unit.need(&situation).side == RouteSide::Reader {
            return StayDecision::Stay;
        }
        self.begin.move_with(begun, has_failed);
        StayDecision::Move
    }

    /// Commands that recreate the transaction elsewhere, ahead of `message`, and whether the transaction has read.
    fn movable_opening(
        &self,
        message: &ClientMessage<'_>,
        shown: &ClientInput<'_>,
    ) -> Option<(bool, BeginScript)> {
        let opening = self.router.opening()?;
        let next_use = shown.next_portal_use(message.tag());
        let is_free = match opening.portal() {
            // The server must say that a finished portal cannot be executed again.
            PortalUse::Over => next_use != NextPortalUse::Uses,
            // Effects of the bound portal were noted.
            PortalUse::Bound => false,
            PortalUse::Begun => next_use == NextPortalUse::Replaces,
        };
        is_free.then_some(())?;
        Some((opening.has_read(), opening.commands()?))
    }

    // --- notes of messages about to be sent

    /// Notes that a message is about to be sent on.
    pub(super) fn begin_unit(&mut self, message: &ClientMessage<'_>) {
        self.router.note_sent();
        if !self.router.is_on_reader() {
            return self.note_on_writer(message);
        }
        let status = self.conversation.status();
        if !self.conversation.is_in_batch() {
            self.begin_read_unit(message, status);
        }
        self.router.lookahead_mut().on_sent();
        if self.router.lookahead().is_txn_state_unknown() {
            self.note_opening(message, status);
        }
    }

    /// Notes a message about to be sent to the writer. The unit is kept for a replay while each statement is proved to read.
    fn note_on_writer(&mut self, message: &ClientMessage<'_>) {
        let executed =
            self.router.only_reads_on_writer().then(|| self.texts.executed_unit(message)).flatten();
        if executed.is_some_and(|unit| unit.access != StatementAccess::Read) {
            self.router.note_write();
        }
        let is_read = executed.is_none_or(|unit| UnitProof::of(&unit) == UnitProof::Read);
        if !self.conversation.is_in_batch() && message.tag() != f::FLUSH {
            self.begin_writer_unit(message, is_read);
        }
        if let Some(attempt) = &mut self.attempt {
            if !is_read {
                attempt.spoil();
            }
            if !attempt.keeps_unit() {
                self.router.replay_mut().on_answered();
            }
        }
    }

    /// Begins a unit on the writer; `is_read`: the first message executes nothing that is not proved to read.
    fn begin_writer_unit(&mut self, message: &ClientMessage<'_>, is_read: bool) {
        let foreseen = self.router.lookahead_mut().take_unit();
        // BEGIN precedes the unit, and may not be answered yet.
        let is_behind_begin = self.begin.take_sent().is_some();
        let is_proved = is_read
            && self.may_keep_writer_unit(is_behind_begin)
            && match foreseen {
                Some(proof) => proof == UnitProof::Read,
                None if message.tag() != f::PARSE => true,
                None => UnitProof::of(&self.texts.parsed_unit(message)) == UnitProof::Read,
            };
        let statements_started = self.conversation.statements_started();
        match &mut self.attempt {
            // The message was held back.
            Some(attempt) if attempt.is_open() => {}
            Some(attempt) if is_proved => attempt.begin(statements_started, true, None),
            Some(attempt) if !attempt.is_empty() => attempt.begin_unrepeatable(statements_started),
            _ => {}
        }
    }

    /// True if a read on the writer may be kept: the read begins outside of a transaction, and each unit ahead without a
    /// response is proved to read, too.
    fn may_keep_writer_unit(&self, is_behind_begin: bool) -> bool {
        let is_outside = match &self.attempt {
            Some(attempt) if !attempt.is_empty() => attempt.ends_with_read(),
            _ => {
                self.keeps_writer_reads
                    && !is_behind_begin
                    && self.conversation.status() == TransactionStatus::Idle
                    && self.conversation.queue().owes_client_nothing()
            }
        };
        is_outside && self.router.only_reads_on_writer() && self.router.replay().is_permitted()
    }

    /// Keeps a unit for a possible replay, from its first message on.
    fn begin_read_unit(&mut self, message: &ClientMessage<'_>, status: TransactionStatus) {
        if message.tag() == f::FLUSH {
            return;
        }
        let statements_started = self.conversation.statements_started();
        let mut begin = |is_proved, before| {
            if let Some(attempt) = &mut self.attempt {
                attempt.begin(statements_started, is_proved, before);
            }
        };
        if message.tag() == f::SYNC {
            if status == TransactionStatus::Idle {
                // Outside a batch the Sync is a separate unit: the ReadyForQuery does not end later messages.
                begin(true, None);
            }
            return;
        }
        // The session said BEGIN a moment ago, for a client that had its answer before.
        let before = self.begin.take_sent();
        let outside = status == TransactionStatus::Idle || before.is_some();
        let lookahead = self.router.lookahead_mut();
        let proof = lookahead.take_unit();
        if before.is_some() || !outside || proof != Some(UnitProof::Read) {
            lookahead.note_txn_state_unknown();
        }
        if let Some(proof) = proof.filter(|_| outside) {
            begin(proof != UnitProof::None, before);
        }
    }

    /// Notes the beginning of a transaction, while the transaction can still move. Called before a message of the
    /// transaction is sent to a read pool; `status` is the client's transaction status.
    fn note_opening(&mut self, message: &ClientMessage<'_>, status: TransactionStatus) {
        // Deferred commands precede the unit.
        let before = self.attempt.as_ref().and_then(|attempt| attempt.before());
        let keeps_portal = self.attempt.as_ref().is_some_and(|attempt| attempt.keeps_portal());
        let is_first = (status == TransactionStatus::Idle || before.is_some()) && !keeps_portal;
        if !is_first && self.router.opening().is_none() {
            return;
        }
        if message.tag() == f::EXECUTE {
            return self.router.note_execute(message.executed().1 == 0);
        }
        let begun = before.filter(|_| is_first).map(|begun| Opening::new(begun.clone()));
        let (statement, portal) = match message.tag() {
            f::QUERY => (Some((self.texts.analyze(message), message.text())), Some(PortalUse::Over)),
            f::BIND => (self.texts.analyze_prepared(message.bound().statement()), Some(PortalUse::Bound)),
            f::FUNCTION_CALL => (None, None),
            _ => {
                // A client preparing only a statement, up to a Sync, has not continued yet.
                if begun.is_some() {
                    self.router.note_opening(begun);
                }
                return;
            }
        };
        let so_far = if is_first { begun } else { self.router.opening().cloned() };
        let so_far = so_far.map(Opening::goes_on);
        let mut next = match statement {
            Some((analysis, text)) => self.next_opening(so_far, &analysis, text, is_first),
            None => so_far.map(|opening| opening.reads().stays()),
        };
        // A Query ends the unnamed portal.
        if let Some(portal) = portal {
            next = next.map(|opening| opening.with_portal(portal));
        }
        // A portal with a name may be used until the transaction ends.
        let is_named = message.tag() == f::BIND && !message.bound().portal().is_empty();
        self.router.note_opening(if is_named { next.map(Opening::stays) } else { next });
    }

    /// Opening of the transaction on a read pool after `text`, about to be sent there behind the opening `so_far`.
    /// `is_first`: no statement of the transaction was sent before.
    fn next_opening(
        &self,
        so_far: Option<Opening>,
        analysis: &Analysis,
        text: &[u8],
        is_first: bool,
    ) -> Option<Opening> {
        let classification = analysis.classification?;
        match (classification.control, so_far) {
            (TransactionControl::Begin(modes), None) if is_first => {
                let mut begun = BeginScript::default();
                begun.say(text, modes).then(|| Opening::new(begun))
            }
            (TransactionControl::SetTransaction(modes), Some(opening))
                if modes != TransactionModes::default() =>
            {
                opening.set_modes(text, modes)
            }
            (TransactionControl::Savepoint, Some(opening)) => Some(opening.does(text)),
            (
                TransactionControl::Commit { chain: true } | TransactionControl::Rollback { chain: true },
                Some(opening),
            ) => Some(opening.chains()),
            (TransactionControl::None, Some(opening)) => {
                Some(self.with_statement(opening, analysis.effects, text, classification.reason))
            }
            // The server rejects the text as well.
            (TransactionControl::Mixed, Some(opening))
                if classification.reason == ClassifyReason::Unparsable =>
            {
                Some(opening.stays())
            }
            _ => None,
        }
    }

    /// Notes a text without transaction control, about to be sent to a read pool in the transaction of `opening`.
    fn with_statement(
        &self,
        opening: Opening,
        effects: Effects,
        text: &[u8],
        reason: ClassifyReason,
    ) -> Opening {
        if !effects.is_empty() {
            return opening.stays();
        }
        match (reason, sql::session_statement(text)) {
            (_, SessionStatement::SetLocal) => opening.does(text),
            (_, SessionStatement::Show) => opening,
            (ClassifyReason::Read, _) => {
                let level = self.settings.get(b"default_transaction_isolation");
                let moves_on =
                    level.is_none_or(|level| level == b"read committed") && !opening.keeps_snapshot();
                if moves_on { opening.reads() } else { opening.reads().stays() }
            }
            _ => opening.reads().stays(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        names::EndpointName,
        route::RouteReason,
        session::{
            pooled::tests::{session, split_session},
            split::{AssignedBackend, FreshnessCheck},
        },
        wire,
    };

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        wire::write_frame(&mut message, tag, |out| out.extend_from_slice(body));
        message
    }

    /// RouteSide that the first of `messages` needs; `None` while more is awaited.
    fn side(session: &mut Pooled, messages: &[(u8, &[u8])]) -> Option<RouteSide> {
        let bytes: Vec<u8> = messages.iter().flat_map(|(tag, body)| message(*tag, body)).collect();
        let first = ClientMessage::whole(messages[0].0, messages[0].1);
        let mut routing = UnitRouting::of(session).unwrap();
        routing.want(&first, &ClientInput::read(&bytes, false, false)).then_some(routing.router.need().side)
    }

    #[test]
    fn a_route_that_is_not_split_has_no_routing() {
        assert!(UnitRouting::of(&mut session()).is_none());
    }

    #[test]
    fn only_a_read_goes_to_a_read_pool() {
        for (text, expected) in [
            (&b"SELECT 1\0"[..], RouteSide::Reader),
            (b"DELETE FROM t\0", RouteSide::Writer),
            (b"SELEC\0", RouteSide::Writer),
        ] {
            assert_eq!(side(&mut split_session(), &[(f::QUERY, text)]), Some(expected));
        }
    }

    #[test]
    fn a_batch_is_routed_with_its_end() {
        let mut session = split_session();
        let parse: (u8, &[u8]) = (f::PARSE, b"\0SELECT 1\0\0\0");
        assert_eq!(side(&mut session, &[parse]), None);
        let write: (u8, &[u8]) = (f::PARSE, b"\0DELETE FROM t\0\0\0");
        assert_eq!(side(&mut session, &[parse, write]), Some(RouteSide::Writer), "whatever follows");
        assert_eq!(side(&mut session, &[parse, (f::SYNC, b"")]), Some(RouteSide::Reader));
        session.on_batch_timeout();
        assert_eq!(side(&mut session, &[parse]), Some(RouteSide::Writer), "the end did not come in time");
    }

    #[test]
    fn a_writer_serves_what_follows() {
        let mut session = split_session();
        let read = ClientMessage::whole(f::QUERY, b"SELECT 1\0");
        let bytes = message(f::QUERY, b"SELECT 1\0");
        let mut routing = UnitRouting::of(&mut session).unwrap();
        let shown = ClientInput::read(&bytes, false, false);
        assert_eq!(routing.stay(&read, &shown, false), StayDecision::Stay);
        let endpoint = EndpointName::new("reads").unwrap();
        let (side, reason) = (RouteSide::Reader, RouteReason::ReadOnly);
        let freshness = FreshnessCheck::Enough;
        routing.router.on_assigned(AssignedBackend { side, reason, endpoint: &endpoint, freshness });
        assert_eq!(routing.stay(&read, &shown, false), StayDecision::Stay);
        let bytes = message(f::QUERY, b"DELETE FROM t\0");
        let write = ClientMessage::whole(f::QUERY, b"DELETE FROM t\0");
        routing.router.lookahead_mut().on_sent();
        let shown = ClientInput::read(&bytes, false, false);
        assert_eq!(routing.stay(&write, &shown, false), StayDecision::Leave);
    }
}
