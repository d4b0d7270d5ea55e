//! Id and status of a transaction that a client commits.

use super::{
    batch_writer::{BatchWriter, write_commit_status},
    proxy_batch::ProxyBatch,
};
use crate::closed_set::closed_set;

/// Id of a transaction that the client is about to commit, with the state of the WAL when the id was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitId {
    /// Transaction id, with its epoch.
    xid: u64,
    /// Insert position in bytes of WAL: all that the transaction wrote before is behind it.
    inserted: u64,
    /// Flush position in bytes of WAL: a server that lacks WAL before it has lost commits.
    flushed: u64,
}

/// Identity of a server that accepts writes, as far as it decides about the outcome of a COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerIdentity {
    timeline: u32,
    started_us: i64,
}

/// Relation of a server to the server of a lost backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerSuccession {
    /// Equal: only the connection was lost.
    Same,
    /// The same history, after a restart.
    Restarted,
    /// Another history, as of a promoted standby.
    Other,
}

/// Query for the status of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusQuery {
    id: CommitId,
    succession: ServerSuccession,
    /// Pause of the server ahead of its answer.
    pause_seconds: &'static str,
}

/// Answer of `pg_xact_status` about a transaction.
///
/// <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitStatus {
    Committed,
    Aborted,
    InProgress,
}

closed_set! {
    /// Outcome of a COMMIT in doubt; a label value of metrics.
    pub enum CommitOutcome {
        /// The transaction was committed.
        Committed = "committed",
        /// The transaction was rolled back.
        RolledBack = "rolled_back",
        /// Nothing is known about the transaction.
        Unresolved = "unresolved",
    }
}

/// A COMMIT in doubt whose outcome is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedCommit {
    /// Transaction id, with its epoch.
    pub xid: u64,
    /// The outcome that the client was told.
    pub outcome: CommitOutcome,
}

// === impl CommitId ===

impl CommitId {
    /// Reads the value of `synchronous_commit`, insert and flush position, and the id. `None` for a transaction without an id,
    /// which has written nothing, and for one whose COMMIT does not wait for its WAL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        words.next().filter(|synchronous_commit| *synchronous_commit != "off")?;
        let mut number = || words.next()?.parse().ok();
        let (inserted, flushed, xid) = (number()?, number()?, number()?);
        Some(Self { xid, inserted, flushed })
    }

    /// Transaction id, with its epoch.
    pub(super) const fn xid(self) -> u64 {
        self.xid
    }
}

// === impl ServerIdentity ===

impl ServerIdentity {
    /// The server with this timeline of its WAL and this `pg_postmaster_start_time()` in microseconds since 1970.
    #[must_use]
    pub const fn new(timeline: u32, started_us: i64) -> Self {
        Self { timeline, started_us }
    }

    /// Relation of `next` to this server.
    pub(super) fn succession(self, next: Option<Self>) -> ServerSuccession {
        match next {
            Some(next) if next == self => ServerSuccession::Same,
            Some(next) if next.timeline == self.timeline => ServerSuccession::Restarted,
            _ => ServerSuccession::Other,
        }
    }
}

// === impl StatusQuery ===

impl StatusQuery {
    /// Query for the transaction `id`, behind a pause.
    pub(super) const fn new(id: CommitId, succession: ServerSuccession, pause_seconds: &'static str) -> Self {
        Self { id, succession, pause_seconds }
    }

    /// Writes the query.
    pub(super) fn write(self, writer: BatchWriter<'_>) -> ProxyBatch {
        let number = |number: u64| number.to_string().into_bytes();
        let CommitId { xid, inserted, flushed } = self.id;
        let (xid, inserted, flushed) = (number(xid), number(inserted), number(flushed));
        let is_restarted = if self.succession == ServerSuccession::Same { b"f" } else { b"t" };
        let parameters: [&[u8]; 5] = [&xid, self.pause_seconds.as_bytes(), is_restarted, &inserted, &flushed];
        write_commit_status(&parameters.map(Some), writer)
    }
}

// === impl CommitStatus ===

impl CommitStatus {
    /// Reads the answer; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "committed" => Some(Self::Committed),
            "aborted" => Some(Self::Aborted),
            "in progress" => Some(Self::InProgress),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_an_id() {
        let id = CommitId { xid: 4_294_967_300, inserted: 30, flushed: 20 };
        assert_eq!(CommitId::parse("on 30 20 4294967300"), Some(id));
        assert_eq!(CommitId::parse("remote_apply 30 20 4294967300"), Some(id));
        for no_id in [
            "on 30 20",
            "off 30 20 7",
            "",
            "on",
            "on 30 20 -1",
            "on x 20 7",
            "on 30 20 99999999999999999999999",
        ] {
            assert_eq!(CommitId::parse(no_id), None, "{no_id}");
        }
    }

    #[test]
    fn an_unknown_status_decides_nothing() {
        assert_eq!(CommitStatus::parse("in progress"), Some(CommitStatus::InProgress));
        assert_eq!(CommitStatus::parse("prepared"), None);
    }

    #[test]
    fn a_timeline_is_a_history() {
        let server = ServerIdentity::new(1, 100);
        assert_eq!(server.succession(Some(server)), ServerSuccession::Same);
        assert_eq!(server.succession(Some(ServerIdentity::new(1, 200))), ServerSuccession::Restarted);
        assert_eq!(server.succession(Some(ServerIdentity::new(2, 100))), ServerSuccession::Other);
        assert_eq!(server.succession(None), ServerSuccession::Other);
    }
}
