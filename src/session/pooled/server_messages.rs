//! What a session that shares backends does with its backend's messages, and what it wants to know once a transaction is
//! over.

use std::{sync::Arc, time::Instant};

use crate::session::{
    conversation::understood,
    pin::Pin,
    pooled::replaying::Opening,
    pooled::{BackendEvent, PartialMessage, Pooled, SettingReport, SettleContext, SettleStep, ShapeCheck},
    proxy_batch::{self, ProxyBatch, SESSION_AUTHORIZATION, StateQuery, StateReport},
    refusal::Refusal,
    reported::IN_HOT_STANDBY,
    response_queue::{CloseOrigin, Described, ParseOrigin, PendingRequest},
    result_shape::ResultShape,
    settings::{SETTINGS_MAX_BYTES, Settings},
    split::ReplayBuffer,
    take::Take,
};
use crate::{
    route::{RerunCause, RouteReason, RouteSide},
    sql::{self, Effects},
    wire::{
        self, ErrorFields, Frame, FrameError, FramePiece, Header, PartialFrame, Speaker, SqlState,
        TransactionStatus,
        backend::{self, ParameterStatus},
        frontend,
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
    ) -> Result<Take, FrameError> {
        let mut at = 0;
        loop {
            if self.conversation.server.at_boundary() && !self.conversation.queue.is_own() {
                at += wire::leading_run(Speaker::Server, b::DATA_ROW, &unread[at..]).bytes;
                at += wire::leading_run(Speaker::Server, b::COPY_DATA, &unread[at..]).bytes;
            }
            if self.holds_back() && !self.decide_on_opening(&unread[at..], full && at == 0) {
                break;
            }
            let Some(piece) = self.conversation.server.next(&unread[at..])? else { break };
            let pass = match &piece {
                FramePiece::Rest(here) if self.outgoing.keeps_back() => {
                    self.keep_back(now, &unread[at..at + here]);
                    false
                }
                FramePiece::Whole(frame) => self.on_server_message(now, frame),
                FramePiece::Partial(part) if self.is_ours(part.tag()) || is_understood(part.tag()) => {
                    if !(full && at == 0) {
                        break;
                    }
                    self.on_large_server_message(now, part, unread)
                }
                // Wait for the whole message: the result description is kept.
                FramePiece::Partial(part)
                    if part.tag() == b::ROW_DESCRIPTION
                        && self.conversation.queue.learns_result()
                        && !(full && at == 0) =>
                {
                    break;
                }
                // A RowDescription with more columns than any buffer holds.
                FramePiece::Partial(part) if part.tag() == b::ROW_DESCRIPTION => {
                    self.on_batch_step_complete(part.tag(), b"")
                }
                FramePiece::Partial(_) | FramePiece::Rest(_) => true,
            };
            let bytes = self.conversation.server.pass(&piece);
            self.answered();
            if !pass {
                self.settle();
                return Ok(Take { pass: at, drop: bytes });
            }
            at += bytes;
        }
        self.settle();
        Ok(Take { pass: at, drop: 0 })
    }

    /// Handles the beginning of a response to a unit on a read pool: forwards it, or begins a replay. False until the
    /// beginning tells. `stuck`: no more of the response will be here.
    fn decide_on_opening(&mut self, unread: &[u8], stuck: bool) -> bool {
        match self.opening(unread, stuck) {
            Opening::Unknown => return false,
            Opening::Refused(why) => self.repeat(RouteReason::Rerun(why)),
            Opening::Answer => {
                self.with_attempt(ReplayBuffer::answered);
                if let Some(split) = self.router.as_deref_mut() {
                    split.replay.on_answered();
                }
            }
            Opening::Prepared => self.with_attempt(ReplayBuffer::prepared),
        }
        true
    }

    /// Handles the beginning of a message with a meaning for the session, larger than any buffer; true if the client
    /// must see the message.
    fn on_large_server_message(&mut self, now: Instant, part: &PartialFrame, unread: &[u8]) -> bool {
        let here = unread.get(..part.here()).unwrap_or_default();
        if self.is_ours(part.tag()) || part.tag() == b::PARAMETER_STATUS {
            self.begin_keeping_back(part.total(), here);
            return false;
        }
        let body = here.get(Header::BYTES..).unwrap_or_default();
        let passes = part.tag() != b::ERROR_RESPONSE || self.on_server_error(now, body);
        passes && !self.is_rewritten(part.tag(), body, part.missing())
    }

    /// More is known than before.
    fn answered(&mut self) {
        self.request.set_awaits_responses(false);
    }

    /// True if a message with `tag` answers an internal request.
    fn is_ours(&self, tag: u8) -> bool {
        let describes = matches!(tag, b::ROW_DESCRIPTION | b::PARAMETER_DESCRIPTION);
        self.conversation.queue.is_own() || (describes && self.conversation.queue.describes_for_us())
    }

    /// Starts to keep back a message larger than any buffer: the response to a state query, or a reported setting.
    /// `here` is the beginning. The complete message is read unless too large.
    fn begin_keeping_back(&mut self, total: usize, here: &[u8]) {
        let missing = total - here.len();
        let tag = here.first().copied().unwrap_or_default();
        let fits = total <= ANSWER_MAX;
        if !fits && let Some(own) = self.conversation.queue.own() {
            own.on_too_large(tag);
        }
        let bytes = if fits { here.to_vec() } else { Vec::new() };
        self.outgoing.keep_back(PartialMessage { tag, bytes, missing });
    }

    /// Keeps back the next part of the message.
    fn keep_back(&mut self, now: Instant, here: &[u8]) {
        if let Some(kept) = self.outgoing.keep_more(here)
            && let Ok(Some(frame)) = Frame::read(Speaker::Server, &kept.bytes)
            && self.on_server_message(now, &frame)
        {
            self.outgoing.client().extend_from_slice(&kept.bytes);
        }
    }

    /// A message of the backend; whether the client is to see it.
    fn on_server_message(&mut self, now: Instant, frame: &Frame<'_>) -> bool {
        match frame.tag() {
            b::PARAMETER_STATUS => return self.on_parameter(frame.body()),
            b::ERROR_RESPONSE => {
                return self.on_server_error(now, frame.body())
                    && !self.is_rewritten(b::ERROR_RESPONSE, frame.body(), 0);
            }
            b::NOTICE_RESPONSE if !self.conversation.queue.is_own() => {
                return !self.is_rewritten(b::NOTICE_RESPONSE, frame.body(), 0);
            }
            b::NOTIFICATION_RESPONSE => return self.on_notification(frame.body()),
            _ => {}
        }
        if let Some(own) = self.conversation.queue.own() {
            match frame.tag() {
                b::READY_FOR_QUERY => {
                    self.on_proxy_batch_ready();
                    self.undo_what_was_begun(frame.body());
                }
                _ => {
                    own.on_answer(frame);
                    if own.is_over() {
                        self.on_proxy_batch_ready();
                    }
                }
            }
            return false;
        }
        self.cleanup.on_response(self.conversation.queue.take_side_effects());
        match frame.tag() {
            b::PARSE_COMPLETE | b::CLOSE_COMPLETE | b::BIND_COMPLETE | b::ROW_DESCRIPTION | b::NO_DATA => {
                self.on_batch_step_complete(frame.tag(), frame.body())
            }
            b::PARAMETER_DESCRIPTION => !self.conversation.queue.describes_for_us(),
            b::READY_FOR_QUERY => {
                let led = self.conversation.queue.led_back_by_query();
                self.conversation.on_answer(now, frame);
                self.on_unit_over(now);
                // The client gets ReadyForQuery after the settings are applied again.
                (led.is_empty() || !self.give_again(&led, true)) && !self.send_withheld_reports()
            }
            b::COMMAND_COMPLETE => {
                self.on_command_complete(frame.body());
                if self.conversation.queue.is_leading_back() {
                    self.settings.startup.note_reset(self.conversation.queue.led_back_by_execute());
                }
                self.conversation.on_answer(now, frame);
                true
            }
            _ => {
                self.conversation.on_answer(now, frame);
                true
            }
        }
    }

    /// True if an ErrorResponse or NoticeResponse names a shared statement; the client gets the message with the
    /// client's own statement name. The `missing` bytes of the body are still to come, and pass unchanged.
    fn is_rewritten(&mut self, tag: u8, body: &[u8], missing: usize) -> bool {
        if !matches!(tag, b::ERROR_RESPONSE | b::NOTICE_RESPONSE) {
            return false;
        }
        let Some(held) = self.backend.held() else { return false };
        let (statements, to_client) = (&self.statements, self.outgoing.client());
        let own = |id| statements.name_of(id).or_else(|| self.conversation.queue.name_being_closed(id));
        let Some(replaced) = held.prepared.stem().replace(body, own) else { return false };
        let Ok(length) = u32::try_from(Header::BYTES - 1 + replaced.len() + missing) else { return false };
        to_client.push(tag);
        to_client.extend_from_slice(&length.to_be_bytes());
        to_client.extend_from_slice(&replaced);
        true
    }

    fn with_attempt(&mut self, change: impl FnOnce(&mut ReplayBuffer)) {
        if let Some(held) = self.backend.held_mut() {
            change(&mut held.attempt);
        }
    }

    /// ReadyForQuery: a unit is over, and with it perhaps a transaction that has written.
    fn on_unit_over(&mut self, now: Instant) {
        let (idle, settled) =
            (self.conversation.status == TransactionStatus::Idle, self.conversation.queue.is_settled());
        let Some(split) = self.router.as_deref_mut() else { return };
        if split.side == RouteSide::Reader {
            if settled {
                split.lookahead.on_settled();
            }
            if settled && let Some(opening) = &mut split.opening {
                opening.settle(self.conversation.status == TransactionStatus::Failed);
            }
            if let Some(held) = self.backend.held_mut() {
                held.attempt.over();
            }
        } else if split.writing && idle {
            split.raise_floor(now);
            // What was said behind it may write, too.
            split.writing = !settled;
        }
    }

    /// Handles the response to a step of a batch; true if the client must see the response.
    fn on_batch_step_complete(&mut self, tag: u8, body: &[u8]) -> bool {
        let step = self.conversation.on_step_complete(tag);
        let mut made = |id| {
            if let Some(held) = self.backend.held_mut() {
                held.prepared.made(id);
            }
        };
        match step {
            Some(PendingRequest::Parse { made: ParseOrigin::Named(statement), .. }) => {
                made(statement.id());
                // Within a transaction its own definitions and settings count, and nobody else has those.
                if self.conversation.status == TransactionStatus::Idle {
                    statement.accept(self.common.circumstances(self.settings.values()));
                }
            }
            Some(PendingRequest::Parse { made: ParseOrigin::Proxy(statement), .. }) => {
                made(statement.id());
                return false;
            }
            Some(
                PendingRequest::Parse { made: ParseOrigin::ProxyUnnamed | ParseOrigin::Rename, .. }
                | PendingRequest::Close { closed: CloseOrigin::Proxy(_) | CloseOrigin::Rename, .. },
            ) => return false,
            // A table change adds no result to a statement without a result.
            Some(PendingRequest::Describe(Described::Learned(id))) if tag == b::ROW_DESCRIPTION => {
                if let Some(shape) = ResultShape::told_by(tag, body) {
                    self.described(id, shape);
                    self.statements.note_described(id, shape);
                }
            }
            Some(PendingRequest::Describe(Described::Ours(id))) => {
                if let Some(shape) = ResultShape::told_by(tag, body) {
                    self.described(id, shape);
                }
                self.statements.set_shape_check(ShapeCheck::Answered);
                return false;
            }
            _ => {}
        }
        true
    }

    /// Forgets state removed by a completed command. Later messages are sent only after the removal is recorded.
    fn on_command_complete(&mut self, body: &[u8]) {
        if body.first() != Some(&b'D') {
            return;
        }
        let by_same = self.conversation.queue.effects_now();
        let in_batch = self.conversation.in_batch && self.conversation.queue.is_resetting_by_execute();
        let Some(held) = self.backend.held_mut() else { return self.miss_backend() };
        match body.split(|byte| *byte == 0).next().unwrap_or_default() {
            b"DISCARD ALL" => {
                held.prepared.clear();
                held.settings = Settings::default();
                self.statements.clear();
                self.cleanup.on_discard_all();
                self.settings.on_discard_all(in_batch);
            }
            b"DEALLOCATE ALL" => {
                held.prepared.clear();
                self.statements.clear();
                self.cleanup.unpin(Pin::SqlExecute);
            }
            // Another statement of the same Query may have moved a sequence since.
            b"DISCARD SEQUENCES" if !by_same.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) => {
                self.cleanup.unpin(Pin::Sequence);
            }
            _ => {}
        }
    }

    /// Handles NotificationResponse; true if the message passes unchanged. A notification from the session itself gets
    /// the process id known to the client.
    fn on_notification(&mut self, body: &[u8]) -> bool {
        let Some((pid, rest)) = body.split_first_chunk() else { return true };
        if i32::from_be_bytes(*pid) != self.process_ids.backend_pid {
            return true;
        }
        let pid = self.process_ids.told_pid.to_be_bytes();
        wire::write_frame(self.outgoing.client(), b::NOTIFICATION_RESPONSE, |out| {
            out.extend_from_slice(&pid);
            out.extend_from_slice(rest);
        });
        false
    }

    /// A setting was reported; whether that is news to the client.
    fn on_parameter(&mut self, body: &[u8]) -> bool {
        let Ok(status) = ParameterStatus::decode(body) else { return true };
        let mut is_default = false;
        if let Some(held) = self.backend.held_mut() {
            held.reported.set(status.name, status.value);
            is_default = held.reported.at_login(status.name) == Some(status.value);
        }
        if status.name == IN_HOT_STANDBY
            && self.router.as_ref().is_some_and(|split| split.side == RouteSide::Reader)
        {
            // The client sees one server, which takes writes.
            return false;
        }
        let applies = matches!(self.conversation.queue.own(), Some(ProxyBatch::Apply { .. }));
        if self.settings.startup.withholds_report(status.name, applies) {
            return false;
        }
        match self.settings.on_report(status.name, status.value, is_default) {
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
    fn on_server_error(&mut self, now: Instant, body: &[u8]) -> bool {
        let fault = ErrorFields::new(body);
        let mut state = fault.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR);
        if fault.is_fatal() && !matches!(self.conversation.queue.own(), Some(ProxyBatch::Dropped)) {
            self.conversation.fatal = Some(state);
            // No client hears it of a read pool's backend that can be done without: one that answers what the session asks
            // ahead of a read, which then runs again, or one that is about to be given back while a write waits for the writer.
            return !self.can_lose_backend();
        }
        // Within the client's batch, an error there is the client's: a cancellation, say.
        if let Some(own) = self.conversation.queue.own()
            && !matches!(own, ProxyBatch::SequencesWithin { .. })
        {
            own.on_error(state);
            if matches!(own, ProxyBatch::Again { .. }) {
                self.conversation.broken = Some(Refusal::settings_lost(state));
            }
            return false;
        }
        let refused = self.conversation.queue.refused();
        let passes = refused.is_none();
        if let Some(report) = refused {
            state = report.sqlstate;
            report.write(self.outgoing.client());
        }
        let failed = self.conversation.queue.statement_being_bound().map(Into::into);
        self.statements.note_failed(failed);
        let side_effects = self.conversation.queue.take_side_effects();
        if state == SqlState::IN_FAILED_TRANSACTION && self.conversation.status == TransactionStatus::Failed {
            self.cleanup.on_refused(side_effects);
        } else {
            self.cleanup.on_response(side_effects);
        }
        let mut skipped = Vec::new();
        let texts = self.conversation.text_capture.as_deref().map(|text_capture| &text_capture.texts);
        self.conversation.reports.extend(self.conversation.queue.on_error(now, state, texts, &mut skipped));
        for request in skipped.into_iter().rev() {
            self.undo(request);
        }
        self.cleanup.on_error();
        // The plan of a shared statement may be out of date, or the statement gone: it is made anew when it is used next.
        if passes
            && (state == SqlState::FEATURE_NOT_SUPPORTED || state == SqlState::INVALID_STATEMENT_NAME)
            && let Some(held) = self.backend.held_mut()
        {
            held.prepared.doubt(self.statements.last_used());
        }
        passes
    }

    /// A batch of our own is over.
    fn on_proxy_batch_ready(&mut self) {
        let Some(own) = self.conversation.queue.take_own() else { return };
        let Some(held) = self.backend.held_mut() else { return self.miss_backend() };
        own.settle(&self.common.internal_statements, &mut held.prepared);
        match own {
            ProxyBatch::Apply { wanted, failed: None } => {
                held.settings = wanted;
                self.on_backend_event(BackendEvent::Answered);
            }
            // All of it is undone, and the backend has what it had. A standby may not know the role yet.
            ProxyBatch::Apply { failed: Some(state), .. } => {
                self.on_backend_event(BackendEvent::Answered);
                match self.router.as_deref() {
                    Some(split) if split.side == RouteSide::Reader => {
                        self.repeat(RouteReason::Rerun(RerunCause::StandbyRefused));
                    }
                    _ => self.conversation.broken = Some(Refusal::settings_lost(state)),
                }
            }
            ProxyBatch::Again { synced: true, .. } => {
                self.on_backend_event(BackendEvent::Answered);
                if !self.send_withheld_reports() {
                    backend::write_ready_for_query(self.outgoing.client(), self.conversation.status);
                }
            }
            ProxyBatch::StateCheck(look) if look.too_large => {
                self.conversation.broken = Some(Refusal::settings_too_large())
            }
            ProxyBatch::StateCheck(look) if look.is_answered() => {
                self.on_backend_event(BackendEvent::Answered);
                self.on_state_report(look.seen);
            }
            ProxyBatch::StateCheck(look) => {
                self.on_backend_event(BackendEvent::Answered);
                self.cleanup.on_check_failed(&look);
            }
            // Without it the client's statements would each be a transaction of their own.
            ProxyBatch::Begin { failed: true } => {
                self.conversation.broken = Some(Refusal::transaction_lost())
            }
            ProxyBatch::Position { required, replayed } => self.on_position(required, replayed),
            ProxyBatch::Again { .. }
            | ProxyBatch::Begin { failed: false }
            | ProxyBatch::Sequences
            | ProxyBatch::SequencesWithin { .. }
            | ProxyBatch::Aside
            | ProxyBatch::Dropped => {}
        }
    }

    /// The backend is given up, and has begun a transaction by what is said again elsewhere: whoever has it next is not to
    /// find itself in it.
    fn undo_what_was_begun(&mut self, ready: &[u8]) {
        let leaving = self.backend.is_leaving();
        if leaving
            && self.conversation.queue.is_settled()
            && ready.first() != Some(&TransactionStatus::Idle.as_byte())
        {
            self.say_ahead(b"ROLLBACK", ProxyBatch::Aside);
        }
    }

    /// A node has said how much it has replayed. One that is none (any more) says nothing, and counts as behind.
    fn on_position(&mut self, required: u64, replayed: Option<u64>) {
        let Some(split) = self.router.as_deref_mut() else {
            return;
        };
        split.news.position = Some(replayed);
        if replayed.is_none_or(|replayed| replayed < required) {
            self.repeat(RouteReason::AnswerTooOld);
        }
    }

    /// Once nothing is under way, finds out what the transaction has left behind, if there is reason to.
    pub(in crate::session) fn settle(&mut self) {
        self.settle_by(false);
    }

    /// Settles the transaction. `is_compared`: the catalog was compared after the transaction.
    fn settle_by(&mut self, is_compared: bool) {
        if self.conversation.terminate_received || !self.conversation.is_at_rest() {
            return;
        }
        if self.begin.exists() || self.backend.is_leaving() || self.cleanup.is_comparison_due() {
            return;
        }
        let Some(held) = self.backend.held() else { return };
        self.settings.on_settled();
        let step = self.cleanup.settle(&SettleContext {
            database: &self.common,
            settings: self.settings.values(),
            startup: self.settings.startup.values(),
            held: &held.settings,
            has_client_named: self.statements.is_on_backend(),
            is_writer: self.router.as_ref().is_none_or(|split| split.side == RouteSide::Writer),
            is_compared,
        });
        match step {
            SettleStep::Clean => self.close_strays(),
            SettleStep::Compare => {}
            SettleStep::Check(queries, is_awaited) => {
                if is_awaited {
                    self.on_backend_event(BackendEvent::CheckStarted);
                }
                self.look(queries);
            }
        }
    }

    /// True if the catalog must be compared with the server's, over the session's backend, before the backend is
    /// returned, and nothing is under way there. Until then the client keeps using the backend.
    pub(in crate::session) fn wants_catalogue(&self) -> bool {
        self.cleanup.is_comparison_due()
            && !self.outgoing.has_backend_bytes()
            && self.request.gathered().is_none()
            && self.conversation.is_at_rest()
    }

    /// True if no client request in the meantime depends on the state check after the comparison.
    pub(in crate::session) fn may_defer_catalogue(&self) -> bool {
        let settles = Effects::SETTINGS_ALL | Effects::PREPARE;
        !self.cleanup.may_have_left(settles)
    }

    /// Starts the comparison: nothing is sent to the backend before [`Self::on_catalogue`].
    pub(in crate::session) fn begin_catalogue(&mut self) {
        self.on_backend_event(BackendEvent::CheckStarted);
    }

    /// Notes a catalog comparison or read by simple queries on the session's backend; `is_new` is false if the server
    /// refused the queries.
    pub(in crate::session) fn on_catalogue(&mut self, is_new: bool) {
        self.on_backend_event(BackendEvent::Answered);
        let (texts, complete) = self.cleanup.on_compared(self.common.edition());
        if let Some(held) = self.backend.held_mut() {
            held.queried();
            // Texts not kept may have left state hidden from state checks: the backend serves no further session.
            held.unread |= !complete;
        }
        let common = Arc::clone(&self.common);
        for text in texts {
            let effects = common.with_catalogue(|catalogue| sql::effects(&text, catalogue));
            self.note_side_effects(effects.without(Effects::UNKNOWN | Effects::SETTINGS_BOUND), &text, None);
        }
        let noted = self.cleanup.take_noted();
        self.cleanup.on_response(noted);
        if !is_new {
            self.cleanup.pin(Pin::Unproved);
        }
        self.settle_by(true);
    }

    fn look(&mut self, asked: Vec<StateQuery>) {
        let Some((_, pen)) = self.pen() else { return self.miss_backend() };
        let own = proxy_batch::write_state_check(asked, pen);
        self.cleanup.on_check_started();
        self.owe(PendingRequest::Own(own));
    }

    /// What the server says of the session's state.
    fn on_state_report(&mut self, seen: StateReport) {
        self.cleanup.on_check_answered(seen.pins);
        if let Some(there) = &seen.statements {
            // `DEALLOCATE` has found those that are gone.
            self.statements.retain_found(there);
        }
        if !seen.all && seen.settings.is_empty() {
            return;
        }
        let before = if seen.all { Settings::default() } else { self.settings.values().clone() };
        // The default session user is the login user of the backend.
        let login = self.backend.held().and_then(|held| held.reported.at_login(SESSION_AUTHORIZATION));
        let is_default = |name: &[u8], value: Option<&[u8]>| {
            name == SESSION_AUTHORIZATION && value == login && self.settings.values().get(name).is_none()
        };
        let seen_now = seen.settings.iter().filter(|(name, value)| {
            !name.starts_with(b"transaction_") && !is_default(name, value.as_deref())
        });
        let mut settings = before.with_all(seen_now.map(|(name, value)| (&**name, value.as_deref())));
        if settings.bytes() > SETTINGS_MAX_BYTES {
            self.conversation.broken = Some(Refusal::settings_too_large());
            return;
        }
        if let Some(held) = self.backend.held_mut() {
            held.settings = settings.clone();
        }
        // As above.
        if seen.all {
            let entries = self.settings.startup.values().entries().iter();
            let gone = entries.filter(|entry| settings.get(&entry.name).is_none());
            settings = settings.with_all(gone.map(|entry| (&*entry.name, Some(&*entry.value))));
        }
        self.settings.set_values(settings);
    }

    fn close_strays(&mut self) {
        if !self.statements.is_on_backend() || !self.cleanup.pins().is_empty() {
            return;
        }
        for name in self.statements.take_on_backend() {
            frontend::write_close_statement(self.outgoing.backend(), &name);
        }
        frontend::write_sync(self.outgoing.backend());
        self.owe(PendingRequest::Own(ProxyBatch::Aside));
    }

    /// Whether the held backend can be given back: nothing is under way, and nothing of the session is left on it.
    pub(in crate::session) fn is_done_with_backend(&self) -> bool {
        if self.backend.is_leaving() {
            return self.backend.is_held()
                && self.conversation.queue.is_settled()
                && self.conversation.server.at_boundary()
                && !self.outgoing.has_backend_bytes()
                && self.conversation.fatal.is_none();
        }
        self.backend.is_held()
            && !self.backend.is_unused()
            && self.conversation.is_at_rest()
            && self.cleanup.is_clean()
            && !self.statements.is_on_backend()
            && !self.outgoing.has_backend_bytes()
            && self.request.gathered().is_none()
            && !self.begin.exists()
            && self.conversation.fatal.is_none()
            && self.conversation.broken.is_none()
    }
}

/// Whether a message of the server that may come in parts means something to a session that shares backends.
fn is_understood(tag: u8) -> bool {
    understood(tag) || matches!(tag, b::PARAMETER_STATUS | b::NOTICE_RESPONSE | b::NOTIFICATION_RESPONSE)
}
