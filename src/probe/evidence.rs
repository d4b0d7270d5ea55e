//! What traffic notices about an endpoint before the next look at it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{keeper::Message, wanted::Wanted};
use crate::{
    names::EndpointName,
    topology::{ObservedRole, ReplayReport, TopologySnapshot},
};

/// Something that traffic noticed. It changes nothing by itself: it makes the probe look at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A write was refused with SQLSTATE 25006 where writes were expected.
    ReadOnlyRefused,
    /// A connection in use broke, or was ended by the server.
    ConnectionLost,
    /// A login failed through the endpoint's fault.
    LoginFailed,
    /// A server reported its role (`in_hot_standby`) at the login of a session or of a pool's backend. Only a role
    /// other than the one that the probe knows makes it look, so every login may be reported.
    RoleReported(ObservedRole),
}

/// Where traffic hands in what it noticed. Cheap to clone; never waits.
#[derive(Clone)]
pub struct EvidenceSink {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) wanted: Arc<Wanted>,
}

/// Evidence of a test, in order.
#[cfg(test)]
pub(crate) struct RecordedEvidence {
    outbox: mpsc::Receiver<Message>,
}

#[cfg(test)]
impl RecordedEvidence {
    /// Evidence since the last call.
    pub(crate) fn take(&mut self) -> Vec<(String, Evidence)> {
        std::iter::from_fn(|| self.outbox.try_recv().ok())
            .filter_map(|message| match message {
                Message::Evidence { endpoint, evidence } => Some((endpoint.to_string(), evidence)),
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
        (Self { inbox, wanted: Arc::default() }, RecordedEvidence { outbox })
    }

    /// Hands in `evidence` about `endpoint`. When a great deal of it comes in at a time, some is dropped: a look is under
    /// way then.
    pub fn submit(&self, endpoint: &EndpointName, evidence: Evidence) {
        self.inbox.try_send(Message::Evidence { endpoint: endpoint.clone(), evidence }).ok();
    }

    /// Hands in how far a node has replayed, unless that is no news to `snapshot`, the picture the session goes by. It changes
    /// what is known of the node, and nothing else.
    pub fn replayed(&self, snapshot: &TopologySnapshot, replayed: ReplayReport) {
        if snapshot.is_news(&replayed) {
            self.inbox.try_send(Message::Replayed(replayed)).ok();
        }
    }

    /// Asks that the writer be asked where it stands, later than now and as soon as may be: somebody has written and would read
    /// elsewhere. Who asks while that is wanted already costs one look at an atomic.
    pub fn want_sample(&self) {
        self.wanted.want();
    }
}
