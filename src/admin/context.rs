//! State shared by all requests.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    AdminSettings, Api, access::AdminAccess, monitor::ServiceMonitor,
    snapshot_broadcaster::SnapshotBroadcaster,
};
use crate::telemetry::AdminMetrics;

/// State shared by all requests.
pub(super) struct AdminContext {
    pub(super) api: Api,
    pub(super) access: AdminAccess,
    /// First part of the names of metrics.
    pub(super) metrics_prefix: Box<str>,
    /// The state of the service.
    pub(super) monitor: Arc<ServiceMonitor>,
    /// Clients of the event stream.
    pub(super) broadcaster: SnapshotBroadcaster,
    /// Metrics of the admin API.
    pub(super) metrics: AdminMetrics,
    pub(super) started: Timestamp,
}

// === impl AdminContext ===

impl AdminContext {
    pub(super) fn new(settings: &AdminSettings, monitor: Arc<ServiceMonitor>) -> Self {
        let api = monitor.api.clone();
        Self {
            access: AdminAccess::new(settings),
            metrics_prefix: settings.metrics_prefix.clone(),
            monitor,
            broadcaster: SnapshotBroadcaster::new(),
            metrics: api.metrics.admin(),
            started: Timestamp::now(),
            api,
        }
    }
}
