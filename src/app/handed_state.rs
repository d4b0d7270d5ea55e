//! Decisions of operators that are kept in memory, on their way to a successor.

use serde::{Deserialize, Serialize};

use crate::{
    names::EndpointName,
    pool::{Filter, PoolPhase, Pools},
    probe::Probe,
    telemetry::LogFilter,
    topology::{DeclaredRole, Fence, FenceCause, OperatorDecision, TopologySnapshot, WriterControl},
};

/// The decisions of one process. Names as text: the successor checks them against its own configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HandedState {
    incumbent: Option<String>,
    appointed: Option<String>,
    fences: Vec<HandedFence>,
    /// Phases of pools; the last match wins.
    pools: Vec<HandedPhase>,
    /// Filter of the log, if an operator has replaced it.
    pub(super) log_filter: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HandedFence {
    endpoint: String,
    cause: String,
    /// The endpoint was declared primary when it was fenced.
    was_primary: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HandedPhase {
    listener: Option<String>,
    endpoint: Option<String>,
    database: Option<String>,
    user: Option<String>,
    phase: String,
}

// === impl HandedState ===

impl HandedState {
    /// The decisions that are in force.
    pub(super) fn collect(snapshot: &TopologySnapshot, pools: &Pools, log_filter: Option<&str>) -> Self {
        let WriterControl { incumbent, appointed, fences, is_held: _ } = &snapshot.control;
        let was_primary = |name: &EndpointName| {
            snapshot.get(name).is_some_and(|status| status.endpoint.role == DeclaredRole::Primary)
        };
        let fences = fences.iter().map(|fence| HandedFence {
            endpoint: fence.endpoint.to_string(),
            cause: fence.cause.as_str().to_owned(),
            was_primary: was_primary(&fence.endpoint),
        });
        Self {
            incumbent: incumbent.as_ref().map(ToString::to_string),
            appointed: appointed.as_ref().map(ToString::to_string),
            fences: fences.collect(),
            pools: pools.phases().iter().map(HandedPhase::new).collect(),
            log_filter: log_filter.map(str::to_owned),
        }
    }

    /// Puts the decisions in force, before the first client.
    pub(super) async fn restore(&self, probe: &Probe, pools: &Pools, log: &LogFilter) {
        let snapshot = probe.snapshot().load();
        let control = self.writer_control(&snapshot);
        if control != snapshot.control {
            let decided = probe.decisions().decide(OperatorDecision::Restore(control), None).await;
            if let Err(error) = decided {
                tracing::error!(%error, "the decisions about the writer were not taken over");
            }
        }
        for (filter, phase) in self.pools.iter().filter_map(HandedPhase::parse) {
            tracing::warn!(?filter, phase = phase.as_str(), "phase of pools taken over");
            pools.restore_phase(&filter, phase);
        }
        if let Some(filter) = &self.log_filter
            && let Err(error) = log.replace(filter)
        {
            tracing::error!(%error, "the filter of the log was not taken over");
        }
    }

    /// The control for the configuration in `snapshot`, as after a reload of the predecessor.
    fn writer_control(&self, snapshot: &TopologySnapshot) -> WriterControl {
        let role_of = |name: &str| {
            let name: EndpointName = name.parse().ok()?;
            let role = snapshot.get(&name)?.endpoint.role;
            Some((name, role))
        };
        let incumbent = self.incumbent.as_deref().and_then(role_of).map(|(name, _)| name);
        let appointed = self.appointed.as_deref().and_then(role_of);
        let fence = |fence: &HandedFence| {
            let (endpoint, role) = role_of(&fence.endpoint)?;
            let cause = FenceCause::ALL.into_iter().find(|cause| cause.as_str() == fence.cause)?;
            (role != DeclaredRole::Primary || fence.was_primary).then_some(Fence { endpoint, cause })
        };
        WriterControl {
            incumbent: incumbent.or_else(|| snapshot.control.incumbent.clone()),
            appointed: appointed.filter(|(_, role)| *role != DeclaredRole::Primary).map(|(name, _)| name),
            fences: self.fences.iter().filter_map(fence).collect(),
            is_held: false,
        }
    }
}

// === impl HandedPhase ===

impl HandedPhase {
    fn new((filter, phase): &(Filter, PoolPhase)) -> Self {
        let Filter { listener, endpoint, database, user } = filter;
        Self {
            listener: listener.as_ref().map(ToString::to_string),
            endpoint: endpoint.as_ref().map(ToString::to_string),
            database: database.as_ref().map(ToString::to_string),
            user: user.as_ref().map(ToString::to_string),
            phase: phase.as_str().to_owned(),
        }
    }

    /// `None` for names that are not valid.
    fn parse(&self) -> Option<(Filter, PoolPhase)> {
        fn name<T: std::str::FromStr>(text: Option<&String>) -> Option<Option<T>> {
            text.map(|text| text.parse().ok()).map_or(Some(None), |name| name.map(Some))
        }
        let filter = Filter {
            listener: name(self.listener.as_ref())?,
            endpoint: name(self.endpoint.as_ref())?,
            database: name(self.database.as_ref())?,
            user: name(self.user.as_ref())?,
        };
        let phase = PoolPhase::ALL.into_iter().find(|phase| phase.as_str() == self.phase)?;
        Some((filter, phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        tasks::Workers,
        telemetry::Metrics,
        topology::{Address, Endpoint},
    };

    /// Names with their declared roles.
    fn snapshot(endpoints: &[(&str, DeclaredRole)]) -> TopologySnapshot {
        TopologySnapshot::declared(endpoints.iter().map(|(name, role)| {
            std::sync::Arc::new(Endpoint {
                name: name.parse().unwrap(),
                cluster: "orders".parse().unwrap(),
                region: None,
                role: *role,
                address: Address::Tcp { host: "192.0.2.1".to_owned(), port: 5432 },
            })
        }))
    }

    #[test]
    fn decisions_hold_for_the_endpoints_of_the_new_configuration() {
        use DeclaredRole::{Primary, Secondary};
        let mut before = snapshot(&[("primary", Primary), ("dr", Secondary), ("old", Secondary)]);
        let name = |text: &str| text.parse::<EndpointName>().unwrap();
        before.control = WriterControl {
            incumbent: Some(name("dr")),
            appointed: Some(name("dr")),
            fences: ["primary", "old"]
                .map(|endpoint| Fence { endpoint: name(endpoint), cause: FenceCause::Moved })
                .into(),
            is_held: false,
        };
        let pools = Pools::new(&Workers::start(1).unwrap(), &Metrics::new(), Box::new(|_, _, _| ()));
        let filter = Filter { database: Some("app".parse().unwrap()), ..Filter::endpoint(name("reads")) };
        pools.pause(&filter);
        let state = HandedState::collect(&before, &pools, Some("debug"));
        let text = serde_json::to_string(&state).unwrap();
        let state: HandedState = serde_json::from_str(&text).unwrap();
        assert_eq!(state.pools.iter().filter_map(HandedPhase::parse).collect::<Vec<_>>(), pools.phases());
        assert_eq!(state.log_filter.as_deref(), Some("debug"));

        let same = snapshot(&[("primary", Primary), ("dr", Secondary), ("old", Secondary)]);
        assert_eq!(state.writer_control(&same), before.control);
        // The configuration has caught up, and names the other fenced endpoint as a primary.
        let exchanged = snapshot(&[("primary", Secondary), ("dr", Primary), ("old", Primary)]);
        let control = state.writer_control(&exchanged);
        assert_eq!((control.incumbent, control.appointed), (Some(name("dr")), None));
        assert_eq!(control.fences, [Fence { endpoint: name("primary"), cause: FenceCause::Moved }]);
        let other = snapshot(&[("elsewhere", Primary)]);
        assert_eq!(state.writer_control(&other), other.control);
    }
}
