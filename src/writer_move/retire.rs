//! Ends the use of an endpoint, and keeps doing so for fenced endpoints.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    frontend::{EndedUses, EndpointSessions, Routing, SessionRegistry},
    names::EndpointName,
    tasks::Workers,
    telemetry::labels::TerminationReason,
    topology::{FenceCause, ObservedRole, TopologySnapshot},
};

/// Ends the use of endpoints.
#[derive(Clone)]
pub(super) struct EndpointRetirer {
    pub(super) routing: Arc<Routing>,
    pub(super) sessions: Arc<SessionRegistry>,
    pub(super) workers: Workers,
}

/// Time limit of the cancel requests for statements that run on.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);
/// Time limit for sessions to give up their backends. A session acts in its next poll; a client that reads nothing may
/// delay the end of its session, although nothing is sent to the server any more.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(2);
/// Interval of checks of the sessions.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A fenced endpoint, with all that decides on its sessions.
#[derive(Clone, PartialEq, Eq)]
struct FencedEndpoint {
    name: EndpointName,
    cause: FenceCause,
    is_standby: bool,
}

// === impl EndpointRetirer ===

impl EndpointRetirer {
    /// Ends all uses of `endpoint` by sessions that were led there before the call, and the waits for its backends.
    /// Returns when the sessions have given up the backends.
    ///
    /// Cancel safety: a dropped call has ended some uses.
    pub(super) async fn end_uses(&self, endpoint: &EndpointName, with_named: bool) -> EndedUses {
        // A session that has decided for the endpoint attaches its backend in the same poll.
        self.workers.pass_barrier().await;
        self.routing.pools.turn_waiters_away(endpoint);
        let (ended, statements) = EndpointSessions::find(&self.sessions, endpoint, with_named).end_uses();
        if let Some(handle) = self.routing.endpoints.load().get(endpoint)
            && ended.newly_ended > 0
        {
            handle.metrics().backends_terminated(TerminationReason::Role, ended.newly_ended);
        }
        timeout(CANCEL_LIMIT, statements.cancel_all()).await.ok();
        let deadline = Instant::now() + GIVE_UP_LIMIT;
        while EndpointSessions::find(&self.sessions, endpoint, with_named).count() > 0
            && Instant::now() < deadline
        {
            sleep(CHECK_INTERVAL).await;
        }
        ended
    }

    /// Ends the uses of each endpoint that is fenced, forever. A fenced server that leaves recovery loses the sessions
    /// that it served as a standby.
    ///
    /// Cancel safe.
    pub(super) async fn follow_fences(self) {
        let mut changes = self.routing.topology.changes();
        let mut known = Vec::new();
        loop {
            let fenced = fenced_endpoints(&self.routing.topology.load());
            for endpoint in fenced.iter().filter(|endpoint| !known.contains(*endpoint)) {
                self.routing.pools.withdraw(&endpoint.name);
                let ended = self.end_uses(&endpoint.name, endpoint.cause.binds_every_route()).await;
                tracing::info!(
                    endpoint = %endpoint.name, cause = endpoint.cause.as_str(),
                    leases = ended.leases, sessions = ended.sessions,
                    "use of a fenced endpoint ended"
                );
            }
            known = fenced;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

fn fenced_endpoints(snapshot: &TopologySnapshot) -> Vec<FencedEndpoint> {
    let fences = snapshot.control.fences.iter().map(|fence| FencedEndpoint {
        name: fence.endpoint.clone(),
        cause: fence.cause,
        is_standby: snapshot
            .get(&fence.endpoint)
            .is_some_and(|status| status.observed == Some(ObservedRole::Standby)),
    });
    fences.collect()
}
