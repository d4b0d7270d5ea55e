//! What the server owes from now on, and what becomes of it when the server never gets to it.

use std::sync::Arc;

use crate::session::{
    Settings,
    ledger::{Closed, Described, Made, Owed},
    memory::Memory,
    own::Pen,
    pooled::{HeldBegin, Pooled, SOME_UNNAMED, ShapeCheck, Unnamed, Untold},
    result_shape::ResultShape,
    statement::Statement,
};

impl Pooled {
    pub(in crate::session) fn owe(&mut self, request: Owed) {
        if let Some(ignored) = self.conversation.ledger.owe(request) {
            self.undo(ignored);
        }
    }

    /// Appends a request to the backend's output and queues the pending response, in a single step: the queue keeps the
    /// order received by the server.
    pub(in crate::session) fn request_ahead(&mut self, request: Owed, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.outgoing.to_backend);
        self.owe(request);
    }

    /// Called before a request replaces or destroys the client's unnamed statement. Returns the statement, if the
    /// server may yet skip the request.
    pub(in crate::session) fn destroy_unnamed(&mut self) -> Option<Box<Unnamed>> {
        let certain =
            self.conversation.ledger.owes_client_nothing() && !self.conversation.ledger.is_skipping();
        if let Some(held) = &mut self.backend.held {
            held.unnamed = 0;
        }
        if certain {
            self.statements.unnamed.number = 0;
            return None;
        }
        self.statements.unnamed.put_away()
    }

    /// The server never got to this request.
    pub(in crate::session) fn undo(&mut self, request: Owed) {
        let Some(request) = self.conversation.ledger.pass_on_unnamed(request) else { return };
        if let Owed::Bind { pins, .. } = request {
            return self.unpin(pins);
        }
        let mut held = self.backend.held.as_deref_mut();
        let mut doubt = |id| {
            if let Some(held) = &mut held {
                held.prepared.doubt(id);
            }
        };
        match request {
            Owed::Parse { name, made: Made::Named(statement), .. } => {
                doubt(statement.id());
                if self.statements.named.get(&name).is_some_and(|other| Arc::ptr_eq(other, &statement)) {
                    self.statements.named.remove(&name);
                    self.statements.parsed.forget(statement.id());
                }
            }
            Owed::Describe(Described::Ours(_)) => self.statements.shape_check = ShapeCheck::Answered,
            Owed::Parse { made: Made::Ours(statement), .. } => doubt(statement.id()),
            Owed::Parse { name, made: Made::Aside, .. } => {
                self.has_no_own(&name);
            }
            Owed::Parse { made: Made::Unnamed(before), .. }
            | Owed::Close { closed: Closed::Unnamed(before), .. }
            | Owed::Whole { unnamed: before, .. } => {
                self.statements.unnamed.bring_back(before);
                forget_unnamed(held);
            }
            Owed::Parse { made: Made::OursUnnamed, .. } | Owed::Close { closed: Closed::Ours(0), .. } => {
                forget_unnamed(held);
            }
            Owed::Close { name, closed: Closed::Name((statement, parsed)), .. } => {
                // The backend may have the statement under the client's own name.
                self.has_own(&name);
                self.statements.parsed.restore(statement.id(), parsed);
                self.statements.named.insert(name, statement);
            }
            Owed::Execute { forgets: Some(forgotten), .. } => {
                self.has_own(&forgotten.name);
                let (statement, parsed) = forgotten.statement;
                self.statements.parsed.restore(statement.id(), parsed);
                self.statements.named.insert(forgotten.name, statement);
            }
            Owed::Close { closed: Closed::Ours(id), .. } => {
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
    pub(in crate::session) fn pen(&mut self) -> Option<(Settings, Pen<'_>)> {
        self.statements.batch = self.statements.batch.wrapping_add(1);
        let settings = self.backend.held.as_deref()?.settings.clone();
        Some((settings, self.pen_within_batch()?))
    }

    /// Writer for internal messages within a client's batch.
    pub(in crate::session) fn pen_within_batch(&mut self) -> Option<Pen<'_>> {
        let held = self.backend.held.as_deref_mut()?;
        Some(Pen {
            phrases: &self.common.phrases,
            prepared: &mut held.prepared,
            batch: self.statements.batch,
            parsed: self.common.last_parse(),
            out: &mut self.outgoing.to_backend,
        })
    }

    /// The held backend is about to be told what it was not told of the transaction.
    pub(super) fn tell(&mut self) -> Untold {
        self.begin.delay = HeldBegin::Waits;
        std::mem::replace(&mut self.begin.untold, Untold::Nothing)
    }

    /// Client statement of the name `name`. A statement missing on the held backend, and read differently by the
    /// session now, becomes a new statement. The new statement is parsed in the current reading; sessions of the
    /// earlier reading do not share the statement.
    pub(super) fn statement_named(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let statement = self.statements.named.get_mut(name)?;
        let reading = self.statements.reading.needed_by(statement.definition());
        if statement.reading() != reading
            && self.backend.held.as_ref().is_some_and(|held| !held.prepared.may_have(statement.id()))
        {
            let read = self.common.statement(statement.definition(), reading);
            self.statements.parsed.replace(statement.id(), read.id());
            *statement = read;
        }
        Some(Arc::clone(statement))
    }

    /// True if a Bind of the client's `statement` now is sent behind a Parse.
    pub(super) fn must_parse(&mut self, statement: &Statement) -> bool {
        let (id, since) = (statement.id(), self.statements.parsed.of(statement.id()).when);
        let batch = self.statements.batch;
        statement.lists
            || self.backend.held.as_mut().is_some_and(|held| held.prepared.uses(id, batch, since).is_none())
    }

    /// True if a Bind of the client's unnamed statement now is sent behind a Parse.
    pub(super) fn must_parse_unnamed(&self) -> bool {
        let Unnamed { number, lists, .. } = self.statements.unnamed;
        number != 0 && (lists || self.backend.held.as_ref().is_some_and(|held| held.unnamed != number))
    }

    /// Whether the held backend has a statement under the client's own name.
    pub(super) fn is_own(&self, name: &[u8]) -> bool {
        self.statements.strays.iter().any(|own| **own == *name)
    }

    /// The held backend is about to have a statement under the client's own name.
    pub(in crate::session) fn has_own(&mut self, name: &[u8]) {
        if !self.is_own(name) {
            self.statements.strays.push(name.into());
        }
    }

    /// The held backend is about to lose it; whether it had it.
    pub(super) fn has_no_own(&mut self, name: &[u8]) -> bool {
        let before = self.statements.strays.len();
        self.statements.strays.retain(|own| **own != *name);
        self.statements.strays.len() < before
    }

    /// True if `text` may contain the name of a shared statement on the held backend.
    pub(super) fn names_ours(&self, text: &[u8]) -> bool {
        self.backend.held.as_ref().is_some_and(|held| held.prepared.stem().is_in(text))
    }

    /// True if the server has described the result of the statement bound now.
    pub(super) fn take_shape_check(&mut self) -> bool {
        std::mem::replace(&mut self.statements.shape_check, ShapeCheck::None) == ShapeCheck::Answered
    }

    /// Notes the result of a prepared statement, described by the held backend.
    pub(in crate::session) fn described(&mut self, id: u64, shape: ResultShape) {
        if let Some(held) = &mut self.backend.held {
            held.prepared.described(id, shape);
        }
    }

    /// The held backend is about to lose a prepared statement.
    pub(super) fn lose(&mut self, id: u64) {
        if let Some(held) = &mut self.backend.held {
            held.prepared.closed(id);
        }
    }
}
