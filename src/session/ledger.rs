//! What the server still owes: requests in the order they were sent, crossed off as their answers pass.
//!
//! The server answers in order, so the ledger is a queue. After an ErrorResponse it skips everything up to the next
//! Sync; while it takes COPY data it ignores Sync and Flush. Both are in
//! <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::{collections::VecDeque, time::Instant};

use super::{
    report::{Report, StatementKind, Text},
    texts::Texts,
};
use crate::wire::SqlState;

/// Requests without an answer yet.
#[derive(Default)]
pub(super) struct Ledger {
    owed: VecDeque<Owed>,
    /// The server takes COPY data from the client.
    copying_in: bool,
    /// The server skips what it is sent, up to a Sync that it has not been sent yet.
    skipping: bool,
}

/// One request.
pub(super) enum Owed {
    /// A Query or FunctionCall: ends with ReadyForQuery.
    Whole { kind: StatementKind, started: Instant, text: Option<Text>, rows: u64, error: Option<SqlState> },
    /// An Execute of the portal: ends with its own answer.
    Execute { started: Instant, portal: Box<[u8]> },
    /// A Parse, kept only when texts are: the statement exists once the server says so.
    Parse { statement: Box<[u8]>, text: Text },
    /// A Bind, kept only when texts are.
    Bind { portal: Box<[u8]>, statement: Box<[u8]> },
    /// A Close, kept only when texts are.
    Close { portal: bool, name: Box<[u8]> },
    /// A CopyDone or CopyFail: has no answer of its own, but ends the stretch in which Sync is ignored.
    CopyEnd,
    /// A Sync: ends with ReadyForQuery.
    Sync { started: Instant },
}

/// Requests that may be owed before the client has to wait for answers. A server holds back up to 8 KiB of answers while
/// it hears no Sync or Flush: that is far fewer answers than these, so waiting for them never lasts for ever.
const BACKLOG: usize = 8192;
/// Room for this many is kept by a session that is idle.
const KEPT: usize = 32;

impl Ledger {
    /// Whether so much is owed that no more should be asked.
    pub(super) fn is_full(&self) -> bool {
        self.owed.len() >= BACKLOG
    }

    /// Whether the server owes nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.owed.is_empty()
    }

    /// Notes a request.
    pub(super) fn owe(&mut self, request: Owed) {
        // A CopyDone that comes when nothing is under way is ignored by the server too: its COPY failed before.
        let ignored = match request {
            Owed::Sync { .. } if self.skipping => {
                self.skipping = false;
                false
            }
            _ if self.skipping => true,
            Owed::Sync { .. } => self.copying_in,
            Owed::CopyEnd => self.is_settled(),
            _ => false,
        };
        if ignored {
            return;
        }
        self.owed.push_back(request);
    }

    /// ParseComplete, BindComplete or CloseComplete.
    pub(super) fn on_step_complete(&mut self, texts: &mut Texts) {
        match self.owed.front() {
            Some(Owed::Parse { .. } | Owed::Bind { .. } | Owed::Close { .. }) => {}
            _ => return,
        }
        match self.owed.pop_front() {
            Some(Owed::Parse { statement, text }) => texts.parsed(statement, text),
            Some(Owed::Bind { portal, statement }) => texts.bound(portal, &statement),
            Some(Owed::Close { portal, name }) => texts.closed(portal, &name),
            _ => {}
        }
    }

    /// CommandComplete, EmptyQueryResponse or PortalSuspended, with the rows it speaks of.
    pub(super) fn on_statement_complete(
        &mut self,
        now: Instant,
        rows: u64,
        texts: Option<&Texts>,
    ) -> Option<Report> {
        self.copying_in = false;
        self.drop_copy_ends();
        match self.owed.front_mut() {
            Some(Owed::Whole { rows: so_far, .. }) => {
                *so_far = so_far.saturating_add(rows);
                None
            }
            Some(Owed::Execute { .. }) => {
                let Some(Owed::Execute { started, portal }) = self.owed.pop_front() else { return None };
                let text = texts.and_then(|texts| texts.of_portal(&portal));
                Some(Report { kind: StatementKind::Execute, started, ended: now, rows, error: None, text })
            }
            _ => None,
        }
    }

    /// ErrorResponse. What follows up to the next Sync is skipped by the server and never answered.
    pub(super) fn on_error(
        &mut self,
        now: Instant,
        state: SqlState,
        texts: Option<&Texts>,
    ) -> Option<Report> {
        self.copying_in = false;
        self.drop_copy_ends();
        if let Some(Owed::Whole { error, .. }) = self.owed.front_mut() {
            error.get_or_insert(state);
            return None;
        }
        let Some(failed) = self.owed.front() else {
            // A Describe, say, which is not noted.
            self.skipping = true;
            return None;
        };
        let (kind, started, text) = match failed {
            Owed::Execute { started, portal } => {
                (StatementKind::Execute, *started, texts.and_then(|texts| texts.of_portal(portal)))
            }
            Owed::Parse { text, .. } => (StatementKind::Prepare, now, Some(text.clone())),
            Owed::Bind { statement, .. } => {
                (StatementKind::Prepare, now, texts.and_then(|texts| texts.of_statement(statement)))
            }
            Owed::Sync { started } => (StatementKind::Prepare, *started, None),
            Owed::Close { .. } | Owed::CopyEnd | Owed::Whole { .. } => (StatementKind::Prepare, now, None),
        };
        while self.owed.front().is_some_and(|next| !matches!(next, Owed::Sync { .. })) {
            self.owed.pop_front();
        }
        self.skipping = self.is_settled();
        Some(Report { kind, started, ended: now, rows: 0, error: Some(state), text })
    }

    /// CopyInResponse: the Syncs that were sent ahead of the end of the data will be ignored.
    pub(super) fn on_copy_in(&mut self) {
        self.copying_in = true;
        let mut in_data = true;
        let mut first = true;
        self.owed.retain(|request| {
            if std::mem::take(&mut first) {
                return true;
            }
            in_data &= !matches!(request, Owed::CopyEnd);
            !(in_data && matches!(request, Owed::Sync { .. }))
        });
    }

    /// ReadyForQuery: the oldest request that ends so is done, and whatever stood before it was skipped.
    pub(super) fn on_ready(&mut self, now: Instant) -> Option<Report> {
        (self.copying_in, self.skipping) = (false, false);
        let mut report = None;
        while let Some(request) = self.owed.pop_front() {
            match request {
                Owed::Sync { .. } => break,
                Owed::Whole { kind, started, text, rows, error } => {
                    report = Some(Report { kind, started, ended: now, rows, error, text });
                    break;
                }
                _ => {}
            }
        }
        // The end of data that the server did not want any more.
        self.drop_copy_ends();
        if self.is_settled() && self.owed.capacity() > KEPT {
            self.owed.shrink_to(KEPT);
        }
        report
    }

    /// The statement under way when the conversation breaks off: what the audit log says was cut short.
    pub(super) fn cut_short(&mut self, now: Instant, texts: Option<&Texts>) -> Option<Report> {
        let (kind, started, text) = self.owed.drain(..).find_map(|request| match request {
            Owed::Whole { kind, started, text, .. } => Some((kind, started, text)),
            Owed::Execute { started, portal } => {
                Some((StatementKind::Execute, started, texts.and_then(|texts| texts.of_portal(&portal))))
            }
            _ => None,
        })?;
        Some(Report { kind, started, ended: now, rows: 0, error: Some(SqlState::CONNECTION_FAILURE), text })
    }

    fn drop_copy_ends(&mut self) {
        while matches!(self.owed.front(), Some(Owed::CopyEnd)) {
            self.owed.pop_front();
        }
    }
}
