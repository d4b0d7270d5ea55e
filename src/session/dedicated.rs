//! Session with one backend for life: every message is forwarded unchanged, and observed.

use std::{sync::Arc, time::Instant};

use super::{
    batch_facts::BatchFacts,
    consumed_input::ConsumedInput,
    conversation::{Conversation, SessionOptions, is_load, understood},
    pending_request::{CloseOrigin, Described, ParseOrigin, PendingRequest},
    statement_report::StatementKind,
};
use crate::{
    sql::{self, Effects, StatefulNames},
    wire::{
        self, FrameError, FramePiece, Header, Speaker, TransactionStatus,
        frontend::{DescribeTarget, FrontendMessage},
        tag,
    },
};

/// Session of one client and one backend.
pub struct Dedicated {
    conversation: Conversation,
    afterwards: Afterwards,
}

/// Use of the backend after the session.
enum Afterwards {
    /// The backend closes with the client's Terminate.
    None,
    /// Other sessions use the backend, which does not receive the client's Terminate. Use of any of the names spoils the
    /// backend.
    Returned { spoiling: Option<Arc<StatefulNames>> },
    /// The backend holds session state not cleared by `DISCARD ALL`, closes, and does not receive the client's Terminate.
    Spoiled,
}

// === impl Dedicated ===

impl Dedicated {
    pub(super) fn new(status: TransactionStatus, options: SessionOptions) -> Self {
        let conversation = Conversation::new(status, options);
        Self { conversation, afterwards: Afterwards::None }
    }

    pub(super) fn returning(spoiling: Option<Arc<StatefulNames>>, options: SessionOptions) -> Self {
        let conversation = Conversation::new(TransactionStatus::Idle, options);
        Self { conversation, afterwards: Afterwards::Returned { spoiling } }
    }

    /// Protocol state that both kinds of sessions keep.
    pub(super) const fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Protocol state that both kinds of sessions keep.
    pub(super) const fn conversation_mut(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// True if other sessions must not use the backend.
    pub(super) const fn spoils_backend(&self) -> bool {
        matches!(self.afterwards, Afterwards::Spoiled)
    }

    /// Notes state not cleared by `DISCARD ALL` on a backend that other sessions would use.
    fn spoil_backend(&mut self) {
        if matches!(self.afterwards, Afterwards::Returned { .. }) {
            self.afterwards = Afterwards::Spoiled;
        }
    }

    /// Names able to spoil the backend when used.
    fn spoiling(&self) -> Option<&StatefulNames> {
        match &self.afterwards {
            Afterwards::None | Afterwards::Spoiled => None,
            Afterwards::Returned { spoiling } => spoiling.as_deref(),
        }
    }

    /// The client's next bytes, read at `now`. Answers how many of them, from the start, are taken; those that pass go to
    /// the backend, behind what [`Session::to_backend`](super::Session::to_backend) gives. `full` says that the buffer cannot take more.
    ///
    /// # Errors
    /// [`FrameError`]: the client is out of step; the client gets [`crate::client_error::ClientError::protocol`].
    pub(super) fn on_client(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<ConsumedInput, FrameError> {
        if self.conversation.has_received_terminate() {
            // PostgreSQL would not read further input either.
            return Ok(ConsumedInput::default());
        }
        let mut at = 0;
        loop {
            if self.conversation.is_client_at_boundary() {
                at += wire::leading_run(Speaker::Client, tag::frontend::COPY_DATA, &unread[at..]).bytes;
            }
            let Some(piece) = self.conversation.next_of_client(&unread[at..])? else {
                return Ok(ConsumedInput { forward: at, discard: 0 });
            };
            match &piece {
                FramePiece::Whole(frame) if frame.tag() == tag::frontend::TERMINATE => {
                    self.conversation.receive_terminate();
                    let closes = matches!(self.afterwards, Afterwards::None);
                    if closes || self.conversation.breaks_off() {
                        self.conversation.forward_terminate();
                    }
                    let bytes = self.conversation.pass_client_piece(&piece);
                    return Ok(match self.conversation.has_forwarded_terminate() {
                        true => ConsumedInput { forward: at + bytes, discard: 0 },
                        false => ConsumedInput { forward: at, discard: bytes },
                    });
                }
                FramePiece::Whole(frame) => self.on_request(now, frame.tag(), frame.body(), false),
                FramePiece::Partial(part) => {
                    if self.wants_whole(part.tag()) && !(full && at == 0) {
                        return Ok(ConsumedInput { forward: at, discard: 0 });
                    }
                    let body = unread[at..].get(Header::BYTES..).unwrap_or_default();
                    self.on_request(now, part.tag(), body, true);
                }
                FramePiece::Rest(_) => {}
            }
            at += self.conversation.pass_client_piece(&piece);
        }
    }

    /// The backend's next bytes, read at `now`. Answers how many of them, from the start, are taken; those that pass go to
    /// the client. `full` says that the buffer cannot take more.
    ///
    /// # Errors
    /// [`FrameError`]: the server is out of step, and the session is over.
    pub(super) fn on_backend(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<ConsumedInput, FrameError> {
        let mut at = 0;
        loop {
            if self.conversation.is_server_at_boundary() {
                at += wire::leading_run(Speaker::Server, tag::backend::DATA_ROW, &unread[at..]).bytes;
                at += wire::leading_run(Speaker::Server, tag::backend::COPY_DATA, &unread[at..]).bytes;
            }
            let Some(piece) = self.conversation.next_of_server(&unread[at..])? else {
                return Ok(ConsumedInput { forward: at, discard: 0 });
            };
            match &piece {
                FramePiece::Whole(frame) => {
                    if is_load(frame) {
                        self.spoil_backend();
                    }
                    self.conversation.on_answer(now, frame);
                }
                // What is understood is waited for. Of these only an error can be larger than a buffer, and it begins with
                // all that is looked at; other long ones are rows and notices, which pass in parts.
                FramePiece::Partial(part) if understood(part.tag()) => {
                    if !(full && at == 0) {
                        return Ok(ConsumedInput { forward: at, discard: 0 });
                    }
                    if part.tag() == tag::backend::ERROR_RESPONSE {
                        self.conversation.on_error(now, unread.get(Header::BYTES..).unwrap_or_default());
                    }
                }
                // A RowDescription with more columns than any buffer holds.
                FramePiece::Partial(part) if part.tag() == tag::backend::ROW_DESCRIPTION => {
                    self.conversation.on_step_complete(part.tag());
                }
                FramePiece::Partial(_) | FramePiece::Rest(_) => {}
            }
            at += self.conversation.pass_server_piece(&piece);
        }
    }

    /// Whether a message of the client is understood, and so waited for, rather than let go in parts.
    fn wants_whole(&self, tag: u8) -> bool {
        use tag::frontend::{BIND, CLOSE, EXECUTE, PARSE, QUERY, TERMINATE};
        tag == TERMINATE
            || self.conversation.captures_texts() && matches!(tag, QUERY | PARSE | BIND | EXECUTE | CLOSE)
    }

    /// Notes the beginning or end of a batch by a message with `tag`.
    fn note_batch(&mut self, tag: u8) {
        use tag::frontend as f;
        match tag {
            f::PARSE | f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE => self.conversation.enter_batch(),
            // A Query or FunctionCall ends the transaction of a batch as Sync does.
            f::SYNC | f::QUERY | f::FUNCTION_CALL => {
                self.conversation.leave_batch();
            }
            _ => {}
        }
    }

    fn on_request(&mut self, now: Instant, tag: u8, body: &[u8], partial: bool) {
        use tag::frontend as f;
        self.note_batch(tag);
        // Names are of use only for texts.
        let is_named = self.conversation.captures_texts();
        let body = if is_named || matches!(tag, f::QUERY | f::PARSE) { body } else { &[] };
        let Some(message) = FrontendMessage::decode_prefix(tag, body) else { return };
        let request = match message {
            FrontendMessage::Query { text } => {
                self.note_text(text, partial);
                self.conversation.start_statement();
                PendingRequest::whole(StatementKind::Query, now, self.conversation.capture(text, partial))
            }
            FrontendMessage::FunctionCall { .. } => {
                if self.spoiling().is_some() {
                    self.spoil_backend();
                }
                self.conversation.start_statement();
                PendingRequest::whole(StatementKind::FunctionCall, now, None)
            }
            FrontendMessage::Parse { name, text, .. } => {
                self.note_text(text, partial);
                let name = if is_named { name.into() } else { Box::default() };
                let text = self.conversation.capture(text, partial);
                PendingRequest::Parse { name, text, made: ParseOrigin::Client }
            }
            FrontendMessage::Bind { portal, statement, .. } => {
                PendingRequest::Bind { portal: portal.into(), statement: statement.into() }
            }
            FrontendMessage::Describe(_) => PendingRequest::Describe(Described::AsIs),
            FrontendMessage::Execute { portal, .. } => {
                self.conversation.start_statement();
                PendingRequest::Execute { started: now, portal: portal.into(), resets: None, forgets: None }
            }
            FrontendMessage::Close(object) => {
                let (name, closed) = match object {
                    DescribeTarget::Portal(name) => (name, CloseOrigin::Portal),
                    DescribeTarget::Statement(name) => (name, CloseOrigin::Client),
                };
                PendingRequest::Close { name: name.into(), closed }
            }
            FrontendMessage::Sync => PendingRequest::Sync { started: now, batch: BatchFacts::default() },
            FrontendMessage::CopyDone | FrontendMessage::CopyFail { .. } => PendingRequest::CopyEnd,
            FrontendMessage::Flush | FrontendMessage::CopyData(_) | FrontendMessage::Terminate => return,
        };
        self.conversation.queue_mut().owe(request, None);
    }

    /// Notes effects of a dedicated session's statement on backends of all sessions, and on the session's own backend.
    fn note_text(&mut self, statement: &[u8], partial: bool) {
        self.conversation.note_statement(statement);
        let may_spoil = |functions| partial || sql::effects(statement, functions).contains(Effects::FUNCTION);
        if self.spoiling().is_some_and(may_spoil) {
            self.spoil_backend();
        }
    }
}
