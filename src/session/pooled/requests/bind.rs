//! Bind messages: names, parameters and results of the statements that they bind.

use std::sync::Arc;

use super::{KnownResult, NAMING, Requests, effects::EffectNotes};
use crate::{
    route::RerunCause,
    session::{
        pending_request::PendingRequest,
        pooled::{
            Pooled,
            client_input::ClientInput,
            client_message::ClientMessage,
            internal_error::InternalError,
            message_action::MessageAction,
            startup_settings::StartupSettings,
            statement_errors::{plan_changed, reset_midway, wrong_parameters},
        },
        shared_statement::{SharedStatement, text_of},
    },
    sql::{Analysis, Effects, TransactionCommands},
    wire::{Header, frontend, tag::frontend as f},
};

/// Processing of Bind messages by the held backend.
pub(in crate::session::pooled) struct BindMessages<'a> {
    effects: EffectNotes<'a>,
    startup: &'a mut StartupSettings,
    /// A read pool serves the session: another backend may serve a refused unit.
    is_on_reader: bool,
}

// === impl BindMessages ===

impl<'a> BindMessages<'a> {
    /// Processing for `session`.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        let (requests, facts) = Requests::split_off(session)?;
        let is_on_reader = facts.router.as_ref().is_some_and(|router| router.is_on_reader());
        let (effects, startup) = facts.into_notes(requests);
        Ok(Self { effects, startup, is_on_reader })
    }

    fn requests(&mut self) -> &mut Requests<'a> {
        self.effects.requests()
    }

    /// Handles a Bind. Also the second time, once the server has described the statement's result.
    pub(in crate::session::pooled) fn bind(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        self.requests().conversation.enter_batch();
        let action = self.bind_statement(message, shown);
        if matches!(action, MessageAction::Forward | MessageAction::Consumed) {
            let requests = self.requests();
            requests.held.replay_buffer_mut().bind();
            let bound = message.bound();
            let is_kept = requests.conversation.captures_texts() || requests.statements.has_synonyms();
            let names = is_kept.then(|| (bound.portal().into(), bound.statement().into()));
            let (portal, statement) = names.unwrap_or_default();
            requests.owe(PendingRequest::Bind { portal, statement });
        }
        action
    }

    /// Writes the messages needed ahead of a Bind, and the Bind itself if the statement name must change.
    fn bind_statement(&mut self, message: &ClientMessage<'_>, shown: &mut ClientInput<'_>) -> MessageAction {
        if !message.has_bound_names() {
            // The server is to say that it makes no sense.
            return MessageAction::Forward;
        }
        let bound = message.bound();
        let requests = self.requests();
        requests.statements.on_bind(bound.portal());
        if bound.statement().is_empty() {
            return self.bind_unnamed(message, shown);
        }
        match requests.statement_for_use(bound.statement()) {
            Some(statement) => self.bind_named(&statement, message, shown),
            None => {
                requests.batch.on_bind(bound.portal(), b"", TransactionCommands::UNKNOWN);
                requests.hide_shared(bound.statement(), shown);
                MessageAction::Forward
            }
        }
    }

    fn bind_named(
        &mut self,
        statement: &Arc<SharedStatement>,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let bound = message.bound();
        let (portal, rest) = (bound.portal(), bound.parameters());
        let requests = self.requests();
        let effects = requests.database.effects(statement);
        if requests.depends_on_earlier_batch(statement.lists_prepared(), effects) {
            return MessageAction::AwaitResponses;
        }
        requests.statements.note_use(statement.id());
        if requests.may_be_failed()
            && requests.must_parse(statement)
            && let Some(report) = wrong_parameters(bound.statement(), statement.definition(), rest)
        {
            return requests.refuse_parameters(report, shown);
        }
        let effects = self.effects.proved(effects, statement.text());
        if !self.startup.note_portal(portal, effects, statement.text()) {
            self.requests().refuse(reset_midway(), shown);
            return MessageAction::Refused;
        }
        self.effects.guard_sequences(effects, f::BIND, shown);
        self.effects.note(effects, statement.text(), Some(rest));
        let requests = self.requests();
        requests.batch.on_bind(portal, statement.text(), statement.transaction_commands());
        let names = effects.intersects(NAMING);
        if statement.lists_prepared() || (names && requests.may_show_shared(statement.text())) {
            requests.statements.note_list(effects);
            requests.own_names().show_in_batch(shown);
            self.show_named_by_bind(effects, portal, statement.text(), shown);
            return MessageAction::Forward;
        }
        // It may have been parsed on another backend, or on none.
        self.show_named_by_bind(effects, portal, statement.text(), shown);
        self.send_bind(statement, message, shown)
    }

    /// Sends the prepared statements that a bound statement names.
    fn show_named_by_bind(
        &mut self,
        effects: Effects,
        portal: &[u8],
        text: &[u8],
        shown: &mut ClientInput<'_>,
    ) {
        if effects.contains(Effects::EXECUTE) {
            self.effects.note_named_by_parse(text, shown);
        }
        if effects.contains(Effects::PREPARE) {
            self.effects.note_named_by_bind(portal, text, shown);
        }
    }

    /// Writes a Bind of a shared statement, if the result is as described to the client.
    fn send_bind(
        &mut self,
        statement: &Arc<SharedStatement>,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        let bound = message.bound();
        let portal = bound.portal();
        let known = self.requests().ensure(statement, shown);
        if portal.is_empty() && known != KnownResult::AsDescribed {
            self.requests().statements.note_portal_of(statement.id());
        }
        if let Some(action) = self.check_result(statement, known, portal, shown) {
            return action;
        }
        let Requests { held, to_backend, .. } = self.requests();
        let start = to_backend.len();
        frontend::write_bind(to_backend, portal, &held.statements().name(statement.id()), bound.parameters());
        if let Some(total) = message.total() {
            // The length speaks of what is still to come, too.
            extend_frame(to_backend, start, total - Header::BYTES - message.body().len());
        }
        MessageAction::Consumed
    }

    /// Compares the statement's result with the client's description, before a Bind of `portal`. `None`: the Bind may be
    /// sent.
    fn check_result(
        &mut self,
        statement: &Arc<SharedStatement>,
        known: KnownResult,
        portal: &[u8],
        shown: &mut ClientInput<'_>,
    ) -> Option<MessageAction> {
        let requests = self.requests();
        let is_checked = requests.statements.take_shape_check();
        let relies_on_description = matches!(known, KnownResult::Unknown | KnownResult::Other)
            && !shown.is_described_next(portal)
            && !requests.conversation.queue().is_skipping();
        if !relies_on_description {
            return None;
        }
        if !is_checked {
            requests.ask_result(statement, known);
            return Some(MessageAction::AwaitResponses);
        }
        (known == KnownResult::Other).then(|| self.refuse_changed(shown))
    }

    /// Handles a bound statement with a result different from the client's description. A standby may only be behind.
    fn refuse_changed(&mut self, shown: &mut ClientInput<'_>) -> MessageAction {
        let is_on_reader = self.is_on_reader;
        let requests = self.requests();
        let buffer = requests.held.replay_buffer();
        if is_on_reader && buffer.is_open() && buffer.is_repeatable() {
            return MessageAction::Replay(RerunCause::StandbyRefused);
        }
        requests.refuse(plan_changed(), shown);
        MessageAction::Refused
    }

    fn bind_unnamed(&mut self, message: &ClientMessage<'_>, shown: &mut ClientInput<'_>) -> MessageAction {
        let rest = message.bound().parameters();
        let requests = self.requests();
        let analysis = requests.analyze_unnamed();
        if analysis.is_some_and(|analysis| {
            requests.depends_on_earlier_batch(analysis.lists_prepared, analysis.effects)
        }) {
            return MessageAction::AwaitResponses;
        }
        requests.statements.note_use(0);
        if requests.may_be_failed()
            && requests.must_parse_unnamed()
            && let Some(report) = wrong_parameters(b"", requests.statements.unnamed().definition(), rest)
        {
            return requests.refuse_parameters(report, shown);
        }
        if let Some(analysis) = analysis {
            // The definition stays as it is until the Bind is queued.
            let definition = requests.statements.unnamed_mut().take_definition();
            let text = text_of(&definition);
            requests.batch.on_bind(message.bound().portal(), text, analysis.transaction_commands);
            let is_accepted = self.note_unnamed(&analysis, text, message, shown);
            self.requests().statements.unnamed_mut().put_definition(definition);
            if !is_accepted {
                self.requests().refuse(reset_midway(), shown);
                return MessageAction::Refused;
            }
        }
        self.requests().ensure_unnamed(shown);
        MessageAction::Forward
    }

    /// Notes what a Bind of the unnamed statement with `text` may leave behind, by its `analysis`; false if the Bind
    /// must be rejected.
    fn note_unnamed(
        &mut self,
        analysis: &Analysis,
        text: &[u8],
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> bool {
        let bound = message.bound();
        let effects = self.effects.proved(analysis.effects, text);
        self.effects.guard_sequences(effects, f::BIND, shown);
        if !self.startup.note_portal(bound.portal(), effects, text) {
            return false;
        }
        self.effects.note(effects, text, Some(bound.parameters()));
        let requests = self.requests();
        if analysis.lists_prepared || (effects.intersects(NAMING) && requests.may_show_shared(text)) {
            requests.statements.note_list(effects);
            requests.own_names().show_in_batch(shown);
        }
        self.show_named_by_bind(effects, bound.portal(), text, shown);
        true
    }
}

/// Adds `missing` bytes to the length of the frame that begins at `start`: they are still to come.
fn extend_frame(out: &mut [u8], start: usize, missing: usize) {
    let length = u32::try_from(out.len() - start - 1 + missing).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start + 1..).and_then(|from| from.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}
