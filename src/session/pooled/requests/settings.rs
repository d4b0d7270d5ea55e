//! The session's settings on the held backend.

use super::{Requests, SessionFacts};
use crate::{
    route::RouteSide,
    session::{
        batch_writer,
        pooled::{
            Pooled, client_input::ClientInput, internal_error::InternalError,
            session_settings::SessionSettings, startup_settings::StartupSettings,
        },
        split::Router,
    },
    sql::SettingReset,
};

/// Requests that apply settings.
pub(in crate::session::pooled) struct SettingRequests<'a> {
    requests: Requests<'a>,
    settings: &'a mut SessionSettings,
    startup: &'a mut StartupSettings,
    /// RouteSide of the backend: a read pool's backend does not learn to write.
    side: RouteSide,
}

// === impl SettingRequests ===

impl<'a> SettingRequests<'a> {
    /// Requests of `session` to the held backend.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        let (requests, SessionFacts { settings, startup, router, .. }) = Requests::split_off(session)?;
        Ok(Self::new(requests, settings, startup, router.as_deref()))
    }

    /// Requests for a session with `settings` and `startup` settings.
    pub(super) fn new(
        requests: Requests<'a>,
        settings: &'a mut SessionSettings,
        startup: &'a mut StartupSettings,
        router: Option<&Router>,
    ) -> Self {
        Self { requests, settings, startup, side: router.map_or(RouteSide::Writer, Router::side) }
    }

    /// The requests.
    pub(super) const fn requests(&mut self) -> &mut Requests<'a> {
        &mut self.requests
    }

    /// True if the backend has other settings than the session.
    pub(super) fn differ(&self) -> bool {
        self.requests.held.settings() != self.settings.values()
    }

    /// Sends the session's settings. True if they decide the permissions of the next statement: the statement must wait for
    /// the response.
    pub(super) fn apply(&mut self, shown: &mut ClientInput<'_>) -> bool {
        self.requests.stage(shown);
        let (wanted, side) = (self.settings.values(), self.side);
        let decides = batch_writer::changes_identity(self.requests.held.settings(), wanted);
        self.requests.send_batch(|held, writer| batch_writer::write_apply(held, wanted, side, writer));
        decides
    }

    /// Sends the settings that a statement of the client's batch has reset, ahead of the next message.
    pub(super) fn apply_due(&mut self, shown: &mut ClientInput<'_>) {
        if self.startup.has_due() {
            self.requests.stage(shown);
            let due = self.startup.take_due();
            self.apply_again(&due, false);
        }
    }

    /// True once if the backend needs the settings ahead of a message, as the batch continues after `DISCARD ALL`.
    pub(super) fn take_discarded(&mut self, ends_batch: bool) -> bool {
        self.startup.take_discarded(ends_batch)
    }

    /// Sends the `reset` settings as a separate batch, which ends the client's request. False if there is nothing to send.
    pub(in crate::session::pooled) fn apply_again_synced(&mut self, reset: &[SettingReset]) -> bool {
        self.requests.statements.begin_batch();
        self.apply_again(reset, true)
    }

    /// Sends the `reset` settings, within the client's batch or, if `synced`, as a separate batch. False if there is nothing
    /// to send.
    fn apply_again(&mut self, reset: &[SettingReset], synced: bool) -> bool {
        let (values, side) = (self.startup.values_of(reset), self.side);
        let is_sent =
            self.requests.send_within_batch(|writer| batch_writer::write_again(values, side, synced, writer));
        if is_sent {
            self.settings.on_applied_again();
        }
        is_sent
    }
}
