//! What needs no backend: the beginning of a transaction, the end of one in which nothing was said, statements that
//! some server has accepted already.

use std::time::Instant;

use super::{
    Pooled, analyzed_texts::AnalyzedTexts, client_message::ClientMessage,
    client_statements::ClientStatements, deferred_begin::DeferredBegin, request_state::RequestState,
    statement_errors::too_many_statements,
};
use crate::{
    session::{conversation::Conversation, database_state::DatabaseState, setting_values::SettingValues},
    sql::{Effects, TransactionControl},
    wire::{TransactionStatus, backend},
};

/// Replies of Gatekeeper in place of a backend.
pub(super) struct LocalReplies<'a> {
    conversation: &'a mut Conversation,
    begin: &'a mut DeferredBegin,
    statements: &'a mut ClientStatements,
    request: &'a mut RequestState,
    settings: &'a SettingValues,
    database: &'a DatabaseState,
    texts: &'a AnalyzedTexts,
    to_client: &'a mut Vec<u8>,
    /// A backend is on its way.
    is_wanted: bool,
}

/// Maximum length of a text that begins or ends a transaction. A longer one has comments.
const COMMAND_MAX_BYTES: usize = 128;

// === impl LocalReplies ===

impl<'a> LocalReplies<'a> {
    /// Replies for `session`.
    pub(super) fn of(session: &'a mut Pooled) -> Self {
        Self {
            conversation: &mut session.conversation,
            begin: &mut session.begin,
            statements: &mut session.statements,
            request: &mut session.request,
            settings: session.settings.values(),
            database: &session.database,
            texts: &session.texts,
            to_client: session.outgoing.client(),
            is_wanted: session.backend.is_wanted(),
        }
    }

    /// Answers a Query that begins a transaction, or ends one in which nothing was said; false for any other Query.
    pub(super) fn answer_query(&mut self, now: Instant, message: &ClientMessage<'_>) -> bool {
        let text = message.text();
        let is_complete = text.len() + 1 == message.body().len();
        if text.len() > COMMAND_MAX_BYTES || !is_complete {
            return false;
        }
        let is_idle = self.conversation.status() == TransactionStatus::Idle;
        let control = || {
            let classification = self.texts.analyze(message, self.database).classification;
            classification.map_or(TransactionControl::Mixed, |known| known.control)
        };
        let control = self.texts.lexical().is_some().then_some(control);
        let answer = self.begin.answer(text, is_idle, self.is_wanted, control);
        if let Some((done, status)) = answer {
            // As any Query does.
            self.statements.unnamed_mut().forget();
            backend::write_command_complete(self.to_client, done);
            backend::write_ready_for_query(self.to_client, status);
            self.conversation.on_local_reply(now, text, status);
        }
        answer.is_some()
    }

    /// Answers a Parse. A statement that a server has accepted in the same circumstances needs no backend to be prepared
    /// again: it is parsed where it is executed. A client that waits for the answer may hold up the very one that holds the
    /// last backend.
    pub(super) fn answer_parse(&mut self, message: &ClientMessage<'_>) -> bool {
        let (name, definition) = message.parsed();
        if name.is_empty() || self.statements.get(name).is_some() {
            return false;
        }
        let reading = self.statements.reading();
        match self.database.accepted(definition, reading, self.settings) {
            None => false,
            Some(_) if !self.statements.may_add(name.len() + definition.len()) => {
                too_many_statements().write(self.to_client);
                self.request.skip_to_sync();
                true
            }
            // What it executes are this session's own statements: that another session's were there says nothing.
            Some(statement) if self.database.effects(&statement).contains(Effects::EXECUTE) => false,
            Some(statement) => {
                self.statements.add(name.into(), statement, self.database.next_parse());
                backend::write_parse_complete(self.to_client);
                self.conversation.capture_parsed(name, message.text());
                true
            }
        }
    }

    /// Answers a Close of a statement that the client has prepared.
    pub(super) fn answer_close(&mut self, message: &ClientMessage<'_>) -> bool {
        let closed = message.statement_object().filter(|name| self.statements.remove(name).is_some());
        if let Some(name) = closed {
            backend::write_close_complete(self.to_client);
            self.conversation.forget_closed(name);
        }
        closed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::pooled::tests::session, wire::tag::frontend as f};

    fn query(session: &mut Pooled, body: &[u8]) -> bool {
        LocalReplies::of(session).answer_query(Instant::now(), &ClientMessage::whole(f::QUERY, body))
    }

    #[test]
    fn a_begin_is_answered_and_counted() {
        let mut session = session();
        assert!(query(&mut session, b"BEGIN\0"));
        assert_eq!(session.conversation.status(), TransactionStatus::Open);
        assert!(!query(&mut session, b"SELECT 1\0") && query(&mut session, b"ROLLBACK\0"));
        let conversation = &session.conversation;
        assert_eq!((conversation.statements_started(), conversation.transactions()), (2, 1));
    }

    #[test]
    fn a_malformed_begin_is_not_answered() {
        for body in [&b"BEGIN"[..], b"BEGIN\0\0", b"BEGIN\0BEGIN\0"] {
            assert!(!query(&mut session(), body));
        }
    }

    #[test]
    fn only_a_statement_of_the_client_is_closed() {
        let mut session = session();
        let close = ClientMessage::whole(f::CLOSE, b"Ss\0");
        assert!(!LocalReplies::of(&mut session).answer_close(&close));
        let statement = session.database.statement(b"SELECT 1\0\0\0", session.statements.reading());
        session.statements.add((*b"s").into(), statement, 1);
        assert!(LocalReplies::of(&mut session).answer_close(&close));
        assert!(session.statements.get(b"s").is_none());
    }

    #[test]
    fn a_parse_unknown_to_servers_needs_a_backend() {
        let mut session = session();
        let parse = ClientMessage::whole(f::PARSE, b"s\0SELECT 1\0\0\0");
        assert!(!LocalReplies::of(&mut session).answer_parse(&parse));
        let statement = session.database.statement(b"SELECT 1\0\0\0", session.statements.reading());
        statement.accept(session.database.circumstances(session.settings.values()));
        assert!(LocalReplies::of(&mut session).answer_parse(&parse));
        assert_eq!(session.statements.text(b"s"), Some(&b"SELECT 1"[..]));
    }
}
