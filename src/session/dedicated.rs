//! Session with one backend for life: every message is forwarded unchanged, and observed.

use std::{sync::Arc, time::Instant};

use super::{
    conversation::{Conversation, SessionOptions, text, understood, until_nul},
    report::StatementKind,
    response_queue::{CloseOrigin, Described, ParseOrigin, PendingRequest},
    take::Take,
};
use crate::{
    sql::{self, Effects, StatefulNames},
    wire::{self, FrameError, FramePiece, Header, Speaker, TransactionStatus, tag},
};

/// Session of one client and one backend.
pub struct Dedicated {
    pub(super) conversation: Conversation,
    /// Names able to spoil the backend when used.
    spoiling: Option<Arc<StatefulNames>>,
    /// The backend does not receive the client's Terminate: other sessions will use the backend.
    returning: bool,
}

// === impl Dedicated ===

impl Dedicated {
    pub(super) fn new(status: TransactionStatus, options: SessionOptions) -> Self {
        let conversation = Conversation::new(status, options);
        Self { conversation, spoiling: None, returning: false }
    }

    pub(super) fn returning(options: SessionOptions) -> Self {
        Self { returning: true, ..Self::new(TransactionStatus::Idle, options) }
    }

    pub(super) fn spoil_by(&mut self, functions: Arc<StatefulNames>) {
        self.spoiling = Some(functions);
    }

    /// The client's next bytes, read at `now`. Answers how many of them, from the start, are taken; those that pass go to
    /// the backend, behind what [`Session::to_backend`](super::Session::to_backend) gives. `full` says that the buffer cannot take more.
    ///
    /// # Errors
    /// [`FrameError`]: the client is out of step; what it hears is [`super::Refusal::protocol`].
    pub(super) fn on_client(&mut self, now: Instant, unread: &[u8], full: bool) -> Result<Take, FrameError> {
        if self.conversation.terminate_received {
            // PostgreSQL would not read further input either.
            return Ok(Take::default());
        }
        let mut at = 0;
        loop {
            if self.conversation.client.at_boundary() {
                at += wire::leading_run(Speaker::Client, tag::frontend::COPY_DATA, &unread[at..]).bytes;
            }
            let Some(piece) = self.conversation.client.next(&unread[at..])? else {
                return Ok(Take { pass: at, drop: 0 });
            };
            match &piece {
                FramePiece::Whole(frame) if frame.tag() == tag::frontend::TERMINATE => {
                    self.conversation.terminate_received = true;
                    self.conversation.terminate_forwarded = !self.returning || self.conversation.breaks_off();
                    let bytes = self.conversation.client.pass(&piece);
                    return Ok(match self.conversation.terminate_forwarded {
                        true => Take { pass: at + bytes, drop: 0 },
                        false => Take { pass: at, drop: bytes },
                    });
                }
                FramePiece::Whole(frame) => self.on_request(now, frame.tag(), frame.body(), false),
                FramePiece::Partial(part) => {
                    if self.wants_whole(part.tag()) && !(full && at == 0) {
                        return Ok(Take { pass: at, drop: 0 });
                    }
                    let body = unread[at..].get(Header::BYTES..).unwrap_or_default();
                    self.on_request(now, part.tag(), body, true);
                }
                FramePiece::Rest(_) => {}
            }
            at += self.conversation.client.pass(&piece);
        }
    }

    /// The backend's next bytes, read at `now`. Answers how many of them, from the start, are taken; those that pass go to
    /// the client. `full` says that the buffer cannot take more.
    ///
    /// # Errors
    /// [`FrameError`]: the server is out of step, and the session is over.
    pub(super) fn on_backend(&mut self, now: Instant, unread: &[u8], full: bool) -> Result<Take, FrameError> {
        let mut at = 0;
        loop {
            if self.conversation.server.at_boundary() {
                at += wire::leading_run(Speaker::Server, tag::backend::DATA_ROW, &unread[at..]).bytes;
                at += wire::leading_run(Speaker::Server, tag::backend::COPY_DATA, &unread[at..]).bytes;
            }
            let Some(piece) = self.conversation.server.next(&unread[at..])? else {
                return Ok(Take { pass: at, drop: 0 });
            };
            match &piece {
                FramePiece::Whole(frame) => self.conversation.on_answer(now, frame),
                // What is understood is waited for. Of these only an error can be larger than a buffer, and it begins with
                // all that is looked at; other long ones are rows and notices, which pass in parts.
                FramePiece::Partial(part) if understood(part.tag()) => {
                    if !(full && at == 0) {
                        return Ok(Take { pass: at, drop: 0 });
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
            at += self.conversation.server.pass(&piece);
        }
    }

    /// Whether a message of the client is understood, and so waited for, rather than let go in parts.
    fn wants_whole(&self, tag: u8) -> bool {
        use tag::frontend::{BIND, CLOSE, EXECUTE, PARSE, QUERY, TERMINATE};
        tag == TERMINATE
            || self.conversation.text_capture.is_some()
                && matches!(tag, QUERY | PARSE | BIND | EXECUTE | CLOSE)
    }

    fn on_request(&mut self, now: Instant, tag: u8, body: &[u8], partial: bool) {
        use tag::frontend as f;
        self.conversation.in_batch = match tag {
            f::PARSE | f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE => true,
            // A Query or FunctionCall ends the transaction of a batch as Sync does.
            f::SYNC | f::QUERY | f::FUNCTION_CALL => false,
            _ => self.conversation.in_batch,
        };
        match tag {
            f::QUERY => self.note_text(until_nul(body).0, partial),
            f::PARSE => self.note_text(until_nul(until_nul(body).1).0, partial),
            f::FUNCTION_CALL => self.conversation.spoils_backend |= self.spoiling.is_some(),
            _ => {}
        }
        let request = match tag {
            f::QUERY | f::FUNCTION_CALL => {
                self.conversation.statements_started += 1;
                let kind = if tag == f::QUERY { StatementKind::Query } else { StatementKind::FunctionCall };
                let text = match &self.conversation.text_capture {
                    Some(text_capture) if tag == f::QUERY => {
                        Some(text(until_nul(body).0, text_capture.limit, partial))
                    }
                    _ => None,
                };
                PendingRequest::whole(kind, now, text)
            }
            f::EXECUTE => {
                self.conversation.statements_started += 1;
                let portal = if self.conversation.text_capture.is_some() {
                    until_nul(body).0.into()
                } else {
                    Box::default()
                };
                PendingRequest::Execute {
                    started: now,
                    portal,
                    resets: false,
                    leads_back: Vec::new(),
                    forgets: None,
                }
            }
            f::SYNC => PendingRequest::Sync { started: now },
            f::COPY_DONE | f::COPY_FAIL => PendingRequest::CopyEnd,
            f::DESCRIBE => PendingRequest::Describe(Described::AsIs),
            f::PARSE | f::BIND | f::CLOSE => {
                let step = match &self.conversation.text_capture {
                    Some(text_capture) => step(tag, body, text_capture.limit, partial),
                    None => Some(nameless(tag)),
                };
                match step {
                    Some(step) => step,
                    None => return,
                }
            }
            _ => return,
        };
        self.conversation.queue.owe(request, None);
    }

    /// Notes effects of a dedicated session's statement on backends of all sessions, and on the session's own backend.
    fn note_text(&mut self, statement: &[u8], partial: bool) {
        self.conversation.cluster_commands.note_statement(statement);
        if let Some(functions) = &self.spoiling {
            self.conversation.spoils_backend |=
                partial || sql::effects(statement, functions).contains(Effects::FUNCTION);
        }
    }
}

/// What a Parse, Bind or Close is going to change about the texts, once the server agrees.
fn step(tag: u8, body: &[u8], limit: usize, partial: bool) -> Option<PendingRequest> {
    let (first, rest) = until_nul(body);
    Some(match tag {
        tag::frontend::PARSE => {
            let text = Some(text(until_nul(rest).0, limit, partial));
            PendingRequest::Parse { name: first.into(), text, made: ParseOrigin::Client }
        }
        tag::frontend::BIND => {
            PendingRequest::Bind { portal: first.into(), statement: until_nul(rest).0.into() }
        }
        _ => {
            let (&which, name) = body.split_first()?;
            PendingRequest::Close {
                portal: which == b'P',
                name: until_nul(name).0.into(),
                closed: CloseOrigin::Client,
            }
        }
    })
}

/// Creates a request without texts: an error is attributed to the request, not to a later Query.
fn nameless(tag: u8) -> PendingRequest {
    let name = Box::default();
    match tag {
        tag::frontend::PARSE => PendingRequest::Parse { name, text: None, made: ParseOrigin::Client },
        tag::frontend::BIND => PendingRequest::Bind { portal: name, statement: Box::default() },
        _ => PendingRequest::Close { portal: true, name, closed: CloseOrigin::Client },
    }
}
