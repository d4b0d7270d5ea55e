//! Metrics of a listener's sessions on one endpoint: the numbers of the data path.

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
        labels::{CloseReason, Direction, PoolBackendState, SqlstateClass, StatementOutcome},
        registry::{Counter, Gauge, Level},
        shards::{Shards, Tally},
        timings::{Timings, Total},
    },
};

/// Metrics of one listener's traffic to one endpoint. Sessions count in the [`PathCounts`] of their worker.
pub struct PathMetrics {
    shards: Shards<PathCounts>,
    flushed: Mutex<Flushed>,
    statements: Each<StatementOutcome, Counter>,
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
    oldest_wait: Gauge,
    oldest_transaction: Gauge,
    idle_transaction: Gauge,
    limit: Level,
}

/// Counts of one worker's sessions on a path: durations since the start, other numbers since the last collection.
///
/// Never allocates or waits. Any thread may count, but a thread other than the worker makes the worker wait for the
/// cache line.
#[repr(align(128))]
pub struct PathCounts {
    statements: [Tally; StatementOutcome::ALL.len()],
    transactions: Tally,
    state_checks: Tally,
    traffic: [Tally; Direction::ALL.len()],
    duration: Timings<DURATION_BUCKETS>,
    overhead: Timings<OVERHEAD_BUCKETS>,
    errors: [Tally; SqlstateClass::ALL.len()],
    wait: Timings<WAIT_BUCKETS>,
    pins: [Tally; Pin::ALL.len()],
}

/// Totals of a listener's sessions on one endpoint since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTotals {
    /// The listener.
    pub listener: ListenerName,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// Ended transactions.
    pub transactions: u64,
    /// Answered statements.
    pub statements: u64,
    /// Statements that Gatekeeper has refused.
    pub refused: u64,
    /// Errors that clients received.
    pub errors: u64,
    /// Errors for which the statement's text is not the reason.
    pub faults: u64,
    /// Answered statements by duration, in the buckets of [`catalog::STATEMENT_DURATION`].
    pub durations: [u64; DURATION_BUCKETS],
    /// Bytes relayed to the endpoint.
    pub to_endpoint: u64,
    /// Bytes relayed to clients.
    pub to_client: u64,
    /// Sum of the statements' durations.
    pub statement_time: Duration,
    /// Sum of the waits for a backend.
    pub wait_time: Duration,
}

/// Numbers moved out of the shards.
#[derive(Clone, Copy, Default)]
struct Flushed {
    refused: u64,
    errors: u64,
    faults: u64,
    transactions: u64,
    traffic: [u64; Direction::ALL.len()],
}

/// Buckets of [`catalog::STATEMENT_DURATION`].
const DURATION_BUCKETS: usize = Buckets::Statements.bounds().len() + 1;

/// Buckets of [`catalog::PROXY_OVERHEAD`].
const OVERHEAD_BUCKETS: usize = Buckets::Overhead.bounds().len() + 1;

/// Buckets of [`catalog::POOL_WAIT_DURATION`].
const WAIT_BUCKETS: usize = Buckets::Wait.bounds().len() + 1;

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
            oldest_wait: scope.gauge(&catalog::POOL_OLDEST_WAIT),
            oldest_transaction: scope.gauge(&catalog::OLDEST_TRANSACTION),
            idle_transaction: scope.gauge(&catalog::IDLE_TRANSACTION),
            limit: scope.level(&catalog::POOL_BACKENDS_LIMIT),
        }
    }

    /// Records a timeout while waiting for a backend.
    pub fn pool_wait_timed_out(&self) {
        self.wait_timeouts.increment();
    }

    /// Sets the longest current wait for a backend.
    pub fn set_oldest_wait(&self, age: Duration) {
        self.oldest_wait.set(age.as_secs_f64());
    }

    /// Sets the age of the oldest open transaction, and the longest time that a transaction has been idle.
    pub fn set_oldest_transaction(&self, age: Duration, idle: Duration) {
        self.oldest_transaction.set(age.as_secs_f64());
        self.idle_transaction.set(idle.as_secs_f64());
    }

    /// Records the closing of a pooled backend.
    pub fn backend_closed(&self, reason: CloseReason) {
        self.closed.of(reason).increment();
    }

    /// Updates a pool's levels: backends in each state, waiting clients, maximum number of backends; each as the
    /// previous and the current value.
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

    /// The shard of `worker`. Takes a short lock: call once per session.
    #[must_use]
    pub fn of(&self, worker: usize) -> Arc<PathCounts> {
        self.shards.of(worker)
    }

    /// Moves the counts of all workers to the exporter, except durations.
    pub(super) fn flush(&self) {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in self.shards.all() {
            for outcome in StatementOutcome::ALL {
                let count = shard.statements[outcome.index()].take();
                self.statements.of(outcome).add(count);
                flushed.refused += if outcome == StatementOutcome::Refused { count } else { 0 };
            }
            for class in SqlstateClass::ALL {
                let count = shard.errors[class.index()].take();
                self.errors.of(class).add(count);
                flushed.errors += count;
                flushed.faults += if class.is_about_the_statement() { 0 } else { count };
            }
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

    /// Totals since the start, up to the last flush.
    pub(super) fn totals(&self, listener: ListenerName, endpoint: EndpointName) -> PathTotals {
        let flushed = *self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = self.duration().1;
        let (statements, statement_time) = sum_buckets(&durations);
        let (_, wait_time) = sum_buckets(&self.wait().1);
        PathTotals {
            listener,
            endpoint,
            transactions: flushed.transactions,
            statements,
            refused: flushed.refused,
            errors: flushed.errors,
            faults: flushed.faults,
            durations: durations.map(|bucket| bucket.count),
            to_endpoint: flushed.traffic[Direction::ToEndpoint.index()],
            to_client: flushed.traffic[Direction::ToClient.index()],
            statement_time,
            wait_time,
        }
    }

    /// The series of [`catalog::STATEMENT_DURATION`].
    pub(super) fn duration(&self) -> (&LabelSet, [Total; DURATION_BUCKETS]) {
        (&self.duration, Timings::sum(self.shards.all().iter().map(|shard| &shard.duration)))
    }

    /// The series of [`catalog::POOL_WAIT_DURATION`].
    pub(super) fn wait(&self) -> (&LabelSet, [Total; WAIT_BUCKETS]) {
        (&self.wait, Timings::sum(self.shards.all().iter().map(|shard| &shard.wait)))
    }

    /// The series of [`catalog::PROXY_OVERHEAD`].
    pub(super) fn overhead(&self) -> (&LabelSet, [Total; OVERHEAD_BUCKETS]) {
        (&self.overhead, Timings::sum(self.shards.all().iter().map(|shard| &shard.overhead)))
    }
}

/// Number of durations and their sum.
fn sum_buckets(buckets: &[Total]) -> (u64, Duration) {
    let mut all = Total::default();
    buckets.iter().for_each(|bucket| all.add(*bucket));
    (all.count, Duration::from_nanos(u64::try_from(all.nanoseconds).unwrap_or(u64::MAX)))
}

// === impl PathCounts ===

impl PathCounts {
    /// Records an answered statement.
    pub fn record_statement(&self, outcome: StatementOutcome, duration: Duration) {
        self.statements[outcome.index()].increment();
        self.duration.record(duration);
    }

    /// Records a statement that Gatekeeper has refused with `sqlstate`. Its wait is no duration of a statement.
    pub fn record_refusal(&self, sqlstate: &str) {
        self.statements[StatementOutcome::Refused.index()].increment();
        self.record_error(sqlstate);
    }

    /// Records an error that a client received.
    pub fn record_error(&self, sqlstate: &str) {
        self.errors[SqlstateClass::of(sqlstate).index()].increment();
    }

    /// Records the part of a statement's time spent in Gatekeeper.
    pub fn overhead(&self, spent: Duration) {
        self.overhead.record(spent);
    }

    /// Records the wait of a session that got a backend.
    pub fn pool_wait(&self, waited: Duration) {
        self.wait.record(waited);
    }

    /// Records a pin.
    pub fn record_pin(&self, reason: Pin) {
        self.pins[reason.index()].increment();
    }

    /// Records the end of a transaction.
    pub fn record_transaction(&self) {
        self.transactions.increment();
    }

    /// Records a state check of a backend after a transaction.
    pub fn state_check(&self) {
        self.state_checks.increment();
    }

    /// Records relayed bytes.
    pub fn record_traffic(&self, direction: Direction, bytes: u64) {
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
