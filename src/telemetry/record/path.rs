//! What a listener's sessions do on one endpoint: the numbers of the data path.

use std::{sync::Arc, time::Duration};

use super::{Each, Scope};
use crate::telemetry::{
    catalog::{self, Buckets, Label},
    labels::{Direction, Outcome, SqlstateClass, Word},
    registry::{Counter, Histogram},
    shards::{Shards, Tally},
    timings::Timings,
};

/// The numbers of one listener's traffic to one endpoint: a worker's sessions count in its [`PathCounts`].
pub struct PathMetrics {
    shards: Shards<PathCounts>,
    statements: Each<Outcome, Counter>,
    errors: Each<SqlstateClass, Counter>,
    duration: Histogram,
    overhead: Histogram,
    transactions: Counter,
    traffic: Each<Direction, Counter>,
}

/// What the sessions of one worker did on a path since it was last collected.
///
/// Nothing here allocates or waits. Any thread may count, but one that is not its worker makes the worker wait for the
/// cache line.
#[repr(align(128))]
pub struct PathCounts {
    statements: [Tally; Outcome::ALL.len()],
    transactions: Tally,
    traffic: [Tally; Direction::ALL.len()],
    duration: Timings<{ Buckets::Statements.bounds().len() + 1 }>,
    overhead: Timings<{ Buckets::Overhead.bounds().len() + 1 }>,
    errors: [Tally; SqlstateClass::ALL.len()],
}

// === impl PathMetrics ===

impl PathMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            shards: Shards::default(),
            statements: scope.each(Label::Outcome, |scope| scope.counter(&catalog::STATEMENTS)),
            errors: scope.each(Label::SqlstateClass, |scope| scope.counter(&catalog::STATEMENT_ERRORS)),
            duration: scope.histogram(&catalog::STATEMENT_DURATION),
            overhead: scope.histogram(&catalog::PROXY_OVERHEAD),
            transactions: scope.counter(&catalog::TRANSACTIONS),
            traffic: scope.each(Label::Direction, |scope| scope.counter(&catalog::TRAFFIC)),
        }
    }

    /// Where worker `worker` counts. Takes a short lock: a session asks once.
    #[must_use]
    pub fn of(&self, worker: usize) -> Arc<PathCounts> {
        self.shards.of(worker)
    }

    /// Moves what all workers counted to where it is shown.
    pub(super) fn flush(&self) {
        for shard in self.shards.all() {
            self.statements.add(&shard.statements);
            self.errors.add(&shard.errors);
            self.traffic.add(&shard.traffic);
            self.transactions.add(shard.transactions.take());
            shard.duration.flush(&self.duration);
            shard.overhead.flush(&self.overhead);
        }
    }
}

// === impl PathCounts ===

impl PathCounts {
    /// A statement was answered in `duration`.
    pub fn statement(&self, outcome: Outcome, duration: Duration) {
        self.statements[outcome.index()].increment();
        self.duration.record(duration);
    }

    /// The endpoint answered an error with this SQLSTATE.
    pub fn error(&self, sqlstate: &str) {
        self.errors[SqlstateClass::of(sqlstate).index()].increment();
    }

    /// Of a statement's time, `spent` was our own.
    pub fn overhead(&self, spent: Duration) {
        self.overhead.record(spent);
    }

    /// A transaction ended.
    pub fn transaction(&self) {
        self.transactions.increment();
    }

    /// So many octets were relayed.
    pub fn traffic(&self, direction: Direction, octets: u64) {
        self.traffic[direction.index()].add(octets);
    }
}

impl Default for PathCounts {
    fn default() -> Self {
        Self {
            statements: Default::default(),
            transactions: Tally::default(),
            traffic: Default::default(),
            duration: Timings::new(Buckets::Statements),
            overhead: Timings::new(Buckets::Overhead),
            errors: Default::default(),
        }
    }
}
