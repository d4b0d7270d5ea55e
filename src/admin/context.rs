//! State shared by all requests.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    AdminSettings, ProgramControl, access::AdminAccess, monitor::ServiceMonitor,
    snapshot_broadcaster::SnapshotBroadcaster,
};
use crate::{
    files::Files,
    frontend::{ListenerContext, Observers, Routing, SessionRegistry},
    live::Live,
    telemetry::{AdminMetrics, Metrics},
    writer_move::WriterMover,
};

/// The parts of the program that the admin API shows and controls.
#[derive(Clone)]
pub struct Api {
    /// Endpoints and pools.
    pub routing: Arc<Routing>,
    /// Receivers of reports.
    pub observers: Arc<Observers>,
    /// Logged-in sessions.
    pub sessions: Arc<SessionRegistry>,
    /// The current listeners.
    pub listeners: Live<Vec<Live<ListenerContext>>>,
    /// Reload and stop.
    pub control: ProgramControl,
    /// Moves the writer.
    pub mover: Arc<WriterMover>,
    /// The metrics.
    pub metrics: Metrics,
    /// Files that are read again when they change.
    pub files: Files,
}

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
