//! Id and status of a transaction that a client commits.

use crate::closed_set::closed_set;

/// Id of a transaction that the client is about to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitId {
    /// Transaction id, with its epoch.
    pub(super) xid: u64,
    /// True if the server reports the commit only after it is flushed: `synchronous_commit` is not `off`.
    pub(super) is_durable: bool,
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
    /// Reads an id and the value of `synchronous_commit`; `None` for a transaction without an id, which has written nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (xid, synchronous_commit) = text.split_once(' ')?;
        Some(Self { xid: xid.parse().ok()?, is_durable: synchronous_commit != "off" })
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
        assert_eq!(CommitId::parse("4294967300 on"), Some(CommitId { xid: 4_294_967_300, is_durable: true }));
        assert_eq!(CommitId::parse("7 off"), Some(CommitId { xid: 7, is_durable: false }));
        for no_id in ["on", "off", "", " on", "-1 on", "x on", "99999999999999999999999 on"] {
            assert_eq!(CommitId::parse(no_id), None, "{no_id}");
        }
    }

    #[test]
    fn an_unknown_status_decides_nothing() {
        assert_eq!(CommitStatus::parse("in progress"), Some(CommitStatus::InProgress));
        assert_eq!(CommitStatus::parse("prepared"), None);
    }
}
