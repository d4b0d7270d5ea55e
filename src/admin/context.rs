//! State shared by all requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jiff::Timestamp;

use super::{
    AdminSettings, ProgramControl, access::AdminAccess, snapshot_broadcaster::SnapshotBroadcaster,
    traffic::TrafficSamples,
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
    /// Traffic of the last minute.
    pub(super) traffic: TrafficSamples,
    /// Clients of the event stream.
    pub(super) broadcaster: SnapshotBroadcaster,
    /// Metrics of the admin API.
    pub(super) metrics: AdminMetrics,
    pub(super) started: Timestamp,
    draining: AtomicBool,
}

// === impl AdminContext ===

impl AdminContext {
    pub(super) fn new(settings: &AdminSettings, api: Api) -> Self {
        Self {
            access: AdminAccess::new(settings),
            metrics_prefix: settings.metrics_prefix.clone(),
            traffic: TrafficSamples::default(),
            broadcaster: SnapshotBroadcaster::new(),
            metrics: api.metrics.admin(),
            started: Timestamp::now(),
            draining: AtomicBool::new(false),
            api,
        }
    }

    /// The current listeners, by name.
    pub(super) fn listeners(&self) -> Vec<Arc<ListenerContext>> {
        let mut listeners: Vec<_> = self.api.listeners.load().iter().map(Live::load).collect();
        listeners.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        listeners
    }

    /// Turns readiness off; true for the first call.
    pub(super) fn drain(&self) -> bool {
        !self.draining.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
