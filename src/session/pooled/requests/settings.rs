//! The session's settings on the held backend.

use super::{Requests, SessionFacts};
use crate::{
    route::Side,
    session::{
        pooled::{
            Pooled, internal_error::InternalError, session_settings::SessionSettings,
            startup_settings::StartupSettings,
        },
        proxy_batch,
    },
    sql::LedBack,
};

/// Requests that apply settings.
pub(in crate::session::pooled) struct SettingRequests<'a> {
    requests: Requests<'a>,
    settings: &'a mut SessionSettings,
    startup: &'a mut StartupSettings,
    /// Side of the backend: a read pool's backend does not learn to write.
    side: Side,
}

// === impl SettingRequests ===

impl<'a> SettingRequests<'a> {
    /// Requests of `session` to the held backend.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        let (requests, SessionFacts { settings, startup, router }) = Requests::split_off(session)?;
        Ok(Self { requests, settings, startup, side: router.map_or(Side::Writer, |router| router.side) })
    }

    /// Sends the session's settings. True if they decide the permissions of the next statement: the statement must wait for
    /// the response.
    pub(in crate::session::pooled) fn apply(&mut self) -> bool {
        let (wanted, side) = (self.settings.values(), self.side);
        let decides = proxy_batch::changes_identity(&self.requests.held.settings, wanted);
        self.requests.send_batch(|held, writer| proxy_batch::write_apply(held, wanted, side, writer));
        decides
    }

    /// Sends the settings that a statement of the client's batch has reset, ahead of the next message.
    pub(in crate::session::pooled) fn apply_due(&mut self) {
        let due = self.startup.take_due();
        self.apply_again(&due);
    }

    /// Sends the `reset` settings within the client's batch.
    fn apply_again(&mut self, reset: &[LedBack]) {
        let (values, side) = (self.startup.values_of(reset), self.side);
        let is_sent =
            self.requests.send_within_batch(|writer| proxy_batch::write_again(values, side, false, writer));
        if is_sent {
            self.settings.on_applied_again();
        }
    }

    /// Sends the `reset` settings as a separate batch, which ends the client's request. False if there is nothing to send.
    pub(in crate::session::pooled) fn apply_again_synced(&mut self, reset: &[LedBack]) -> bool {
        self.requests.statements.begin_batch();
        let (values, side) = (self.startup.values_of(reset), self.side);
        let is_sent =
            self.requests.send_within_batch(|writer| proxy_batch::write_again(values, side, true, writer));
        if is_sent {
            self.settings.on_applied_again();
        }
        is_sent
    }
}
