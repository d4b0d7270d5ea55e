//! What a listener's sessions do on one endpoint: the numbers of the data path.

use std::time::Duration;

use super::{Each, Scope};
use crate::telemetry::{
    catalog::{self, Label},
    labels::{Direction, Outcome, SqlstateClass},
    registry::{Counter, Histogram},
};

/// The handles of one listener's traffic to one endpoint.
pub struct PathMetrics {
    statements: Each<Outcome, Counter>,
    errors: Each<SqlstateClass, Counter>,
    duration: Histogram,
    overhead: Histogram,
    transactions: Counter,
    traffic: Each<Direction, Counter>,
}

impl PathMetrics {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        Self {
            statements: scope.each(Label::Outcome, |scope| scope.counter(&catalog::STATEMENTS)),
            errors: scope.each(Label::SqlstateClass, |scope| scope.counter(&catalog::STATEMENT_ERRORS)),
            duration: scope.histogram(&catalog::STATEMENT_DURATION),
            overhead: scope.histogram(&catalog::PROXY_OVERHEAD),
            transactions: scope.counter(&catalog::TRANSACTIONS),
            traffic: scope.each(Label::Direction, |scope| scope.counter(&catalog::TRAFFIC)),
        }
    }

    /// A statement was answered in `duration`.
    pub fn statement(&self, outcome: Outcome, duration: Duration) {
        self.statements.of(outcome).increment();
        self.duration.record(duration);
    }

    /// The endpoint answered an error with this SQLSTATE.
    pub fn error(&self, sqlstate: &str) {
        self.errors.of(SqlstateClass::of(sqlstate)).increment();
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
        self.traffic.of(direction).add(octets);
    }
}
