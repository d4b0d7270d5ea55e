//! The state of the service, for the admin API, the console and the log.
//!
//! Promises: all three show the same faults, also without an admin API. Refuses to know: how a fault is shown.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    AdminSettings, Api,
    diagnosis::{Diagnosis, Fault, FirstSeen, log_faults},
    server::AdminError,
    traffic::TrafficSamples,
};
use crate::{frontend::ListenerContext, live::Live, tasks::Tasks, tls::ServerTls};

/// The parts of the program that a diagnosis reads, and the traffic of the last minute.
pub struct ServiceMonitor {
    pub(super) api: Api,
    /// Traffic of the last minute.
    pub(super) traffic: TrafficSamples,
    /// Begin of the faults that no event tells.
    pub(super) first_seen: FirstSeen,
    /// TLS of the admin API.
    tls: Option<ServerTls>,
    draining: AtomicBool,
}

// === impl ServiceMonitor ===

impl ServiceMonitor {
    /// The monitor over `api`, with the TLS of the admin API, whose files are read again when they change.
    ///
    /// # Errors
    /// [`AdminError::Tls`]
    pub fn new(api: Api, admin: Option<&AdminSettings>) -> Result<Self, AdminError> {
        let settings = admin.and_then(|settings| settings.tls.as_ref());
        let tls = settings.map(ServerTls::https).transpose().map_err(AdminError::Tls)?;
        if let Some(tls) = &tls {
            tls.watch(&api.files);
        }
        Ok(Self {
            api,
            traffic: TrafficSamples::default(),
            first_seen: FirstSeen::default(),
            tls,
            draining: AtomicBool::new(false),
        })
    }

    /// Samples the traffic and logs faults, in tasks of `tasks`.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let (sampled, metrics) = (Arc::clone(self), self.api.metrics.clone());
        tasks.spawn("traffic", async move { sampled.traffic.take_forever(metrics).await });
        tasks.spawn("fault log", log_faults(Arc::clone(self)));
    }

    /// Current faults, the worst first.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        Diagnosis::of(self).into_faults()
    }

    /// TLS of the admin API.
    pub(super) const fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
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
