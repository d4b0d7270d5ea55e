//! Requests to the held backend: of the client, and ahead of the client's messages.
//!
//! Promises: a request is written and queued in a single step, so that the queue keeps the order received by the server.
//! A request that the server skips leaves no trace. Refuses to know: routes, the session's settings, and why a request is
//! sent.

mod bind;
mod commits;
mod effects;
mod messages;
mod own_names;
mod prelude;
mod sequences;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use self::{
    bind::BindMessages,
    commits::CommitRequests,
    effects::EffectNotes,
    messages::StatementMessages,
    prelude::{Prelude, PreludeOutcome},
    settings::SettingRequests,
};
use self::{own_names::OwnNames, sequences::SequenceRequests};
use super::{
    Pooled,
    analyzed_texts::AnalyzedTexts,
    batch_tracker::BatchTracker,
    cleanup::Cleanup,
    client_input::ClientInput,
    client_message::ClientMessage,
    client_statements::{ClientStatements, ShapeCheck},
    commits::CommitTracker,
    deferred_begin::DeferredBegin,
    internal_error::InternalError,
    message_action::MessageAction,
    sequences::SequenceTracker,
    session_settings::SessionSettings,
    startup_settings::StartupSettings,
    unnamed_statement::UnnamedStatement,
};
use crate::{
    session::{
        SettingValues,
        batch_writer::BatchWriter,
        conversation::Conversation,
        database_state::DatabaseState,
        pending_request::{CloseOrigin, Described, Forgotten, ParseOrigin, PendingRequest},
        pin::Pin,
        proxy_batch::ProxyBatch,
        shared_statement::SharedStatement,
        split::Router,
        tracked_backend_state::TrackedBackendState,
    },
    sql::{Analysis, AnalysisInputs, Effects},
    wire::{self, ErrorResponse, TransactionStatus, frontend, tag::frontend as f},
};

/// Requests to the held backend.
pub(super) struct Requests<'a> {
    conversation: &'a mut Conversation,
    statements: &'a mut ClientStatements,
    held: &'a mut TrackedBackendState,
    cleanup: &'a mut Cleanup,
    sequences: &'a mut SequenceTracker,
    batch: &'a mut BatchTracker,
    to_backend: &'a mut Vec<u8>,
    texts: &'a AnalyzedTexts,
    database: &'a DatabaseState,
}

/// State of the session that requests depend on.
struct SessionFacts<'a> {
    settings: &'a mut SessionSettings,
    startup: &'a mut StartupSettings,
    begin: &'a mut DeferredBegin,
    commits: Option<&'a mut CommitTracker>,
    router: Option<&'a mut Router>,
}

/// Effects of statements that name prepared statements.
const NAMING: Effects = Effects::PREPARE.union(Effects::EXECUTE);

/// Comparison of the client's description of a result with the result on the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownResult {
    /// The client has no description.
    Untold,
    /// The client's description is correct.
    AsDescribed,
    /// The result differs.
    Other,
    /// Only the backend can tell.
    Unknown,
}

// === impl Requests ===

impl<'a> Requests<'a> {
    /// Requests of `session` to the held backend.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(super) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        Ok(Self::split_off(session)?.0)
    }

    /// Requests of `session` to the held backend, beside what the requests depend on.
    fn split_off(session: &'a mut Pooled) -> Result<(Self, SessionFacts<'a>), InternalError> {
        let requests = Self {
            conversation: &mut session.conversation,
            statements: &mut session.statements,
            held: session.backend.held_mut().ok_or(InternalError::NoBackend)?,
            cleanup: &mut session.cleanup,
            sequences: &mut session.sequences,
            batch: &mut session.batch,
            to_backend: session.outgoing.backend(),
            texts: &session.texts,
            database: &session.database,
        };
        let facts = SessionFacts {
            settings: &mut session.settings,
            startup: &mut session.startup,
            begin: &mut session.begin,
            commits: session.commits.as_deref_mut(),
            router: session.router.as_deref_mut(),
        };
        Ok((requests, facts))
    }

    /// True if nothing of the client is in progress: an internal batch may go ahead of its next message.
    fn begins_work(&self) -> bool {
        !self.conversation.is_in_batch() && self.conversation.queue().owes_client_nothing()
    }

    /// Queues a request sent now. The side effects noted so far are recorded with the client's request.
    pub(super) fn owe(&mut self, request: PendingRequest) {
        let side_effects =
            if matches!(request, PendingRequest::Own(_)) { None } else { self.cleanup.take_noted() };
        if let Some(ignored) = self.conversation.queue_mut().owe(request, side_effects) {
            self.undo(ignored);
        }
    }

    /// Writes a request ahead of the client's messages, and queues the pending response.
    pub(super) fn send(&mut self, request: PendingRequest, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.to_backend);
        self.owe(request);
    }

    /// Begins an addition to the client's bytes.
    pub(super) fn stage(&mut self, shown: &mut ClientInput<'_>) {
        shown.stage(self.to_backend);
    }

    /// Forwards a message with a Flush, because the response must arrive before further messages. Without Flush the
    /// server may buffer the response up to the Sync.
    fn forward_flushed(&mut self, message: &ClientMessage<'_>, shown: &mut ClientInput<'_>) -> MessageAction {
        self.stage(shown);
        wire::write_frame(self.to_backend, message.tag(), |to| to.extend_from_slice(message.body()));
        frontend::write_flush(self.to_backend);
        MessageAction::Consumed
    }

    // --- internal batches

    /// Sends an internal batch: `write` gets the settings known to the backend.
    pub(super) fn send_batch(&mut self, write: impl FnOnce(&SettingValues, BatchWriter<'_>) -> ProxyBatch) {
        self.statements.begin_batch();
        let own = self.write_batch(write);
        self.owe(PendingRequest::Own(own));
    }

    /// Sends an internal batch within the client's batch, if `write` writes one; false otherwise.
    pub(super) fn send_within_batch(
        &mut self,
        write: impl FnOnce(BatchWriter<'_>) -> Option<ProxyBatch>,
    ) -> bool {
        let own = self.write_batch(|_, writer| write(writer));
        own.map(|own| self.owe(PendingRequest::Own(own))).is_some()
    }

    fn write_batch<T>(&mut self, write: impl FnOnce(&SettingValues, BatchWriter<'_>) -> T) -> T {
        let (settings, prepared) = self.held.batch_parts();
        let internal_statements = self.database.internal_statements();
        let (batch, parsed) = (self.statements.batch(), self.database.last_parse());
        let writer = BatchWriter::new(internal_statements, prepared, batch, parsed, self.to_backend);
        write(settings, writer)
    }

    /// Sends `query` ahead of the client's messages. As with any Query, the backend's unnamed statement is destroyed;
    /// the client's unnamed statement is parsed again on use.
    pub(super) fn send_query(&mut self, query: &[u8], own: ProxyBatch) {
        self.held.queried();
        self.send(PendingRequest::Own(own), |out| frontend::write_query(out, query));
    }

    /// Makes the open transaction fail at the server.
    fn fail_transaction(&mut self) {
        // There is none of this name, and a transaction that tries has failed.
        self.send_query(b"ROLLBACK TO __gatekeeper_failed", ProxyBatch::Aside);
    }

    /// Ends a batch that goes on elsewhere, or messages of an internal batch, with a Sync.
    pub(super) fn sync_aside(&mut self) {
        self.send(PendingRequest::Own(ProxyBatch::Aside), frontend::write_sync);
    }

    /// Rejects the client's message with a Gatekeeper error. The server gets a malformed message instead, to fail the
    /// batch and the transaction there as well.
    pub(super) fn refuse(&mut self, report: ErrorResponse<'static>, shown: &mut ClientInput<'_>) {
        self.stage(shown);
        self.send(PendingRequest::Refused(Box::new(report)), |out| {
            // A Bind announcing more formats than present.
            wire::write_frame(out, f::BIND, |body| body.extend_from_slice(b"\0\0\xff\xff"));
        });
    }

    /// True if the transaction has failed, or the pending responses may show that it has.
    fn may_be_failed(&self) -> bool {
        self.conversation.status() == TransactionStatus::Failed
            || self.conversation.queue().may_change_status()
    }

    /// True if the server executes nothing but the end of the transaction.
    fn has_failed(&self) -> bool {
        let queue = self.conversation.queue();
        self.conversation.status() == TransactionStatus::Failed
            && !queue.may_change_status()
            && !queue.may_end_transaction()
    }

    /// Rejects a Bind with a wrong count of parameters in a failed transaction. The pending responses tell whether the
    /// transaction has failed: in any other state, the server itself rejects the Bind.
    fn refuse_parameters(
        &mut self,
        report: ErrorResponse<'static>,
        shown: &mut ClientInput<'_>,
    ) -> MessageAction {
        if self.conversation.queue().may_change_status() {
            return MessageAction::AwaitResponses;
        }
        self.refuse(report, shown);
        MessageAction::Refused
    }

    // --- shared statements

    /// Client statement of the name, for use on the held backend.
    pub(super) fn statement_for_use(&mut self, name: &[u8]) -> Option<Arc<SharedStatement>> {
        self.statements.for_use(name, Some(self.held.statements()), self.database)
    }

    /// True if a Bind of the client's `statement` now is sent behind a Parse.
    pub(super) fn must_parse(&mut self, statement: &SharedStatement) -> bool {
        let (id, batch) = (statement.id(), self.statements.batch());
        let since = self.statements.expectations(id).parse_number();
        statement.lists_prepared() || self.held.statements_mut().uses(id, batch, since).is_none()
    }

    /// True if a statement with `effects`, or a list of prepared statements, depends on which statements an earlier batch
    /// has made or closed. Only the responses tell: the server skips the rest of a batch after an error.
    fn depends_on_earlier_batch(&self, lists: bool, effects: Effects) -> bool {
        let queue = &self.conversation.queue();
        let names = effects.intersects(NAMING) && queue.names_statements();
        (lists || names) && queue.has_earlier_batch()
    }

    /// True if the server may have a statement called `name`, prepared by SQL or under the client's own name: it must
    /// report the duplicate. A pending state check may yet find the name.
    fn may_be_named_by_sql(&mut self, name: &[u8]) -> bool {
        matches!(self.conversation.queue_mut().own(), Some(ProxyBatch::StateCheck(_)))
            || self.cleanup.pins().contains(Pin::SqlPrepared)
            || self.cleanup.may_have_left(Effects::PREPARE)
            || self.conversation.queue().may_leave(Effects::PREPARE)
            || self.statements.has_on_backend(name)
    }

    /// Forgets the statement `name`, which the client closes. Returns the origin of the Close.
    fn close_statement(&mut self, name: &[u8]) -> CloseOrigin {
        if name.is_empty() {
            return CloseOrigin::Unnamed(self.destroy_unnamed());
        }
        if let Some(statement) = self.statements.remove(name) {
            // The backend knows no statement of that name, and says CloseComplete all the same.
            return CloseOrigin::Name(statement);
        }
        if let Some(id) = self.held.statements().stem().id_of(name) {
            // The client has found an internal name: the shared statement is prepared again for further use.
            self.held.statements_mut().doubt(id);
        }
        CloseOrigin::Client
    }

    /// Writes a Parse of `statement`, which the backend may have already: then it is closed before.
    pub(super) fn send_parse(
        &mut self,
        statement: &Arc<SharedStatement>,
        owed: impl FnOnce(Arc<SharedStatement>) -> PendingRequest,
    ) {
        let (batch, parsed) = (self.statements.batch(), self.database.last_parse());
        let prepared = self.held.statements_mut();
        let id = statement.id();
        let name = prepared.name(id);
        let had = prepared.may_have(id);
        let evicted = prepared.sent(id, batch, parsed).map(|evicted| (evicted, prepared.name(evicted)));
        if had {
            self.close_shared(id, &name);
        }
        self.send(owed(Arc::clone(statement)), |out| {
            frontend::write_parse(out, &name, statement.definition());
        });
        if let Some((id, name)) = evicted {
            self.close_shared(id, &name);
        }
    }

    /// Closes a shared statement; `id` is 0 for the unnamed statement.
    fn close_shared(&mut self, id: u64, name: &[u8]) {
        let close = PendingRequest::Close { name: Box::default(), closed: CloseOrigin::Proxy(id) };
        self.send(close, |out| frontend::write_close_statement(out, name));
    }

    /// Makes sure the backend has `statement` for the rest of the batch. Returns the known result.
    pub(super) fn ensure(
        &mut self,
        statement: &Arc<SharedStatement>,
        shown: &mut ClientInput<'_>,
    ) -> KnownResult {
        self.stage(shown);
        let (id, batch) = (statement.id(), self.statements.batch());
        let expected = self.statements.expectations(id);
        let ready = self.held.statements_mut().uses(id, batch, expected.parse_number());
        if ready.is_none() {
            self.parse_for_us(statement);
        }
        match (expected.described_result(), ready.flatten()) {
            (None, _) => KnownResult::Untold,
            (Some(described), Some(now)) if described == now => KnownResult::AsDescribed,
            (Some(_), Some(_)) => KnownResult::Other,
            (Some(_), None) => KnownResult::Unknown,
        }
    }

    fn parse_for_us(&mut self, statement: &Arc<SharedStatement>) {
        self.send_parse(statement, |statement| PendingRequest::Parse {
            name: Box::default(),
            text: None,
            made: ParseOrigin::Proxy(statement),
        });
    }

    /// Requests the statement's result from the server before any execution: the client relies on the earlier
    /// description.
    pub(super) fn ask_result(&mut self, statement: &Arc<SharedStatement>, known: KnownResult) {
        if known == KnownResult::Other {
            // The copy was prepared for another session, with possibly different tables of the same names.
            self.parse_for_us(statement);
        }
        let name = self.held.statements().name(statement.id());
        self.statements.set_shape_check(ShapeCheck::Asked);
        self.send(PendingRequest::Describe(Described::Ours(statement.id())), |out| {
            frontend::write_describe_statement(out, &name);
            frontend::write_flush(out);
        });
    }

    /// A statement that the client never prepared by message: the server knows it by SQL, or says that it does not exist.
    /// Internal names, if known to the client, must not reach shared statements: the named statement is closed first.
    pub(super) fn hide_shared(&mut self, name: &[u8], shown: &mut ClientInput<'_>) {
        if let Some(id) = self.held.statements().stem().id_of(name) {
            self.stage(shown);
            self.held.statements_mut().closing(id);
            self.close_shared(id, name);
        }
    }

    /// True if `text`, an SQL `PREPARE`, `EXECUTE` or `DEALLOCATE`, may reach or show shared statements: by the name of
    /// one on the held backend, or by executing a statement that lists prepared statements.
    pub(super) fn may_show_shared(&self, text: &[u8]) -> bool {
        self.held.statements().stem().is_in(text) || self.statements.may_list_by_execute(text)
    }

    // --- the unnamed statement

    /// Called before a request replaces or destroys the client's unnamed statement. Returns the statement, if the
    /// server may yet skip the request.
    pub(super) fn destroy_unnamed(&mut self) -> Option<Box<UnnamedStatement>> {
        let queue = &self.conversation.queue();
        let is_certain = queue.owes_client_nothing() && !queue.is_skipping();
        self.held.queried();
        if is_certain {
            self.statements.unnamed_mut().forget();
            return None;
        }
        self.statements.unnamed_mut().put_away()
    }

    /// Defines a new unnamed statement; returns the previous statement, if the server may yet skip the new Parse.
    pub(super) fn define_unnamed(
        &mut self,
        definition: &[u8],
        analysis: Analysis,
        inputs: Option<AnalysisInputs>,
    ) -> Option<Box<UnnamedStatement>> {
        let before = self.destroy_unnamed();
        self.held.note_unnamed(self.statements.unnamed_mut().define(definition, analysis, inputs));
        before
    }

    /// Analysis of the client's unnamed statement; `None` without one.
    fn analyze_unnamed(&mut self) -> Option<Analysis> {
        let unnamed = self.statements.unnamed_mut();
        unnamed.exists().then(|| unnamed.analyze(self.database, self.texts.lexical().as_ref()))
    }

    /// True if a Bind of the client's unnamed statement now is sent behind a Parse.
    pub(super) fn must_parse_unnamed(&self) -> bool {
        let unnamed = self.statements.unnamed();
        unnamed.exists() && (unnamed.lists_prepared() || !self.held.has_unnamed(unnamed.number()))
    }

    /// Sees to it that the backend has the client's unnamed statement, or none.
    pub(super) fn ensure_unnamed(&mut self, shown: &mut ClientInput<'_>) {
        let number = self.statements.unnamed().number();
        if self.held.has_unnamed(number) && !self.conversation.queue().may_skip_own_unnamed() {
            return;
        }
        self.stage(shown);
        self.held.note_unnamed(number);
        if number == 0 {
            // The unnamed statement belongs to another session: the server must report a missing statement.
            return self.close_shared(0, b"");
        }
        frontend::write_parse(self.to_backend, b"", self.statements.unnamed().definition());
        self.owe(PendingRequest::Parse { name: Box::default(), text: None, made: ParseOrigin::ProxyUnnamed });
    }

    /// Statements under the client's own names.
    pub(super) const fn own_names(&mut self) -> OwnNames<'_, 'a> {
        OwnNames::of(self)
    }

    /// Sequence state of the session on the backend.
    const fn sequences(&mut self) -> SequenceRequests<'_, 'a> {
        SequenceRequests::of(self)
    }

    // --- requests skipped by the server

    /// Undoes a request that the server never got to.
    pub(super) fn undo(&mut self, request: PendingRequest) {
        if let Some(request) = self.conversation.queue_mut().pass_on_unnamed(request) {
            self.undo_own(request);
        }
    }

    /// Undoes a request without a later request for the unnamed statement.
    fn undo_own(&mut self, request: PendingRequest) {
        match request {
            PendingRequest::Parse { name, made: ParseOrigin::Named(statement), .. } => {
                self.held.statements_mut().doubt(statement.id());
                self.statements.remove_same(&name, &statement);
            }
            PendingRequest::Own(ProxyBatch::SequencesWithin { .. }) => self.sequences.note_foreign(),
            PendingRequest::Describe(Described::Ours(_)) => {
                self.statements.set_shape_check(ShapeCheck::Answered);
            }
            PendingRequest::Parse { made: ParseOrigin::Proxy(statement), .. } => {
                self.held.statements_mut().doubt(statement.id());
            }
            PendingRequest::Parse { name, made: ParseOrigin::Rename, .. } => {
                self.statements.forget_on_backend(&name);
            }
            PendingRequest::Parse { made: ParseOrigin::Unnamed(before), .. }
            | PendingRequest::Close { closed: CloseOrigin::Unnamed(before), .. }
            | PendingRequest::Whole { unnamed: before, .. } => {
                self.statements.unnamed_mut().bring_back(before);
                self.held.doubt_unnamed();
            }
            PendingRequest::Parse { made: ParseOrigin::ProxyUnnamed, .. }
            | PendingRequest::Close { closed: CloseOrigin::Proxy(0), .. } => {
                self.held.doubt_unnamed();
            }
            PendingRequest::Close { name, closed: CloseOrigin::Name(statement), .. } => {
                self.statements.restore(name, statement);
            }
            PendingRequest::Execute { forgets: Some(forgotten), .. } => {
                let Forgotten { name, statement } = *forgotten;
                self.statements.restore(name, statement);
            }
            PendingRequest::Close { closed: CloseOrigin::Proxy(id), .. } => {
                self.held.statements_mut().kept(id)
            }
            _ => {}
        }
    }
}

// === impl SessionFacts ===

impl<'a> SessionFacts<'a> {
    /// Notes of side effects, for `requests`.
    fn into_notes(self, requests: Requests<'a>) -> (EffectNotes<'a>, &'a mut StartupSettings) {
        let is_on_reader = self.router.is_some_and(|router| router.is_on_reader());
        (EffectNotes::new(requests, self.settings, is_on_reader), self.startup)
    }
}
