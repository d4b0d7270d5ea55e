//! What a listener's sessions do on one endpoint: the numbers of the data path.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics_exporter_prometheus::LabelSet;

use super::{Each, Scope};
use crate::{
    names::{EndpointName, ListenerName},
    session::Pin,
    telemetry::{
        catalog::{self, Buckets, Label},
        labels::{CloseReason, Direction, Outcome, PoolBackendState, SqlstateClass},
        registry::{Counter, Level},
        shards::{Shards, Tally},
        timings::{Timings, Total},
    },
};

/// The numbers of one listener's traffic to one endpoint: a worker's sessions count in its [`PathCounts`].
pub struct PathMetrics {
    shards: Shards<PathCounts>,
    flushed: Mutex<Flushed>,
    statements: Each<Outcome, Counter>,
    errors: Each<SqlstateClass, Counter>,
    duration: LabelSet,
    overhead: LabelSet,
    transactions: Counter,
    state_checks: Counter,
    traffic: Each<Direction, Counter>,
    pins: Each<Pin, Counter>,
    wait: LabelSet,
    wait_timeouts: Counter,
    backends: Each<PoolBackendState, Level>,
    closed: Each<CloseReason, Counter>,
    waiting: Level,
    limit: Level,
}

/// What the sessions of one worker did on a path: its durations ever, and all else since it was last collected.
///
/// Nothing here allocates or waits. Any thread may count, but one that is not its worker makes the worker wait for the
/// cache line.
#[repr(align(128))]
pub struct PathCounts {
    statements: [Tally; Outcome::ALL.len()],
    transactions: Tally,
    state_checks: Tally,
    traffic: [Tally; Direction::ALL.len()],
    duration: Timings<DURATION>,
    overhead: Timings<OVERHEAD>,
    errors: [Tally; SqlstateClass::ALL.len()],
    wait: Timings<WAIT>,
    pins: [Tally; Pin::ALL.len()],
}

/// What a listener's sessions did on one endpoint, ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTotals {
    /// The listener.
    pub listener: ListenerName,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// Transactions that ended.
    pub transactions: u64,
    /// Statements that were answered.
    pub statements: u64,
    /// Bytes relayed to the endpoint.
    pub to_endpoint: u64,
    /// Bytes relayed to clients.
    pub to_client: u64,
    /// How long the statements took, all together.
    pub statement_time: Duration,
    /// How long sessions waited for a backend, all together.
    pub wait_time: Duration,
}

/// What left the shards.
#[derive(Clone, Copy, Default)]
struct Flushed {
    transactions: u64,
    traffic: [u64; Direction::ALL.len()],
}

/// Buckets of [`catalog::STATEMENT_DURATION`].
const DURATION: usize = Buckets::Statements.bounds().len() + 1;

/// Buckets of [`catalog::PROXY_OVERHEAD`].
const OVERHEAD: usize = Buckets::Overhead.bounds().len() + 1;

/// Buckets of [`catalog::POOL_WAIT_DURATION`].
const WAIT: usize = Buckets::Wait.bounds().len() + 1;

// === impl PathMetrics ===

impl PathMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            shards: Shards::default(),
            flushed: Mutex::default(),
            statements: scope.each(Label::Outcome, |scope| scope.counter(&catalog::STATEMENTS)),
            errors: scope.each(Label::SqlstateClass, |scope| scope.counter(&catalog::STATEMENT_ERRORS)),
            duration: scope.label_set(&catalog::STATEMENT_DURATION),
            overhead: scope.label_set(&catalog::PROXY_OVERHEAD),
            transactions: scope.counter(&catalog::TRANSACTIONS),
            state_checks: scope.counter(&catalog::STATE_CHECKS),
            traffic: scope.each(Label::Direction, |scope| scope.counter(&catalog::TRAFFIC)),
            pins: scope.each(Label::Reason, |scope| scope.counter(&catalog::PINS)),
            wait: scope.label_set(&catalog::POOL_WAIT_DURATION),
            wait_timeouts: scope.counter(&catalog::POOL_WAIT_TIMEOUTS),
            backends: scope.each(Label::State, |scope| scope.level(&catalog::POOL_BACKENDS)),
            closed: scope.each(Label::Reason, |scope| scope.counter(&catalog::POOL_CLOSED)),
            waiting: scope.level(&catalog::POOL_WAITING),
            limit: scope.level(&catalog::POOL_BACKENDS_LIMIT),
        }
    }

    /// A session waited for a backend in vain.
    pub fn pool_wait_timed_out(&self) {
        self.wait_timeouts.increment();
    }

    /// A backend of a pool was closed.
    pub fn backend_closed(&self, reason: CloseReason) {
        self.closed.of(reason).increment();
    }

    /// A pool looks different: how many backends are in each state, how many clients wait, how many backends there may be;
    /// each as it was shown last, and as it is now.
    pub fn pool_levels(
        &self,
        backends: impl Fn(PoolBackendState) -> (usize, usize),
        waiting: (usize, usize),
        limit: (usize, usize),
    ) {
        for state in PoolBackendState::ALL {
            self.backends.of(state).shift(backends(state));
        }
        self.waiting.shift(waiting);
        self.limit.shift(limit);
    }

    /// Where worker `worker` counts. Takes a short lock: a session asks once.
    #[must_use]
    pub fn of(&self, worker: usize) -> Arc<PathCounts> {
        self.shards.of(worker)
    }

    /// Moves what all workers counted to where it is shown; all but the durations.
    pub(super) fn flush(&self) {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in self.shards.all() {
            self.statements.add(&shard.statements);
            self.errors.add(&shard.errors);
            let transactions = shard.transactions.take();
            self.transactions.add(transactions);
            flushed.transactions += transactions;
            self.state_checks.add(shard.state_checks.take());
            for direction in Direction::ALL {
                let bytes = shard.traffic[direction.index()].take();
                self.traffic.of(direction).add(bytes);
                flushed.traffic[direction.index()] += bytes;
            }
            self.pins.add(&shard.pins);
        }
    }

    /// What was counted ever, up to the last flush.
    pub(super) fn totals(&self, listener: ListenerName, endpoint: EndpointName) -> PathTotals {
        let flushed = *self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let (statements, statement_time) = sum(&self.duration().1);
        let (_, wait_time) = sum(&self.wait().1);
        PathTotals {
            listener,
            endpoint,
            transactions: flushed.transactions,
            statements,
            to_endpoint: flushed.traffic[Direction::ToEndpoint.index()],
            to_client: flushed.traffic[Direction::ToClient.index()],
            statement_time,
            wait_time,
        }
    }

    /// The series of [`catalog::STATEMENT_DURATION`].
    pub(super) fn duration(&self) -> (&LabelSet, [Total; DURATION]) {
        (&self.duration, Timings::sum(self.shards.all().iter().map(|shard| &shard.duration)))
    }

    /// The series of [`catalog::POOL_WAIT_DURATION`].
    pub(super) fn wait(&self) -> (&LabelSet, [Total; WAIT]) {
        (&self.wait, Timings::sum(self.shards.all().iter().map(|shard| &shard.wait)))
    }

    /// The series of [`catalog::PROXY_OVERHEAD`].
    pub(super) fn overhead(&self) -> (&LabelSet, [Total; OVERHEAD]) {
        (&self.overhead, Timings::sum(self.shards.all().iter().map(|shard| &shard.overhead)))
    }
}

/// How many there were, and how long they took.
fn sum(buckets: &[Total]) -> (u64, Duration) {
    let mut all = Total::default();
    buckets.iter().for_each(|bucket| all.add(*bucket));
    (all.count, Duration::from_nanos(u64::try_from(all.nanoseconds).unwrap_or(u64::MAX)))
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

    /// A session got a backend after it waited so long for it.
    pub fn pool_wait(&self, waited: Duration) {
        self.wait.record(waited);
    }

    /// A session left something on its backend that keeps it from being given back.
    pub fn pinned(&self, reason: Pin) {
        self.pins[reason.index()].increment();
    }

    /// A transaction ended.
    pub fn transaction(&self) {
        self.transactions.increment();
    }

    /// Counts a state check of a backend after a transaction.
    pub fn state_check(&self) {
        self.state_checks.increment();
    }

    /// So many bytes were relayed.
    pub fn traffic(&self, direction: Direction, bytes: u64) {
        self.traffic[direction.index()].add(bytes);
    }
}

impl Default for PathCounts {
    fn default() -> Self {
        Self {
            statements: Default::default(),
            transactions: Tally::default(),
            state_checks: Tally::default(),
            traffic: Default::default(),
            duration: Timings::new(Buckets::Statements),
            overhead: Timings::new(Buckets::Overhead),
            errors: Default::default(),
            wait: Timings::new(Buckets::Wait),
            pins: Default::default(),
        }
    }
}
