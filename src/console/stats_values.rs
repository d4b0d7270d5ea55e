//! The values of PgBouncer's statistics, for one endpoint.

use std::collections::BTreeMap;

use crate::{names::EndpointName, telemetry::Metrics};

/// Totals since the start, or averages. Times in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StatsValues {
    pub(super) transactions: u64,
    pub(super) statements: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Sum of statement times within transactions.
    pub(super) transaction_time: u64,
    pub(super) statement_time: u64,
    pub(super) wait_time: u64,
}

impl StatsValues {
    /// Totals of every endpoint used since the start.
    pub(super) fn by_endpoint(metrics: &Metrics) -> BTreeMap<EndpointName, Self> {
        let mut found: BTreeMap<EndpointName, Self> = BTreeMap::new();
        for path in metrics.totals() {
            let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let counts = Self {
                transactions: path.transactions,
                statements: path.statements,
                received: path.to_endpoint,
                sent: path.to_client,
                transaction_time: micros(path.statement_time),
                statement_time: micros(path.statement_time),
                wait_time: micros(path.wait_time),
            };
            let sum = found.entry(path.endpoint).or_default();
            *sum = sum.plus(&counts);
        }
        found
    }

    /// In PgBouncer's order: transactions, statements, bytes received and sent, then times.
    pub(super) fn in_column_order(&self) -> [u64; 7] {
        [
            self.transactions,
            self.statements,
            self.received,
            self.sent,
            self.transaction_time,
            self.statement_time,
            self.wait_time,
        ]
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(&self, other: &Self, both: fn(u64, u64) -> u64) -> Self {
        Self {
            transactions: both(self.transactions, other.transactions),
            statements: both(self.statements, other.statements),
            received: both(self.received, other.received),
            sent: both(self.sent, other.sent),
            transaction_time: both(self.transaction_time, other.transaction_time),
            statement_time: both(self.statement_time, other.statement_time),
            wait_time: both(self.wait_time, other.wait_time),
        }
    }
}
