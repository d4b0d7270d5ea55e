//! What the server owes from now on, and what becomes of it when the server never gets to it.

use std::sync::Arc;

use crate::session::{
    Settings,
    memory::Memory,
    pooled::{Pooled, SOME_UNNAMED, ShapeCheck, UnnamedStatement},
    proxy_batch::{BatchWriter, ProxyBatch},
    response_queue::{CloseOrigin, Described, Forgotten, ParseOrigin, PendingRequest},
    result_shape::ResultShape,
    statement::Statement,
};

impl Pooled {
    /// Queues a request sent now. The side effects noted so far are recorded with the client's request.
    pub(in crate::session) fn owe(&mut self, request: PendingRequest) {
        let side_effects =
            if matches!(request, PendingRequest::Own(_)) { None } else { self.cleanup.take_noted() };
        if let Some(ignored) = self.conversation.queue.owe(request, side_effects) {
            self.undo(ignored);
        }
    }

    /// Appends a request to the backend's output and queues the pending response, in a single step: the queue keeps the
    /// order received by the server.
    pub(in crate::session) fn request_ahead(
        &mut self,
        request: PendingRequest,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        write(self.outgoing.backend());
        self.owe(request);
    }

    /// Called before a request replaces or destroys the client's unnamed statement. Returns the statement, if the
    /// server may yet skip the request.
    pub(in crate::session) fn destroy_unnamed(&mut self) -> Option<Box<UnnamedStatement>> {
        let certain = self.conversation.queue.owes_client_nothing() && !self.conversation.queue.is_skipping();
        if let Some(held) = self.backend.held_mut() {
            held.unnamed = 0;
        }
        if certain {
            self.statements.unnamed.forget();
            return None;
        }
        self.statements.unnamed.put_away()
    }

    /// The server never got to this request.
    pub(in crate::session) fn undo(&mut self, request: PendingRequest) {
        let Some(request) = self.conversation.queue.pass_on_unnamed(request) else { return };
        let mut held = self.backend.held_mut();
        let mut doubt = |id| {
            if let Some(held) = &mut held {
                held.prepared.doubt(id);
            }
        };
        match request {
            PendingRequest::Parse { name, made: ParseOrigin::Named(statement), .. } => {
                doubt(statement.id());
                self.statements.remove_same(&name, &statement);
            }
            PendingRequest::Own(ProxyBatch::SequencesWithin { .. }) => self.cleanup.sequences.note_foreign(),
            PendingRequest::Describe(Described::Ours(_)) => {
                self.statements.set_shape_check(ShapeCheck::Answered)
            }
            PendingRequest::Parse { made: ParseOrigin::Proxy(statement), .. } => doubt(statement.id()),
            PendingRequest::Parse { name, made: ParseOrigin::Rename, .. } => {
                self.statements.forget_on_backend(&name);
            }
            PendingRequest::Parse { made: ParseOrigin::Unnamed(before), .. }
            | PendingRequest::Close { closed: CloseOrigin::Unnamed(before), .. }
            | PendingRequest::Whole { unnamed: before, .. } => {
                self.statements.unnamed.bring_back(before);
                forget_unnamed(held);
            }
            PendingRequest::Parse { made: ParseOrigin::ProxyUnnamed, .. }
            | PendingRequest::Close { closed: CloseOrigin::Proxy(0), .. } => {
                forget_unnamed(held);
            }
            PendingRequest::Close { name, closed: CloseOrigin::Name(statement), .. } => {
                self.statements.restore(name, statement);
            }
            PendingRequest::Execute { forgets: Some(forgotten), .. } => {
                let Forgotten { name, statement } = *forgotten;
                self.statements.restore(name, statement);
            }
            PendingRequest::Close { closed: CloseOrigin::Proxy(id), .. } => {
                if let Some(held) = held {
                    held.prepared.kept(id);
                }
            }
            _ => {}
        }
    }
}

fn forget_unnamed(held: Option<&mut Memory>) {
    if let Some(held) = held {
        held.unnamed = SOME_UNNAMED;
    }
}

// === backend state ===

impl Pooled {
    /// The settings of the held backend, and what a batch of ours for it is written with.
    pub(in crate::session) fn pen(&mut self) -> Option<(Settings, BatchWriter<'_>)> {
        self.statements.begin_batch();
        let settings = self.backend.held()?.settings.clone();
        Some((settings, self.pen_within_batch()?))
    }

    /// Writer for internal messages within a client's batch.
    pub(in crate::session) fn pen_within_batch(&mut self) -> Option<BatchWriter<'_>> {
        let held = self.backend.held_mut()?;
        Some(BatchWriter {
            internal_statements: &self.common.internal_statements,
            prepared: &mut held.prepared,
            batch: self.statements.batch(),
            parsed: self.common.last_parse(),
            out: self.outgoing.backend(),
        })
    }

    /// Client statement of the name, for use on the held backend.
    pub(super) fn statement_for_use(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let held = self.backend.held().map(|held| &held.prepared);
        self.statements.for_use(name, held, &self.common)
    }

    /// True if a Bind of the client's `statement` now is sent behind a Parse.
    pub(super) fn must_parse(&mut self, statement: &Statement) -> bool {
        let (id, batch) = (statement.id(), self.statements.batch());
        let since = self.statements.expectations(id).when;
        statement.lists
            || self.backend.held_mut().is_some_and(|held| held.prepared.uses(id, batch, since).is_none())
    }

    /// True if a Bind of the client's unnamed statement now is sent behind a Parse.
    pub(super) fn must_parse_unnamed(&self) -> bool {
        let unnamed = &self.statements.unnamed;
        let is_missing = self.backend.held().is_some_and(|held| held.unnamed != unnamed.number());
        unnamed.exists() && (unnamed.lists_prepared() || is_missing)
    }

    /// True if `text`, an SQL `PREPARE`, `EXECUTE` or `DEALLOCATE`, may reach or show shared statements: by the name of
    /// one on the held backend, or by executing a statement that lists prepared statements.
    pub(super) fn may_show_shared(&self, text: &[u8]) -> bool {
        self.backend.held().is_some_and(|held| held.prepared.stem().is_in(text))
            || self.statements.may_list_by_execute(text)
    }

    /// Notes the result of a prepared statement, described by the held backend.
    pub(in crate::session) fn described(&mut self, id: u64, shape: ResultShape) {
        if let Some(held) = self.backend.held_mut() {
            held.prepared.described(id, shape);
        }
    }
}
