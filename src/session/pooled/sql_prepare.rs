//! Prepared statements that SQL names: `DEALLOCATE`, `EXECUTE`, and the lists of what is prepared.

use std::sync::Arc;

use super::client_messages::{ClientInput, MessageAction};
use crate::{
    session::{
        pin::Pin,
        pooled::Pooled,
        proxy_batch::ProxyBatch,
        response_queue::{CloseOrigin, ParseOrigin, PendingRequest},
        statement::Statement,
    },
    sql::{self, SessionStatement},
    wire::{TransactionStatus, frontend},
};

impl Pooled {
    /// Makes `statement` on the backend under the client's own name, in the batch that is being written.
    pub(super) fn parse_under_own_name(&mut self, name: &[u8], statement: &Statement) {
        let new = if self.statements.has_on_backend(name) { &b""[..] } else { name };
        self.statements.note_on_backend(name);
        self.close_aside(name);
        self.parse_aside(name, statement, new);
    }

    fn close_aside(&mut self, name: &[u8]) {
        let close = PendingRequest::Close { portal: false, name: name.into(), closed: CloseOrigin::Rename };
        self.request_ahead(close, |out| frontend::write_close_statement(out, name));
    }

    /// `new` is the name if the backend has no statement of the name, in case the server skips the Parse.
    fn parse_aside(&mut self, name: &[u8], statement: &Statement, new: &[u8]) {
        let parse = PendingRequest::Parse { name: new.into(), text: None, made: ParseOrigin::Rename };
        self.request_ahead(parse, |out| frontend::write_parse(out, name, statement.definition()));
    }

    /// Has the server say so if it has a statement called `name`, made by SQL.
    pub(super) fn try_name(&mut self, name: &[u8], statement: &Statement) {
        self.parse_aside(name, statement, b"");
        self.close_aside(name);
    }

    /// `DEALLOCATE` and `EXECUTE` of what was prepared by message.
    pub(super) fn sql_prepared(&mut self, statement: &[u8], shown: &mut ClientInput<'_>) -> MessageAction {
        if self.conversation.status == TransactionStatus::Failed || !self.statements.has_named() {
            return MessageAction::Forward;
        }
        match sql::session_statement(statement) {
            SessionStatement::Deallocate { name } if self.conversation.in_batch => {
                if let Some(prepared) = self.statements.get(&name).cloned() {
                    self.stage(shown);
                    self.parse_under_own_name(&name, &prepared);
                }
                MessageAction::Forward
            }
            _ if self.conversation.in_batch => {
                self.executed_by_parse(statement, shown);
                MessageAction::Forward
            }
            SessionStatement::Deallocate { name } => {
                let Some((prepared, _)) = self.statements.remove(&name) else {
                    return MessageAction::Forward;
                };
                if self.statements.forget_on_backend(&name) {
                    return MessageAction::Forward;
                }
                // The server itself must report the deallocation under the client's own name: observers of running
                // statements see no internal name.
                self.stage(shown);
                frontend::write_close_statement(self.outgoing.backend(), &name);
                frontend::write_parse(self.outgoing.backend(), &name, prepared.definition());
                frontend::write_sync(self.outgoing.backend());
                self.statements.note_on_backend(&name);
                self.owe(PendingRequest::Own(ProxyBatch::Aside));
                MessageAction::Forward
            }
            _ => {
                let named = self.statements.named_in(statement);
                if !named.is_empty() && self.conversation.queue.owes_client_nothing() {
                    self.stage(shown);
                    for (name, prepared) in &named {
                        self.executes_by_sql(prepared);
                        frontend::write_close_statement(self.outgoing.backend(), name);
                        frontend::write_parse(self.outgoing.backend(), name, prepared.definition());
                        self.statements.note_on_backend(name);
                    }
                    frontend::write_sync(self.outgoing.backend());
                    self.owe(PendingRequest::Own(ProxyBatch::Aside));
                }
                MessageAction::Forward
            }
        }
    }

    /// A statement that was prepared by message is executed by SQL, whatever it does.
    pub(super) fn executes_by_sql(&mut self, prepared: &Arc<Statement>) {
        let effects = self.common.effects(prepared);
        self.note_side_effects(effects, prepared.text(), None);
        self.pin(Pin::SqlExecute);
    }

    /// The same where a Parse says `EXECUTE`, by itself or within another statement.
    pub(super) fn executed_by_parse(&mut self, statement: &[u8], shown: &mut ClientInput<'_>) {
        for (name, prepared) in self.statements.named_in(statement) {
            self.stage(shown);
            self.executes_by_sql(&prepared);
            self.parse_under_own_name(&name, &prepared);
        }
    }

    /// Makes all statements of the client under its own names, in a batch of our own.
    pub(super) fn make_all_under_own_names(&mut self) {
        let theirs: Vec<_> =
            self.statements.named().map(|(name, known)| (Box::from(name), Arc::clone(known))).collect();
        let to_backend = self.outgoing.backend();
        for (name, statement) in theirs {
            frontend::write_close_statement(to_backend, &name);
            frontend::write_parse(to_backend, &name, statement.definition());
            self.statements.note_on_backend(&name);
        }
        frontend::write_sync(to_backend);
        self.owe(PendingRequest::Own(ProxyBatch::Aside));
    }

    /// Prepares a Bind of `portal`, able at execution to deallocate a client statement by SQL, or to prepare a
    /// duplicate name for the server to reject. The server must have the statement of the name.
    pub(super) fn sql_prepared_by_bind(
        &mut self,
        portal: &[u8],
        statement: &[u8],
        shown: &mut ClientInput<'_>,
    ) {
        let mut named = match sql::session_statement(statement) {
            SessionStatement::Deallocate { name } => {
                let Some(prepared) = self.statements.get(&name).cloned() else { return };
                self.statements.note_deallocation(portal, &name);
                vec![(name.as_ref().into(), prepared)]
            }
            SessionStatement::Other => self.statements.named_in(statement),
            _ => return,
        };
        named.retain(|(name, _)| !self.statements.has_on_backend(name));
        for (name, prepared) in named {
            self.stage(shown);
            self.parse_under_own_name(&name, &prepared);
        }
    }

    /// The client is about to list prepared statements: it is to see its own, under its own names, and no others.
    pub(super) fn show_own_statements(&mut self, shown: &mut ClientInput<'_>) {
        if self.conversation.in_batch {
            return self.show_own_statements_in_batch(shown);
        }
        if self.conversation.status == TransactionStatus::Failed {
            return;
        }
        self.stage(shown);
        let Some(held) = self.backend.held_mut() else { return self.miss_backend() };
        for (_, name) in held.prepared.clear() {
            frontend::write_close_statement(self.outgoing.backend(), &name);
        }
        self.make_all_under_own_names();
    }

    /// The same within a batch of the client's.
    pub(super) fn show_own_statements_in_batch(&mut self, shown: &mut ClientInput<'_>) {
        self.stage(shown);
        let Some(held) = self.backend.held_mut() else { return self.miss_backend() };
        let ours = held.prepared.clear();
        let theirs: Vec<_> =
            self.statements.named().map(|(name, known)| (Box::from(name), Arc::clone(known))).collect();
        for (id, name) in ours {
            self.close_shared(id, &name);
        }
        for (name, statement) in theirs {
            self.parse_under_own_name(&name, &statement);
        }
    }
}
