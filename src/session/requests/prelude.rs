//! What has to go ahead of a first message: the session's settings, and a BEGIN held back.

use super::Shown;
use crate::{
    route::Side,
    session::{
        ledger::Owed,
        machine::Session,
        own::{self, Own},
        pin::Pin,
        sharing::Untold,
    },
    wire::{frontend, tag::frontend as f},
};

impl Session {
    /// What has to go ahead of a first message: the session's settings, and its BEGIN. False when the message has to wait.
    pub(super) fn prelude(&mut self, tag: u8, shown: &mut Shown<'_>) -> bool {
        if self.in_batch || !self.ledger.owes_client_nothing() {
            return true;
        }
        let Some(sharing) = self.sharing.as_deref() else { return true };
        if sharing.held.is_none() {
            return true;
        }
        if !sharing.common.knows_database() {
            // Whatever it calls may leave something behind.
            self.pin(Pin::Unproved);
        }
        let Some(sharing) = self.sharing.as_deref() else { return true };
        if !matches!(tag, f::QUERY | f::FUNCTION_CALL) && sharing.common.reads_sequences() {
            // In the middle of a batch it is too late.
            self.clear_sequences(shown);
        }
        self.ask_position(shown);
        let Some(sharing) = self.sharing.as_deref() else { return true };
        if sharing.has_settings_to_apply(self.status) {
            self.apply_settings(shown);
            if self.sharing.as_ref().is_some_and(|sharing| sharing.confirming) {
                return false;
            }
        }
        let untold = self.sharing.as_mut().map_or(Untold::Nothing, |sharing| sharing.tell());
        if untold == Untold::Nothing {
            return true;
        }
        self.stage(shown);
        self.say_begin();
        if untold == Untold::Failed {
            // There is none of this name, and a transaction that tries has failed.
            self.say_ahead(b"ROLLBACK TO SAVEPOINT __gatekeeper_failed", Own::Aside);
        }
        true
    }

    /// Says what the client has begun its transaction with.
    fn say_begin(&mut self) {
        let split = self.sharing.as_deref_mut().and_then(|sharing| sharing.split.as_deref_mut());
        let Some(split) = split else { return self.say_ahead(b"BEGIN", Own::Begin { failed: false }) };
        let begun = std::mem::take(&mut split.begun);
        for command in begun.commands() {
            self.say_ahead(command, Own::Begin { failed: false });
        }
        if let Some(split) = self.sharing.as_deref_mut().and_then(|sharing| sharing.split.as_deref_mut()) {
            split.told = Some(begun);
        }
    }

    /// Says `query` ahead of what the client says. As any Query it destroys the unnamed statement that the backend has; the
    /// client's is parsed again when it is used.
    pub(in crate::session) fn say_ahead(&mut self, query: &[u8], own: Own) {
        if let Some(held) = self.sharing.as_deref_mut().and_then(|sharing| sharing.held.as_deref_mut()) {
            held.unnamed = 0;
        }
        self.request_ahead(Owed::Own(own), |out| frontend::write_query(out, query));
    }

    pub(super) fn apply_settings(&mut self, shown: &mut Shown<'_>) {
        self.stage(shown);
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let wanted = sharing.settings.clone();
        let side = sharing.split.as_ref().map_or(Side::Writer, |split| split.side);
        let Some((held, pen)) = sharing.pen() else { return };
        let confirming = own::changes_identity(&held, &wanted);
        let own = own::write_apply(&held, &wanted, side, pen);
        sharing.confirming = confirming;
        self.owe(Owed::Own(own));
    }
}
