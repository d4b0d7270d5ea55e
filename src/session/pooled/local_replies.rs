//! What needs no backend: the beginning of a transaction, the end of one in which nothing was said, statements that
//! some server has accepted already.

use std::time::Instant;

use super::messages::{object, too_many_statements};
use crate::{
    session::{
        conversation::{self, until_nul},
        pooled::{DeferredBegin, Pooled},
        report::{Report, StatementKind},
        statement::text_of,
    },
    sql::{self, Classification, Effects, SessionStatement, TransactionControl},
    wire::{TransactionStatus, backend},
};

impl Pooled {
    /// A transaction's beginning, and the end of one in which nothing was said, need no backend.
    pub(super) fn answer_locally(&mut self, now: Instant, body: &[u8]) -> bool {
        /// No text that is one of these commands and nothing else is longer, unless by comments.
        const LONGEST: usize = 128;
        let (text, rest) = until_nul(body);
        if text.len() > LONGEST || text.len() == body.len() || !rest.is_empty() {
            return false;
        }
        let Some((done, status)) = self.local_transaction_command(text) else { return false };
        // As any Query does.
        self.statements.unnamed.forget();
        backend::write_command_complete(self.outgoing.client(), done);
        backend::write_ready_for_query(self.outgoing.client(), status);
        self.conversation.status = status;
        self.conversation.statements_started += 1;
        self.conversation.transactions += u64::from(status == TransactionStatus::Idle);
        let text = self
            .conversation
            .text_capture
            .as_ref()
            .map(|text_capture| conversation::text(text, text_capture.limit, false));
        self.conversation.reports.push_back(Report {
            kind: StatementKind::Query,
            started: now,
            ended: now,
            rows: 0,
            operation: None,
            error: None,
            text,
        });
        true
    }

    /// Handles a command that begins or ends a transaction, or sets its modes, if no backend is needed. Returns the
    /// command tag and the transaction status.
    fn local_transaction_command(&mut self, text: &[u8]) -> Option<(&'static str, TransactionStatus)> {
        if !self.begin.exists() {
            if self.conversation.status != TransactionStatus::Idle || !may_be_begin(text) {
                return None;
            }
            let done = match self.router.as_deref() {
                Some(split) => begin(&mut self.begin, self.common.classify(text, &split.meaning), text),
                None => match sql::session_statement(text) {
                    SessionStatement::Begin => Some("BEGIN"),
                    SessionStatement::StartTransaction => Some("START TRANSACTION"),
                    _ => None,
                },
            }?;
            self.begin.defer(self.backend.is_wanted());
            return Some((done, TransactionStatus::Open));
        }
        if self.begin.is_pending()
            && let Some(split) = self.router.as_deref()
            && set_transaction(&mut self.begin, self.common.classify(text, &split.meaning), text)
        {
            return Some(("SET", TransactionStatus::Open));
        }
        let done = match sql::session_statement(text) {
            SessionStatement::Commit if self.begin.is_pending() => "COMMIT",
            SessionStatement::Commit | SessionStatement::Rollback => "ROLLBACK",
            _ => return None,
        };
        self.begin.end();
        Some((done, TransactionStatus::Idle))
    }

    /// A statement that a server has accepted in the same circumstances needs no backend to be prepared again: it is parsed
    /// where it is executed. A client that waits for the answer may hold up the very one that holds the last backend.
    pub(super) fn parse_locally(&mut self, body: &[u8]) -> bool {
        let (name, definition) = until_nul(body);
        if name.is_empty() || self.statements.get(name).is_some() {
            return false;
        }
        let Some(statement) =
            self.common.accepted(definition, self.statements.reading(), self.settings.values())
        else {
            return false;
        };
        if !self.statements.may_add(name.len() + definition.len()) {
            too_many_statements().write(self.outgoing.client());
            self.request.skip_to_sync();
            return true;
        }
        // What it executes are this session's own statements: that another session's were there says nothing.
        if self.common.effects(&statement).contains(Effects::EXECUTE) {
            return false;
        }
        self.statements.add(name.into(), statement, self.common.next_parse());
        backend::write_parse_complete(self.outgoing.client());
        if let Some(text_capture) = &mut self.conversation.text_capture {
            text_capture
                .texts
                .parsed(name, conversation::text(text_of(definition), text_capture.limit, false));
        }
        true
    }

    /// A name is forgotten without a backend.
    pub(super) fn close_locally(&mut self, body: &[u8]) -> bool {
        let Some((b'S', name)) = object(body) else { return false };
        if self.statements.remove(name).is_none() {
            return false;
        }
        backend::write_close_complete(self.outgoing.client());
        if let Some(text_capture) = &mut self.conversation.text_capture {
            text_capture.texts.closed(false, name);
        }
        true
    }
}

/// Holds back the beginning of a transaction in whatever modes: what its answer says, if it is one.
fn begin(deferred: &mut DeferredBegin, judged: Classification, text: &[u8]) -> Option<&'static str> {
    let TransactionControl::Begin(modes) = judged.control else { return None };
    let done = match text.trim_ascii_start().first() {
        Some(b'b' | b'B') => "BEGIN",
        Some(b's' | b'S') => "START TRANSACTION",
        _ => return None,
    };
    let script = deferred.script_mut();
    script.clear();
    script.say(text, modes).then_some(done)
}

/// Holds back what sets the modes of a transaction that no server has heard of.
fn set_transaction(deferred: &mut DeferredBegin, judged: Classification, text: &[u8]) -> bool {
    let script = deferred.script_mut();
    match judged.control {
        // Others import a snapshot, or are to be refused.
        TransactionControl::SetTransaction(modes)
            if script.takes_modes() && (modes.read_only.is_some() || modes.serializable.is_some()) =>
        {
            script.say(text, modes)
        }
        _ => false,
    }
}

/// Whether a look at the text is worth it: it begins like BEGIN or START TRANSACTION.
fn may_be_begin(text: &[u8]) -> bool {
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    matches!(
        text.get(start..start + 2),
        Some([b'b' | b'B', b'e' | b'E'] | [b's' | b'S', b't' | b'T'] | b"/*" | b"--")
    )
}
