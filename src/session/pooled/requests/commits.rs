//! Requests about the transaction that the client commits: its id ahead of the commit, and its status in doubt.

use super::{Requests, SessionFacts};
use crate::{
    session::{
        batch_writer,
        commit_id::StatusQuery,
        pooled::{
            Pooled,
            client_input::ClientInput,
            client_message::ClientMessage,
            commits::{CommitTracker, TransactionId},
            internal_error::InternalError,
            session_settings::SessionSettings,
        },
    },
    sql::{self, SessionStatement},
    wire::{TransactionStatus, tag::frontend as f},
};

/// Requests about the transaction that the client commits.
pub(in crate::session::pooled) struct CommitRequests<'a> {
    requests: Requests<'a>,
    settings: &'a SessionSettings,
    commits: &'a mut CommitTracker,
}

/// Setting by which a session resolves its commits, or does not.
const RESOLVE_COMMITS: &[u8] = b"gatekeeper.resolve_commits";

/// Place of the query for the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdQuery {
    /// A batch ahead of COMMIT.
    Ahead,
    /// Within the client's batch, ahead of the Sync.
    Within,
}

// === impl CommitRequests ===

impl<'a> CommitRequests<'a> {
    /// Requests of `session` to the held backend.
    ///
    /// `None` if the session resolves no commits, or a read pool serves it.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Option<Self>, InternalError> {
        if session.commits.is_none() || session.is_on_reader() {
            return Ok(None);
        }
        let (requests, SessionFacts { settings, commits, .. }) = Requests::split_off(session)?;
        Ok(commits.map(|commits| Self { requests, settings, commits }))
    }

    /// Asks for the id of the transaction, if `message` commits one and the id is not known. True if the message waits for
    /// the answer: a commit that is sent has a known id.
    pub(in crate::session::pooled) fn holds_commit(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> bool {
        if self.changes_rows(message) {
            self.commits.note_row_change();
        }
        match (self.place_of_query(message), self.commits.id()) {
            (None, _) | (_, TransactionId::Known(_)) => false,
            (_, TransactionId::Asked) => true,
            (Some(IdQuery::Ahead), _) if !self.requests.conversation.queue().owes_client_nothing() => true,
            (Some(place), _) => {
                self.requests.stage(shown);
                self.ask_id(place);
                true
            }
        }
    }

    /// True if the message ends a unit that changes rows.
    fn changes_rows(&self, message: &ClientMessage<'_>) -> bool {
        match message.tag() {
            f::QUERY => sql::begins_with_row_change(message.text()),
            f::SYNC => self.requests.batch.changes_rows(),
            _ => false,
        }
    }

    /// Asks for the id behind the first unit of a transaction that changes rows, ahead of the client's next message.
    pub(in crate::session::pooled) fn ask_early(&mut self) {
        let is_free = !self.requests.conversation.is_in_batch() && self.requests.conversation.is_settled();
        if self.commits.id() == TransactionId::Wanted && is_free && self.is_wanted() {
            self.ask_id(IdQuery::Ahead);
        }
    }

    fn ask_id(&mut self, place: IdQuery) {
        match place {
            IdQuery::Ahead => {
                self.requests.send_batch(|_, writer| batch_writer::write_commit_id(true, writer));
            }
            IdQuery::Within => {
                self.requests.send_within_batch(|writer| Some(batch_writer::write_commit_id(false, writer)));
            }
        }
        self.commits.note_asked();
    }

    /// True if the server can tell outcomes, and the session has not switched the resolution off.
    fn is_wanted(&self) -> bool {
        let value = self.settings.values().get(RESOLVE_COMMITS);
        let is_off = value.is_some_and(|value| [&b"off"[..], b"false", b"no", b"0"].contains(&value));
        self.requests.held.server().is_some() && !is_off
    }

    /// Where the id is asked for; `None` if `message` commits nothing that can be resolved.
    fn place_of_query(&self, message: &ClientMessage<'_>) -> Option<IdQuery> {
        let Requests { conversation, statements, batch, .. } = &self.requests;
        let (in_batch, status) = (conversation.is_in_batch(), conversation.status());
        let text = match message.tag() {
            f::SYNC => {
                let commits = in_batch && status == TransactionStatus::Idle && batch.changes_rows();
                return (commits && self.is_wanted()).then_some(IdQuery::Within);
            }
            _ if in_batch || status != TransactionStatus::Open => return None,
            f::QUERY | f::PARSE => message.text(),
            f::BIND if message.has_bound_names() => statements.text(message.bound().statement())?,
            _ => return None,
        };
        let commits = sql::session_statement(text) == SessionStatement::Commit
            && conversation.queue().copies_in().is_none();
        (commits && self.is_wanted()).then_some(IdQuery::Ahead)
    }

    /// Asks for the status of a transaction in doubt, behind the end of the lost backend's process `terminates`.
    pub(in crate::session::pooled) fn ask_status(&mut self, query: StatusQuery, terminates: Option<i32>) {
        if let Some(pid) = terminates {
            self.requests.send_batch(|_, writer| batch_writer::write_terminate(pid, writer));
        }
        self.requests.send_batch(|_, writer| query.write(writer));
    }
}
