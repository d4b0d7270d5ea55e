//! Statements on the backend under the client's own names, where SQL names them.

use std::sync::Arc;

use super::Requests;
use crate::{
    session::{
        pending_request::{CloseOrigin, OwnName, ParseOrigin, PendingRequest},
        pooled::client_input::ClientInput,
        proxy_batch::ProxyBatch,
        shared_statement::SharedStatement,
    },
    sql::TransactionCommands,
    wire::frontend,
};

/// Statements of the client on the backend, under the client's own names.
pub(in crate::session::pooled) struct OwnNames<'r, 'a> {
    requests: &'r mut Requests<'a>,
}

// === impl OwnNames ===

impl<'r, 'a> OwnNames<'r, 'a> {
    /// Statements sent by `requests`.
    pub(super) const fn of(requests: &'r mut Requests<'a>) -> Self {
        Self { requests }
    }

    /// Makes `statement` on the backend under the client's own name, in the batch that is being written.
    pub(in crate::session::pooled) fn parse(&mut self, name: &[u8], statement: &SharedStatement) {
        let new = if self.requests.statements.has_on_backend(name) { &b""[..] } else { name };
        self.requests.statements.note_on_backend(name);
        self.close_aside(name);
        self.parse_aside(name, statement, new);
    }

    fn close_aside(&mut self, name: &[u8]) {
        let close = PendingRequest::Close { name: name.into(), closed: CloseOrigin::Rename };
        self.requests.send(close, |out| frontend::write_close_statement(out, name));
    }

    /// `new` is the name if the backend has no statement of the name, in case the server skips the Parse.
    fn parse_aside(&mut self, name: &[u8], statement: &SharedStatement, new: &[u8]) {
        let parse = PendingRequest::Parse { name: new.into(), text: None, made: ParseOrigin::Rename };
        self.requests.send(parse, |out| frontend::write_parse(out, name, statement.definition()));
    }

    /// Has the server say so if it has a statement called `name`, made by SQL.
    pub(in crate::session::pooled) fn try_parse(&mut self, name: &[u8], statement: &SharedStatement) {
        self.parse_aside(name, statement, b"");
        self.close_aside(name);
    }

    /// Makes `statements` under the client's own names, in an internal batch.
    pub(in crate::session::pooled) fn make(&mut self, statements: &[(Box<[u8]>, Arc<SharedStatement>)]) {
        for (name, statement) in statements {
            frontend::write_close_statement(self.requests.to_backend, name);
            frontend::write_parse(self.requests.to_backend, name, statement.definition());
            self.requests.statements.note_on_backend(name);
        }
        self.requests.sync_aside();
    }

    /// Removes a statement that the client deallocates by SQL. The server itself must report the deallocation under the
    /// client's own name: observers of running statements see no internal name.
    pub(in crate::session::pooled) fn deallocate(&mut self, name: &[u8], shown: &mut ClientInput<'_>) {
        if let Some(closed) = self.requests.statements.remove(name)
            && closed.own_name == OwnName::Absent
        {
            self.requests.stage(shown);
            self.make(&[(name.into(), closed.statement)]);
        }
    }

    /// The client is about to list prepared statements, by a Query with these `commands`: it is to see its own, under its own
    /// names, and no others.
    pub(in crate::session::pooled) fn show(
        &mut self,
        commands: TransactionCommands,
        shown: &mut ClientInput<'_>,
    ) {
        if self.requests.conversation.is_in_batch() {
            return match self.requests.has_failed() {
                // The server would reject a Parse, and skip the Query.
                true => self.close_shared(shown),
                false => self.show_in_batch(shown),
            };
        }
        self.requests.stage(shown);
        // A failed transaction accepts a Close, and no Parse. It is ended, and begun again, if the Query ends it and may go on.
        let has_failed = self.requests.has_failed();
        let ends = commands.intersects(TransactionCommands::COMMIT | TransactionCommands::ROLLBACK);
        if has_failed && ends {
            self.requests.send_query(b"ROLLBACK", ProxyBatch::Aside);
        }
        for (_, name) in self.requests.held.statements_mut().clear() {
            frontend::write_close_statement(self.requests.to_backend, &name);
        }
        let theirs = if has_failed && !ends { Vec::new() } else { self.requests.statements.all_named() };
        self.make(&theirs);
        if has_failed && ends {
            self.requests.send_query(b"BEGIN", ProxyBatch::Begin { failed: None });
            self.requests.fail_transaction();
        }
    }

    /// The same within a batch of the client's.
    pub(in crate::session::pooled) fn show_in_batch(&mut self, shown: &mut ClientInput<'_>) {
        self.close_shared(shown);
        for (name, statement) in self.requests.statements.all_named() {
            self.parse(&name, &statement);
        }
    }

    /// Closes all shared statements, within a batch of the client's.
    fn close_shared(&mut self, shown: &mut ClientInput<'_>) {
        self.requests.stage(shown);
        for (id, name) in self.requests.held.statements_mut().close_all() {
            self.requests.close_shared(id, &name);
        }
    }

    /// Closes the statements under the client's own names, in an internal batch.
    pub(in crate::session::pooled) fn close_all(&mut self) {
        for name in self.requests.statements.take_on_backend() {
            frontend::write_close_statement(self.requests.to_backend, &name);
        }
        self.requests.sync_aside();
    }
}
