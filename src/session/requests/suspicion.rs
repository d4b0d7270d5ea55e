//! What a statement may leave behind: noted when it is said, looked up once its transaction is over.

use std::sync::Arc;

use super::Shown;
use crate::{
    route::Side,
    session::{
        ledger::MAY_RESET,
        own::{self, Own},
        pin::{Pin, Pins},
        pooled::{Pooled, SequenceUse},
    },
    sql::{self, Effects},
    wire::{Reader, TransactionStatus},
};

/// `currval` and `lastval`, as FunctionCall knows them.
const SEQUENCE_READERS: [u32; 2] = [1575, 2559];
/// `setseed`.
const SETSEED: u32 = 1599;
/// Maximum length in bytes of a setting name without a dot (`NAMEDATALEN`).
const SETTING_NAME_MAX: usize = 63;

impl Pooled {
    /// Minds statements that move sequences, and those that read what an earlier one has left. `shown` comes with a first
    /// message alone: ahead of others nothing can be said.
    pub(super) fn sequences(&mut self, effects: Effects, shown: Option<&mut Shown<'_>>) {
        if !effects.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) {
            return;
        }
        if effects.contains(Effects::SEQUENCE_READ) {
            self.read_sequences();
        }
        if self.router.as_ref().is_some_and(|split| split.side == Side::Reader) {
            // A standby refuses to move a sequence.
            return;
        }
        if self.common.reads_sequences() {
            if self.cleanup.sequence_use == SequenceUse::Unread {
                self.cleanup.sequence_use = SequenceUse::Moved;
            }
            if let Some(shown) = shown {
                self.clear_sequences(shown);
            }
            self.pin(Pin::Sequence);
        } else {
            self.cleanup.sequences_are_ours = true;
        }
    }

    /// The client prepares a statement that reads what an earlier one has left.
    pub(super) fn sequences_are_read(&mut self, shown: &mut Shown<'_>) {
        self.read_sequences();
        self.clear_sequences(shown);
    }

    /// True once per finished transaction with a possible sequence move, in a session without sequence reads so far.
    pub(in crate::session) fn poll_sequence_moved(&mut self) -> bool {
        let is_idle = self.conversation.is_idle();
        let moved = self.cleanup.sequence_use == SequenceUse::Moved && is_idle;
        if moved {
            self.cleanup.sequence_use = SequenceUse::Unread;
        }
        moved
    }

    /// Gives up the session's possible sequence state, if the session has no further pins and has read no sequence so
    /// far.
    pub(in crate::session) fn release_sequences(&mut self) {
        if self.cleanup.pins == Pins::NONE.with(Pin::Sequence)
            && self.cleanup.sequence_use == SequenceUse::Unread
        {
            self.cleanup.pins = Pins::NONE;
        }
    }

    /// Takes away what other sessions have left of their sequences, ahead of what the client is about to say first.
    pub(super) fn clear_sequences(&mut self, shown: &mut Shown<'_>) {
        if self.cleanup.sequences_are_ours
            || self.cleanup.pins.contains(Pin::Sequence)
            || self.conversation.in_batch
            || !self.conversation.ledger.owes_client_nothing()
            || self.conversation.status == TransactionStatus::Failed
        {
            return;
        }
        self.cleanup.sequences_are_ours = true;
        self.stage(shown);
        self.say_ahead(b"DISCARD SEQUENCES", Own::Sequences);
    }

    /// Notes what a statement may leave behind. `parameters` are those of its Bind, from the formats on.
    pub(in crate::session) fn suspect(
        &mut self,
        mut effects: Effects,
        statement: &[u8],
        parameters: Option<&[u8]>,
    ) {
        // `GRANT` leaves nothing in a session.
        self.conversation.cluster_commands.note_statement(statement);
        if effects.contains(Effects::EXECUTE) {
            effects |= Effects::UNPROVED;
        }
        if self.common.is_strict() {
            effects |= Effects::UNPROVED | Effects::UNKNOWN;
        }
        if effects.contains(Effects::UNKNOWN) || !self.common.is_current() {
            self.cleanup.outdated.push(statement);
        }
        if effects.is_empty() {
            return;
        }
        self.cleanup.suspicion |= effects;
        self.cleanup.binds_reset |= parameters.is_some() && effects.intersects(MAY_RESET);
        self.settings.leads_back |= effects.intersects(Effects::SETTINGS_ALL | Effects::SETTINGS_LOCAL);
        if effects.contains(Effects::SETTINGS) {
            let prepares = effects.contains(Effects::PREPARE);
            let mut strange = false;
            sql::setting_names(statement, &mut |name| {
                // The spelling of a non-ASCII name elsewhere depends on the encoding.
                strange |= !name.is_ascii();
                self.cleanup.touched.push(name.into());
                if prepares && !self.cleanup.prepared_settings.iter().any(|known| **known == *name) {
                    self.cleanup.prepared_settings.push(name.into());
                }
            });
            if strange {
                self.pin(Pin::HiddenSetting);
            }
        }
        if effects.contains(Effects::EXECUTE) {
            self.cleanup.touched.extend_from_slice(&self.cleanup.prepared_settings);
        }
        if effects.contains(Effects::SETTINGS_BOUND) {
            let touched = &mut self.cleanup.touched;
            let followed = parameters.is_some_and(|parameters| touched_by_parameters(parameters, touched));
            if !followed {
                self.pin(Pin::HiddenSetting);
            }
        }
        if effects.contains(Effects::BLOCK) {
            self.common.learn(statement);
        }
        for (effect, pin) in [
            (Effects::SETTINGS_HIDDEN, Pin::HiddenSetting),
            (Effects::LOAD, Pin::Load),
            (Effects::FUNCTION, Pin::Function),
        ] {
            if effects.contains(effect) {
                self.pin(pin);
            }
        }
    }

    /// Returns the possible effects of a Query too long to be read. State visible in the catalogs is checked; because
    /// of the remaining state the backend serves no further session.
    pub(super) fn passes_unread(&mut self) -> Effects {
        if let Some(held) = self.backend.held.as_mut() {
            held.unread = true;
        }
        let definitions = Effects::DDL | Effects::DROPS;
        own::VISIBLE | Effects::UNPROVED | Effects::SETTINGS_ALL | Effects::SEQUENCE_MOVE | definitions
    }

    /// Notes what a FunctionCall may leave behind: whatever it calls.
    pub(super) fn suspect_function(&mut self, body: &[u8]) {
        let (oid, arguments) = body.split_at(body.len().min(4));
        let oid = oid.try_into().map_or(0, u32::from_be_bytes);
        let read = if SEQUENCE_READERS.contains(&oid) { Effects::SEQUENCE_READ } else { Effects::NONE };
        self.sequences(Effects::SEQUENCE_MOVE | read, None);
        let settings = Effects::SETTINGS_ALL | Effects::SETTINGS_BOUND;
        let hidden = if oid == SETSEED { Effects::FUNCTION } else { Effects::NONE };
        self.suspect(own::VISIBLE | settings | hidden | Effects::UNPROVED, b"", Some(arguments));
    }

    pub(in crate::session) fn pin(&mut self, pin: Pin) {
        // The remaining state is invisible in the catalogs, and `DISCARD ALL` does not clear the state.
        self.conversation.spoils_backend |= matches!(pin, Pin::Load | Pin::Function);
        if !self.cleanup.pins.contains(pin) {
            self.cleanup.pins = self.cleanup.pins.with(pin);
            self.cleanup.new_pins.push_back(pin);
        }
    }

    /// Removes the pins of a statement that the server has not executed. A later statement, sent while the pins stood, may
    /// need the same pins.
    pub(in crate::session) fn unpin(&mut self, pins: Pins) {
        if !self.conversation.ledger.has_later_statement() {
            self.cleanup.pins = self.cleanup.pins.minus(pins.without(Pin::SqlExecute));
        }
    }
}

impl Pooled {
    /// Notes a read, now or soon, of sequence state left by an earlier statement.
    fn read_sequences(&mut self) {
        self.common.sequences_are_read();
        self.cleanup.sequence_use = SequenceUse::Read;
    }
}

/// Notes every parameter usable as a setting name. False for a possible non-ASCII name: the spelling elsewhere depends
/// on the encoding.
fn touched_by_parameters(parameters: &[u8], touched: &mut Vec<Arc<[u8]>>) -> bool {
    let mut reader = Reader::new(parameters);
    let mut ascii = true;
    let mut values = || {
        for _ in 0..reader.i16().ok()? {
            reader.i16().ok()?;
        }
        for _ in 0..reader.i16().ok()? {
            let Ok(length) = usize::try_from(reader.i32().ok()?) else { continue };
            let value = reader.octets(length).ok()?;
            let name =
                |octet: &u8| octet.is_ascii_alphanumeric() || b"_.$".contains(octet) || !octet.is_ascii();
            let is_name = value.iter().all(name) && !value.is_empty();
            if is_name && (value.len() <= SETTING_NAME_MAX || value.contains(&b'.')) {
                if value.is_ascii() {
                    touched.push(value.to_ascii_lowercase().into());
                } else {
                    // Settings not built into the server have a dot in the name.
                    ascii &= !value.contains(&b'.');
                }
            }
        }
        Some(())
    };
    values();
    ascii
}
