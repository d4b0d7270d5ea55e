//! What has to go ahead of a first message: the session's settings, and a BEGIN held back.

use super::client_messages::ClientInput;
use crate::{
    route::{RouteSide, RoutingUnit},
    session::{
        pin::Pin,
        pooled::{BackendEvent, OpenTransaction, Pooled},
        proxy_batch::{self, ProxyBatch},
        response_queue::PendingRequest,
        split::WRITER,
    },
    wire::{TransactionStatus, frontend, tag::frontend as f},
};

impl Pooled {
    /// What has to go ahead of a first message: the session's settings, and its BEGIN. False when the message has to wait.
    pub(super) fn prelude(&mut self, tag: u8, shown: &mut ClientInput<'_>) -> bool {
        if self.conversation.in_batch || !self.conversation.queue.owes_client_nothing() {
            return true;
        }
        if !self.backend.is_held() {
            return true;
        }
        if !self.common.knows_database() {
            // Whatever it calls may leave something behind.
            self.pin(Pin::Unproved);
        }
        let outside = self.conversation.status == TransactionStatus::Idle || self.begin.exists();
        if outside && !matches!(tag, f::QUERY | f::FUNCTION_CALL) && self.common.reads_sequences() {
            // What a later statement of the transaction reads may be hidden in a function. Within the transaction the
            // command would take the snapshot.
            self.clear_sequences(shown);
        }
        self.ask_position(shown);
        if self.has_settings_to_apply(self.conversation.status) {
            self.apply_settings(shown);
            if self.backend.awaits_response() {
                return false;
            }
        }
        let Some(transaction) = self.begin.take() else { return true };
        self.stage(shown);
        self.say_begin();
        if transaction == OpenTransaction::Failed {
            // There is none of this name, and a transaction that tries has failed.
            self.say_ahead(b"ROLLBACK TO SAVEPOINT __gatekeeper_failed", ProxyBatch::Aside);
        }
        true
    }

    /// Starts a deferred BEGIN on a new backend now, regardless of the client's next message.
    pub(super) fn begin_without_statement(&mut self) {
        if !self.begin.wants_backend() || !self.backend.is_held() || self.backend.awaits_response() {
            return;
        }
        if !self.begin.exists() {
            // The client has ended the transaction in the meantime.
            self.begin.forget_wish();
            return;
        }
        let mut shown = ClientInput { bytes: &[], at: 0, staged: true, full: false, gathered: false };
        self.prelude(f::QUERY, &mut shown);
    }

    /// Says what the client has begun its transaction with.
    fn say_begin(&mut self) {
        if self.router.is_none() {
            return self.say_ahead(b"BEGIN", ProxyBatch::Begin { failed: false });
        }
        let script = self.begin.send_script().clone();
        for command in script.commands() {
            self.say_ahead(command, ProxyBatch::Begin { failed: false });
        }
    }

    /// Sends `query` ahead of the client's messages. As with any Query, the backend's unnamed statement is destroyed;
    /// the client's unnamed statement is parsed again on use.
    pub(in crate::session) fn say_ahead(&mut self, query: &[u8], own: ProxyBatch) {
        if let Some(held) = self.backend.held_mut() {
            held.unnamed = 0;
        }
        self.request_ahead(PendingRequest::Own(own), |out| frontend::write_query(out, query));
    }

    pub(super) fn apply_settings(&mut self, shown: &mut ClientInput<'_>) {
        self.stage(shown);
        let wanted = self.settings.values().clone();
        let side = self.router.as_ref().map_or(RouteSide::Writer, |split| split.side);
        let Some((held, pen)) = self.pen() else { return self.miss_backend() };
        let confirming = proxy_batch::changes_identity(&held, &wanted);
        let own = proxy_batch::write_apply(&held, &wanted, side, pen);
        if confirming {
            self.on_backend_event(BackendEvent::SettingsSent);
        }
        self.owe(PendingRequest::Own(own));
    }
}

impl Pooled {
    /// True if a BEGIN is deferred for a limited time.
    pub(in crate::session) fn holds_begin_back(&self) -> bool {
        self.begin.is_delayed() && !self.backend.is_held() && !self.backend.is_wanted()
    }

    /// Ends the delay of a deferred BEGIN: `now()` must return the time of the client's BEGIN.
    pub(in crate::session) fn want_for_begin(&mut self) {
        self.begin.wait_for_statement();
        if let Some(split) = &mut self.router {
            if RoutingUnit::EMPTY.need(&split.situation(self.begin.modes(), self.settings.values())).side
                == RouteSide::Reader
            {
                return;
            }
            split.need = WRITER;
            split.lookahead.classify(0, None);
        }
        self.begin.want_backend();
        self.on_backend_event(BackendEvent::Needed);
    }
}
