//! Passes the probe's view of the endpoints to the pools and sessions: health, and the loss of a server.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{
    frontend::{Endpoints, SessionRegistry},
    live::Live,
    names::EndpointName,
    pool::Pools,
    telemetry::labels::TerminationReason,
    topology::{DeclaredRole, EndpointStatus, Health, NodeId, TopologySnapshot},
};

/// Health of an endpoint as last reported to the pools.
#[derive(Default)]
struct KnownHealth {
    is_down: bool,
    failures: u32,
    last_success: Option<Instant>,
    node: Option<NodeId>,
}

/// Server that is gone.
struct LostServer {
    /// Time of its last answer to the probe.
    last_answer: Instant,
    /// Server that answers now.
    replaced_by: NodeId,
}

/// Reason for the pools if the probe gives none.
const NO_REASON: &str = "no answer to the probe";

/// Follows the topology, forever.
///
/// Cancel safe.
pub(super) async fn follow(
    topology: Live<TopologySnapshot>,
    endpoints: Live<Endpoints>,
    pools: Arc<Pools>,
    sessions: Arc<SessionRegistry>,
) {
    let mut changes = topology.changes();
    let mut known: HashMap<EndpointName, KnownHealth> = HashMap::new();
    let mut lost_writers = Vec::new();
    loop {
        let snapshot = topology.load();
        for status in &snapshot.endpoints {
            let known = known.entry(status.endpoint.name.clone()).or_default();
            if let Some(loss) = known.find_lost_server(status) {
                end_leases(&status.endpoint.name, loss, &endpoints.load(), &sessions);
            }
            known.update(status, &pools);
        }
        let lost = find_lost_writers(&snapshot);
        if lost != lost_writers {
            // The watchdog repeats it, for sessions that begin at this moment.
            sessions.end_writer_roles(&snapshot, Instant::now());
            lost_writers = lost;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Endpoints declared primary that are not the writer.
fn find_lost_writers(snapshot: &TopologySnapshot) -> Vec<EndpointName> {
    let declared = snapshot.endpoints.iter().filter(|status| status.endpoint.role == DeclaredRole::Primary);
    let names = declared.map(|status| &status.endpoint.name);
    names.filter(|name| snapshot.has_lost_writer_role(name)).cloned().collect()
}

/// Ends the use of backends of a server that is gone. Backends that logged in after its last answer may belong to the new
/// server: the watchdog asks that one.
fn end_leases(endpoint: &EndpointName, loss: LostServer, endpoints: &Endpoints, sessions: &SessionRegistry) {
    let ended = sessions.lose_backends(endpoint, loss.last_answer, loss.replaced_by);
    if ended == 0 {
        return;
    }
    tracing::info!(%endpoint, ended, "connections to the previous server ended: another server answers at its address");
    if let Some(handle) = endpoints.get(endpoint) {
        handle.metrics().backends_terminated(TerminationReason::Node, ended);
    }
}

// === impl KnownHealth ===

impl KnownHealth {
    /// The endpoint's previous server, if another server answers now.
    fn find_lost_server(&self, status: &EndpointStatus) -> Option<LostServer> {
        let replaced_by = status.node.filter(|to| self.node.is_some_and(|from| from != *to))?;
        let last_answer = self.last_success.filter(|_| status.endpoint.role != DeclaredRole::ReadPool)?;
        Some(LostServer { last_answer, replaced_by })
    }

    fn update(&mut self, status: &EndpointStatus, pools: &Pools) {
        let name = &status.endpoint.name;
        let is_down = status.health == Health::Down;
        if is_down && !self.is_down {
            let reason = status.last_error.clone().unwrap_or_else(|| NO_REASON.into());
            pools.note_probed_down(name, &reason);
        } else if status.last_success != self.last_success || (self.is_down && !is_down) {
            pools.note_probed_up(name, self.is_down || self.failures > 0);
        }
        let EndpointStatus { failures, last_success, node, .. } = *status;
        *self = Self { is_down, failures, last_success, node };
    }
}
