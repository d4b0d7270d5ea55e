//! Outliers: endpoints and nodes that failed sessions recently, and are avoided for a time.
//!
//! The probe needs seconds to mark an endpoint down, and never sees most nodes behind a read pool's address. Failures
//! of sessions (a broken connection, a failed login) eject an endpoint or node at once, for a time that doubles with
//! each further failure.

use std::time::{Duration, Instant};

use crate::{names::EndpointName, topology::NodeId};

/// Recently ejected outliers. The result is advice: the last usable endpoint is used even if ejected.
#[derive(Debug, Clone, Default)]
pub struct Ejections {
    /// Few entries: searched linearly.
    ejected: Vec<Ejected>,
}

/// Kinds of outliers: an endpoint whose login fails, or a node behind an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlier {
    /// An endpoint.
    Endpoint(EndpointName),
    /// A node.
    Node(NodeId),
}

#[derive(Debug, Clone)]
struct Ejected {
    who: Outlier,
    until: Instant,
    backoff: Duration,
}

/// The first time: a balancer's connections break now and then, and a restart takes longer.
const MIN_EJECTION: Duration = Duration::from_millis(500);

/// Maximum ejection: by then the probe knows the health.
const MAX_EJECTION: Duration = Duration::from_secs(30);

/// An outlier without failures for this long after an ejection starts over with the shortest ejection.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Maximum number of outliers. More than the maximum indicates a common cause.
const MAX_OUTLIERS: usize = 64;

// === impl Ejections ===

impl Ejections {
    /// Ejects `who`, which failed a session at `now`; `jitter` is a random number. Failures during an ejection count
    /// once. Returns true if the list changed and needs to be published.
    pub fn note_failure(&mut self, who: Outlier, now: Instant, jitter: u64) -> bool {
        self.ejected.retain(|ejected| now.saturating_duration_since(ejected.until) < FORGIVEN_AFTER);
        // Adds up to a quarter as jitter, so that sessions do not return at the same time.
        let lasts = |backoff: Duration| backoff + backoff / 1000 * u32::try_from(jitter % 250).unwrap_or(0);
        if let Some(ejected) = self.ejected.iter_mut().find(|ejected| ejected.who == who) {
            if now < ejected.until {
                return false;
            }
            ejected.backoff = (ejected.backoff * 2).min(MAX_EJECTION);
            ejected.until = now + lasts(ejected.backoff);
            return true;
        }
        if self.ejected.len() >= MAX_OUTLIERS {
            return false;
        }
        self.ejected.push(Ejected { who, until: now + lasts(MIN_EJECTION), backoff: MIN_EJECTION });
        true
    }

    /// True if `endpoint` should be avoided.
    #[must_use]
    pub fn avoids_endpoint(&self, endpoint: &EndpointName, now: Instant) -> bool {
        self.is_ejected(now, |who| matches!(who, Outlier::Endpoint(name) if name == endpoint))
    }

    /// True if `node` should be avoided.
    #[must_use]
    pub fn avoids_node(&self, node: &NodeId, now: Instant) -> bool {
        self.is_ejected(now, |who| matches!(who, Outlier::Node(id) if id == node))
    }

    fn is_ejected(&self, now: Instant, is: impl Fn(&Outlier) -> bool) -> bool {
        self.ejected.iter().any(|ejected| now < ejected.until && is(&ejected.who))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads() -> EndpointName {
        EndpointName::new("reads").unwrap()
    }

    fn suspect() -> Outlier {
        Outlier::Endpoint(reads())
    }

    #[test]
    fn the_time_doubles_with_each_failure_behind_it_and_has_an_end() {
        let (mut ejections, mut now) = (Ejections::default(), Instant::now());
        for expected in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            let expected = Duration::from_millis(expected);
            assert!(ejections.note_failure(suspect(), now, 0));
            assert!(ejections.avoids_endpoint(&reads(), now + expected - Duration::from_millis(1)));
            now += expected;
            assert!(!ejections.avoids_endpoint(&reads(), now), "{expected:?}");
        }
    }

    #[test]
    fn all_that_one_incident_breaks_counts_once() {
        let (mut ejections, now) = (Ejections::default(), Instant::now());
        let news = (0..20).filter(|_| ejections.note_failure(suspect(), now, 0)).count();
        assert_eq!(news, 1);
        assert!(!ejections.avoids_endpoint(&reads(), now + MIN_EJECTION));
    }

    #[test]
    fn whoever_works_for_a_minute_is_forgiven() {
        let (mut ejections, now) = (Ejections::default(), Instant::now());
        ejections.note_failure(suspect(), now, 0);
        ejections.note_failure(suspect(), now + MIN_EJECTION, 0);
        let later = now + MIN_EJECTION * 3 + FORGIVEN_AFTER;
        ejections.note_failure(suspect(), later, 0);
        assert!(!ejections.avoids_endpoint(&reads(), later + MIN_EJECTION));
    }

    #[test]
    fn chance_makes_it_a_quarter_longer_at_most() {
        let now = Instant::now();
        for jitter in [0, 1, 249, 250, u64::MAX] {
            let mut ejections = Ejections::default();
            ejections.note_failure(suspect(), now, jitter);
            assert!(ejections.avoids_endpoint(&reads(), now + MIN_EJECTION - Duration::from_millis(1)));
            assert!(!ejections.avoids_endpoint(&reads(), now + MIN_EJECTION * 5 / 4));
        }
    }

    #[test]
    fn a_node_is_avoided_and_not_the_endpoint_that_hides_it() {
        let (mut ejections, now) = (Ejections::default(), Instant::now());
        let node = NodeId { started_us: 1, address: None, port: None };
        ejections.note_failure(Outlier::Node(node), now, 0);
        assert!(ejections.avoids_node(&node, now));
        assert!(!ejections.avoids_node(&NodeId { started_us: 2, ..node }, now));
        assert!(!ejections.avoids_endpoint(&reads(), now));
    }

    #[test]
    fn no_list_of_suspects_grows_without_end() {
        let (mut ejections, now) = (Ejections::default(), Instant::now());
        for started_us in 0..1000 {
            ejections.note_failure(Outlier::Node(NodeId { started_us, address: None, port: None }), now, 0);
        }
        assert_eq!(ejections.ejected.len(), MAX_OUTLIERS);
    }
}
