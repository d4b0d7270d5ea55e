//! Topology at an instant.

use std::sync::Arc;

use super::{
    DeclaredRole, Endpoint, EndpointStatus, NODE_RETRY_INTERVAL, ObservedRole, ReplayReport, WriterControl,
    WriterSamples, elect_writer,
};
use crate::names::EndpointName;

/// Status of every endpoint. Replaced as a whole; the probe's publisher is the only writer.
#[derive(Debug, Clone, Default)]
pub struct TopologySnapshot {
    /// Status of each configured endpoint, in the order of the configuration.
    pub endpoints: Vec<EndpointStatus>,
    /// The current writer, if exactly one endpoint is known and permitted to be the writer.
    pub writer: Option<EndpointName>,
    /// Several servers report that they accept writes: an alarm.
    pub two_writers: bool,
    /// Decisions of an operator, and the history, that bind the election.
    pub control: WriterControl,
    /// Insert positions of the current writer, the reference for all other positions. A new writer starts with no
    /// samples.
    pub writer_samples: Arc<WriterSamples>,
}

// === impl TopologySnapshot ===

impl TopologySnapshot {
    /// The snapshot before the first probe: roles as declared, health unknown.
    #[must_use]
    pub fn declared(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        let endpoints: Vec<_> = endpoints.into_iter().map(EndpointStatus::unknown).collect();
        let writer = elect_writer(&endpoints, &WriterControl::default()).writer;
        let control = WriterControl { incumbent: writer.clone(), ..WriterControl::default() };
        Self { endpoints, writer, two_writers: false, control, writer_samples: Arc::default() }
    }

    /// The status of the endpoint called `name`.
    #[must_use]
    pub fn get(&self, name: &EndpointName) -> Option<&EndpointStatus> {
        self.endpoints.iter().find(|status| status.endpoint.name == *name)
    }

    /// True if `endpoint`, which was the writer, is so no longer: another endpoint is the writer, or the server reports
    /// recovery. Silence is no evidence.
    #[must_use]
    pub fn has_lost_writer_role(&self, endpoint: &EndpointName) -> bool {
        let is_standby =
            || self.get(endpoint).is_some_and(|status| status.observed == Some(ObservedRole::Standby));
        match &self.writer {
            Some(writer) => writer != endpoint,
            None => is_standby(),
        }
    }

    /// True if the reported role of `status` contradicts the declared role. Of several endpoints declared primary one is
    /// the writer, and the others may be standbys.
    #[must_use]
    pub fn has_mismatch(&self, status: &EndpointStatus) -> bool {
        let is_primary = |status: &EndpointStatus| status.endpoint.role == DeclaredRole::Primary;
        let is_peer = |writer: &EndpointStatus| {
            is_primary(writer) && is_primary(status) && writer.endpoint.name != status.endpoint.name
        };
        let writer = self.writer.as_ref().and_then(|name| self.get(name));
        status.has_mismatch() && !writer.is_some_and(is_peer)
    }

    /// Endpoint that an operator made the writer against its declared role.
    #[must_use]
    pub fn override_of_configuration(&self) -> Option<&EndpointName> {
        let appointed = self.control.appointed.as_ref().and_then(|name| self.get(name))?;
        (appointed.endpoint.role != DeclaredRole::Primary).then_some(&appointed.endpoint.name)
    }

    /// True if a fence keeps sessions of every route from the endpoint. A fenced server in recovery accepts no writes
    /// by itself, and may serve reads.
    #[must_use]
    pub fn is_barred(&self, status: &EndpointStatus) -> bool {
        let fence = self.control.fence_of(&status.endpoint.name);
        fence.is_some_and(|cause| cause.binds_every_route()) && status.observed != Some(ObservedRole::Standby)
    }

    /// True if `replayed` adds information: a session need not send other reports.
    #[must_use]
    pub fn is_news(&self, replayed: &ReplayReport) -> bool {
        let Some(status) = self.get(&replayed.endpoint) else { return false };
        let Some(known) = status.nodes.iter().find(|node| node.id == replayed.node) else { return true };
        match (known.position, replayed.lsn) {
            (Some(known), Some(lsn)) => {
                lsn > known.lsn
                    || replayed.asked_at.saturating_duration_since(known.asked_at) >= NODE_RETRY_INTERVAL
            }
            (None, None) => {
                replayed.answered_at.saturating_duration_since(known.last_seen) >= NODE_RETRY_INTERVAL
            }
            (None, Some(_)) | (Some(_), None) => true,
        }
    }
}
