//! What has to go ahead of a first message: the session's settings, and a deferred BEGIN.

use super::{
    BackendEvent, OpenTransaction, Pooled,
    client_input::ClientInput,
    client_message::ClientMessage,
    client_messages::is_end,
    internal_error::InternalError,
    requests::{Requests, SettingRequests},
};
use crate::{
    route::{Side, Unit},
    session::{
        conversation::until_nul,
        pin::Pin,
        proxy_batch::{self, ProxyBatch},
        split::{FreshnessCheck, LAST_ROUTE, WRITER},
    },
    sql::{self, Effects},
    wire::{TransactionStatus, tag::frontend as f},
};

/// Maximum length of a text that asks for the last route.
const LAST_ROUTE_MAX_BYTES: usize = 256;

impl Pooled {
    /// Sends all that the backend needs ahead of the message. False if the message must wait for a response.
    pub(super) fn prepare_backend(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> Result<bool, InternalError> {
        let tag = message.tag();
        if self.startup.has_due() {
            shown.stage(self.outgoing.backend());
            SettingRequests::of(self)?.apply_due();
        }
        // `DISCARD ALL` has ended the client's transaction, so an internal Sync ends no transaction.
        if (!is_end(tag) || tag == f::SYNC) && self.startup.take_discarded(tag == f::SYNC) {
            self.apply_settings(shown)?;
            if self.backend.awaits_response() {
                return Ok(false);
            }
        }
        // Not all parameters of the Bind are visible.
        if tag == f::BIND && message.is_cut() && self.binds_setting_name(message) {
            self.cleanup.note_pin(Pin::HiddenSetting);
        }
        self.begin_work(tag, shown)
    }

    /// Whether a Bind has the name of a setting among its parameters.
    fn binds_setting_name(&self, message: &ClientMessage<'_>) -> bool {
        let text = self.statements.text(message.bound().statement());
        text.is_some_and(|text| {
            let effects = self.database.with_catalogue(|catalogue| sql::effects(text, catalogue));
            effects.contains(Effects::SETTINGS_BOUND)
        })
    }

    /// Sends all that goes ahead of a first message: the session's settings, and a deferred BEGIN. False if the message must
    /// wait for a response.
    fn begin_work(&mut self, tag: u8, shown: &mut ClientInput<'_>) -> Result<bool, InternalError> {
        if self.conversation.in_batch || !self.conversation.queue.owes_client_nothing() {
            return Ok(true);
        }
        if !self.database.knows_database() {
            // Whatever it calls may leave something behind.
            self.cleanup.note_pin(Pin::Unproved);
        }
        let outside = self.conversation.status == TransactionStatus::Idle || self.begin.exists();
        if outside && !matches!(tag, f::QUERY | f::FUNCTION_CALL) && self.database.reads_sequences() {
            // What a later statement of the transaction reads may be hidden in a function. Within the transaction the
            // command would take the snapshot.
            Requests::of(self)?.clear_sequences(shown);
        }
        self.ask_position(shown)?;
        if self.has_settings_to_apply(self.conversation.status) {
            self.apply_settings(shown)?;
            if self.backend.awaits_response() {
                return Ok(false);
            }
        }
        if let Some(transaction) = self.begin.take() {
            shown.stage(self.outgoing.backend());
            self.send_begin()?;
            if transaction == OpenTransaction::Failed {
                // There is none of this name, and a transaction that tries has failed.
                Requests::of(self)?
                    .send_query(b"ROLLBACK TO SAVEPOINT __gatekeeper_failed", ProxyBatch::Aside);
            }
        }
        Ok(true)
    }

    /// Sends the commands that the client has begun its transaction with.
    fn send_begin(&mut self) -> Result<(), InternalError> {
        if self.router.is_none() {
            Requests::of(self)?.send_query(b"BEGIN", ProxyBatch::Begin { failed: false });
            return Ok(());
        }
        let script = self.begin.send_script().clone();
        let mut requests = Requests::of(self)?;
        for command in script.commands() {
            requests.send_query(command, ProxyBatch::Begin { failed: false });
        }
        Ok(())
    }

    /// Sends the session's settings to the backend.
    fn apply_settings(&mut self, shown: &mut ClientInput<'_>) -> Result<(), InternalError> {
        shown.stage(self.outgoing.backend());
        if SettingRequests::of(self)?.apply() {
            self.backend.on(BackendEvent::SettingsSent)?;
        }
        Ok(())
    }

    // --- a deferred BEGIN

    /// Starts a deferred BEGIN on a new backend now, regardless of the client's next message.
    pub(super) fn begin_without_statement(&mut self) -> Result<(), InternalError> {
        if !self.begin.wants_backend() || !self.backend.is_held() || self.backend.awaits_response() {
            return Ok(());
        }
        if self.begin.exists() {
            self.begin_work(f::QUERY, &mut ClientInput::none())?;
        } else {
            // The client has ended the transaction in the meantime.
            self.begin.forget_wish();
        }
        Ok(())
    }

    /// True if a BEGIN is deferred for a limited time.
    pub(super) fn holds_begin_back(&self) -> bool {
        self.begin.is_delayed() && !self.backend.is_held() && !self.backend.is_wanted()
    }

    /// Ends the delay of a deferred BEGIN: `now()` must return the time of the client's BEGIN.
    pub(super) fn want_for_begin(&mut self) {
        self.begin.wait_for_statement();
        if let Some(split) = &mut self.router {
            let situation = split.situation(self.begin.modes(), self.settings.values());
            if Unit::EMPTY.need(&situation).side == Side::Reader {
                return;
            }
            split.need = WRITER;
            split.lookahead.classify(0, None);
        }
        self.begin.want_backend();
        self.on_backend_event(BackendEvent::Needed);
    }

    // --- a split route

    /// Asks a read pool's node for its replay position, ahead of a read that must not be older than the session's last write.
    fn ask_position(&mut self, shown: &mut ClientInput<'_>) -> Result<(), InternalError> {
        let freshness = self.router.as_deref_mut().and_then(|split| split.freshness.take());
        if let Some(FreshnessCheck::Ask { lsn }) = freshness {
            shown.stage(self.outgoing.backend());
            Requests::of(self)?.send_batch(|_, writer| proxy_batch::write_position(lsn, writer));
        }
        Ok(())
    }

    /// The client asks where its last statement went: the server is to know.
    pub(super) fn tell_last_route(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> Result<(), InternalError> {
        if self.router.is_none() || !self.asks_last_route(message) {
            return Ok(());
        }
        let last = self.router.as_deref().and_then(|split| split.trace.last());
        let answer =
            last.map_or_else(String::new, |(endpoint, reason)| format!("{endpoint} ({})", reason.as_str()));
        shown.stage(self.outgoing.backend());
        let mut requests = Requests::of(self)?;
        requests.send_batch(|held, writer| proxy_batch::write_last_route(held, answer.as_bytes(), writer));
        Ok(())
    }

    /// True if a first message asks where the last statement went.
    fn asks_last_route(&self, message: &ClientMessage<'_>) -> bool {
        let text = match message.tag() {
            f::QUERY => message.query(),
            f::PARSE => until_nul(message.parsed().1).0,
            f::BIND => {
                let statement = self.statements.get(message.bound().statement());
                statement.map_or(&b""[..], |statement| statement.text())
            }
            _ => b"",
        };
        text.len() <= LAST_ROUTE_MAX_BYTES
            && memchr::memmem::find(text, LAST_ROUTE).is_some()
            && !self.conversation.in_batch
            && self.conversation.queue.owes_client_nothing()
            && self.conversation.status != TransactionStatus::Failed
    }
}
