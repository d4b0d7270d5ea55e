//! What has to go ahead of a first message: the session's settings, and a BEGIN held back.

use super::Shown;
use crate::{
    route::{Side, Unit},
    session::{
        ledger::Owed,
        machine::Session,
        own::{self, Own},
        pin::Pin,
        sharing::{HeldBegin, Sharing, Untold},
        split::WRITER,
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

    /// Starts a deferred BEGIN on a new backend now, regardless of the client's next message.
    pub(super) fn begin_without_statement(&mut self) {
        let Some(sharing) = self.sharing.as_deref() else { return };
        if sharing.begin != HeldBegin::Wants || sharing.held.is_none() || sharing.confirming {
            return;
        }
        if sharing.untold == Untold::Nothing {
            // The client has ended the transaction in the meantime.
            if let Some(sharing) = &mut self.sharing {
                sharing.begin = HeldBegin::Waits;
            }
            return;
        }
        let mut shown = Shown { octets: &[], at: 0, staged: true, full: false, gathered: false };
        self.prelude(f::QUERY, &mut shown);
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

    /// Sends `query` ahead of the client's messages. As with any Query, the backend's unnamed statement is destroyed;
    /// the client's unnamed statement is parsed again on use.
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

impl Sharing {
    /// True if a BEGIN is deferred for a limited time.
    pub(in crate::session) fn holds_begin_back(&self) -> bool {
        self.untold == Untold::Begun && self.begin == HeldBegin::Waits && self.held.is_none() && !self.wants
    }

    /// Ends the delay of a deferred BEGIN: `now()` must return the time of the client's BEGIN.
    pub(in crate::session) fn want_for_begin(&mut self) {
        self.begin = HeldBegin::Stays;
        if let Some(split) = &mut self.split {
            if Unit::EMPTY.need(&split.situation(true, &self.settings)).side == Side::Reader {
                return;
            }
            (split.need, split.judged, split.begins) = (WRITER, 0, None);
        }
        self.begin = HeldBegin::Wants;
        self.wants = true;
    }
}
