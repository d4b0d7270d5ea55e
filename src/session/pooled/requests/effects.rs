//! What a statement means for the session: noted with the request that executes the statement.

use std::sync::Arc;

use super::Requests;
use crate::{
    session::{
        pin::Pin,
        pooled::{
            Pooled, client_input::ClientInput, client_message::ClientMessage, internal_error::InternalError,
            session_settings::SessionSettings,
        },
        shared_statement::SharedStatement,
        state_check::VISIBLE,
    },
    sql::{self, Analysis, ClassifyReason, Effects, SessionStatement},
    wire::{TransactionStatus, tag::frontend as f},
};

/// RouteSide effects of statements, noted for the requests about to be sent to the held backend.
pub(in crate::session::pooled) struct EffectNotes<'a> {
    requests: Requests<'a>,
    settings: &'a mut SessionSettings,
    /// The backend is a read pool's.
    is_on_reader: bool,
}

/// `currval` and `lastval`, as FunctionCall knows them.
const SEQUENCE_READERS: [u32; 2] = [1575, 2559];
/// `setseed`.
const SETSEED: u32 = 1599;
/// State neither visible in the catalogs nor in settings.
const HIDDEN: Effects = Effects::SETTINGS_HIDDEN.union(Effects::LOAD).union(Effects::FUNCTION);

// === impl EffectNotes ===

impl<'a> EffectNotes<'a> {
    /// Notes for `session`.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        let (requests, facts) = Requests::split_off(session)?;
        Ok(facts.into_notes(requests).0)
    }

    /// Notes for `requests` of a session with `settings`. `is_on_reader`: the backend is a read pool's.
    pub(in crate::session::pooled) const fn new(
        requests: Requests<'a>,
        settings: &'a mut SessionSettings,
        is_on_reader: bool,
    ) -> Self {
        Self { requests, settings, is_on_reader }
    }

    /// The requests.
    pub(in crate::session::pooled) const fn requests(&mut self) -> &mut Requests<'a> {
        &mut self.requests
    }

    /// Apparent side effects of `text`, a statement of the transaction that is over, by the catalog of now.
    pub(in crate::session::pooled) fn apparent(&self, text: &[u8]) -> Effects {
        self.requests.database.text_effects(text)
    }

    /// Analysis of the text of a Query or Parse.
    pub(in crate::session::pooled) fn analyze(&self, message: &ClientMessage<'_>) -> Analysis {
        self.requests.texts.analyze(message, self.requests.database)
    }

    /// Possible side effects of `text`, with the apparent `effects`.
    pub(in crate::session::pooled) fn proved(&self, effects: Effects, text: &[u8]) -> Effects {
        self.settings.proved(effects, text)
    }

    /// Notes the possible side effects of a statement. `parameters` are those of a Bind, from the formats on.
    pub(in crate::session::pooled) fn note(
        &mut self,
        effects: Effects,
        statement: &[u8],
        parameters: Option<&[u8]>,
    ) {
        let Requests { conversation, cleanup, texts, database, .. } = &mut self.requests;
        // `GRANT` leaves nothing in a session.
        conversation.note_statement(statement);
        // A standby executes no part of a single DDL statement.
        let is_refused = self.is_on_reader
            && effects.intersects(HIDDEN)
            && memchr::memchr(b';', statement).is_none()
            && texts
                .lexical()
                .is_some_and(|lexical| database.classify(statement, &lexical).reason == ClassifyReason::Ddl);
        self.settings.note(effects);
        let refused = if is_refused { HIDDEN } else { Effects::NONE };
        cleanup.note(effects.without(refused), statement, parameters, database);
    }

    /// Notes a pin, for the request being written.
    pub(in crate::session::pooled) fn note_pin(&mut self, pin: Pin) {
        self.requests.cleanup.note_pin(pin);
    }

    /// Returns the possible effects of a Query too long to be read. State visible in the catalogs is checked; because
    /// of the remaining state the backend serves no further session.
    pub(in crate::session::pooled) fn pass_unread(&mut self) -> Effects {
        self.requests.held.note_unread();
        let definitions = Effects::DDL | Effects::DROPS;
        VISIBLE | Effects::UNPROVED | Effects::SETTINGS_ALL | Effects::SEQUENCE_MOVE | definitions
    }

    /// Notes what a FunctionCall may leave behind: whatever it calls.
    pub(in crate::session::pooled) fn note_function(&mut self, body: &[u8], shown: &mut ClientInput<'_>) {
        let (oid, arguments) = body.split_at(body.len().min(4));
        let oid = oid.try_into().map_or(0, u32::from_be_bytes);
        let read = if SEQUENCE_READERS.contains(&oid) { Effects::SEQUENCE_READ } else { Effects::NONE };
        self.guard_sequences(Effects::SEQUENCE_MOVE | read, f::FUNCTION_CALL, shown);
        let settings = Effects::SETTINGS_ALL | Effects::SETTINGS_BOUND;
        let hidden = if oid == SETSEED { Effects::FUNCTION } else { Effects::NONE };
        self.note(VISIBLE | settings | hidden | Effects::UNPROVED, b"", Some(arguments));
    }

    // --- sequences

    /// Minds statements that move sequences, and those that read what an earlier one has left, ahead of the message `tag`
    /// that has them executed.
    pub(in crate::session::pooled) fn guard_sequences(
        &mut self,
        effects: Effects,
        tag: u8,
        shown: &mut ClientInput<'_>,
    ) {
        if !effects.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) {
            return;
        }
        if effects.contains(Effects::SEQUENCE_READ) {
            self.requests.sequences().note_read();
        }
        if self.is_on_reader {
            // A standby refuses to move a sequence.
            return;
        }
        if self.requests.database.reads_sequences() {
            self.requests.sequences().note_move(tag, shown);
        } else {
            self.requests.sequences.note_own();
        }
    }

    /// The client prepares a statement that reads what an earlier one has left.
    pub(in crate::session::pooled) fn prepare_sequence_read(&mut self, shown: &mut ClientInput<'_>) {
        self.requests.sequences().note_read();
        if self.requests.conversation.status() == TransactionStatus::Idle {
            self.requests.sequences().clear(shown);
        }
    }

    // --- statements prepared by message and named by SQL

    /// Handles a Query that names prepared statements by `DEALLOCATE` or `EXECUTE`.
    pub(in crate::session::pooled) fn note_named_by_query(
        &mut self,
        statement: &[u8],
        shown: &mut ClientInput<'_>,
    ) {
        let Requests { conversation, statements, .. } = &mut self.requests;
        if conversation.status() == TransactionStatus::Failed || !statements.has_named() {
            return;
        }
        match (sql::session_statement(statement), conversation.is_in_batch()) {
            (SessionStatement::Deallocate { name }, true) => {
                if let Some(prepared) = statements.get(&name).cloned() {
                    self.requests.stage(shown);
                    self.requests.own_names().parse(&name, &prepared);
                }
            }
            (_, true) => self.note_named_by_parse(statement, shown),
            (SessionStatement::Deallocate { name }, false) => {
                self.requests.own_names().deallocate(&name, shown)
            }
            _ => {
                let named = statements.named_in(statement);
                if !named.is_empty() && conversation.queue().owes_client_nothing() {
                    self.requests.stage(shown);
                    for (_, prepared) in &named {
                        self.note_executed_by_sql(prepared);
                    }
                    self.requests.own_names().make(&named);
                }
            }
        }
    }

    /// Handles a Parse or Bind of a text with `EXECUTE`, by itself or within another statement.
    pub(in crate::session::pooled) fn note_named_by_parse(
        &mut self,
        statement: &[u8],
        shown: &mut ClientInput<'_>,
    ) {
        for (name, prepared) in self.requests.statements.named_in(statement) {
            self.requests.stage(shown);
            self.note_executed_by_sql(&prepared);
            self.requests.own_names().parse(&name, &prepared);
        }
    }

    /// Handles a Bind of `portal`, able at execution to deallocate a client statement by SQL, or to prepare a duplicate name
    /// for the server to reject. The server must have the statement of the name.
    pub(in crate::session::pooled) fn note_named_by_bind(
        &mut self,
        portal: &[u8],
        statement: &[u8],
        shown: &mut ClientInput<'_>,
    ) {
        let statements = &mut *self.requests.statements;
        let mut named = match sql::session_statement(statement) {
            SessionStatement::Deallocate { name } => statements.deallocated_by(portal, &name),
            SessionStatement::Other => statements.named_in(statement),
            _ => Vec::new(),
        };
        named.retain(|(name, _)| !statements.has_on_backend(name));
        for (name, prepared) in named {
            self.requests.stage(shown);
            self.requests.own_names().parse(&name, &prepared);
        }
    }

    /// Notes that a statement prepared by message is executed by SQL, whatever it does.
    fn note_executed_by_sql(&mut self, prepared: &Arc<SharedStatement>) {
        let effects = self.requests.database.effects(prepared);
        self.note(effects, prepared.text(), None);
        self.note_pin(Pin::SqlExecute);
    }
}
