//! Averages over the last whole minute, like PgBouncer's `stats_period`.

use std::{collections::BTreeMap, time::Duration};

use super::stats_values::StatsValues;
use crate::{live::Publisher, names::EndpointName, telemetry::Metrics};

/// Averages per second, and average times per statement. All zero in the first minute.
#[derive(Default)]
pub struct Averages {
    by_endpoint: BTreeMap<EndpointName, Difference>,
}

/// Increase within one period.
#[derive(Clone, Copy, Default)]
struct Difference(StatsValues);

/// Length of a period.
const PERIOD_LENGTH: Duration = Duration::from_secs(60);

/// Publishes new averages each minute, forever.
///
/// Cancel safe.
pub async fn publish_averages(metrics: Metrics, mut averages: Publisher<Averages>) {
    let mut due = tokio::time::interval(PERIOD_LENGTH);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    due.tick().await;
    let mut before = StatsValues::by_endpoint(&metrics);
    loop {
        due.tick().await;
        let now = StatsValues::by_endpoint(&metrics);
        averages.publish(Averages::difference_between(&before, &now));
        before = now;
    }
}

// === impl Averages ===

impl Averages {
    fn difference_between(
        before: &BTreeMap<EndpointName, StatsValues>,
        now: &BTreeMap<EndpointName, StatsValues>,
    ) -> Self {
        let none = StatsValues::default();
        let difference = now.iter().map(|(endpoint, counts)| {
            (endpoint.clone(), Difference(counts.minus(before.get(endpoint).unwrap_or(&none))))
        });
        Self { by_endpoint: difference.collect() }
    }

    /// Averages of one endpoint.
    pub(super) fn of(&self, endpoint: &EndpointName) -> StatsValues {
        self.by_endpoint.get(endpoint).copied().unwrap_or_default().average()
    }

    /// Averages of all endpoints together.
    pub(super) fn all(&self) -> StatsValues {
        let sum = self.by_endpoint.values().fold(StatsValues::default(), |sum, other| sum.plus(&other.0));
        Difference(sum).average()
    }
}

// === impl Difference ===

impl Difference {
    fn average(self) -> StatsValues {
        let Self(added) = self;
        let each_second = |count: u64| count / PERIOD_LENGTH.as_secs();
        StatsValues {
            transactions: each_second(added.transactions),
            statements: each_second(added.statements),
            received: each_second(added.received),
            sent: each_second(added.sent),
            transaction_time: added.transaction_time.checked_div(added.transactions).unwrap_or_default(),
            statement_time: added.statement_time.checked_div(added.statements).unwrap_or_default(),
            wait_time: each_second(added.wait_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_by_the_second_and_times_by_the_statement() {
        let endpoint = EndpointName::new("reads").unwrap();
        let counts = |statements| StatsValues {
            statements,
            statement_time: 10 * statements,
            ..StatsValues::default()
        };
        let before = BTreeMap::from([(endpoint.clone(), counts(1_000))]);
        let now = BTreeMap::from([(endpoint.clone(), counts(7_000))]);
        let averages = Averages::difference_between(&before, &now);
        for average in [averages.of(&endpoint), averages.all()] {
            assert_eq!((average.statements, average.statement_time), (100, 10));
        }
        assert_eq!(averages.of(&EndpointName::new("other").unwrap()), StatsValues::default());
    }
}
