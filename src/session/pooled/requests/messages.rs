//! What becomes of each message that reaches the held backend.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{KnownResult, NAMING, Requests, effects::EffectNotes};
use crate::{
    session::{
        pending_request::{CloseOrigin, Described, NamedChanges, ParseOrigin, PendingRequest},
        pin::Pin,
        pooled::{
            Pooled,
            client_input::ClientInput,
            client_message::ClientMessage,
            internal_error::InternalError,
            message_action::MessageAction,
            startup_settings::StartupSettings,
            statement_errors::{reset_midway, too_many_statements},
        },
        shared_statement::SharedStatement,
        statement_report::{CapturedText, StatementKind},
    },
    sql::{self, Analysis, Effects, SettingResets},
    wire::{
        TransactionStatus,
        frontend::{self, DescribeTarget},
        tag::frontend as f,
    },
};

/// Processing of the client's messages by the held backend.
pub(in crate::session::pooled) struct StatementMessages<'a> {
    effects: EffectNotes<'a>,
    startup: &'a mut StartupSettings,
}

// === impl StatementMessages ===

impl<'a> StatementMessages<'a> {
    /// Processing for `session`.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        let (requests, facts) = Requests::split_off(session)?;
        let (effects, startup) = facts.into_notes(requests);
        Ok(Self { effects, startup })
    }

    /// Handles a message that reaches the backend now, other than a Bind.
    pub(in crate::session::pooled) fn process(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        match message.tag() {
            f::QUERY => self.query(now, message, shown),
            f::FUNCTION_CALL => self.call_function(now, message, shown),
            f::PARSE => {
                let action = self.parse(message, shown);
                if !action.is_wait() {
                    self.requests().conversation.enter_batch();
                }
                action
            }
            f::DESCRIBE => self.describe(message, shown),
            f::EXECUTE => self.execute(now, message, shown),
            f::CLOSE => self.close(message),
            f::SYNC => self.sync(now),
            f::COPY_DONE | f::COPY_FAIL => self.end_copy(message, shown),
            _ => MessageAction::Forward,
        }
    }

    fn requests(&mut self) -> &mut Requests<'a> {
        self.effects.requests()
    }

    // --- messages with a ReadyForQuery of their own

    fn query(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let statement = message.text();
        let analysis = self.effects.analyze(message);
        let effects = self.effects.proved(analysis.effects, statement);
        let leads_back = match self.startup.reset_by(effects, statement) {
            SettingResets::No => Vec::new(),
            SettingResets::AtEnd(led) => led,
            SettingResets::Midway if self.moves_apart() => return MessageAction::Wait,
            SettingResets::Midway => return self.refuse_reset(now, shown),
        };
        let lists = analysis.lists_prepared || self.may_show_shared(effects, statement);
        if self.depends_on_names(effects, lists) {
            return MessageAction::AwaitResponses;
        }
        if lists {
            self.requests().statements.note_list(effects);
            self.requests().own_names().show(analysis.transaction_commands, shown);
        }
        let deallocates = self.note_named_by_query(effects, statement, shown);
        let effects = if message.is_cut() { effects | self.effects.pass_unread() } else { effects };
        self.effects.guard_sequences(effects, f::QUERY, shown);
        self.effects.note(effects, statement, None);
        let requests = self.requests();
        // PostgreSQL also destroys the unnamed statement on Query.
        let unnamed = requests.destroy_unnamed();
        requests.conversation.start_whole_request();
        requests.batch.end();
        let text = requests.conversation.capture(statement, message.is_cut());
        requests.owe(PendingRequest::Whole {
            kind: StatementKind::Query,
            started: now,
            text,
            rows: 0,
            operation: None,
            error: None,
            // The rest of a truncated text may contain any statement.
            effects: if message.is_cut() { Effects::ALL } else { effects },
            commands: analysis.transaction_commands,
            changes: NamedChanges::of(leads_back, deallocates),
            unnamed,
        });
        MessageAction::Forward
    }

    /// Notes the prepared statements that a Query names. Returns those that it deallocates, in their order.
    fn note_named_by_query(
        &mut self,
        effects: Effects,
        statement: &[u8],
        shown: &mut ClientInput<'_>,
    ) -> VecDeque<Box<[u8]>> {
        if !effects.intersects(NAMING) {
            return VecDeque::new();
        }
        self.effects.note_named_by_query(statement, shown);
        sql::deallocated_names(statement).into()
    }

    /// Rejects a Query that resets start-up settings, with statements behind the reset.
    fn refuse_reset(&mut self, now: Instant, shown: &mut ClientInput<'_>) -> MessageAction {
        let requests = self.requests();
        requests.refuse(reset_midway(), shown);
        requests.conversation.leave_batch();
        let batch = requests.batch.end();
        requests.send(PendingRequest::Sync { started: now, batch }, frontend::write_sync);
        MessageAction::Consumed
    }

    /// True if a Query names, or lists, prepared statements, and only the pending responses tell which exist.
    fn depends_on_names(&mut self, effects: Effects, lists: bool) -> bool {
        let names = effects.intersects(NAMING);
        let requests = self.requests();
        if requests.conversation.is_in_batch() {
            return requests.depends_on_earlier_batch(lists, effects);
        }
        let Requests { conversation, statements, .. } = requests;
        let queue = &conversation.queue();
        let depends = lists || (names && (statements.has_named() || queue.names_statements()));
        // Depends on the transaction state found after the pending responses.
        depends && !queue.owes_client_nothing() && queue.copies_in().is_none()
    }

    /// True if a Query names prepared statements, and may show shared ones.
    fn may_show_shared(&mut self, effects: Effects, statement: &[u8]) -> bool {
        effects.intersects(NAMING) && self.requests().may_show_shared(statement)
    }

    /// Handles a FunctionCall.
    fn call_function(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        self.effects.note_function(message.body(), shown);
        let requests = self.requests();
        requests.conversation.start_whole_request();
        requests.owe(PendingRequest::whole(StatementKind::FunctionCall, now, None));
        MessageAction::Forward
    }

    fn sync(&mut self, now: Instant) -> MessageAction {
        let requests = self.requests();
        requests.conversation.leave_batch();
        let batch = requests.batch.end();
        requests.owe(PendingRequest::Sync { started: now, batch });
        requests.statements.begin_batch();
        MessageAction::Forward
    }

    /// Forwards a message while the server discards everything up to a Sync. Nothing may precede the message: the Sync
    /// of an internal batch would end the discarding early.
    pub(in crate::session::pooled) fn pass_skipped(&mut self, now: Instant, tag: u8) -> MessageAction {
        if tag == f::SYNC {
            self.startup.on_failed_batch();
            self.sync(now);
        }
        MessageAction::Forward
    }

    // --- Parse

    fn parse(&mut self, message: &ClientMessage<'_>, shown: &mut ClientInput<'_>) -> MessageAction {
        let (name, definition) = message.parsed();
        let statement = message.text();
        if self.moves_before_parse(message) {
            return MessageAction::Wait;
        }
        if self.requests().depends_on_earlier_batch(false, Effects::EXECUTE)
            && self.effects.analyze(message).effects.contains(Effects::EXECUTE)
        {
            return MessageAction::AwaitResponses;
        }
        let text = self.requests().conversation.capture(statement, message.is_cut());
        if name.is_empty() && !message.is_cut() {
            return self.parse_unnamed(message, text, shown);
        }
        let requests = self.requests();
        if let Some(known) = requests.statements.get(name).cloned() {
            return self.parse_known(name, statement, &known, text, shown);
        }
        if !requests.statements.may_add(name.len() + definition.len()) {
            requests.refuse(too_many_statements(), shown);
            return MessageAction::Consumed;
        }
        if message.is_cut() {
            return self.parse_unread(name, text);
        }
        self.parse_named(message, text, shown)
    }

    /// Handles a Parse of an existing name: the server must report the duplicate. In a failed transaction, the server rejects
    /// the `statement` before the name, for its syntax or for the transaction.
    fn parse_known(
        &mut self,
        name: &[u8],
        statement: &[u8],
        known: &SharedStatement,
        text: Option<CapturedText>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let requests = self.requests();
        if requests.conversation.queue().may_change_status() {
            return MessageAction::AwaitResponses;
        }
        if !requests.has_failed() || sql::may_run_in_failed_transaction(statement) {
            requests.stage(shown);
            requests.own_names().parse(name, known);
        }
        requests.owe(PendingRequest::Parse { name: name.into(), text, made: ParseOrigin::Client });
        MessageAction::Forward
    }

    /// True if a statement must wait, before Parse, for a backend logged in with the client's options.
    fn moves_before_parse(&mut self, message: &ClientMessage<'_>) -> bool {
        self.startup.is_carried()
            && self.startup.reset_by(self.effects.analyze(message).effects, message.text())
                == SettingResets::Midway
            && self.moves_apart()
    }

    /// Gives up the held backend for a backend logged in with the client's options, if nothing is in progress there.
    fn moves_apart(&mut self) -> bool {
        let Requests { conversation, cleanup, statements, .. } = self.effects.requests();
        let is_outside = conversation.status() == TransactionStatus::Idle
            && !conversation.is_in_batch()
            && conversation.queue().owes_client_nothing();
        let may_move = is_outside && cleanup.is_clean() && !statements.is_on_backend();
        self.startup.begin_move(may_move);
        self.startup.is_moving()
    }

    /// Handles a Parse too large to be kept: the statement stays on the backend, under the client's own name.
    fn parse_unread(&mut self, name: &[u8], text: Option<CapturedText>) -> MessageAction {
        self.effects.note_pin(Pin::LongStatement);
        let requests = self.requests();
        let made = if name.is_empty() {
            ParseOrigin::Unnamed(requests.define_unnamed(b"", Analysis::EMPTY, None))
        } else {
            requests.statements.note_on_backend(name);
            ParseOrigin::Client
        };
        requests.owe(PendingRequest::Parse { name: name.into(), text, made });
        MessageAction::Forward
    }

    /// Handles a Parse of a new name.
    fn parse_named(
        &mut self,
        message: &ClientMessage<'_>,
        text: Option<CapturedText>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let (name, definition) = message.parsed();
        let requests = self.requests();
        let Requests { texts, database, statements, .. } = requests;
        let statement =
            database.statement_of(definition, statements.reading(), |_| texts.analyze(message, database));
        let effects = requests.database.effects(&statement);
        if effects.contains(Effects::SEQUENCE_READ) {
            self.effects.prepare_sequence_read(shown);
        }
        if effects.contains(Effects::EXECUTE) {
            self.effects.note_named_by_parse(message.text(), shown);
        }
        let requests = self.requests();
        let is_named_by_sql = requests.may_be_named_by_sql(name);
        let parse = requests.database.next_parse();
        requests.statements.add(name.into(), Arc::clone(&statement), parse);
        requests.stage(shown);
        if is_named_by_sql {
            requests.own_names().try_parse(name, &statement);
            // The tried name is closed again, or is the client's own.
            requests.statements.forget_on_backend(name);
        }
        requests.send_parse(&statement, |statement| PendingRequest::Parse {
            name: name.into(),
            text,
            made: ParseOrigin::Named(statement),
        });
        MessageAction::Consumed
    }

    /// Handles a Parse of the unnamed statement.
    fn parse_unnamed(
        &mut self,
        message: &ClientMessage<'_>,
        text: Option<CapturedText>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let (_, definition) = message.parsed();
        let requests = self.requests();
        let inputs = requests.database.analysis_inputs(requests.texts.lexical());
        let known = requests.statements.unnamed().known_analysis(definition, inputs);
        let analysis = known.unwrap_or_else(|| self.effects.analyze(message));
        let effects = analysis.effects;
        if effects.contains(Effects::SEQUENCE_READ) {
            self.effects.prepare_sequence_read(shown);
        }
        let requests = self.requests();
        let before = requests.define_unnamed(definition, analysis, inputs);
        if effects.contains(Effects::EXECUTE) {
            self.effects.note_named_by_parse(message.text(), shown);
        }
        let made = ParseOrigin::Unnamed(before);
        self.requests().owe(PendingRequest::Parse { name: Box::default(), text, made });
        MessageAction::Forward
    }

    // --- Describe, Execute, Close

    fn describe(&mut self, message: &ClientMessage<'_>, shown: &mut ClientInput<'_>) -> MessageAction {
        self.requests().conversation.enter_batch();
        let (action, described) = self.describe_object(message, shown);
        self.requests().owe(PendingRequest::Describe(described));
        action
    }

    /// Writes the messages needed ahead of a Describe, and the Describe itself if the statement name must change.
    fn describe_object(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> (MessageAction, Described) {
        let requests = self.requests();
        match message.object() {
            Some(DescribeTarget::Statement(b"")) => requests.ensure_unnamed(shown),
            Some(DescribeTarget::Statement(name)) => match requests.statement_for_use(name) {
                Some(statement) => {
                    requests.statements.note_use(statement.id());
                    let known = requests.ensure(&statement, shown);
                    let name = requests.held.statements().name(statement.id());
                    frontend::write_describe_statement(requests.to_backend, &name);
                    let is_known = known == KnownResult::AsDescribed;
                    let described =
                        if is_known { Described::Statement } else { Described::Learned(statement.id()) };
                    return (MessageAction::Consumed, described);
                }
                None => requests.hide_shared(name, shown),
            },
            Some(DescribeTarget::Portal(b"")) if requests.statements.portal_of() != 0 => {
                return (MessageAction::Forward, Described::LearnedByPortal(requests.statements.portal_of()));
            }
            _ => return (MessageAction::Forward, Described::AsIs),
        }
        (MessageAction::Forward, Described::Statement)
    }

    /// Handles an Execute.
    fn execute(
        &mut self,
        now: Instant,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let name = message.executed().0;
        let leads_back = self.startup.reset_by_portal(name);
        let requests = self.requests();
        requests.conversation.enter_batch();
        requests.conversation.start_statement();
        requests.batch.on_execute(name);
        let is_kept = requests.conversation.captures_texts();
        let portal = if is_kept { name.into() } else { Box::default() };
        let may_reset = requests.cleanup.portal_may_reset() || !leads_back.is_empty();
        let resets = may_reset.then_some(leads_back);
        let forgets = requests.statements.deallocate(name);
        requests.owe(PendingRequest::Execute { started: now, portal, resets, forgets });
        if may_reset { requests.forward_flushed(message, shown) } else { MessageAction::Forward }
    }

    fn close(&mut self, message: &ClientMessage<'_>) -> MessageAction {
        let requests = self.requests();
        requests.conversation.enter_batch();
        let (name, closed) = match message.object() {
            Some(DescribeTarget::Statement(name)) => (name, requests.close_statement(name)),
            Some(DescribeTarget::Portal(name)) => (name, CloseOrigin::Portal),
            None => (&b""[..], CloseOrigin::Portal),
        };
        requests.owe(PendingRequest::Close { name: name.into(), closed });
        MessageAction::Forward
    }

    /// Handles CopyDone or CopyFail.
    fn end_copy(&mut self, message: &ClientMessage<'_>, shown: &mut ClientInput<'_>) -> MessageAction {
        let requests = self.requests();
        // The server ignores a Flush ahead of the end of copied data.
        let is_awaited = message.tag() == f::COPY_DONE
            && message.body().is_empty()
            && requests.conversation.queue().is_resetting();
        requests.owe(PendingRequest::CopyEnd);
        if is_awaited && !message.is_cut() {
            requests.forward_flushed(message, shown)
        } else {
            MessageAction::Forward
        }
    }
}
