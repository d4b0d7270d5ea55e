//! Session state of a backend, tracked from lease to lease.

use std::sync::Arc;

use super::{
    backend_statements::BackendStatements, reported_parameters::ReportedParameters,
    setting_values::SettingValues, split::ReplayBuffer,
};
use crate::handshake::Parameters;

/// Session state that a backend is known to hold. The pool keeps the value beside the connection, and the next session
/// that leases the backend continues from there. No part belongs to one session alone.
pub struct TrackedBackendState {
    /// The prepared statements it has, under their shared names.
    pub(super) prepared: BackendStatements,
    /// The settings it was given.
    pub(super) settings: SettingValues,
    /// What it reported of its settings.
    pub(super) reported: ReportedParameters,
    /// Which unnamed statement it has; 0 for none.
    pub(super) unnamed: u64,
    /// What it was sent and has not answered, while it may have to be said again; empty between two leases.
    pub(super) attempt: ReplayBuffer,
    /// The backend received an unread statement: state invisible in the catalogs and not cleared by `DISCARD ALL` may
    /// remain.
    pub(super) unread: bool,
}

// === impl TrackedBackendState ===

impl TrackedBackendState {
    /// Creates the state of a new backend with the reported `parameters`. `key` is random, to make names of shared
    /// statements on the backend unguessable.
    #[must_use]
    pub fn new(parameters: Arc<Parameters>, key: [u8; 16]) -> Self {
        Self {
            prepared: BackendStatements::new(key),
            settings: SettingValues::default(),
            reported: ReportedParameters::new(parameters),
            unnamed: 0,
            attempt: ReplayBuffer::default(),
            unread: false,
        }
    }

    /// A backend that was reset by `DISCARD ALL`: as it was after its login.
    pub fn forget(&mut self, parameters: Arc<Parameters>) {
        self.prepared.clear();
        self.settings = SettingValues::default();
        self.reported = ReportedParameters::new(parameters);
        self.unnamed = 0;
        self.attempt = ReplayBuffer::default();
    }

    /// A Query was said: it destroys the unnamed statement.
    pub fn queried(&mut self) {
        self.unnamed = 0;
    }

    /// True if another session may use the backend after release.
    #[must_use]
    pub const fn is_reusable(&self) -> bool {
        !self.unread
    }

    /// The [`SettingValues::mark`] of what it was given: to choose a backend that fits a session already.
    #[must_use]
    pub fn settings_mark(&self) -> u64 {
        self.settings.mark()
    }
}
