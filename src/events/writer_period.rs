//! History of the writer.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::{
    names::EndpointName,
    topology::{Health, NodeId, TopologySnapshot},
};

/// A period in which one server, or none, accepted writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterPeriod {
    /// The endpoint of the writer; `None` if no endpoint accepted writes.
    pub writer: Option<EndpointName>,
    /// The server behind the address, if known.
    pub node: Option<NodeId>,
    /// Health of the endpoint: a writer that is down accepts no writes.
    pub health: Health,
    /// Time of the first observation.
    pub from: Timestamp,
}

/// The last periods, oldest first. Each ends at the beginning of the next.
#[derive(Debug, Default)]
pub struct WriterPeriods {
    kept: VecDeque<WriterPeriod>,
}

/// Maximum number of periods.
const MAX_PERIODS: usize = 64;

// === impl WriterPeriods ===

impl WriterPeriods {
    /// Records the writer at `now`.
    pub fn follow(&mut self, snapshot: &TopologySnapshot, now: Timestamp) {
        let status = snapshot.writer.as_ref().and_then(|name| snapshot.get(name));
        let next = WriterPeriod {
            writer: snapshot.writer.clone(),
            node: status.and_then(|status| status.node),
            health: status.map_or(Health::Unknown, |status| status.health),
            from: now,
        };
        match self.kept.back_mut() {
            Some(current) if current.is_same(&next) => {}
            // A writer known only by its declared role has responded: the period began before.
            Some(current)
                if current.writer == next.writer
                    && current.health == Health::Unknown
                    && next.health == Health::Up =>
            {
                (current.node, current.health) = (next.node, next.health);
            }
            _ => {
                if self.kept.len() >= MAX_PERIODS {
                    self.kept.pop_front();
                }
                self.kept.push_back(next);
            }
        }
    }

    /// Begin of the current absence: no writer is up since then. `None` while one is up, and before the first.
    pub fn absence_start(&self) -> Option<Timestamp> {
        let is_up = |term: &&WriterPeriod| term.writer.is_some() && term.health == Health::Up;
        let last_up = self.kept.iter().rposition(|term| is_up(&term))?;
        self.kept.get(last_up + 1).map(|term| term.from)
    }

    /// Periods with their ends, newest first; the current period has no end.
    pub fn newest_first(&self) -> impl Iterator<Item = (&WriterPeriod, Option<Timestamp>)> {
        let ends = std::iter::once(None).chain(self.kept.iter().rev().map(|term| Some(term.from)));
        self.kept.iter().rev().zip(ends)
    }
}

// === impl WriterPeriod ===

impl WriterPeriod {
    /// True if writer, node and health are equal.
    fn is_same(&self, next: &Self) -> bool {
        (&self.writer, self.node, self.health) == (&next.writer, next.node, next.health)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        names::ClusterName,
        topology::{Endpoint, EndpointStatus},
    };

    fn status(name: &str, health: Health, node: Option<i64>) -> EndpointStatus {
        let endpoint = Arc::new(Endpoint {
            name: EndpointName::new(name).unwrap(),
            cluster: ClusterName::new("orders").unwrap(),
            region: None,
            role: "primary".parse().unwrap(),
            address: "127.0.0.1:5432".parse().unwrap(),
        });
        let node = node.map(|started_us| NodeId { started_us, address: None, port: None });
        EndpointStatus { health, node, ..EndpointStatus::unknown(endpoint) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Periods after observations one second apart: writer with node, health, from, until.
    fn kept(seen: &[(Option<&str>, Health, Option<i64>)]) -> Vec<String> {
        let mut terms = WriterPeriods::default();
        for (second, (writer, health, node)) in (0..).zip(seen) {
            let endpoints = writer.map(|name| status(name, *health, *node)).into_iter().collect();
            let writer = writer.map(|name| EndpointName::new(name).unwrap());
            terms.follow(&TopologySnapshot { endpoints, writer, ..TopologySnapshot::default() }, at(second));
        }
        let second = |time: Timestamp| time.as_second() - at(0).as_second();
        let line = |(term, until): (&WriterPeriod, Option<Timestamp>)| {
            let writer = term.writer.as_ref().map_or("nobody", EndpointName::as_str);
            let node = term.node.map(|node| node.started_us);
            let (from, until) = (second(term.from), until.map(second));
            format!("{writer} {node:?} {} {from} {until:?}", term.health.as_str())
        };
        terms.newest_first().map(line).collect()
    }

    #[test]
    fn a_failover_is_told_with_the_time_in_which_nobody_wrote() {
        let seen = [
            (Some("primary"), Health::Unknown, None),
            (Some("primary"), Health::Up, Some(1)),
            (Some("primary"), Health::Up, Some(1)),
            (Some("primary"), Health::Down, Some(1)),
            (None, Health::Unknown, None),
            (Some("dr"), Health::Up, Some(2)),
        ];
        assert_eq!(
            kept(&seen),
            [
                "dr Some(2) up 5 None",
                "nobody None unknown 4 Some(5)",
                "primary Some(1) down 3 Some(4)",
                "primary Some(1) up 0 Some(3)",
            ]
        );
    }

    #[test]
    fn another_server_behind_the_same_address_is_another_term() {
        let seen = [(Some("primary"), Health::Up, Some(1)), (Some("primary"), Health::Up, Some(2))];
        assert_eq!(kept(&seen), ["primary Some(2) up 1 None", "primary Some(1) up 0 Some(1)"]);
    }

    #[test]
    fn a_writer_that_comes_and_goes_for_ever_is_not_remembered_for_ever() {
        let flapping = [(Some("primary"), Health::Up, Some(1)), (Some("primary"), Health::Down, Some(1))];
        assert_eq!(kept(&flapping.repeat(1000)).len(), MAX_PERIODS);
    }
}
