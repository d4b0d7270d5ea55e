//! What a session that shares backends does with its backend's messages.

use std::time::Instant;

use crate::session::{
    consumed_input::ConsumedInput,
    conversation::{is_load, understood},
    pending_request::{CloseOrigin, Described, ParseOrigin, PendingRequest},
    pin::Pin,
    pooled::{
        BackendEvent, Pooled, SettingReport, ShapeCheck,
        commits::TransactionId,
        internal_error::InternalError,
        partial_message::PartialMessage,
        requests::{CommitRequests, Requests, SettingRequests},
        response_opening::ResponseOpening,
    },
    proxy_batch::ProxyBatch,
    reported_parameters::IN_HOT_STANDBY,
    result_shape::ResultShape,
    setting_values::SETTINGS_MAX_BYTES,
    split::ReplayBuffer,
};
use crate::{
    client_error::ClientError,
    route::{RouteReason, RouteSide},
    sql::{Effects, SettingReset},
    wire::{
        self, ErrorFields, Frame, FrameError, FramePiece, Header, PartialFrame, Speaker, SqlState,
        TransactionStatus,
        backend::{self, ParameterStatus},
        tag::backend as b,
    },
};

/// Maximum length of an internal response; a larger response cannot be a setting allowed in a session.
const ANSWER_MAX: usize = SETTINGS_MAX_BYTES + 4096;

impl Pooled {
    /// Processes the backend's next bytes, as [`crate::session::Session::on_backend`].
    pub(in crate::session) fn on_backend(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<ConsumedInput, FrameError> {
        let mut at = 0;
        loop {
            if self.conversation.is_server_at_boundary() && !self.conversation.queue().is_own() {
                at += self.pass_rows(&unread[at..]);
            }
            if self.holds_back() && !self.decide_on_opening(&unread[at..], full && at == 0) {
                break;
            }
            let Some(piece) = self.conversation.next_of_server(&unread[at..])? else { break };
            if let FramePiece::Partial(part) = &piece
                && self.awaits_whole(part.tag())
                && !(full && at == 0)
            {
                break;
            }
            let pass = self.on_piece(now, &piece, &unread[at..]);
            let pass = self.end_on(pass).unwrap_or(false);
            let bytes = self.conversation.pass_server_piece(&piece);
            // More is known than before.
            self.request.end_await();
            if !pass {
                self.settle();
                return Ok(ConsumedInput { forward: at, discard: bytes });
            }
            at += bytes;
        }
        self.settle();
        Ok(ConsumedInput { forward: at, discard: 0 })
    }

    /// Count of bytes of rows and COPY data at the beginning of `unread`, which pass unchanged.
    fn pass_rows(&mut self, unread: &[u8]) -> usize {
        let rows = wire::leading_run(Speaker::Server, b::DATA_ROW, unread).bytes;
        let rows = rows + wire::leading_run(Speaker::Server, b::COPY_DATA, &unread[rows..]).bytes;
        if rows > 0
            && let Some(router) = &mut self.router
        {
            router.note_rows();
        }
        rows
    }

    /// True if a message with `tag` is processed only once it is complete, as far as the buffer allows.
    fn awaits_whole(&self, tag: u8) -> bool {
        self.is_ours(tag)
            || is_understood(tag)
            // The session outlives the loss of a backend only between two messages of the server.
            || (self.router.is_some() && is_row(tag))
            // The result description is kept.
            || (tag == b::ROW_DESCRIPTION && self.conversation.queue().learns_result())
    }

    /// Handles a message, or a part of it, at the beginning of `unread`; true if the client must see it.
    fn on_piece(
        &mut self,
        now: Instant,
        piece: &FramePiece<'_>,
        unread: &[u8],
    ) -> Result<bool, InternalError> {
        match piece {
            FramePiece::Whole(frame) => self.on_server_message(now, frame),
            FramePiece::Rest(here) if self.outgoing.keeps_back() => {
                self.keep_back(now, &unread[..*here])?;
                Ok(false)
            }
            FramePiece::Partial(part) if self.is_ours(part.tag()) || is_understood(part.tag()) => {
                self.on_large_server_message(now, part, unread)
            }
            // A RowDescription with more columns than any buffer holds.
            FramePiece::Partial(part) if part.tag() == b::ROW_DESCRIPTION => {
                Ok(self.on_batch_step_complete(part.tag(), b""))
            }
            FramePiece::Partial(part) => {
                if let Some(router) = self.router.as_mut().filter(|_| is_row(part.tag())) {
                    router.note_rows();
                }
                Ok(true)
            }
            FramePiece::Rest(_) => Ok(true),
        }
    }

    /// True if the response to a unit that is kept for a replay is held back until it is known what it is.
    fn holds_back(&self) -> bool {
        let held = self.backend.held().filter(|_| self.router.is_some());
        held.is_some_and(|held| held.replay_buffer().is_repeatable())
            && self.conversation.is_server_at_boundary()
            && !self.conversation.queue().is_own()
            && self.conversation.is_client_at_boundary()
    }

    /// Handles the beginning of a response to a unit that is kept for a replay: forwards it, or begins the replay. False until
    /// the beginning tells. `stuck`: no more of the response will be here.
    fn decide_on_opening(&mut self, unread: &[u8], stuck: bool) -> bool {
        let side = if self.is_on_reader() { RouteSide::Reader } else { RouteSide::Writer };
        let opening =
            self.backend.held().map(|held| ResponseOpening::read(held.replay_buffer(), side, unread, stuck));
        match opening {
            None | Some(ResponseOpening::Unknown) => return false,
            Some(ResponseOpening::Refused(why)) if self.is_on_reader() || self.can_replay_writer_reads() => {
                self.repeat(RouteReason::Rerun(why));
            }
            Some(ResponseOpening::Refused(_) | ResponseOpening::Answer) => self.note_answered(),
            Some(ResponseOpening::Prepared) => self.with_attempt(ReplayBuffer::prepared),
        }
        true
    }

    /// Notes the beginning of the response to the first unit that is kept for a replay.
    fn note_answered(&mut self) {
        let is_last = self.backend.held().is_some_and(|held| held.replay_buffer().is_single());
        self.with_attempt(ReplayBuffer::answered);
        if let Some(split) = self.router.as_deref_mut().filter(|_| is_last) {
            split.replay_mut().on_answered();
        }
    }

    /// Handles the beginning of a message with a meaning for the session, larger than any buffer; true if the client
    /// must see the message.
    fn on_large_server_message(
        &mut self,
        now: Instant,
        part: &PartialFrame,
        unread: &[u8],
    ) -> Result<bool, InternalError> {
        let here = unread.get(..part.here()).unwrap_or_default();
        if self.is_ours(part.tag()) || part.tag() == b::PARAMETER_STATUS {
            self.begin_keeping_back(part.total(), here);
            return Ok(false);
        }
        let body = here.get(Header::BYTES..).unwrap_or_default();
        let passes = part.tag() != b::ERROR_RESPONSE || self.on_server_error(now, body)?;
        Ok(passes && !self.is_rewritten(part.tag(), body, part.missing()))
    }

    /// True if a message with `tag` answers an internal request.
    fn is_ours(&self, tag: u8) -> bool {
        let describes = matches!(tag, b::ROW_DESCRIPTION | b::PARAMETER_DESCRIPTION);
        self.conversation.queue().is_own() || (describes && self.conversation.queue().describes_for_us())
    }

    /// Starts to keep back a message larger than any buffer: the response to a state query, or a reported setting.
    /// `here` is the beginning. The complete message is read unless too large.
    fn begin_keeping_back(&mut self, total: usize, here: &[u8]) {
        let missing = total - here.len();
        let tag = here.first().copied().unwrap_or_default();
        let fits = total <= ANSWER_MAX;
        if !fits && let Some(own) = self.conversation.queue_mut().own() {
            own.on_too_large(tag);
        }
        let kept = if fits {
            PartialMessage::new(tag, here, missing)
        } else {
            PartialMessage::skipped(tag, missing)
        };
        self.outgoing.keep_back(kept);
    }

    /// Keeps back the next part of the message.
    fn keep_back(&mut self, now: Instant, here: &[u8]) -> Result<(), InternalError> {
        if let Some(kept) = self.outgoing.keep_more(here)
            && let Ok(Some(frame)) = Frame::read(Speaker::Server, kept.bytes())
            && self.on_server_message(now, &frame)?
        {
            self.outgoing.client().extend_from_slice(kept.bytes());
        }
        Ok(())
    }

    /// A message of the backend; whether the client is to see it.
    fn on_server_message(&mut self, now: Instant, frame: &Frame<'_>) -> Result<bool, InternalError> {
        match frame.tag() {
            b::PARAMETER_STATUS => return Ok(self.on_parameter(frame.body())),
            b::ERROR_RESPONSE => {
                return Ok(self.on_server_error(now, frame.body())?
                    && !self.is_rewritten(b::ERROR_RESPONSE, frame.body(), 0));
            }
            b::NOTICE_RESPONSE if !self.conversation.queue().is_own() => {
                // A server that crashes says so with a warning.
                let state = ErrorFields::new(frame.body()).sqlstate();
                if state.is_some_and(|state| self.hides_fatal(state)) {
                    return Ok(false);
                }
                return Ok(!self.is_rewritten(b::NOTICE_RESPONSE, frame.body(), 0));
            }
            b::NOTIFICATION_RESPONSE => return Ok(self.on_notification(frame.body())),
            _ => {}
        }
        if self.conversation.queue().is_own() {
            self.on_own_answer(now, frame)?;
            return Ok(false);
        }
        self.cleanup.on_response(self.conversation.queue_mut().take_side_effects());
        match frame.tag() {
            b::PARSE_COMPLETE | b::CLOSE_COMPLETE | b::BIND_COMPLETE | b::ROW_DESCRIPTION | b::NO_DATA => {
                return Ok(self.on_batch_step_complete(frame.tag(), frame.body()));
            }
            b::PARAMETER_DESCRIPTION => return Ok(!self.conversation.queue().describes_for_us()),
            b::READY_FOR_QUERY => return self.on_ready(now, frame),
            b::COMMAND_COMPLETE => {
                if is_load(frame) {
                    self.cleanup.note_library();
                }
                self.on_command_complete(frame.body())?;
                if self.conversation.queue().is_leading_back() {
                    self.startup.note_reset(self.conversation.queue().led_back_by_execute());
                }
            }
            _ => {}
        }
        self.conversation.on_answer(now, frame);
        Ok(true)
    }

    /// ReadyForQuery, for the client; whether the client is to see it now.
    fn on_ready(&mut self, now: Instant, frame: &Frame<'_>) -> Result<bool, InternalError> {
        let led = self.conversation.queue().led_back_by_query();
        self.batch.on_ready();
        self.conversation.on_answer(now, frame);
        if self.conversation.status() == TransactionStatus::Idle {
            self.cleanup.on_transaction_over();
        }
        self.on_unit_over(now);
        self.follow_transaction()?;
        // The client gets ReadyForQuery after the settings are applied again.
        Ok(!self.apply_again(&led)? && !self.send_withheld_reports())
    }

    /// Forgets the id of a transaction that is over, or asks for the id of one that has begun to change rows.
    fn follow_transaction(&mut self) -> Result<(), InternalError> {
        match &mut self.commits {
            Some(commits) if self.conversation.status() != TransactionStatus::Open => commits.forget_id(),
            Some(commits) if commits.id() == TransactionId::Wanted => {
                if let Some(mut commits) = CommitRequests::of(self)? {
                    commits.ask_early();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Applies `reset` settings again, ahead of ReadyForQuery; false if there is nothing to apply.
    fn apply_again(&mut self, reset: &[SettingReset]) -> Result<bool, InternalError> {
        let is_sent = !reset.is_empty() && SettingRequests::of(self)?.apply_again_synced(reset);
        if is_sent {
            self.backend.on(BackendEvent::SettingsSent)?;
        }
        Ok(is_sent)
    }

    /// Sends the withheld reports to the client, with ReadyForQuery behind them; false if there is nothing to report.
    pub(super) fn send_withheld_reports(&mut self) -> bool {
        let mut has_reported = false;
        for name in self.startup.take_withheld() {
            let reported = self.backend.held().and_then(|held| held.reported().get(&name));
            if let Some(value) = reported
                && self.settings.set_reported(&name, value)
            {
                ParameterStatus { name: &name, value }.write(self.outgoing.client());
                has_reported = true;
            }
        }
        if has_reported {
            self.learn();
            backend::write_ready_for_query(self.outgoing.client(), self.conversation.status());
        }
        has_reported
    }

    /// True if an ErrorResponse or NoticeResponse names a shared statement; the client gets the message with the
    /// client's own statement name. The `missing` bytes of the body are still to come, and pass unchanged.
    fn is_rewritten(&mut self, tag: u8, body: &[u8], missing: usize) -> bool {
        if !matches!(tag, b::ERROR_RESPONSE | b::NOTICE_RESPONSE) {
            return false;
        }
        let (statements, queue) = (&self.statements, &self.conversation.queue());
        let own = |id| statements.name_of(id).or_else(|| queue.name_being_closed(id));
        let replaced = self.backend.held().and_then(|held| held.statements().stem().replace(body, own));
        if let Some(replaced) = &replaced {
            let length = u32::try_from(Header::BYTES - 1 + replaced.len() + missing).unwrap_or(u32::MAX);
            let to_client = self.outgoing.client();
            to_client.push(tag);
            to_client.extend_from_slice(&length.to_be_bytes());
            to_client.extend_from_slice(replaced);
        }
        replaced.is_some()
    }

    fn with_attempt(&mut self, change: impl FnOnce(&mut ReplayBuffer)) {
        if let Some(held) = self.backend.held_mut() {
            change(held.replay_buffer_mut());
        }
    }

    /// ReadyForQuery: a unit is over, and with it perhaps a transaction that has written.
    fn on_unit_over(&mut self, now: Instant) {
        if let Some(split) = self.router.as_deref_mut() {
            split.on_unit_over(now, self.conversation.status(), self.conversation.queue().is_settled());
            let is_rest = !split.is_on_reader() && self.conversation.queue().owes_client_nothing();
            // Without pending responses no unit is left, whatever the server has made of COPY data.
            self.with_attempt(if is_rest { ReplayBuffer::forget } else { ReplayBuffer::over });
        }
    }

    /// Handles the response to a step of a batch; true if the client must see the response.
    fn on_batch_step_complete(&mut self, tag: u8, body: &[u8]) -> bool {
        let step = self.conversation.on_step_complete(tag);
        let mut made = |id| {
            if let Some(held) = self.backend.held_mut() {
                held.statements_mut().made(id);
            }
        };
        match step {
            Some(PendingRequest::Parse { made: ParseOrigin::Named(statement), .. }) => {
                made(statement.id());
                // Within a transaction its own definitions and settings count, and nobody else has those.
                if self.conversation.status() == TransactionStatus::Idle {
                    statement.accept(self.database.circumstances(self.settings.values()));
                }
            }
            Some(PendingRequest::Parse { made: ParseOrigin::Proxy(statement), .. }) => {
                made(statement.id());
                return false;
            }
            Some(PendingRequest::Close { closed: CloseOrigin::Proxy(id), .. }) => {
                if let Some(held) = self.backend.held_mut() {
                    held.statements_mut().closed(id);
                }
                return false;
            }
            Some(
                PendingRequest::Parse { made: ParseOrigin::ProxyUnnamed | ParseOrigin::Rename, .. }
                | PendingRequest::Close { closed: CloseOrigin::Rename, .. },
            ) => return false,
            // A table change adds no result to a statement without a result.
            Some(PendingRequest::Describe(Described::Learned(id) | Described::LearnedByPortal(id)))
                if tag == b::ROW_DESCRIPTION =>
            {
                if let Some(shape) = ResultShape::told_by(tag, body) {
                    self.note_shape(id, shape);
                    self.statements.note_described(id, shape);
                }
            }
            Some(PendingRequest::Describe(Described::Ours(id))) => {
                if let Some(shape) = ResultShape::told_by(tag, body) {
                    self.note_shape(id, shape);
                }
                self.statements.set_shape_check(ShapeCheck::Answered);
                return false;
            }
            _ => {}
        }
        true
    }

    /// Notes the result of a prepared statement, described by the held backend.
    fn note_shape(&mut self, id: u64, shape: ResultShape) {
        if let Some(held) = self.backend.held_mut() {
            held.statements_mut().described(id, shape);
        }
    }

    /// Forgets state removed by a completed command. Later messages are sent only after the removal is recorded.
    fn on_command_complete(&mut self, body: &[u8]) -> Result<(), InternalError> {
        self.batch.on_command_complete(body);
        if body.first() != Some(&b'D') {
            return Ok(());
        }
        let by_same = self.conversation.queue().effects_now();
        let in_batch = self.conversation.is_in_batch() && self.conversation.queue().is_resetting_by_execute();
        let held = self.backend.held_mut().ok_or(InternalError::NoBackend)?;
        match body.split(|byte| *byte == 0).next().unwrap_or_default() {
            b"DISCARD ALL" => {
                held.on_discard_all();
                self.statements.clear();
                self.cleanup.on_discard_all();
                self.settings.on_discard_all(self.startup.values());
                self.startup.on_discard_all(in_batch);
            }
            b"DEALLOCATE ALL" => {
                held.statements_mut().clear();
                self.statements.clear();
                self.cleanup.unpin(Pin::SqlExecute);
            }
            b"DEALLOCATE" => {
                if let Some(name) = self.conversation.queue_mut().take_deallocated() {
                    self.statements.remove(&name);
                    self.statements.forget_on_backend(&name);
                }
            }
            // Another statement of the same Query may have moved a sequence since.
            b"DISCARD SEQUENCES" if !by_same.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) => {
                self.cleanup.unpin(Pin::Sequence);
            }
            _ => {}
        }
        Ok(())
    }

    /// Handles NotificationResponse; true if the message passes unchanged. A notification from the session itself gets
    /// the process id known to the client.
    fn on_notification(&mut self, body: &[u8]) -> bool {
        let (own, client_pid) = (self.process_ids.backend_pid, self.process_ids.client_pid);
        let own = body.split_first_chunk().filter(|(pid, _)| i32::from_be_bytes(**pid) == own);
        if let Some((_, rest)) = own {
            wire::write_frame(self.outgoing.client(), b::NOTIFICATION_RESPONSE, |out| {
                out.extend_from_slice(&client_pid.to_be_bytes());
                out.extend_from_slice(rest);
            });
        }
        own.is_none()
    }

    /// A setting was reported; whether that is news to the client. A malformed report passes.
    fn on_parameter(&mut self, body: &[u8]) -> bool {
        ParameterStatus::decode(body).map_or(true, |status| self.on_report(&status))
    }

    fn on_report(&mut self, status: &ParameterStatus<'_>) -> bool {
        let held = self.backend.held_mut();
        let is_default = held.is_some_and(|held| held.note_report(status.name, status.value));
        if status.name == IN_HOT_STANDBY && self.is_on_reader() {
            // The client sees one server, which takes writes.
            return false;
        }
        let applies = matches!(self.conversation.queue_mut().own(), Some(ProxyBatch::Apply { .. }));
        if self.startup.withholds_report(status.name, applies) {
            return false;
        }
        let startup = self.startup.values();
        match self.settings.on_report(status.name, status.value, is_default, startup) {
            SettingReport::Forward => {
                self.learn();
                true
            }
            SettingReport::Known => false,
            SettingReport::Replace(value) => {
                ParameterStatus { name: status.name, value: &value }.write(self.outgoing.client());
                self.learn();
                false
            }
        }
    }

    /// An ErrorResponse; whether the client is to see it.
    fn on_server_error(&mut self, now: Instant, body: &[u8]) -> Result<bool, InternalError> {
        let fault = ErrorFields::new(body);
        let state = fault.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR);
        if fault.is_fatal() && !matches!(self.conversation.queue_mut().own(), Some(ProxyBatch::Dropped)) {
            self.conversation.end_by_server(state);
            // No client hears it of a read pool's backend that can be done without: one that answers what the session asks
            // ahead of a read, which then runs again, or one that is about to be given back while a write waits for the writer.
            return Ok(!self.can_lose_backend() && !self.hides_fatal(state));
        }
        // Within the client's batch, an error there is the client's: a cancellation, say.
        if let Some(own) = self.conversation.queue_mut().own()
            && !matches!(own, ProxyBatch::SequencesWithin { .. } | ProxyBatch::CommitIdWithin { .. })
        {
            own.on_error(state);
            if matches!(own, ProxyBatch::Again { .. } | ProxyBatch::AgainWithin { .. }) {
                self.conversation.end_with(ClientError::settings_lost(state));
            }
            return Ok(false);
        }
        let refused = self.conversation.queue().refused().map(|report| {
            report.write(self.outgoing.client());
            report.sqlstate
        });
        self.on_request_failed(now, refused.unwrap_or(state))?;
        // The plan of a shared statement may be out of date, or the statement gone: it is made anew when it is used next.
        if refused.is_none()
            && (state == SqlState::FEATURE_NOT_SUPPORTED || state == SqlState::INVALID_STATEMENT_NAME)
            && let Some(held) = self.backend.held_mut()
        {
            held.statements_mut().doubt(self.statements.last_used());
        }
        Ok(refused.is_none())
    }

    /// The request answered now has failed, with all that the server skips behind it.
    fn on_request_failed(&mut self, now: Instant, state: SqlState) -> Result<(), InternalError> {
        let failed = self.conversation.queue().statement_being_bound().map(Into::into);
        self.statements.note_failed(failed);
        let side_effects = self.conversation.queue_mut().take_side_effects();
        if state == SqlState::IN_FAILED_TRANSACTION && self.conversation.status() == TransactionStatus::Failed
        {
            self.cleanup.on_refused(side_effects);
        } else {
            self.cleanup.on_response(side_effects);
        }
        let mut skipped = Vec::new();
        self.conversation.fail_request(now, state, &mut skipped);
        self.undo(skipped)?;
        self.cleanup.on_error();
        Ok(())
    }

    /// Undoes requests that the server never got to, the last one first.
    pub(super) fn undo(&mut self, skipped: Vec<PendingRequest>) -> Result<(), InternalError> {
        if !skipped.is_empty() {
            let mut requests = Requests::of(self)?;
            skipped.into_iter().rev().for_each(|request| requests.undo(request));
        }
        Ok(())
    }
}

/// True for a row, or COPY data.
const fn is_row(tag: u8) -> bool {
    matches!(tag, b::DATA_ROW | b::COPY_DATA)
}

/// Whether a message of the server that may come in parts means something to a session that shares backends.
fn is_understood(tag: u8) -> bool {
    understood(tag) || matches!(tag, b::PARAMETER_STATUS | b::NOTICE_RESPONSE | b::NOTIFICATION_RESPONSE)
}
