//! View of a session for the console.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    frontend::{CurrentBackend, SessionEntry, SessionRegistry, SessionWait},
    names::{DatabaseName, EndpointName, ListenerName, UserName},
    session::Pin,
    wire::BackendKey,
};

/// A session with its backend.
pub(super) struct Client {
    pub(super) entry: Arc<SessionEntry>,
    /// The current backend.
    pub(super) backend: Option<BackendInfo>,
}

/// A session's backend.
pub(super) struct BackendInfo {
    pub(super) endpoint: EndpointName,
    pub(super) pid: i32,
    /// Address of the server.
    pub(super) peer: Option<SocketAddr>,
    /// True for the backend of a dedicated session, which belongs to no pool.
    pub(super) own: bool,
}

impl Client {
    /// All sessions, oldest first.
    pub(super) fn all(sessions: &SessionRegistry) -> impl Iterator<Item = Self> + use<> {
        let mut entries = sessions.list();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries.into_iter().map(Self::new)
    }

    fn new(entry: Arc<SessionEntry>) -> Self {
        let backend = entry.current_backend().map(|current_backend| BackendInfo {
            endpoint: current_backend.endpoint().name().clone(),
            pid: current_backend.server_key().map_or(0, BackendKey::pid),
            peer: current_backend.peer(),
            own: matches!(current_backend, CurrentBackend::Own(_)),
        });
        Self { backend, entry }
    }

    pub(super) fn listener(&self) -> &ListenerName {
        &self.entry.facts.listener
    }

    pub(super) fn database(&self) -> Option<&DatabaseName> {
        self.entry.facts.database.as_ref()
    }

    /// Database user that runs the statements; the client's user if not known yet.
    pub(super) fn user(&self) -> Option<&UserName> {
        self.entry.facts.database_user.as_ref().or(self.entry.facts.user.as_ref())
    }

    /// Address of the backend's server.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.backend.as_ref()?.peer
    }

    pub(super) fn connected(&self) -> SystemTime {
        self.entry.started_at
    }

    /// Begin of the current statement, or of the pause after the last one.
    pub(super) fn state_start(&self) -> SystemTime {
        let age = self.entry.state_start().elapsed();
        SystemTime::now().checked_sub(age).unwrap_or_else(|| self.connected())
    }

    /// Time that the session has waited for a backend or a writer.
    pub(super) fn waited(&self) -> Duration {
        match self.entry.activity().wait {
            SessionWait::Nothing => Duration::ZERO,
            SessionWait::Backend | SessionWait::Writer => self.entry.state_start().elapsed(),
        }
    }

    /// True if the session waits for a backend.
    pub(super) fn is_waiting_for_backend(&self) -> bool {
        self.backend.is_none() && self.entry.activity().busy
    }

    /// Pins of the session.
    pub(super) fn pins(&self) -> Vec<&'static str> {
        self.entry.pins().iter().map(Pin::as_str).collect()
    }
}
