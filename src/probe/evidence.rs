//! What traffic notices about an endpoint before the next look at it.

use tokio::sync::mpsc;

use super::keeper::Message;
use crate::{names::EndpointName, topology::ObservedRole};

/// Something that traffic noticed. It changes nothing by itself: it makes the probe look at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A write was refused with SQLSTATE 25006 where writes were expected.
    ReadOnlyRefused,
    /// A connection in use broke, or was ended by the server.
    ConnectionLost,
    /// A login failed through the endpoint's fault.
    LoginFailed,
    /// A server reported what it is (`in_hot_standby`), at login or in the middle of a session. It is only looked into
    /// when it is news, so that every login may be handed in.
    RoleReported(ObservedRole),
}

/// Where traffic hands in what it noticed. Cheap to clone; never waits.
#[derive(Clone)]
pub struct EvidenceSink {
    pub(super) inbox: mpsc::Sender<Message>,
}

// === impl EvidenceSink ===

impl EvidenceSink {
    /// Hands in `evidence` about `endpoint`. When a great deal of it comes in at a time, some is dropped: a look is under
    /// way then.
    pub fn submit(&self, endpoint: &EndpointName, evidence: Evidence) {
        self.inbox.try_send(Message::Evidence { endpoint: endpoint.clone(), evidence }).ok();
    }
}
