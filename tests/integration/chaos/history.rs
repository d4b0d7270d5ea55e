//! Actions of one client and the responses, in order.

use std::{fmt, time::Duration};

/// A fact that a client knows for sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// A session begins: writes of earlier sessions are foreign.
    Met,
    /// A transaction begins.
    Began,
    /// The transaction is rolled back.
    Undone,
    /// The transaction is committed.
    Kept,
    /// A write was answered.
    Wrote { register: i64, version: Option<i64> },
    /// An append was answered.
    Grew { list: i64, op: i64 },
    /// A read was answered.
    Sees { register: i64, version: Option<i64> },
    /// A read of a list was answered.
    SeesList { list: i64, items: Vec<i64> },
    /// Sum of the accounts of a pair, in one snapshot.
    Sum { pair: i64, sum: i64 },
    /// Two reads of a register in one snapshot.
    Twice { register: i64, versions: [Option<i64>; 2] },
    /// Outcome of a write.
    CameTo { op: i64, outcome: Outcome },
    /// An error that only the loss of the primary would excuse.
    Failed { why: Failure },
    /// A read-only transaction ended with its node.
    Cut { why: Failure },
    /// An error that servers report without a proxy, too, such as a deadlock.
    Refused { why: Failure },
}

/// Outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Acknowledged.
    Done,
    /// Rejected, or the transaction never sent COMMIT.
    Never,
    /// Unknown: the connection was lost on the way.
    Unknown,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The SQLSTATE; empty without an error.
    pub(super) state: String,
    pub(super) message: String,
    /// The connection was lost with the response.
    pub(super) lost: bool,
    /// Part of a response was received before the error: no proxy can take bytes back.
    pub(super) begun: bool,
}

/// One entry of a history.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Since the run began.
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// The last strike of the plan that was on meanwhile.
    pub(super) strike: Option<usize>,
    /// The statements, and the form of the messages.
    pub(super) what: String,
    /// A single read with a response.
    pub(super) read: bool,
    pub(super) facts: Vec<Fact>,
}

/// All entries of one client.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) client: usize,
    pub(super) entries: Vec<Entry>,
}

/// Entries shown before and behind a wrong entry.
const AROUND: usize = 12;

// === impl Failure ===

impl Failure {
    pub(super) fn lost(message: impl Into<String>) -> Self {
        Self { state: String::new(), message: message.into(), lost: true, begun: false }
    }

    /// True if the request may have been executed in spite of the error.
    pub(super) fn leaves_doubt(&self) -> bool {
        self.lost || ["08", "57", "58", "XX"].iter().any(|class| self.state.starts_with(class))
    }

    /// True if servers report the error for reasons of their own: a deadlock, and errors inside a failed transaction.
    pub(super) fn is_the_servers_own(&self) -> bool {
        !self.lost && ["40P01", "25P02"].contains(&self.state.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.lost { ", connection lost" } else { "" };
        write!(f, "{} {}{end}", self.state, self.message)
    }
}

// === impl History ===

impl History {
    /// The entries around the entry `at`.
    pub(super) fn around(&self, at: usize) -> String {
        let from = at.saturating_sub(AROUND);
        let shown = self.entries.iter().enumerate().skip(from).take(2 * AROUND);
        shown.map(|(number, entry)| format!("{} {entry}\n", if number == at { ">>" } else { "  " })).collect()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, ended) = (self.began.as_secs_f64(), self.ended.as_secs_f64());
        write!(f, "{began:9.3} to {ended:9.3}, strike {:?}: {} -> {:?}", self.strike, self.what, self.facts)
    }
}
