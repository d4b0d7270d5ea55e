//! Session state of a backend, tracked from lease to lease.

use std::sync::Arc;

use super::{
    backend_statements::BackendStatements, commit_id::ServerIdentity,
    reported_parameters::ReportedParameters, setting_values::SettingValues, split::ReplayBuffer,
};
use crate::handshake::Parameters;

/// Session state that a backend is known to hold. The pool keeps the value beside the connection, and the next session
/// that leases the backend continues from there. No part belongs to one session alone.
pub struct TrackedBackendState {
    /// The prepared statements it has, under their shared names.
    prepared: BackendStatements,
    /// The settings it was given.
    settings: SettingValues,
    /// What it reported of its settings.
    reported: ReportedParameters,
    /// Number of the unnamed statement; 0 for none.
    unnamed: u64,
    /// Messages sent without a response so far, for a replay elsewhere; empty between two leases.
    replay_buffer: ReplayBuffer,
    /// The backend received an unread statement: state invisible in the catalogs and not cleared by `DISCARD ALL` may
    /// remain.
    unread: bool,
    /// The server; `None` if not known, or if the server was a standby at the login.
    server: Option<ServerIdentity>,
}

/// Number of an unnamed statement that belongs to no session: the backend may have any.
const SOME_UNNAMED: u64 = u64::MAX;

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
            replay_buffer: ReplayBuffer::default(),
            unread: false,
            server: None,
        }
    }

    /// With the identity of the server at the login.
    #[must_use]
    pub fn on_server(self, server: Option<ServerIdentity>) -> Self {
        Self { server, ..self }
    }

    /// The server; `None` if not known, or if the server was a standby at the login.
    pub(super) const fn server(&self) -> Option<ServerIdentity> {
        self.server
    }

    /// A backend that was reset by `DISCARD ALL`: as it was after its login.
    pub fn forget(&mut self, parameters: Arc<Parameters>) {
        self.prepared.clear();
        self.settings = SettingValues::default();
        self.reported = ReportedParameters::new(parameters);
        self.unnamed = 0;
        self.replay_buffer = ReplayBuffer::default();
    }

    /// Notes a Query, or another request that destroys the unnamed statement.
    pub fn queried(&mut self) {
        self.unnamed = 0;
    }

    /// True if the backend has the unnamed statement with the `number`; 0 stands for none.
    pub(super) const fn has_unnamed(&self, number: u64) -> bool {
        self.unnamed == number
    }

    /// Notes the number of the unnamed statement sent to the backend; 0 for none.
    pub(super) fn note_unnamed(&mut self, number: u64) {
        self.unnamed = number;
    }

    /// Notes that the backend may have any unnamed statement.
    pub(super) fn doubt_unnamed(&mut self) {
        self.unnamed = SOME_UNNAMED;
    }

    /// Prepared statements of the backend, under their shared names.
    #[inline]
    pub(super) const fn statements(&self) -> &BackendStatements {
        &self.prepared
    }

    /// Prepared statements of the backend, under their shared names.
    #[inline]
    pub(super) const fn statements_mut(&mut self) -> &mut BackendStatements {
        &mut self.prepared
    }

    /// Settings that the backend was given.
    #[inline]
    pub(super) const fn settings(&self) -> &SettingValues {
        &self.settings
    }

    /// Notes the settings that the backend was given, or that a state check has found.
    pub(super) fn note_settings(&mut self, settings: SettingValues) {
        self.settings = settings;
    }

    /// True if the backend has the settings `values`; equal settings are shared from then on.
    pub(super) fn shares_settings(&mut self, values: &mut SettingValues) -> bool {
        let are_equal = self.settings == *values;
        if are_equal {
            values.unite(&mut self.settings);
        }
        are_equal
    }

    /// Settings and prepared statements of the backend, for an internal batch.
    pub(super) const fn batch_parts(&mut self) -> (&SettingValues, &mut BackendStatements) {
        (&self.settings, &mut self.prepared)
    }

    /// Values that the backend has reported of its settings.
    pub(super) const fn reported(&self) -> &ReportedParameters {
        &self.reported
    }

    /// Notes a reported value; true if the backend had the same value at its login.
    pub(super) fn note_report(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.reported.set(name, value);
        self.reported.at_login(name) == Some(value)
    }

    /// Forgets the state that `DISCARD ALL` clears.
    pub(super) fn on_discard_all(&mut self) {
        self.prepared.clear();
        self.settings = SettingValues::default();
    }

    /// Messages sent without a response so far, for a replay elsewhere.
    #[inline]
    pub(super) const fn replay_buffer(&self) -> &ReplayBuffer {
        &self.replay_buffer
    }

    /// Messages sent without a response so far, for a replay elsewhere.
    #[inline]
    pub(super) const fn replay_buffer_mut(&mut self) -> &mut ReplayBuffer {
        &mut self.replay_buffer
    }

    /// Notes a statement that Gatekeeper has not read, or has forgotten: no other session may use the backend.
    pub(super) fn note_unread(&mut self) {
        self.unread = true;
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
