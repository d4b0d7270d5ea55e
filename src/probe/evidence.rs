//! Evidence about endpoints from session traffic, between probes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{HeldClient, held_clients::HeldClients, publisher::ProbeMessage, sample_request::SampleRequest};
use crate::{
    names::EndpointName,
    topology::{ObservedRole, ReplayReport, TopologySnapshot},
};

/// Evidence from session traffic. Changes nothing directly: causes an early probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A write was refused with SQLSTATE 25006 where writes were expected.
    ReadOnlyRefused,
    /// A connection in use broke, or was ended by the server.
    ConnectionLost,
    /// The server acknowledges nothing on a connection in use, or has not begun to answer a read for long.
    Silent,
    /// A login failed through the endpoint's fault.
    LoginFailed,
    /// A server reported its role (`in_hot_standby`) at the login of a session or pool backend. Only a role that
    /// differs from the known role causes a probe, so callers may report every login.
    RoleReported(ObservedRole),
}

/// Receives evidence from session traffic. Cheap to clone; never waits.
#[derive(Clone)]
pub struct EvidenceSink {
    pub(super) inbox: mpsc::Sender<ProbeMessage>,
    pub(super) wanted: Arc<SampleRequest>,
    pub(super) held: Arc<HeldClients>,
}

/// Evidence of a test, in order.
#[cfg(test)]
pub(crate) struct RecordedEvidence {
    outbox: mpsc::Receiver<ProbeMessage>,
}

#[cfg(test)]
impl RecordedEvidence {
    /// Evidence since the last call.
    pub(crate) fn take(&mut self) -> Vec<(String, Evidence)> {
        std::iter::from_fn(|| self.outbox.try_recv().ok())
            .filter_map(|message| match message {
                ProbeMessage::Evidence { endpoint, evidence } => Some((endpoint.to_string(), evidence)),
                _ => None,
            })
            .collect()
    }
}

// === impl EvidenceSink ===

impl EvidenceSink {
    /// A sink whose evidence a test receives.
    #[cfg(test)]
    pub(crate) fn recording() -> (Self, RecordedEvidence) {
        let (inbox, outbox) = mpsc::channel(64);
        (Self { inbox, wanted: Arc::default(), held: Arc::default() }, RecordedEvidence { outbox })
    }

    /// Reports `evidence` about `endpoint`. Drops evidence if the queue is full: a probe is under way then.
    pub fn submit(&self, endpoint: &EndpointName, evidence: Evidence) {
        self.inbox.try_send(ProbeMessage::Evidence { endpoint: endpoint.clone(), evidence }).ok();
    }

    /// Reports the replay position of a node, unless `snapshot`, as used by the session, already has the information.
    /// Updates only the node's position.
    pub fn replayed(&self, snapshot: &TopologySnapshot, replayed: ReplayReport) {
        if snapshot.is_news(&replayed) {
            self.inbox.try_send(ProbeMessage::Replayed(replayed)).ok();
        }
    }

    /// Counts a client that waits for a writer, until the returned value is dropped. Meanwhile the probe attempts a
    /// login to each endpoint that is declared primary at short intervals.
    #[must_use]
    pub fn hold_client(&self) -> HeldClient {
        self.held.enter()
    }

    /// Requests a WAL sample of the writer after now, as soon as possible: a session has written and wants to read
    /// elsewhere. A request during a pending request costs an atomic load.
    pub fn want_sample(&self) {
        self.wanted.request_sample();
    }
}
