//! Passes the probe's view of the endpoints' health to the pools.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{
    live::Live,
    names::EndpointName,
    pool::Pools,
    topology::{EndpointStatus, Health, TopologySnapshot},
};

/// Health of an endpoint as last reported to the pools.
#[derive(Default)]
struct KnownHealth {
    is_down: bool,
    failures: u32,
    last_success: Option<Instant>,
}

/// Reason for the pools if the probe gives none.
const NO_REASON: &str = "no answer to the probe";

/// Follows the topology, forever.
///
/// Cancel safe.
pub(super) async fn follow(topology: Live<TopologySnapshot>, pools: Arc<Pools>) {
    let mut changes = topology.changes();
    let mut known: HashMap<EndpointName, KnownHealth> = HashMap::new();
    loop {
        for status in &topology.load().endpoints {
            known.entry(status.endpoint.name.clone()).or_default().update(status, &pools);
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

// === impl KnownHealth ===

impl KnownHealth {
    fn update(&mut self, status: &EndpointStatus, pools: &Pools) {
        let name = &status.endpoint.name;
        let is_down = status.health == Health::Down;
        if is_down && !self.is_down {
            let reason = status.last_error.clone().unwrap_or_else(|| NO_REASON.into());
            pools.note_probed_down(name, &reason);
        } else if status.last_success != self.last_success || (self.is_down && !is_down) {
            pools.note_probed_up(name, self.is_down || self.failures > 0);
        }
        *self = Self { is_down, failures: status.failures, last_success: status.last_success };
    }
}
