//! What a pooled session does with its client's messages, up to the held backend.
//!
//! A message goes on as it is wherever it can. What must be added (settings, a missing Parse, a BEGIN held back) or said
//! otherwise (the name of a prepared statement) is written to a buffer that goes to the backend in the same write.

use std::time::Instant;

use super::{
    BackendEvent, Pooled, ShapeCheck,
    client_input::ClientInput,
    client_message::ClientMessage,
    internal_error::InternalError,
    local_replies::LocalReplies,
    message_action::{MessageAction, is_end},
    partial_message::PartialMessage,
    requests::{BindMessages, CommitRequests, Prelude, PreludeOutcome, Requests, StatementMessages},
    unit_routing::{StayDecision, UnitRouting},
};
use crate::{
    client_error::ClientError,
    route::RouteReason,
    session::{consumed_input::ConsumedInput, proxy_batch::ProxyBatch},
    sql::TransactionCommands,
    wire::{
        self, FrameError, FramePiece, Header, PartialFrame, Speaker, backend, frontend, tag::frontend as f,
    },
};

/// Maximum bytes of a Query or Parse larger than any buffer and kept to be read whole. Gatekeeper holds the bytes twice
/// while the message is forwarded. A longer Query passes unread; a longer Parse pins the session to the backend.
const GATHERED_MAX: usize = 16 << 20;

/// True if the rest of a partial message is awaited before processing. `is_stuck`: the buffer has no room for more.
/// Messages with a meaning for the session are awaited as far as the buffer allows: no backend is needed until then.
const fn waits_for_rest(tag: u8, is_stuck: bool) -> bool {
    match tag {
        f::QUERY | f::PARSE | f::BIND | f::FUNCTION_CALL => !is_stuck,
        f::DESCRIBE | f::EXECUTE | f::CLOSE | f::SYNC | f::FLUSH | f::TERMINATE => true,
        _ => false,
    }
}

/// True if a partial message is collected, to be processed whole.
fn is_gathered(part: &PartialFrame, shown: &ClientInput<'_>) -> bool {
    shown.is_stuck() && matches!(part.tag(), f::QUERY | f::PARSE) && part.total() <= GATHERED_MAX
}

impl Pooled {
    /// Processes the client's next bytes, as [`crate::session::Session::on_client`].
    pub(in crate::session) fn on_client(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<ConsumedInput, FrameError> {
        if self.is_in_doubt() {
            let asked = self.resolve_commit(now);
            self.end_on(asked);
            return Ok(ConsumedInput::default());
        }
        self.replay_next(now)?;
        if self.has_more_to_say_again() {
            return Ok(ConsumedInput::default());
        }
        if self.conversation.has_received_terminate() {
            // PostgreSQL would not read input after Terminate either.
            self.forward_terminate();
            return Ok(ConsumedInput::default());
        }
        let begun = self.begin_without_statement();
        self.end_on(begun);
        let mut shown = ClientInput::read(unread, full, self.outgoing.has_backend_bytes())
            .starting_at(self.texts.position());
        self.process_client_input(now, &mut shown)?;
        self.texts.take(shown.taken());
        if shown.taken() > 0 || unread.is_empty() {
            self.backend.note_use();
        }
        if self.conversation.has_received_terminate() {
            self.forward_terminate();
        }
        Ok(shown.into_consumed())
    }

    /// Takes in as much as can be understood now.
    pub(super) fn process_client_input(
        &mut self,
        now: Instant,
        shown: &mut ClientInput<'_>,
    ) -> Result<(), FrameError> {
        let mut goes_on = true;
        while goes_on {
            goes_on = if self.request.is_gathering() {
                self.gather(now, shown)?
            } else {
                self.process_next(now, shown)?
            };
        }
        Ok(())
    }

    /// Processes the next message, or a part of it. True if there is more to do.
    fn process_next(&mut self, now: Instant, shown: &mut ClientInput<'_>) -> Result<bool, FrameError> {
        if self.conversation.is_client_at_boundary() && self.copies_in() {
            let unread = shown.unread();
            let run = wire::leading_run(Speaker::Client, f::COPY_DATA, unread).bytes;
            shown.copy_forwarded(&unread[..run], self.outgoing.backend());
            shown.take(run);
        }
        let unread = shown.unread();
        Ok(match self.conversation.next_of_client(unread)? {
            Some(piece @ FramePiece::Partial(part)) if is_gathered(&part, shown) => {
                shown.stage(self.outgoing.backend());
                let beginning = &unread[..part.here()];
                self.request.gather(PartialMessage::new(part.tag(), beginning, part.missing()));
                self.conversation.pass_client_piece(&piece);
                shown.take(beginning.len());
                true
            }
            Some(piece) => self.process_piece(now, &piece, shown),
            None => false,
        })
    }

    /// Processes a message, or a part of it. True if there is more to do.
    fn process_piece(&mut self, now: Instant, piece: &FramePiece<'_>, shown: &mut ClientInput<'_>) -> bool {
        let unread = shown.unread();
        let (bytes, tag) = match piece {
            FramePiece::Whole(frame) => (frame.as_bytes(), Some(frame.tag())),
            FramePiece::Partial(part) => (&unread[..part.here()], Some(part.tag())),
            FramePiece::Rest(here) => (&unread[..*here], None),
        };
        let action = match piece {
            FramePiece::Whole(frame) => {
                self.request(now, &ClientMessage::of(frame).at(shown.position(0)), shown)
            }
            FramePiece::Partial(part) if waits_for_rest(part.tag(), shown.is_stuck()) => MessageAction::Wait,
            FramePiece::Partial(part) => self.request_in_part(now, part, bytes, shown),
            FramePiece::Rest(_) if self.request.discards_rest() => MessageAction::Consumed,
            FramePiece::Rest(_) => MessageAction::Forward,
        };
        match action {
            MessageAction::Forward => shown.copy_forwarded(bytes, self.outgoing.backend()),
            MessageAction::Consumed | MessageAction::Refused => shown.stage(self.outgoing.backend()),
            MessageAction::Wait | MessageAction::AwaitResponses | MessageAction::Replay(_) => return false,
        }
        let is_whole = matches!(piece, FramePiece::Whole(_));
        self.note_said(tag, is_whole, bytes);
        shown.take(self.conversation.pass_client_piece(piece));
        !(self.conversation.has_received_terminate() && is_whole && tag == Some(f::TERMINATE))
    }

    /// Handles the beginning of a message that no buffer holds.
    fn request_in_part(
        &mut self,
        now: Instant,
        part: &PartialFrame,
        beginning: &[u8],
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        if part.tag() == f::COPY_DATA && self.copies_in() {
            self.request.set_discards_rest(false);
            return MessageAction::Forward;
        }
        let body = beginning.get(Header::BYTES..).unwrap_or_default();
        let action = self.request(now, &ClientMessage::beginning(part.tag(), body, part.total()), shown);
        self.request.set_discards_rest(match action {
            MessageAction::Consumed => part.tag() != f::BIND,
            MessageAction::Refused => true,
            _ => false,
        });
        action
    }

    /// Takes in more of a large message; once it is whole, it is understood. True if there is more to do.
    fn gather(&mut self, now: Instant, shown: &mut ClientInput<'_>) -> Result<bool, FrameError> {
        if let Some(gathered) = self.request.take_gathered() {
            return Ok(self.process_gathered(now, gathered, shown));
        }
        let unread = shown.unread();
        let piece = self.conversation.next_of_client(unread)?;
        if let Some(piece @ FramePiece::Rest(here)) = piece {
            self.request.gather_more(&unread[..here]);
            self.conversation.pass_client_piece(&piece);
            // These bytes are done with, whatever becomes of the message.
            shown.stage(self.outgoing.backend());
            shown.take(here);
            return Ok(true);
        }
        Ok(false)
    }

    /// Processes a large message that is whole now. True if there is more to do.
    fn process_gathered(
        &mut self,
        now: Instant,
        gathered: PartialMessage,
        shown: &mut ClientInput<'_>,
    ) -> bool {
        shown.stage(self.outgoing.backend());
        let body = gathered.bytes().get(Header::BYTES..).unwrap_or_default();
        shown.set_gathered(true);
        let message = ClientMessage::whole(gathered.tag(), body).at(shown.position(0));
        let action = self.request(now, &message, shown);
        shown.set_gathered(false);
        if action.is_wait() {
            self.request.gather(gathered);
            return false;
        }
        if matches!(action, MessageAction::Forward) {
            self.outgoing.backend().extend_from_slice(gathered.bytes());
        }
        self.note_said(Some(gathered.tag()), true, gathered.bytes());
        true
    }

    /// Forwards Terminate to the backend, if Terminate must end pending work there.
    fn forward_terminate(&mut self) {
        if self.conversation.has_forwarded_terminate() || !self.conversation.breaks_off() {
            return;
        }
        if self.backend.is_held() {
            frontend::write_terminate(self.outgoing.backend());
            self.conversation.forward_terminate();
        }
    }

    /// Whether the client's CopyData can only be for the backend.
    fn copies_in(&self) -> bool {
        (self.backend.is_held() && !self.request.is_skipping()) && !self.conversation.queue().is_settled()
    }

    // --- one message

    /// Processes a message, or its beginning.
    fn request(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        match self.decide(now, message, shown) {
            Ok(MessageAction::AwaitResponses) => self.request.await_responses(),
            Ok(MessageAction::Replay(cause)) => {
                self.repeat(RouteReason::Rerun(cause));
                self.request.await_responses();
            }
            Ok(action) => return action,
            Err(error) => self.break_off(error),
        }
        MessageAction::Wait
    }

    /// Decides what becomes of a message: who answers it, and when.
    fn decide(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> Result<MessageAction, InternalError> {
        let tag = message.tag();
        if tag == f::TERMINATE {
            self.conversation.receive_terminate();
            return Ok(MessageAction::Consumed);
        }
        if self.request.is_skipping() {
            self.skip_message(tag);
            return Ok(MessageAction::Refused);
        }
        if !self.backend.is_held() {
            return self.request_without_backend(now, message, shown);
        }
        if self.backend.awaits_response() || self.is_moving() {
            return Ok(MessageAction::Wait);
        }
        match self.statements.shape_check() {
            ShapeCheck::None => {}
            ShapeCheck::Asked => return Ok(MessageAction::AwaitResponses),
            // The Bind was accepted before.
            ShapeCheck::Answered => return Ok(BindMessages::of(self)?.bind(message, shown)),
        }
        if self.conversation.queue().is_skipping() {
            return Ok(StatementMessages::of(self)?.pass_skipped(now, tag));
        }
        if let Some(wait) = self.leaves_reader(message, shown)? {
            return Ok(wait);
        }
        if self.depends_on_responses(message) {
            return Ok(MessageAction::AwaitResponses);
        }
        let prepared = Prelude::of(self)?.prepare(message, shown);
        if !self.on_prelude(prepared)? {
            return Ok(MessageAction::Wait);
        }
        if CommitRequests::of(self)?.is_some_and(|mut commits| commits.holds_commit(message, shown)) {
            return Ok(MessageAction::AwaitResponses);
        }
        self.begin_unit(message, shown)?;
        self.process(now, message, shown)
    }

    /// Notes a message that reaches the backend now, for a split route.
    fn begin_unit(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> Result<(), InternalError> {
        if self.router.is_some() {
            Prelude::of(self)?.tell_last_route(message, shown);
        }
        if let Some(mut routing) = UnitRouting::of(self) {
            routing.begin_unit(message);
        }
        Ok(())
    }

    /// Discards a message behind an error sent by Gatekeeper. A Sync is answered, and ends the discarding.
    fn skip_message(&mut self, tag: u8) {
        if tag == f::SYNC {
            self.request.end_skip();
            backend::write_ready_for_query(self.outgoing.client(), self.conversation.status());
        }
    }

    /// Processes a message that reaches the backend now.
    fn process(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> Result<MessageAction, InternalError> {
        if message.tag() == f::BIND {
            return Ok(BindMessages::of(self)?.bind(message, shown));
        }
        let action = StatementMessages::of(self)?.process(now, message, shown);
        if self.startup.is_moving() {
            // The message waits for another backend.
            self.backend.note_use();
        }
        Ok(action)
    }

    /// Handles a message while the session holds no backend: answers the message, or asks for a backend.
    fn request_without_backend(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> Result<MessageAction, InternalError> {
        match message.tag() {
            f::SYNC if message.body().is_empty() => {
                backend::write_ready_for_query(self.outgoing.client(), self.conversation.status());
                return Ok(MessageAction::Consumed);
            }
            // PostgreSQL ignores copied data that nobody asked for, too.
            f::FLUSH | f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL => return Ok(MessageAction::Consumed),
            _ => {}
        }
        let rolls_back = self.rolls_back_failed(message);
        if let Some(client_error) = self.request.take_interruption(rolls_back) {
            if self.begin.has_failed() && self.commands_of(message) == TransactionCommands::PLAIN_COMMIT {
                // As with any COMMIT that fails, the transaction is over.
                self.conversation.end_failed_transaction();
                self.begin.end();
            }
            self.refuse(message.tag(), &client_error);
            return Ok(MessageAction::Refused);
        }
        if let Some(client_error) = self.request.take_refusal() {
            self.refuse(message.tag(), &client_error);
            return Ok(MessageAction::Refused);
        }
        let is_answered = match message.tag() {
            f::QUERY => LocalReplies::of(self).answer_query(now, message),
            f::PARSE if !message.is_cut() => LocalReplies::of(self).answer_parse(message),
            f::CLOSE => LocalReplies::of(self).answer_close(message),
            _ => false,
        };
        if is_answered { Ok(MessageAction::Consumed) } else { self.want(message, shown) }
    }

    /// True for a message that ends a failed transaction with a rollback.
    fn rolls_back_failed(&self, message: &ClientMessage<'_>) -> bool {
        self.begin.has_failed() && self.commands_of(message) == TransactionCommands::ROLLBACK
    }

    /// Commands of the message's text, or of the statement that the message binds, that begin or end a transaction.
    fn commands_of(&self, message: &ClientMessage<'_>) -> TransactionCommands {
        match message.tag() {
            f::QUERY | f::PARSE => self.texts.analyze(message, &self.database).transaction_commands,
            f::BIND if message.has_bound_names() => {
                self.statements.transaction_commands(message.bound().statement())
            }
            _ => TransactionCommands::NONE,
        }
    }

    /// The client's request finds no backend.
    fn refuse(&mut self, tag: u8, client_error: &ClientError) {
        client_error.write_error(self.outgoing.client());
        if matches!(tag, f::QUERY | f::FUNCTION_CALL) {
            backend::write_ready_for_query(self.outgoing.client(), self.conversation.status());
        } else {
            self.request.skip_to_sync();
        }
    }

    /// True if pending responses decide about the message: they may remove session state, or tell which statements
    /// exist.
    fn depends_on_responses(&self, message: &ClientMessage<'_>) -> bool {
        let queue = &self.conversation.queue();
        let tag = message.tag();
        let waits_for_reset = !is_end(tag) || (tag == f::SYNC && queue.is_leading_back());
        (queue.is_resetting() && waits_for_reset) || self.is_uncertain(message)
    }

    /// Whether what a message means depends on answers that are on their way: PostgreSQL, which does one thing after the
    /// other, knows by then which statements there are. Every answer that is waited for comes without the client's doing.
    fn is_uncertain(&self, message: &ClientMessage<'_>) -> bool {
        if self.conversation.queue().is_settled() || self.conversation.queue().copies_in().is_some() {
            return false;
        }
        let name = match message.tag() {
            f::PARSE => Some(message.parsed().0).filter(|name| !name.is_empty()),
            f::BIND => Some(message.bound().statement()),
            f::DESCRIBE | f::CLOSE => message.statement_object(),
            _ => None,
        };
        name.is_some_and(|name| self.conversation.queue().is_uncertain(name))
    }

    /// True if the next message waits for another backend, though the current backend is held.
    fn is_moving(&mut self) -> bool {
        if self.startup.is_moving() {
            // Pins found by a state check tie the session to the current backend.
            let may_move = self.cleanup.pins().is_empty() && !self.statements.is_on_backend();
            self.startup.begin_move(may_move);
        }
        self.startup.is_moving()
    }

    /// Starts a deferred BEGIN on a new backend now, regardless of the client's next message.
    fn begin_without_statement(&mut self) -> Result<(), InternalError> {
        if !self.begin.wants_backend() || !self.backend.is_held() || self.backend.awaits_response() {
            return Ok(());
        }
        if self.begin.exists() {
            let begun = Prelude::of(self)?.begin_work(f::QUERY, &mut ClientInput::none());
            self.on_prelude(begun)?;
        } else {
            // The client has ended the transaction in the meantime.
            self.begin.forget_wish();
        }
        Ok(())
    }

    /// Notes what was sent ahead of a message. False if the message must wait for a response.
    fn on_prelude(&mut self, outcome: PreludeOutcome) -> Result<bool, InternalError> {
        let waits = outcome == PreludeOutcome::Confirming;
        if waits {
            self.backend.on(BackendEvent::SettingsSent)?;
        }
        Ok(!waits)
    }

    // --- a split route

    /// The client's message needs a backend, and there is none: asks for one, once it is known which.
    fn want(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &ClientInput<'_>,
    ) -> Result<MessageAction, InternalError> {
        let is_known = UnitRouting::of(self).is_none_or(|mut routing| routing.want(message, shown));
        if self.begin.wants_backend() {
            self.begin.wait_for_statement();
        }
        if is_known {
            self.backend.on(BackendEvent::Needed)?;
        }
        Ok(MessageAction::Wait)
    }

    /// Gives up a read pool's backend that may not serve the client's message. Returns the wait for another backend, or for
    /// what decides; `None` if the message may be sent to the held backend.
    fn leaves_reader(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &ClientInput<'_>,
    ) -> Result<Option<MessageAction>, InternalError> {
        let (is_leaving, has_pins) = (self.backend.is_leaving(), !self.cleanup.pins().is_empty());
        let decision = match UnitRouting::of(self) {
            None => StayDecision::Stay,
            Some(_) if is_leaving => StayDecision::AwaitInput,
            Some(mut routing) => routing.stay(message, shown, has_pins),
        };
        match decision {
            StayDecision::Stay => return Ok(None),
            StayDecision::AwaitInput => {}
            StayDecision::AwaitResponses => return Ok(Some(MessageAction::AwaitResponses)),
            StayDecision::Leave => self.leave_reader()?,
            StayDecision::Move => {
                self.leave_reader()?;
                Requests::of(self)?.send_query(b"ROLLBACK", ProxyBatch::Aside);
            }
        }
        Ok(Some(MessageAction::Wait))
    }

    /// Gives up a read pool's backend on which nothing of the client's is under way; a batch that has only prepared
    /// statements goes on elsewhere.
    fn leave_reader(&mut self) -> Result<(), InternalError> {
        let open = self.conversation.leave_batch();
        if let Some(held) = self.backend.held_mut() {
            held.replay_buffer_mut().forget();
        }
        self.backend.on(BackendEvent::GivenUp)?;
        if open {
            Requests::of(self)?.sync_aside();
        }
        Ok(())
    }

    /// Keeps client messages for a possible replay: a message with `tag`, `is_whole` or only the beginning. Continuations
    /// have no tag.
    fn note_said(&mut self, tag: Option<u8>, is_whole: bool, bytes: &[u8]) {
        let held = self.backend.held_mut().filter(|_| self.router.is_some());
        if let Some(held) = held.filter(|held| held.replay_buffer().is_open()) {
            let buffer = held.replay_buffer_mut();
            buffer.say(bytes);
            if matches!(tag, Some(f::QUERY | f::SYNC | f::FUNCTION_CALL)) {
                buffer.end(is_whole);
            }
        }
    }
}
