//! What becomes of each message that reaches a backend.

use std::{sync::Arc, time::Instant};

use super::client_messages::{ClientInput, MessageAction};
use crate::{
    route::{RerunCause, RouteReason},
    session::{
        conversation::{text, until_nul},
        parsed::ParsedStatement,
        pin::Pin,
        pooled::{Pooled, ShapeCheck, UnnamedStatement, reset_midway},
        proxy_batch::ProxyBatch,
        report::{StatementKind, Text},
        response_queue::{CloseOrigin, Described, ParseOrigin, PendingRequest},
        statement::{Statement, text_of},
    },
    sql::{self, Effects, SettingResets},
    wire::{
        self, Frame, Header, Reader, Speaker, SqlState, TransactionStatus,
        error_response::{ErrorResponse, Severity},
        frontend,
        tag::frontend as f,
    },
};

impl Pooled {
    pub(super) fn query(
        &mut self,
        now: Instant,
        body: &[u8],
        cut: bool,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let statement = until_nul(body).0;
        let effects = self.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        let effects = self.settings.proved(effects, statement);
        let leads_back = match self.settings.startup.reset_by(effects, statement) {
            SettingResets::No => Vec::new(),
            SettingResets::AtEnd(led) => led,
            SettingResets::Midway if self.move_apart() => return MessageAction::Wait,
            SettingResets::Midway => {
                self.refuse_message(reset_midway(), shown);
                self.conversation.in_batch = false;
                self.request_ahead(PendingRequest::Sync { started: now }, frontend::write_sync);
                return MessageAction::Consumed;
            }
        };
        let action = self.prepare_named_by(effects, statement, shown);
        if matches!(action, MessageAction::Wait) {
            return action;
        }
        let effects = if cut { effects | self.passes_unread() } else { effects };
        self.sequences(effects, f::QUERY, shown);
        self.note_side_effects(effects, statement, None);
        // PostgreSQL also destroys the unnamed statement on Query.
        let unnamed = self.destroy_unnamed();
        self.conversation.in_batch = false;
        self.conversation.statements_started += 1;
        let text = self
            .conversation
            .text_capture
            .as_ref()
            .map(|text_capture| text(statement, text_capture.limit, cut));
        self.owe(PendingRequest::Whole {
            kind: StatementKind::Query,
            started: now,
            text,
            rows: 0,
            operation: None,
            error: None,
            // The rest of a truncated text may contain any statement.
            effects: if cut { Effects::ALL } else { effects },
            leads_back,
            unnamed,
        });
        action
    }

    /// Sends the prepared statements that a Query names, or lists, ahead of the Query.
    fn prepare_named_by(
        &mut self,
        effects: Effects,
        statement: &[u8],
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let names = effects.intersects(Effects::PREPARE | Effects::EXECUTE);
        let lists = self.common.may_list_prepared(statement) || (names && self.may_show_shared(statement));
        let depends =
            lists || (names && self.statements.has_named()) || self.conversation.queue.names_statements();
        if (names || lists)
            && depends
            && !self.conversation.in_batch
            && !self.conversation.queue.owes_client_nothing()
            && self.conversation.queue.copies_in().is_none()
        {
            // Depends on the transaction state found after the pending responses.
            return self.wait_for_answers();
        }
        if self.conversation.in_batch && self.depends_on_earlier_batch(lists, effects) {
            return self.wait_for_answers();
        }
        if lists {
            self.statements.note_list(effects);
            self.show_own_statements(shown);
        }
        if names { self.sql_prepared(statement, shown) } else { MessageAction::Forward }
    }

    /// True if a statement with `effects`, or a list of prepared statements, depends on which statements an earlier batch
    /// has made or closed. Only the responses tell: the server skips the rest of a batch after an error.
    fn depends_on_earlier_batch(&self, lists: bool, effects: Effects) -> bool {
        let queue = &self.conversation.queue;
        let names = effects.intersects(Effects::PREPARE | Effects::EXECUTE) && queue.names_statements();
        (lists || names) && queue.has_earlier_batch()
    }

    pub(super) fn parse(&mut self, body: &[u8], cut: bool, shown: &mut ClientInput<'_>) -> MessageAction {
        let (name, definition) = until_nul(body);
        if self.moves_before_parse(text_of(definition)) {
            return MessageAction::Wait;
        }
        if self.depends_on_earlier_batch(false, Effects::EXECUTE) {
            let effects =
                self.common.with_catalogue(|catalogue| sql::effects(text_of(definition), catalogue));
            if effects.contains(Effects::EXECUTE) {
                return self.wait_for_answers();
            }
        }
        let text = self
            .conversation
            .text_capture
            .as_ref()
            .map(|text_capture| text(text_of(definition), text_capture.limit, cut));
        if name.is_empty() && !cut {
            return self.parse_unnamed(definition, text, shown);
        }
        if let Some(statement) = self.statements.get(name).cloned() {
            // The server itself is to say that it exists already.
            self.stage(shown);
            self.parse_under_own_name(name, &statement);
            self.owe(PendingRequest::Parse { name: name.into(), text, made: ParseOrigin::Client });
            return MessageAction::Forward;
        }
        if !self.statements.may_add(name.len() + definition.len()) {
            self.refuse_message(too_many_statements(), shown);
            return MessageAction::Consumed;
        }
        if cut {
            return self.parse_unread(name, text);
        }
        self.parse_named(name, definition, text, shown)
    }

    /// Handles a Parse too large to be kept: the statement stays on the backend, under the client's own name.
    fn parse_unread(&mut self, name: &[u8], text: Option<Text>) -> MessageAction {
        let made = if name.is_empty() {
            ParseOrigin::Unnamed(self.define_unnamed(b"", Effects::NONE, 0, false))
        } else {
            self.statements.note_on_backend(name);
            ParseOrigin::Client
        };
        self.pin(Pin::LongStatement);
        self.owe(PendingRequest::Parse { name: name.into(), text, made });
        MessageAction::Forward
    }

    /// Handles a Parse of a new name.
    fn parse_named(
        &mut self,
        name: &[u8],
        definition: &[u8],
        text: Option<Text>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let statement = self.common.statement(definition, self.statements.reading());
        if self.common.effects(&statement).contains(Effects::SEQUENCE_READ) {
            self.sequences_are_read(shown);
        }
        if self.common.effects(&statement).contains(Effects::EXECUTE) {
            self.executed_by_parse(text_of(definition), shown);
        }
        // The server may have the name already, and must report the duplicate. A pending state check may yet find the
        // name.
        let looks = matches!(self.conversation.queue.own(), Some(ProxyBatch::StateCheck(_)));
        let by_sql = looks
            || self.cleanup.pins().contains(Pin::SqlPrepared)
            || self.cleanup.may_have_left(Effects::PREPARE)
            || self.conversation.queue.may_leave(Effects::PREPARE)
            || self.statements.has_on_backend(name);
        self.statements.add(name.into(), Arc::clone(&statement), self.common.next_parse());
        self.stage(shown);
        if by_sql {
            self.try_name(name, &statement);
            // The tried name is closed again, or is the client's own.
            self.statements.forget_on_backend(name);
        }
        self.send_parse(&statement, |statement| PendingRequest::Parse {
            name: name.into(),
            text,
            made: ParseOrigin::Named(statement),
        });
        MessageAction::Consumed
    }

    pub(super) fn parse_unnamed(
        &mut self,
        definition: &[u8],
        text: Option<Text>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let statement = text_of(definition);
        let edition = self.common.edition();
        let effects = self.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        if effects.contains(Effects::SEQUENCE_READ) {
            self.sequences_are_read(shown);
        }
        let lists = self.common.may_list_prepared(definition);
        let before = self.define_unnamed(definition, effects, edition, lists);
        if effects.contains(Effects::EXECUTE) {
            self.executed_by_parse(statement, shown);
        }
        self.owe(PendingRequest::Parse { name: Box::default(), text, made: ParseOrigin::Unnamed(before) });
        MessageAction::Forward
    }

    /// Defines a new unnamed statement; returns the previous statement, if the server may yet skip the new Parse.
    fn define_unnamed(
        &mut self,
        definition: &[u8],
        effects: Effects,
        edition: u32,
        lists: bool,
    ) -> Option<Box<UnnamedStatement>> {
        let before = self.destroy_unnamed();
        let number = self.statements.unnamed.define(definition, effects, edition, lists);
        if let Some(held) = self.backend.held_mut() {
            held.unnamed = number;
        }
        before
    }

    /// Rejects the client's message with a Gatekeeper error. The server gets a malformed message instead, to fail the
    /// batch and the transaction there as well.
    fn refuse_message(&mut self, report: ErrorResponse<'static>, shown: &mut ClientInput<'_>) {
        self.stage(shown);
        self.request_ahead(PendingRequest::Refused(Box::new(report)), |out| {
            // A Bind announcing more formats than present.
            wire::write_frame(out, f::BIND, |body| body.extend_from_slice(b"\0\0\xff\xff"));
        });
    }

    /// Writes a Parse of `statement`, which the backend may have already: then it is closed before.
    pub(super) fn send_parse(
        &mut self,
        statement: &Arc<Statement>,
        owed: impl FnOnce(Arc<Statement>) -> PendingRequest,
    ) {
        let (batch, parsed) = (self.statements.batch(), self.common.last_parse());
        let Some(held) = self.backend.held_mut() else { return self.miss_backend() };
        let id = statement.id();
        let name = held.prepared.name(id);
        let had = held.prepared.may_have(id);
        let evicted =
            held.prepared.sent(id, batch, parsed).map(|evicted| (evicted, held.prepared.name(evicted)));
        if had {
            self.close_shared(id, &name);
        }
        self.request_ahead(owed(Arc::clone(statement)), |out| {
            frontend::write_parse(out, &name, statement.definition());
        });
        if let Some((id, name)) = evicted {
            self.close_shared(id, &name);
        }
    }

    /// Closes a shared statement; `id` is 0 for the unnamed statement.
    pub(super) fn close_shared(&mut self, id: u64, name: &[u8]) {
        let close =
            PendingRequest::Close { portal: false, name: Box::default(), closed: CloseOrigin::Proxy(id) };
        self.request_ahead(close, |out| frontend::write_close_statement(out, name));
    }

    /// Makes sure the backend has `statement` for the rest of the batch. Returns the known result.
    pub(super) fn ensure(&mut self, statement: &Arc<Statement>, shown: &mut ClientInput<'_>) -> KnownResult {
        self.stage(shown);
        let (id, batch) = (statement.id(), self.statements.batch());
        let ParsedStatement { when, told, .. } = self.statements.expectations(id);
        let ready = self.backend.held_mut().and_then(|held| held.prepared.uses(id, batch, when));
        if ready.is_none() {
            self.parse_for_us(statement);
        }
        match (told, ready.flatten()) {
            (None, _) => KnownResult::Untold,
            (Some(told), Some(now)) if told == now => KnownResult::AsTold,
            (Some(_), Some(_)) => KnownResult::Other,
            (Some(_), None) => KnownResult::Unknown,
        }
    }

    fn parse_for_us(&mut self, statement: &Arc<Statement>) {
        self.send_parse(statement, |statement| PendingRequest::Parse {
            name: Box::default(),
            text: None,
            made: ParseOrigin::Proxy(statement),
        });
    }

    pub(super) fn bind(
        &mut self,
        body: &[u8],
        total: Option<usize>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        self.conversation.in_batch = true;
        let verdict = match self.bind_statement(body, total, shown) {
            MessageAction::Wait => return self.wait_for_answers(),
            MessageAction::Refused => return MessageAction::Refused,
            verdict => verdict,
        };
        if let Some(held) = self.backend.held_mut() {
            held.attempt.bind();
        }
        let (portal, rest) = until_nul(body);
        let synonyms = self.statements.has_synonyms();
        let wanted = self.conversation.text_capture.is_some() || synonyms;
        let names = wanted.then(|| (portal.into(), until_nul(rest).0.into()));
        let (portal, statement) = names.unwrap_or_default();
        self.owe(PendingRequest::Bind { portal, statement });
        verdict
    }

    /// Writes the messages needed ahead of a Bind, and the Bind itself if the statement name must change.
    fn bind_statement(
        &mut self,
        body: &[u8],
        total: Option<usize>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let (portal, rest) = until_nul(body);
        let (name, rest) = until_nul(rest);
        if !names_are_there(body) {
            // The server is to say that it makes no sense.
            return MessageAction::Forward;
        }
        self.statements.on_bind(portal);
        if name.is_empty() {
            return self.bind_unnamed(portal, rest, shown);
        }
        let Some(statement) = self.statement_for_use(name) else {
            return self.unknown(name, shown);
        };
        if self.depends_on_earlier_batch(statement.lists, self.common.effects(&statement)) {
            return MessageAction::Wait;
        }
        self.statements.note_use(statement.id());
        if self.conversation.status == TransactionStatus::Failed
            && self.must_parse(&statement)
            && let Some(report) = wrong_parameters(name, statement.definition(), rest)
        {
            self.refuse_message(report, shown);
            return MessageAction::Refused;
        }
        let effects = self.settings.proved(self.common.effects(&statement), statement.text());
        if !self.settings.startup.note_portal(portal, effects, statement.text()) {
            self.refuse_message(reset_midway(), shown);
            return MessageAction::Refused;
        }
        self.sequences(effects, f::BIND, shown);
        self.note_side_effects(effects, statement.text(), Some(rest));
        let names = effects.intersects(Effects::PREPARE | Effects::EXECUTE);
        if statement.lists || (names && self.may_show_shared(statement.text())) {
            self.statements.note_list(effects);
            self.show_own_statements_in_batch(shown);
            return MessageAction::Forward;
        }
        // It may have been parsed on another backend, or on none.
        if effects.contains(Effects::EXECUTE) {
            self.executed_by_parse(statement.text(), shown);
        }
        if effects.contains(Effects::PREPARE) {
            self.sql_prepared_by_bind(portal, statement.text(), shown);
        }
        let known = self.ensure(&statement, shown);
        if portal.is_empty() && known != KnownResult::AsTold {
            self.statements.note_portal_of(statement.id());
        }
        if let Some(verdict) = self.check_result(&statement, known, portal, shown) {
            return verdict;
        }
        if let Some(held) = self.backend.held() {
            let name = held.prepared.name(statement.id());
            write_bind(self.outgoing.backend(), portal, &name, rest, body, total);
        }
        MessageAction::Consumed
    }

    /// Compares the statement's result with the client's description, before a Bind of `portal`. `None`: the Bind may be
    /// sent.
    fn check_result(
        &mut self,
        statement: &Arc<Statement>,
        known: KnownResult,
        portal: &[u8],
        shown: &mut ClientInput<'_>,
    ) -> Option<MessageAction> {
        let is_checked = self.statements.take_shape_check();
        let relies_on_description = matches!(known, KnownResult::Unknown | KnownResult::Other)
            && !is_described_next(portal, shown)
            && !self.conversation.queue.is_skipping();
        if !relies_on_description {
            return None;
        }
        if !is_checked {
            self.ask_result(statement, known);
            return Some(MessageAction::Wait);
        }
        (known == KnownResult::Other).then(|| self.refuse_changed(shown))
    }

    /// Requests the statement's result from the server before any execution: the client relies on the earlier
    /// description.
    fn ask_result(&mut self, statement: &Arc<Statement>, known: KnownResult) {
        if known == KnownResult::Other {
            // The copy was prepared for another session, with possibly different tables of the same names.
            self.parse_for_us(statement);
        }
        let Some(held) = self.backend.held() else { return self.miss_backend() };
        let name = held.prepared.name(statement.id());
        self.statements.set_shape_check(ShapeCheck::Asked);
        self.request_ahead(PendingRequest::Describe(Described::Ours(statement.id())), |out| {
            frontend::write_describe_statement(out, &name);
            frontend::write_flush(out);
        });
    }

    /// Handles a bound statement with a result different from the client's description. A standby may only be behind.
    fn refuse_changed(&mut self, shown: &mut ClientInput<'_>) -> MessageAction {
        if self.may_repeat() {
            self.repeat(RouteReason::Rerun(RerunCause::StandbyRefused));
            return MessageAction::Wait;
        }
        self.refuse_message(plan_changed(), shown);
        MessageAction::Refused
    }

    pub(super) fn bind_unnamed(
        &mut self,
        portal: &[u8],
        rest: &[u8],
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let lists = self.statements.unnamed.exists() && self.statements.unnamed.lists_prepared();
        if self.statements.unnamed.exists() {
            let effects = self.statements.unnamed.effects(&self.common);
            if self.depends_on_earlier_batch(lists, effects) {
                return MessageAction::Wait;
            }
        }
        self.statements.note_use(0);
        if self.conversation.status == TransactionStatus::Failed
            && self.must_parse_unnamed()
            && let Some(report) = wrong_parameters(b"", self.statements.unnamed.definition(), rest)
        {
            self.refuse_message(report, shown);
            return MessageAction::Refused;
        }
        if lists && !rest.is_empty() {
            self.show_own_statements_in_batch(shown);
        }
        if self.statements.unnamed.exists() {
            let effects = self.statements.unnamed.effects(&self.common);
            let effects = self.settings.proved(effects, self.statements.unnamed.text());
            self.sequences(effects, f::BIND, shown);
            if !effects.is_empty() {
                let definition = self.statements.unnamed.take_definition();
                let text = text_of(&definition);
                if !self.settings.startup.note_portal(portal, effects, text) {
                    self.statements.unnamed.put_definition(definition);
                    self.refuse_message(reset_midway(), shown);
                    return MessageAction::Refused;
                }
                self.note_side_effects(effects, text, Some(rest));
                if effects.intersects(Effects::PREPARE | Effects::EXECUTE) && self.may_show_shared(text) {
                    self.statements.note_list(effects);
                    self.show_own_statements_in_batch(shown);
                }
                if effects.contains(Effects::EXECUTE) {
                    self.executed_by_parse(text, shown);
                }
                if effects.contains(Effects::PREPARE) {
                    self.sql_prepared_by_bind(portal, text, shown);
                }
                self.statements.unnamed.put_definition(definition);
            }
        }
        self.ensure_unnamed(shown);
        MessageAction::Forward
    }

    /// Sees to it that the backend has the client's unnamed statement, or none.
    pub(super) fn ensure_unnamed(&mut self, shown: &mut ClientInput<'_>) {
        let number = self.statements.unnamed.number();
        let has = self.backend.held().is_none_or(|held| held.unnamed == number);
        if has && !self.conversation.queue.may_skip_own_unnamed() {
            return;
        }
        self.stage(shown);
        if let Some(held) = self.backend.held_mut() {
            held.unnamed = number;
        }
        if number == 0 {
            // The unnamed statement belongs to another session: the server must report a missing statement.
            return self.close_shared(0, b"");
        }
        frontend::write_parse(self.outgoing.backend(), b"", self.statements.unnamed.definition());
        self.owe(PendingRequest::Parse { name: Box::default(), text: None, made: ParseOrigin::ProxyUnnamed });
    }

    pub(super) fn describe(&mut self, body: &[u8], shown: &mut ClientInput<'_>) -> MessageAction {
        self.conversation.in_batch = true;
        let (verdict, described) = self.describe_statement(body, shown);
        self.owe(PendingRequest::Describe(described));
        verdict
    }

    /// Writes the messages needed ahead of a Describe, and the Describe itself if the statement name must change.
    fn describe_statement(&mut self, body: &[u8], shown: &mut ClientInput<'_>) -> (MessageAction, Described) {
        let as_is = (MessageAction::Forward, Described::AsIs);
        let name = match object(body) {
            Some((b'S', name)) => name,
            Some((b'P', b"")) if self.statements.portal_of() != 0 => {
                return (MessageAction::Forward, Described::Learned(self.statements.portal_of()));
            }
            _ => return as_is,
        };
        if name.is_empty() {
            self.ensure_unnamed(shown);
            return as_is;
        }
        let Some(statement) = self.statement_for_use(name) else {
            return (self.unknown(name, shown), Described::AsIs);
        };
        self.statements.note_use(statement.id());
        let known = self.ensure(&statement, shown);
        if let Some(held) = self.backend.held() {
            let name = held.prepared.name(statement.id());
            frontend::write_describe_statement(self.outgoing.backend(), &name);
        }
        let is_known = known == KnownResult::AsTold;
        (MessageAction::Consumed, if is_known { Described::AsIs } else { Described::Learned(statement.id()) })
    }

    pub(super) fn close(&mut self, body: &[u8]) -> MessageAction {
        self.conversation.in_batch = true;
        // The server rejects malformed messages.
        let (which, name) = object(body).unwrap_or((b'P', b""));
        let mut closed = CloseOrigin::Client;
        if which == b'S' {
            if name.is_empty() {
                closed = CloseOrigin::Unnamed(self.destroy_unnamed());
            } else if let Some(statement) = self.statements.remove(name) {
                self.statements.forget_on_backend(name);
                // The backend knows no statement of that name, and says CloseComplete all the same.
                closed = CloseOrigin::Name(statement);
            } else if let Some(held) = self.backend.held_mut()
                && let Some(id) = held.prepared.stem().id_of(name)
            {
                // The client has found an internal name: the shared statement is prepared again for further use.
                held.prepared.doubt(id);
            }
        }
        self.owe(PendingRequest::Close { portal: which == b'P', name: name.into(), closed });
        MessageAction::Forward
    }

    /// A statement that the client never prepared by message: the server knows it by SQL, or says that it does not exist.
    /// Internal names, if known to the client, must not reach shared statements: the named statement is closed first.
    pub(super) fn unknown(&mut self, name: &[u8], shown: &mut ClientInput<'_>) -> MessageAction {
        let held = self.backend.held();
        if let Some(id) = held.and_then(|held| held.prepared.stem().id_of(name)) {
            self.stage(shown);
            self.lose(id);
            self.close_shared(id, name);
        }
        MessageAction::Forward
    }
}

/// Comparison of the client's description of a result with the result on the backend.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownResult {
    /// The client has no description.
    Untold,
    /// The client's description is correct.
    AsTold,
    /// The result differs.
    Other,
    /// Only the backend can tell.
    Unknown,
}

/// Error for a result different from the client's description, in PostgreSQL's words; drivers recognize the routine.
fn plan_changed() -> ErrorResponse<'static> {
    let message = "cached plan must not change result type";
    let report = ErrorResponse::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, message);
    ErrorResponse { routine: Some("RevalidateCachedQuery"), ..report }
}

/// Error for a Bind of a prepared statement, with the `rest` behind the names, in PostgreSQL's words; `None` if the count of
/// parameters is right, or unknown. A server checks the count before the state of the transaction, but a backend without
/// the statement refuses the statement's Parse in a failed transaction.
fn wrong_parameters(name: &[u8], definition: &[u8], rest: &[u8]) -> Option<ErrorResponse<'static>> {
    // The client may speak another encoding.
    let name = std::str::from_utf8(name).ok().filter(|name| name.is_ascii())?;
    let (text, declared) = until_nul(definition);
    let declared = usize::from(Reader::new(declared).i16().ok()?.cast_unsigned());
    let required = sql::highest_parameter(text)?.max(declared);
    let mut reader = Reader::new(rest);
    let formats = usize::from(reader.i16().ok()?.cast_unsigned());
    reader.bytes(formats * 2).ok()?;
    let supplied = usize::from(reader.i16().ok()?.cast_unsigned());
    let message = if formats > 1 && formats != supplied {
        Some(format!("bind message has {formats} parameter formats but {supplied} parameters"))
    } else {
        (supplied != required).then(|| {
            format!(
                "bind message supplies {supplied} parameters, but prepared statement \"{name}\" requires {required}"
            )
        })
    };
    let report = ErrorResponse::new(Severity::Error, SqlState::PROTOCOL_VIOLATION, message?);
    Some(ErrorResponse { routine: Some("exec_bind_message"), ..report })
}

/// True if the client describes the result right after the next Bind, and does not rely on the earlier description.
fn is_described_next(portal: &[u8], shown: &ClientInput<'_>) -> bool {
    let next = |bytes| Frame::read(Speaker::Client, bytes).ok().flatten();
    let unread = shown.bytes.get(shown.at..).unwrap_or_default();
    let behind = next(unread).and_then(|bind| unread.get(bind.as_bytes().len()..));
    let describe = behind.and_then(next).filter(|frame| frame.tag() == f::DESCRIBE);
    describe.and_then(|frame| object(frame.body())) == Some((b'P', portal))
}

/// Error for a client at the limit of prepared statements.
pub(super) fn too_many_statements() -> ErrorResponse<'static> {
    let message = "too many prepared statements in this session, or too long ones";
    let mut report = ErrorResponse::new(Severity::Error, SqlState::new(*b"54000"), message);
    report.hint = Some("Close statements that are not used any more.".into());
    report
}

/// Whether both names of a Bind are in what is here of its body.
pub(super) fn names_are_there(body: &[u8]) -> bool {
    memchr::memchr_iter(0, body).nth(1).is_some()
}

/// What a Describe or Close is about, if it makes sense.
pub(super) fn object(body: &[u8]) -> Option<(u8, &[u8])> {
    let (&which, name) = body.split_first()?;
    let (&end, name) = name.split_last()?;
    (end == 0 && memchr::memchr(0, name).is_none()).then_some((which, name))
}

/// Appends a Bind of `statement`; `total` is the length of the client's frame when only its beginning is here.
fn write_bind(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    rest: &[u8],
    body: &[u8],
    total: Option<usize>,
) {
    let start = out.len();
    frontend::write_bind(out, portal, statement, rest);
    let Some(total) = total else { return };
    // The length speaks of what is still to come, too.
    let missing = total - Header::BYTES - body.len();
    let length = u32::try_from(out.len() - start - 1 + missing).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start + 1..).and_then(|from| from.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}
