//! State of the service, as a diagnosis reads it: shared by the admin API, the console and the log, also without an admin API.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jiff::Timestamp;

use super::{AdminSettings, Api, first_seen::FirstSeen, traffic::TrafficSamples};
use crate::{
    frontend::ListenerContext,
    live::Live,
    tls::{CertificateUse, ServerTls, TlsFileError},
};

/// The parts of the program that a diagnosis reads, with the traffic of the last minute.
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
    /// The certificate or key of the admin API is invalid.
    pub fn new(api: Api, admin: Option<&AdminSettings>) -> Result<Self, TlsFileError> {
        let settings = admin.and_then(|settings| settings.tls.as_ref());
        let tls = settings.map(ServerTls::https).transpose()?;
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

    /// End of the admin API's certificate; `None` without TLS.
    #[must_use]
    pub fn certificate_end(&self) -> Option<Timestamp> {
        let certificates = self.tls.as_ref()?.certificates();
        let own = certificates.iter().filter(|facts| facts.usage == CertificateUse::Identity);
        own.map(|facts| facts.not_after).min()
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
