//! The whole picture at one moment.

use std::sync::Arc;

use super::{Endpoint, EndpointStatus, NODE_RETRY_INTERVAL, ReplayReport, WriterSamples, elect};
use crate::names::EndpointName;

/// Everything known of every endpoint; swapped whole, written by the probe's keeper alone.
#[derive(Debug, Clone, Default)]
pub struct TopologySnapshot {
    /// One entry for each configured endpoint, in the configuration's order.
    pub endpoints: Vec<EndpointStatus>,
    /// The endpoint that is the writer now, if exactly one is known and allowed to be it.
    pub writer: Option<EndpointName>,
    /// Several servers say that they take writes: an alarm, whoever is the writer.
    pub two_writers: bool,
    /// Where the writer has been: what every other position is measured by. It begins anew with each writer.
    pub writer_samples: Arc<WriterSamples>,
}

// === impl TopologySnapshot ===

impl TopologySnapshot {
    /// The picture before anything was looked at: all is as declared, nothing is known to work.
    #[must_use]
    pub fn declared(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        let endpoints: Vec<_> = endpoints.into_iter().map(EndpointStatus::unknown).collect();
        let election = elect(&endpoints, None);
        Self { endpoints, writer: election.writer, two_writers: false, writer_samples: Arc::default() }
    }

    /// The status of the endpoint called `name`.
    #[must_use]
    pub fn get(&self, name: &EndpointName) -> Option<&EndpointStatus> {
        self.endpoints.iter().find(|status| status.endpoint.name == *name)
    }

    /// Whether `replayed` says anything that is not known, so that whoever heard it need not tell otherwise.
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
