//! Outliers: endpoints and nodes ejected after session failures, shared by all sessions.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;

use super::random_number;
use crate::{
    names::EndpointName,
    route::{Ejections, Outlier},
    topology::NodeId,
};

/// Endpoints and nodes ejected after session failures. Read by every decision, written after a failure.
#[derive(Default)]
pub struct OutlierDetector {
    published: ArcSwap<Ejections>,
    known: Mutex<Ejections>,
}

// === impl OutlierDetector ===

impl OutlierDetector {
    /// Records a session failure; true for a new outlier.
    pub(crate) fn failed(&self, who: Outlier) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = known.note_failure(who, Instant::now(), random_number());
        if is_news {
            self.published.store(known.clone().into());
        }
        is_news
    }

    /// True if `endpoint` should be avoided at `now`.
    pub(crate) fn avoids(&self, endpoint: &EndpointName, now: Instant) -> bool {
        self.published.load().avoids_endpoint(endpoint, now)
    }

    /// True if `node` should be avoided at `now`.
    pub(crate) fn avoids_node(&self, node: &NodeId, now: Instant) -> bool {
        self.published.load().avoids_node(node, now)
    }
}
