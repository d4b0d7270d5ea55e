//! What a session that shares backends does with its client's messages.
//!
//! A message goes on as it is wherever it can. What must be added (settings, a missing Parse, a BEGIN held back) or said
//! otherwise (the name of a prepared statement) is written to a buffer that goes to the backend in the same write.

use std::time::Instant;

use super::messages::object;
use crate::session::{
    conversation::until_nul,
    pin::Pin,
    pooled::{PartialMessage, Pooled, ShapeCheck},
    refusal::Refusal,
    report::StatementKind,
    response_queue::PendingRequest,
    take::Take,
};
use crate::{
    sql::{self, Effects},
    wire::{self, FrameError, FramePiece, Header, Speaker, backend, frontend, tag::frontend as f},
};

/// Treatment of a client message.
pub(super) enum MessageAction {
    /// The message is forwarded unchanged.
    Forward,
    /// Gatekeeper has answered or rewritten the message.
    Consumed,
    /// Rejected by Gatekeeper: no part of the message is forwarded.
    Refused,
    /// The message is processed later.
    Wait,
}

/// Client bytes of one call. The bytes go to the backend in place, or, from the first addition on, through Gatekeeper's
/// own buffer.
pub(super) struct ClientInput<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) staged: bool,
    /// The driver has no room for more bytes before some of these are consumed.
    pub(super) full: bool,
    /// The message was larger than any buffer, and is complete; the next messages are unknown.
    pub(super) gathered: bool,
}

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

/// True for messages that begin no work.
const fn is_end(tag: u8) -> bool {
    matches!(tag, f::SYNC | f::FLUSH | f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL)
}

impl Pooled {
    /// Processes the client's next bytes, as [`crate::session::Session::on_client`].
    pub(in crate::session) fn on_client(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<Take, FrameError> {
        self.replay_next(now)?;
        if self.has_more_to_say_again() {
            return Ok(Take::default());
        }
        if self.conversation.terminate_received {
            // PostgreSQL would not read input after Terminate either.
            self.forward_terminate();
            return Ok(Take::default());
        }
        self.begin_without_statement();
        let staged = self.outgoing.has_backend_bytes();
        let mut shown = ClientInput { bytes: unread, at: 0, staged, full, gathered: false };
        self.process_client_input(now, &mut shown)?;
        if shown.at > 0 || unread.is_empty() {
            self.backend.note_use();
        }
        if self.conversation.terminate_received {
            self.forward_terminate();
        }
        Ok(if shown.staged { Take { pass: 0, drop: shown.at } } else { Take { pass: shown.at, drop: 0 } })
    }

    /// Takes in as much as can be understood now.
    pub(super) fn process_client_input(
        &mut self,
        now: Instant,
        shown: &mut ClientInput<'_>,
    ) -> Result<(), FrameError> {
        let (unread, full) = (shown.bytes, shown.full);
        loop {
            if self.gathering() {
                match self.gather(now, shown)? {
                    true => continue,
                    false => break,
                }
            }
            if self.conversation.client.at_boundary() && self.copies_in() {
                let run = wire::leading_run(Speaker::Client, f::COPY_DATA, &unread[shown.at..]).bytes;
                self.pass_on(shown, run);
            }
            let Some(piece) = self.conversation.client.next(&unread[shown.at..])? else { break };
            let bytes = match &piece {
                FramePiece::Whole(frame) => frame.as_bytes(),
                FramePiece::Partial(part) => &unread[shown.at..shown.at + part.here()],
                FramePiece::Rest(here) => &unread[shown.at..shown.at + here],
            };
            let verdict = match &piece {
                FramePiece::Whole(frame) => self.request(now, frame.tag(), frame.body(), None, shown),
                FramePiece::Partial(part) => {
                    let (tag, total, is_stuck) = (part.tag(), part.total(), full && shown.at == 0);
                    if is_stuck && matches!(tag, f::QUERY | f::PARSE) && total <= GATHERED_MAX {
                        self.begin_gathering(tag, bytes, part.missing(), shown);
                        self.conversation.client.pass(&piece);
                        shown.at += bytes.len();
                        continue;
                    }
                    if waits_for_rest(tag, is_stuck) {
                        break;
                    }
                    self.request_in_part(now, tag, bytes, total, shown)
                }
                FramePiece::Rest(_) if self.request.discards_rest() => {
                    self.stage(shown);
                    MessageAction::Consumed
                }
                FramePiece::Rest(_) => MessageAction::Forward,
            };
            match verdict {
                MessageAction::Wait => break,
                MessageAction::Forward if shown.staged => {
                    self.outgoing.backend().extend_from_slice(bytes);
                }
                MessageAction::Forward => {}
                MessageAction::Consumed | MessageAction::Refused => self.stage(shown),
            }
            let (tag, is_whole) = match &piece {
                FramePiece::Whole(frame) => (Some(frame.tag()), true),
                FramePiece::Partial(part) => (Some(part.tag()), false),
                FramePiece::Rest(_) => (None, false),
            };
            self.note_said(tag, is_whole, bytes);
            shown.at += self.conversation.client.pass(&piece);
            if self.conversation.terminate_received && is_whole && tag == Some(f::TERMINATE) {
                break;
            }
        }
        Ok(())
    }

    /// Handles the beginning of a message, of `total` bytes, that no buffer holds.
    fn request_in_part(
        &mut self,
        now: Instant,
        tag: u8,
        beginning: &[u8],
        total: usize,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let body = beginning.get(Header::BYTES..).unwrap_or_default();
        let verdict = self.request(now, tag, body, Some(total), shown);
        self.request.set_discards_rest(match verdict {
            MessageAction::Consumed => tag != f::BIND,
            MessageAction::Refused => true,
            MessageAction::Forward | MessageAction::Wait => false,
        });
        verdict
    }

    /// Forwards Terminate to the backend, if Terminate must end pending work there.
    fn forward_terminate(&mut self) {
        if self.conversation.terminate_forwarded || !self.conversation.breaks_off() {
            return;
        }
        if self.backend.is_held() {
            frontend::write_terminate(self.outgoing.backend());
            self.conversation.terminate_forwarded = true;
        }
    }

    fn pass_on(&mut self, shown: &mut ClientInput<'_>, count: usize) {
        if shown.staged {
            self.outgoing.backend().extend_from_slice(&shown.bytes[shown.at..shown.at + count]);
        }
        shown.at += count;
    }

    /// From here on our own buffer leads to the backend, with what has passed before.
    pub(super) fn stage(&mut self, shown: &mut ClientInput<'_>) {
        if !shown.staged {
            self.outgoing.backend().extend_from_slice(&shown.bytes[..shown.at]);
            shown.staged = true;
        }
    }

    /// Whether the client's CopyData can only be for the backend.
    fn copies_in(&self) -> bool {
        (self.backend.is_held() && !self.request.is_skipping()) && !self.conversation.queue.is_settled()
    }

    fn gathering(&self) -> bool {
        self.request.gathered().is_some()
    }

    fn begin_gathering(&mut self, tag: u8, bytes: &[u8], missing: usize, shown: &mut ClientInput<'_>) {
        self.stage(shown);
        let mut begun = Vec::with_capacity(bytes.len() + missing);
        begun.extend_from_slice(bytes);
        self.request.gather(PartialMessage { tag, bytes: begun, missing });
    }

    /// Takes in more of a large message; once it is whole, it is understood. Answers whether there is more to do.
    fn gather(&mut self, now: Instant, shown: &mut ClientInput<'_>) -> Result<bool, FrameError> {
        let Some(gathered) = self.request.take_gathered() else {
            let Some(piece @ FramePiece::Rest(here)) =
                self.conversation.client.next(&shown.bytes[shown.at..])?
            else {
                return Ok(false);
            };
            self.request.gather_more(&shown.bytes[shown.at..shown.at + here]);
            self.conversation.client.pass(&piece);
            // These bytes are done with, whatever becomes of the message.
            self.stage(shown);
            shown.at += here;
            return Ok(true);
        };
        self.stage(shown);
        let body = gathered.bytes.get(Header::BYTES..).unwrap_or_default();
        shown.gathered = true;
        let verdict = self.request(now, gathered.tag, body, None, shown);
        shown.gathered = false;
        match verdict {
            MessageAction::Wait => {
                self.request.gather(gathered);
                return Ok(false);
            }
            MessageAction::Forward => self.outgoing.backend().extend_from_slice(&gathered.bytes),
            MessageAction::Consumed | MessageAction::Refused => {}
        }
        self.note_said(Some(gathered.tag), true, &gathered.bytes);
        Ok(true)
    }

    /// One message. `total` is the length of its frame when only the beginning of its body is here.
    fn request(
        &mut self,
        now: Instant,
        tag: u8,
        body: &[u8],
        total: Option<usize>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        if tag == f::TERMINATE {
            self.conversation.terminate_received = true;
            return MessageAction::Consumed;
        }
        if self.request.is_skipping() {
            if tag == f::SYNC {
                self.request.end_skip();
                backend::write_ready_for_query(self.outgoing.client(), self.conversation.status);
            }
            return MessageAction::Consumed;
        }
        if !self.backend.is_held() {
            return self.request_without_backend(now, tag, body, total, shown);
        }
        if self.backend.awaits_response() || self.is_moving() {
            return MessageAction::Wait;
        }
        match self.statements.shape_check() {
            ShapeCheck::None => {}
            ShapeCheck::Asked => return self.wait_for_answers(),
            // The Bind was accepted before.
            ShapeCheck::Answered => return self.bind(body, total, shown),
        }
        if self.conversation.queue.is_skipping() {
            return self.pass_skipped(now, tag);
        }
        if self.router.is_some() && !self.may_stay(tag, body, shown) {
            return MessageAction::Wait;
        }
        if self.depends_on_responses(tag, body) {
            return self.wait_for_answers();
        }
        if !self.prepare_backend(tag, body, total.is_some(), shown) {
            return MessageAction::Wait;
        }
        self.tell_last_route(tag, body, shown);
        self.begin_unit(tag, body);
        self.process(now, tag, body, total, shown)
    }

    /// Handles a message that reaches the backend now.
    fn process(
        &mut self,
        now: Instant,
        tag: u8,
        body: &[u8],
        total: Option<usize>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        match tag {
            f::QUERY => self.query(now, body, total.is_some(), shown),
            f::FUNCTION_CALL => self.call_function(now, body, shown),
            f::PARSE => {
                let verdict = self.parse(body, total.is_some(), shown);
                self.conversation.in_batch |= !matches!(verdict, MessageAction::Wait);
                verdict
            }
            f::BIND => self.bind(body, total, shown),
            f::DESCRIBE => self.describe(body, shown),
            f::EXECUTE => self.execute(now, body, shown),
            f::CLOSE => self.close(body),
            f::SYNC => {
                self.sync(now);
                MessageAction::Forward
            }
            f::COPY_DONE | f::COPY_FAIL => {
                // The server ignores a Flush ahead of the end of copied data.
                let is_awaited =
                    tag == f::COPY_DONE && body.is_empty() && self.conversation.queue.is_resetting();
                self.owe(PendingRequest::CopyEnd);
                if is_awaited && total.is_none() {
                    self.flushed(tag, body, shown)
                } else {
                    MessageAction::Forward
                }
            }
            _ => MessageAction::Forward,
        }
    }

    /// Handles a message while the session holds no backend: answers the message, or asks for a backend.
    fn request_without_backend(
        &mut self,
        now: Instant,
        tag: u8,
        body: &[u8],
        total: Option<usize>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        match tag {
            f::SYNC if body.is_empty() => {
                backend::write_ready_for_query(self.outgoing.client(), self.conversation.status);
                return MessageAction::Consumed;
            }
            // PostgreSQL ignores copied data that nobody asked for, too.
            f::FLUSH | f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL => return MessageAction::Consumed,
            _ => {}
        }
        if let Some(refusal) = self.request.take_refusal() {
            self.refuse(tag, &refusal);
            return MessageAction::Consumed;
        }
        let is_answered = match tag {
            f::QUERY => self.answer_locally(now, body),
            f::PARSE if total.is_none() => self.parse_locally(body),
            f::CLOSE => self.close_locally(body),
            _ => false,
        };
        if is_answered { MessageAction::Consumed } else { self.want(tag, body, shown) }
    }

    /// True if pending responses decide about the message: they may remove session state, or tell which statements
    /// exist.
    fn depends_on_responses(&self, tag: u8, body: &[u8]) -> bool {
        let queue = &self.conversation.queue;
        let waits_for_reset = !is_end(tag) || (tag == f::SYNC && queue.is_leading_back());
        (queue.is_resetting() && waits_for_reset) || self.is_uncertain(tag, body)
    }

    /// Sends all that the backend needs ahead of the message. False if the message must wait for a response.
    fn prepare_backend(&mut self, tag: u8, body: &[u8], is_cut: bool, shown: &mut ClientInput<'_>) -> bool {
        if self.settings.startup.has_due() {
            self.stage(shown);
            self.give_due_settings();
        }
        // `DISCARD ALL` has ended the client's transaction, so an internal Sync ends no transaction.
        if (!is_end(tag) || tag == f::SYNC) && self.settings.startup.take_discarded(tag == f::SYNC) {
            self.apply_settings(shown);
        }
        // Not all parameters of the Bind are visible.
        if tag == f::BIND && is_cut && self.binds_setting_name(body) {
            self.pin(Pin::HiddenSetting);
        }
        self.prelude(tag, shown)
    }

    /// Handles an Execute.
    fn execute(&mut self, now: Instant, body: &[u8], shown: &mut ClientInput<'_>) -> MessageAction {
        self.conversation.in_batch = true;
        self.conversation.statements_started += 1;
        let name = until_nul(body).0;
        let portal = if self.conversation.text_capture.is_some() { name.into() } else { Box::default() };
        let leads_back = self.settings.startup.reset_by_portal(name);
        let resets = self.cleanup.portal_may_reset() || !leads_back.is_empty();
        let forgets = self.statements.deallocate(name);
        self.owe(PendingRequest::Execute { started: now, portal, resets, leads_back, forgets });
        if resets { self.flushed(f::EXECUTE, body, shown) } else { MessageAction::Forward }
    }

    /// Forwards a message while the server discards everything up to a Sync. Nothing may precede the message: the Sync
    /// of an internal batch would end the discarding early.
    fn pass_skipped(&mut self, now: Instant, tag: u8) -> MessageAction {
        if tag == f::SYNC {
            self.settings.startup.on_failed_batch();
            self.sync(now);
        }
        MessageAction::Forward
    }

    fn sync(&mut self, now: Instant) {
        self.conversation.in_batch = false;
        self.owe(PendingRequest::Sync { started: now });
        self.statements.begin_batch();
    }

    /// Handles a FunctionCall.
    fn call_function(&mut self, now: Instant, body: &[u8], shown: &mut ClientInput<'_>) -> MessageAction {
        self.suspect_function(body, shown);
        self.conversation.in_batch = false;
        self.conversation.statements_started += 1;
        let kind = StatementKind::FunctionCall;
        self.owe(PendingRequest::whole(kind, now, None));
        MessageAction::Forward
    }

    /// Whether what a message means depends on answers that are on their way: PostgreSQL, which does one thing after the
    /// other, knows by then which statements there are. Every answer that is waited for comes without the client's doing.
    fn is_uncertain(&self, tag: u8, body: &[u8]) -> bool {
        if self.conversation.queue.is_settled() || self.conversation.queue.copies_in().is_some() {
            return false;
        }
        let name = match tag {
            f::PARSE => Some(until_nul(body).0).filter(|name| !name.is_empty()),
            f::BIND => Some(until_nul(until_nul(body).1).0),
            f::DESCRIBE | f::CLOSE => object(body).filter(|(which, _)| *which == b'S').map(|(_, name)| name),
            _ => None,
        };
        let Some(name) = name else { return false };
        self.conversation.queue.is_uncertain(name)
    }

    /// Whether a Bind has the name of a setting among its parameters.
    fn binds_setting_name(&self, body: &[u8]) -> bool {
        let text = self.statements.text(until_nul(until_nul(body).1).0);
        text.is_some_and(|text| {
            let effects = self.common.with_catalogue(|catalogue| sql::effects(text, catalogue));
            effects.contains(Effects::SETTINGS_BOUND)
        })
    }

    pub(super) fn wait_for_answers(&mut self) -> MessageAction {
        self.request.set_awaits_responses(true);
        MessageAction::Wait
    }

    /// Forwards a message with a Flush, because the response must arrive before further messages. Without Flush the
    /// server may buffer the response up to the Sync.
    fn flushed(&mut self, tag: u8, body: &[u8], shown: &mut ClientInput<'_>) -> MessageAction {
        self.stage(shown);
        wire::write_frame(self.outgoing.backend(), tag, |to| to.extend_from_slice(body));
        frontend::write_flush(self.outgoing.backend());
        MessageAction::Consumed
    }

    /// The client's request finds no backend.
    fn refuse(&mut self, tag: u8, refusal: &Refusal) {
        refusal.write_error(self.outgoing.client());
        if matches!(tag, f::QUERY | f::FUNCTION_CALL) {
            backend::write_ready_for_query(self.outgoing.client(), self.conversation.status);
        } else {
            self.request.skip_to_sync();
        }
    }
}
