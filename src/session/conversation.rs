//! Protocol state that both kinds of sessions keep: framing of both directions, pending responses, transaction status.

use std::{collections::VecDeque, time::Instant};

use super::{
    batch_facts::BatchFacts,
    captured_texts::CapturedTexts,
    cluster_commands::{ClusterCommands, ClusterEvent},
    pending_request::PendingRequest,
    response_queue::ResponseQueue,
    statement_report::{CapturedText, StatementKind, StatementReport},
};
use crate::{
    client_error::ClientError,
    wire::{
        Deframer, ErrorFields, Frame, FrameError, FramePiece, Speaker, SqlState, TransactionStatus, backend,
        frontend,
        tag::{self, backend as b},
    },
};

/// One client's conversation with the server, from the first ReadyForQuery on.
pub(super) struct Conversation {
    /// Framing of the client's messages.
    client: Deframer,
    /// Framing of the server's messages.
    server: Deframer,
    queue: ResponseQueue,
    /// Transaction status last reported to the client.
    status: TransactionStatus,
    /// Count of statements started.
    statements_started: u64,
    /// Count of finished transactions.
    transactions: u64,
    /// The client has started a batch of extended-protocol messages and not sent Sync: its transaction is open, whatever
    /// the status.
    in_batch: bool,
    terminate: TerminateProgress,
    /// SQLSTATE of a server error that ends the session.
    fatal: Option<SqlState>,
    /// Error that ends the session, raised by Gatekeeper.
    broken: Option<ClientError>,
    reports: VecDeque<StatementReport>,
    /// Texts for reports; `None` if no reader wants texts.
    text_capture: Option<Box<TextCapture>>,
    cluster_commands: ClusterCommands,
}

/// Progress of the client's Terminate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TerminateProgress {
    /// The client has not sent Terminate.
    None,
    /// The client has sent Terminate.
    Received,
    /// Terminate was also sent to the backend: the backend sends all pending responses, and closes.
    Forwarded,
}

/// What a session is to keep beside its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Maximum bytes of each statement's text in a report; `None` keeps no text.
    pub text_limit: Option<usize>,
    /// Behavior of a pooled session when the writer's backend is lost.
    pub on_backend_loss: BackendLossPolicy,
}

/// Behavior of a pooled session when the writer's backend is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackendLossPolicy {
    /// The client gets an error, and the session continues.
    #[default]
    Error,
    /// As [`Self::Error`], and a server is asked for the outcome of a COMMIT.
    ResolveCommits,
    /// The client is disconnected, as it is by a server that is lost.
    Disconnect,
}

/// Statement texts for reports.
struct TextCapture {
    limit: usize,
    texts: CapturedTexts,
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
            terminate: TerminateProgress::None,
            fatal: None,
            broken: None,
            reports: VecDeque::new(),
            text_capture: options
                .text_limit
                .map(|limit| Box::new(TextCapture { limit, texts: CapturedTexts::default() })),
            cluster_commands: ClusterCommands::default(),
        }
    }

    // --- framing

    /// The client's next message, or a part of it, at the beginning of `unread`.
    #[inline]
    pub(super) fn next_of_client<'a>(&self, unread: &'a [u8]) -> Result<Option<FramePiece<'a>>, FrameError> {
        self.client.next(unread)
    }

    /// Passes a piece of the client's input. Returns the count of bytes.
    #[inline]
    pub(super) fn pass_client_piece(&mut self, piece: &FramePiece<'_>) -> usize {
        self.client.pass(piece)
    }

    /// True if no message of the client is half-way.
    #[inline]
    pub(super) const fn is_client_at_boundary(&self) -> bool {
        self.client.at_boundary()
    }

    /// The server's next message, or a part of it, at the beginning of `unread`.
    #[inline]
    pub(super) fn next_of_server<'a>(&self, unread: &'a [u8]) -> Result<Option<FramePiece<'a>>, FrameError> {
        self.server.next(unread)
    }

    /// Passes a piece of the server's input. Returns the count of bytes.
    #[inline]
    pub(super) fn pass_server_piece(&mut self, piece: &FramePiece<'_>) -> usize {
        self.server.pass(piece)
    }

    /// True if no message of the server is half-way.
    #[inline]
    pub(super) const fn is_server_at_boundary(&self) -> bool {
        self.server.at_boundary()
    }

    // --- pending responses, batch and transaction

    /// Requests without a response.
    #[inline]
    pub(super) const fn queue(&self) -> &ResponseQueue {
        &self.queue
    }

    /// Requests without a response.
    #[inline]
    pub(super) const fn queue_mut(&mut self) -> &mut ResponseQueue {
        &mut self.queue
    }

    /// Transaction status last reported to the client.
    #[inline]
    pub(super) const fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Ends a unit with these `requests`, whose backend was lost at `now`; the client's transaction has `status` then.
    pub(super) fn on_interrupted(
        &mut self,
        now: Instant,
        requests: &[PendingRequest],
        error: Option<SqlState>,
        status: TransactionStatus,
    ) {
        let report = self.report_interrupted(now, requests, error);
        self.reports.extend(report);
        self.status = status;
        self.transactions += u64::from(status == TransactionStatus::Idle);
    }

    /// Report of the statement among `requests`, which ended at `now` without a response of the server.
    pub(super) fn report_interrupted(
        &self,
        now: Instant,
        requests: &[PendingRequest],
        error: Option<SqlState>,
    ) -> Option<StatementReport> {
        let texts = texts(self.text_capture.as_deref());
        requests.iter().find_map(|it| it.report_interruption(now, error, texts))
    }

    /// Ends the transaction whose outcome is decided, with the report of its last statement.
    pub(super) fn end_resolved(&mut self, report: Option<StatementReport>) {
        self.reports.extend(report);
        self.status = TransactionStatus::Idle;
        self.transactions += 1;
    }

    /// Ends the failed transaction without a backend, and with an error.
    pub(super) fn end_failed_transaction(&mut self) {
        self.status = TransactionStatus::Idle;
        self.transactions += 1;
    }

    /// Fails the transaction that the client was told of, and no backend.
    pub(super) fn fail_transaction(&mut self) {
        self.status = TransactionStatus::Failed;
    }

    /// True if the client has started a batch of extended-protocol messages and not sent Sync: its transaction is open,
    /// whatever the status.
    #[inline]
    pub(super) const fn is_in_batch(&self) -> bool {
        self.in_batch
    }

    /// Notes a step of a batch.
    #[inline]
    pub(super) fn enter_batch(&mut self) {
        self.in_batch = true;
    }

    /// Notes the end of the batch, if there is one; true if there is.
    #[inline]
    pub(super) fn leave_batch(&mut self) -> bool {
        std::mem::take(&mut self.in_batch)
    }

    /// Counts a statement.
    #[inline]
    pub(super) fn start_statement(&mut self) {
        self.statements_started += 1;
    }

    /// Counts a Query or FunctionCall, which ends the batch as a Sync does.
    #[inline]
    pub(super) fn start_whole_request(&mut self) {
        self.in_batch = false;
        self.statements_started += 1;
    }

    /// Count of statements started.
    pub(super) const fn statements_started(&self) -> u64 {
        self.statements_started
    }

    /// Restores the count of statements started before those that are replayed.
    pub(super) fn rewind_statements(&mut self, statements_started: u64) {
        self.statements_started = statements_started;
    }

    /// Count of finished transactions.
    pub(super) const fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Notes a Query answered at `now` by Gatekeeper, after which the transaction has `status`.
    pub(super) fn on_local_reply(&mut self, now: Instant, statement: &[u8], status: TransactionStatus) {
        self.status = status;
        self.statements_started += 1;
        self.transactions += u64::from(status == TransactionStatus::Idle);
        let text = self.capture(statement, false);
        self.reports.push_back(StatementReport {
            kind: StatementKind::Query,
            started: now,
            ended: now,
            rows: 0,
            operation: None,
            error: None,
            text,
        });
    }

    // --- the end of the session

    /// Notes the client's Terminate.
    pub(super) fn receive_terminate(&mut self) {
        if self.terminate == TerminateProgress::None {
            self.terminate = TerminateProgress::Received;
        }
    }

    /// True if the client has sent Terminate.
    pub(super) fn has_received_terminate(&self) -> bool {
        self.terminate != TerminateProgress::None
    }

    /// Notes that the backend gets the client's Terminate.
    pub(super) fn forward_terminate(&mut self) {
        self.terminate = TerminateProgress::Forwarded;
    }

    /// True if the backend gets the client's Terminate.
    pub(super) fn has_forwarded_terminate(&self) -> bool {
        self.terminate == TerminateProgress::Forwarded
    }

    /// SQLSTATE of a server error that ends the session.
    pub(super) const fn fatal(&self) -> Option<SqlState> {
        self.fatal
    }

    /// Notes the SQLSTATE of a server error that ends the session.
    pub(super) fn end_by_server(&mut self, state: SqlState) {
        self.fatal = Some(state);
    }

    /// Error that ends the session, raised by Gatekeeper.
    pub(super) const fn broken(&self) -> Option<&ClientError> {
        self.broken.as_ref()
    }

    /// Ends the session with an error of Gatekeeper.
    pub(super) fn end_with(&mut self, error: ClientError) {
        self.broken = Some(error);
    }

    /// Forgets the server's unfinished message and its last words: the session goes on without the backend.
    pub(super) fn forget_server(&mut self) {
        self.fatal = None;
        self.server = Deframer::new(Speaker::Server);
    }

    // --- reports

    /// Next finished statement.
    pub(super) fn poll_report(&mut self) -> Option<StatementReport> {
        self.reports.pop_front()
    }

    /// Next client statement with an effect on backends of all sessions.
    pub(super) fn poll_cluster_event(&mut self) -> Option<ClusterEvent> {
        self.cluster_commands.poll_event()
    }

    /// Notes a `statement` sent by the client, for its effects on backends of all sessions.
    pub(super) fn note_statement(&mut self, statement: &[u8]) {
        self.cluster_commands.note_statement(statement);
    }

    /// True if texts are captured, and with them the names of statements and portals.
    #[inline]
    pub(super) const fn captures_texts(&self) -> bool {
        self.text_capture.is_some()
    }

    /// Captures the text of the statement `name`, parsed without a backend.
    pub(super) fn capture_parsed(&mut self, name: &[u8], statement: &[u8]) {
        if let Some(capture) = &mut self.text_capture {
            let text = text(statement, capture.limit, false);
            capture.texts.parsed(name, text);
        }
    }

    /// Forgets the text of the statement `name`, closed without a backend.
    pub(super) fn forget_closed(&mut self, name: &[u8]) {
        if let Some(capture) = &mut self.text_capture {
            capture.texts.closed_statement(name);
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
        self.queue.copies_in().is_some() || (self.is_settled() && !self.has_forwarded_terminate())
    }

    /// Ends the session: appends messages that end all work started by the client, to bring the backend to rest. False if
    /// no message can: the Sync missing in a batch would commit work that the client has not committed.
    pub(super) fn wind_up(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.receive_terminate();
        let copying = self.queue.copies_in();
        if copying.is_some() {
            frontend::write_copy_fail(out, "the client is gone");
        }
        if copying == Some(StatementKind::Execute) {
            // The batch has failed with its COPY.
            self.in_batch = false;
            frontend::write_sync(out);
            self.queue.owe(PendingRequest::CopyEnd, None);
            self.queue.owe(PendingRequest::Sync { started: now, batch: BatchFacts::default() }, None);
        }
        !(self.in_batch || self.has_forwarded_terminate() || self.queue.is_skipping())
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
                if self.has_forwarded_terminate() {
                    self.terminate = TerminateProgress::Received;
                }
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
        self.fail_request(now, state, &mut Vec::new());
    }

    /// Fails the request answered now with `state`. Requests that the server skips behind it go to `skipped`.
    pub(super) fn fail_request(&mut self, now: Instant, state: SqlState, skipped: &mut Vec<PendingRequest>) {
        let texts = texts(self.text_capture.as_deref());
        self.reports.extend(self.queue.on_error(now, state, texts, skipped));
    }
}

/// Whether a message of the server that has a body means something here.
pub(super) const fn understood(tag: u8) -> bool {
    use tag::backend::{COMMAND_COMPLETE, COPY_IN_RESPONSE, ERROR_RESPONSE, READY_FOR_QUERY};
    matches!(tag, COMMAND_COMPLETE | COPY_IN_RESPONSE | ERROR_RESPONSE | READY_FOR_QUERY)
}

/// True for the response to a successful `LOAD`: no command removes a loaded library.
pub(super) fn is_load(frame: &Frame<'_>) -> bool {
    frame.tag() == b::COMMAND_COMPLETE && frame.body() == b"LOAD\0"
}

/// The texts kept, or none.
fn texts(text_capture: Option<&TextCapture>) -> Option<&CapturedTexts> {
    text_capture.map(|text_capture| &text_capture.texts)
}

fn text(bytes: &[u8], limit: usize, partial: bool) -> CapturedText {
    let kept = &bytes[..bytes.len().min(limit)];
    CapturedText { bytes: kept.into(), is_cut: partial || kept.len() < bytes.len() }
}
