//! Protocol state that both kinds of sessions keep: framing of both directions, pending responses, transaction status.

use std::{collections::VecDeque, time::Instant};

use super::{
    captured_texts::CapturedTexts,
    cluster_commands::ClusterCommands,
    response_queue::{PendingRequest, ResponseQueue},
    statement_report::{CapturedText, StatementKind, StatementReport},
};
use crate::{
    client_error::ClientError,
    wire::{
        Deframer, ErrorFields, Frame, Speaker, SqlState, TransactionStatus, backend, frontend,
        tag::{self, backend as b},
    },
};

/// One client's conversation with the server, from the first ReadyForQuery on.
pub(super) struct Conversation {
    /// Framing of the client's messages.
    pub(super) client: Deframer,
    /// Framing of the server's messages.
    pub(super) server: Deframer,
    pub(super) queue: ResponseQueue,
    /// Transaction status last reported to the client.
    pub(super) status: TransactionStatus,
    /// Count of statements started.
    pub(super) statements_started: u64,
    /// Count of finished transactions.
    pub(super) transactions: u64,
    /// The client has started a batch of extended-protocol messages and not sent Sync: its transaction is open, whatever
    /// the status.
    pub(super) in_batch: bool,
    /// The client has sent Terminate.
    pub(super) terminate_received: bool,
    /// Terminate was also sent to the backend: the backend sends all pending responses, and closes.
    pub(super) terminate_forwarded: bool,
    /// SQLSTATE of a server error that ends the session.
    pub(super) fatal: Option<SqlState>,
    /// Error that ends the session, raised by Gatekeeper.
    pub(super) broken: Option<ClientError>,
    pub(super) reports: VecDeque<StatementReport>,
    /// Texts for reports; `None` if no reader wants texts.
    pub(super) text_capture: Option<Box<TextCapture>>,
    pub(super) cluster_commands: ClusterCommands,
    /// The backend may hold session state not cleared by `DISCARD ALL`.
    pub(super) spoils_backend: bool,
}

/// What a session is to keep beside its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Maximum bytes of each statement's text in a report; `None` keeps no text.
    pub text_limit: Option<usize>,
}

/// Statement texts for reports.
pub(super) struct TextCapture {
    pub(super) limit: usize,
    pub(super) texts: CapturedTexts,
}

// === impl Conversation ===

impl Conversation {
    /// Creates the conversation with a client whose last ReadyForQuery had `status`.
    pub(super) fn new(status: TransactionStatus, options: SessionOptions) -> Self {
        Self {
            client: Deframer::new(Speaker::Client),
            server: Deframer::new(Speaker::Server),
            queue: ResponseQueue::default(),
            status,
            statements_started: 0,
            transactions: 0,
            in_batch: false,
            terminate_received: false,
            terminate_forwarded: false,
            fatal: None,
            broken: None,
            reports: VecDeque::new(),
            text_capture: options
                .text_limit
                .map(|limit| Box::new(TextCapture { limit, texts: CapturedTexts::default() })),
            cluster_commands: ClusterCommands::default(),
            spoils_backend: false,
        }
    }

    /// Text of a statement for its report, if texts are captured. `is_partial`: the end of the text is not here.
    pub(super) fn capture(&self, statement: &[u8], is_partial: bool) -> Option<CapturedText> {
        self.text_capture.as_ref().map(|capture| text(statement, capture.limit, is_partial))
    }

    /// The conversation breaks off at `now`: the statement under way, if any, is reported as cut short.
    pub(super) fn on_break(&mut self, now: Instant) {
        let report = self.queue.cut_short(now, texts(self.text_capture.as_deref()));
        self.reports.extend(report);
    }

    /// True if Terminate would reach the backend in the middle of a batch. No internal message ends a batch without a
    /// commit, and responses may be pending. The backend must receive Terminate itself, and closes.
    pub(super) fn breaks_off(&self) -> bool {
        (self.in_batch || self.queue.is_skipping()) && self.queue.copies_in().is_none()
    }

    /// True if the client has every response PostgreSQL would have sent before the client's Terminate. After a forwarded
    /// Terminate the backend sends all pending responses, and ends the session by closing.
    pub(super) fn may_leave(&self) -> bool {
        self.queue.copies_in().is_some() || (self.is_settled() && !self.terminate_forwarded)
    }

    /// Ends the session: appends messages that end all work started by the client, to bring the backend to rest. False if
    /// no message can: the Sync missing in a batch would commit work that the client has not committed.
    pub(super) fn wind_up(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.terminate_received = true;
        let copying = self.queue.copies_in();
        if copying.is_some() {
            frontend::write_copy_fail(out, "the client is gone");
        }
        if copying == Some(StatementKind::Execute) {
            // The batch has failed with its COPY.
            self.in_batch = false;
            frontend::write_sync(out);
            self.queue.owe(PendingRequest::CopyEnd, None);
            self.queue.owe(PendingRequest::Sync { started: now }, None);
        }
        !(self.in_batch || self.terminate_forwarded || self.queue.is_skipping())
    }

    /// True if `unread` contains Terminate: all earlier messages must still be processed, though the client has closed
    /// the socket.
    pub(super) fn contains_terminate(&self, unread: &[u8]) -> bool {
        let mut rest = unread;
        while self.client.at_boundary()
            && let Ok(Some(frame)) = Frame::read(Speaker::Client, rest)
        {
            if frame.tag() == tag::frontend::TERMINATE {
                return true;
            }
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
        }
        false
    }

    /// Whether nothing is under way: no transaction, no batch without its Sync, no answer owed, no frame half-way in either
    /// direction.
    pub(super) fn is_idle(&self) -> bool {
        self.status == TransactionStatus::Idle
            && !self.in_batch
            && self.is_settled()
            && !self.queue.is_skipping()
            && self.client.at_boundary()
    }

    /// Whether the server owes no answer.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.is_settled()
    }

    /// True if nothing is in progress on the backend, in either direction: an internal batch may follow.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_idle() && self.server.at_boundary()
    }

    pub(super) fn on_answer(&mut self, now: Instant, frame: &Frame<'_>) {
        match frame.tag() {
            b::READY_FOR_QUERY => self.on_ready(now, frame.body()),
            b::COMMAND_COMPLETE => {
                let (rows, command) = match backend::BackendMessage::decode(frame) {
                    Ok(backend::BackendMessage::CommandComplete(tag)) => {
                        (tag.rows().unwrap_or(0), tag.command())
                    }
                    _ => (0, &[][..]),
                };
                self.cluster_commands.note_command(command);
                self.spoils_backend |= command == b"LOAD";
                // Only who keeps texts wants to hear of it.
                let wanted = self.text_capture.is_some() && !command.is_empty();
                let command = wanted.then(|| String::from_utf8_lossy(command).into());
                self.on_statement_complete(now, rows, command);
            }
            b::EMPTY_QUERY_RESPONSE | b::PORTAL_SUSPENDED => self.on_statement_complete(now, 0, None),
            b::ERROR_RESPONSE => self.on_error(now, frame.body()),
            b::COPY_IN_RESPONSE => {
                self.queue.on_copy_in();
                // A server in COPY treats Terminate as a data error, and forgets the message.
                self.terminate_forwarded = false;
            }
            b::PARSE_COMPLETE | b::BIND_COMPLETE | b::CLOSE_COMPLETE | b::ROW_DESCRIPTION | b::NO_DATA => {
                self.on_step_complete(frame.tag());
            }
            _ => {}
        }
    }

    /// Handles the response with `tag` to a batch step. Returns the answered request, if noted.
    pub(super) fn on_step_complete(&mut self, tag: u8) -> Option<PendingRequest> {
        let texts = self.text_capture.as_deref_mut().map(|text_capture| &mut text_capture.texts);
        self.queue.on_step_complete(tag, texts)
    }

    fn on_ready(&mut self, now: Instant, body: &[u8]) {
        if let Some(status) = body.first().copied().and_then(TransactionStatus::from_byte) {
            self.status = status;
        }
        if self.status == TransactionStatus::Idle {
            self.transactions += 1;
        }
        self.cluster_commands.note_ready(self.status);
        self.reports.extend(self.queue.on_ready(now));
    }

    fn on_statement_complete(&mut self, now: Instant, rows: u64, command: Option<Box<str>>) {
        let report =
            self.queue.on_statement_complete(now, rows, command, texts(self.text_capture.as_deref()));
        self.reports.extend(report);
    }

    pub(super) fn on_error(&mut self, now: Instant, body: &[u8]) {
        let fault = ErrorFields::new(body);
        let state = fault.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR);
        if fault.is_fatal() {
            self.fatal = Some(state);
        }
        // With one backend for life nothing was noted that would have to be undone.
        self.reports.extend(self.queue.on_error(
            now,
            state,
            texts(self.text_capture.as_deref()),
            &mut Vec::new(),
        ));
    }
}

/// Whether a message of the server that has a body means something here.
pub(super) const fn understood(tag: u8) -> bool {
    use tag::backend::{COMMAND_COMPLETE, COPY_IN_RESPONSE, ERROR_RESPONSE, READY_FOR_QUERY};
    matches!(tag, COMMAND_COMPLETE | COPY_IN_RESPONSE | ERROR_RESPONSE | READY_FOR_QUERY)
}

/// The texts kept, or none.
fn texts(text_capture: Option<&TextCapture>) -> Option<&CapturedTexts> {
    text_capture.map(|text_capture| &text_capture.texts)
}

/// What stands before the first NUL and what behind it; all of it when there is none, as in a message cut short.
pub(super) fn until_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(0, bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

pub(super) fn text(bytes: &[u8], limit: usize, partial: bool) -> CapturedText {
    let kept = &bytes[..bytes.len().min(limit)];
    CapturedText { bytes: kept.into(), is_cut: partial || kept.len() < bytes.len() }
}
