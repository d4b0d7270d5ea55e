//! What one client did and heard, in its order.

use std::{fmt, time::Duration};

/// What a client knows for sure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// A session begins: nothing that another one wrote is its own.
    Met,
    /// A transaction begins.
    Began,
    /// It is rolled back.
    Undone,
    /// It is committed.
    Kept,
    /// A write was answered.
    Wrote { register: i64, version: Option<i64> },
    /// An append was answered.
    Grew { list: i64, op: i64 },
    /// A read was answered.
    Sees { register: i64, version: Option<i64> },
    /// A read of a list was answered.
    SeesList { list: i64, items: Vec<i64> },
    /// What the accounts of a pair held together, in one snapshot.
    Sum { pair: i64, sum: i64 },
    /// A register as one snapshot showed it twice.
    Twice { register: i64, versions: [Option<i64>; 2] },
    /// What became of a write.
    CameTo { op: i64, outcome: Outcome },
    /// What nothing but the primary's loss excuses was answered by an error.
    Failed { why: Failure },
    /// A read-only transaction ended with its node.
    Cut { why: Failure },
    /// A deadlock or the like, which the servers may have without anybody between.
    Refused { why: Failure },
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was acknowledged.
    Done,
    /// It was refused, or its transaction never said COMMIT.
    Never,
    /// Nobody knows: the connection was lost on the way.
    Unknown,
}

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The SQLSTATE; empty when nothing was said.
    pub(super) state: String,
    pub(super) said: String,
    /// The connection went with it.
    pub(super) lost: bool,
    /// Some of an answer had come before it: nobody can take that back.
    pub(super) begun: bool,
}

/// One thing that was done.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Since the run began.
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// The last strike of the plan that was on meanwhile.
    pub(super) strike: Option<usize>,
    /// What was said, and how.
    pub(super) what: String,
    /// It is a read on its own, and was answered.
    pub(super) read: bool,
    pub(super) facts: Vec<Fact>,
}

/// All that one client did.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) client: usize,
    pub(super) entries: Vec<Entry>,
}

/// Entries that are shown before and behind the one that is wrong.
const AROUND: usize = 12;

// === impl Failure ===

impl Failure {
    pub(super) fn lost(said: impl Into<String>) -> Self {
        Self { state: String::new(), said: said.into(), lost: true, begun: false }
    }

    /// Whether what it answers may have been done all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        self.lost || ["08", "57", "58", "XX"].iter().any(|class| self.state.starts_with(class))
    }

    /// Whether servers say so for reasons of their own: a deadlock, and what follows an error in its transaction.
    pub(super) fn is_the_servers_own(&self) -> bool {
        !self.lost && ["40P01", "25P02"].contains(&self.state.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.lost { ", connection lost" } else { "" };
        write!(f, "{} {}{end}", self.state, self.said)
    }
}

// === impl History ===

impl History {
    /// What was done around the entry `at`.
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
