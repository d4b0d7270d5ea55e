//! The whole picture at one moment.

use std::sync::Arc;

use super::{Endpoint, EndpointStatus, elect};
use crate::names::EndpointName;

/// Everything known of every endpoint; swapped whole, written by the probe's keeper alone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// One entry for each configured endpoint, in the configuration's order.
    pub endpoints: Vec<EndpointStatus>,
    /// The endpoint that is the writer now, if exactly one is known and allowed to be it.
    pub writer: Option<EndpointName>,
    /// Several servers say that they take writes: an alarm, whoever is the writer.
    pub two_writers: bool,
}

// === impl Snapshot ===

impl Snapshot {
    /// The picture before anything was looked at: all is as declared, nothing is known to work.
    #[must_use]
    pub fn declared(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        let endpoints: Vec<_> = endpoints.into_iter().map(EndpointStatus::unknown).collect();
        let election = elect(&endpoints, None);
        Self { endpoints, writer: election.writer, two_writers: false }
    }

    /// The status of the endpoint called `name`.
    #[must_use]
    pub fn get(&self, name: &EndpointName) -> Option<&EndpointStatus> {
        self.endpoints.iter().find(|status| status.endpoint.name == *name)
    }
}
