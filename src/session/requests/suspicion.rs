//! What a statement may leave behind: noted when it is said, looked up once its transaction is over.

use super::Shown;
use crate::{
    session::{
        machine::Session,
        own::{self, Own},
        pin::Pin,
        sharing::Sharing,
    },
    sql::{self, Effects},
    wire::{Reader, TransactionStatus},
};

/// `currval` and `lastval`, as FunctionCall knows them.
const SEQUENCE_READERS: [u32; 2] = [1575, 2559];
/// `setseed`.
const SETSEED: u32 = 1599;
/// Names of settings are looked for among parameters up to this length (`NAMEDATALEN`, and a prefix of the same length).
const SETTING_NAME_MAX: usize = 128;

impl Session {
    /// Minds statements that move sequences, and those that read what an earlier one has left. `shown` comes with a first
    /// message alone: ahead of others nothing can be said.
    pub(super) fn sequences(&mut self, effects: Effects, shown: Option<&mut Shown<'_>>) {
        if !effects.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) {
            return;
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if effects.contains(Effects::SEQUENCE_READ) {
            sharing.common.sequences_are_read();
        }
        if sharing.common.reads_sequences() {
            if let Some(shown) = shown {
                self.clear_sequences(shown);
            }
            self.pin(Pin::Sequence);
        } else {
            sharing.sequences_are_ours = true;
        }
    }

    /// The client prepares a statement that reads what an earlier one has left.
    pub(super) fn sequences_are_read(&mut self, shown: &mut Shown<'_>) {
        if let Some(sharing) = &mut self.sharing {
            sharing.common.sequences_are_read();
        }
        self.clear_sequences(shown);
    }

    /// Takes away what other sessions have left of their sequences, ahead of what the client is about to say first.
    pub(super) fn clear_sequences(&mut self, shown: &mut Shown<'_>) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if sharing.sequences_are_ours
            || sharing.pins.contains(Pin::Sequence)
            || self.in_batch
            || !self.ledger.owes_client_nothing()
            || self.status == TransactionStatus::Failed
        {
            return;
        }
        sharing.sequences_are_ours = true;
        self.stage(shown);
        self.say_ahead(b"DISCARD SEQUENCES", Own::Sequences);
    }

    /// Notes what a statement may leave behind. `parameters` are those of its Bind, from the formats on.
    pub(super) fn suspect(&mut self, effects: Effects, statement: &[u8], parameters: Option<&[u8]>) {
        // `GRANT` leaves nothing in a session.
        self.cluster_commands.note_statement(statement);
        if effects.is_empty() {
            return;
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        sharing.suspicion |= effects;
        sharing.leads_back |= effects.contains(Effects::SETTINGS_ALL);
        if effects.contains(Effects::SETTINGS) {
            sql::setting_names(statement, &mut |name| sharing.touched.push(name.into()));
        }
        if effects.contains(Effects::SETTINGS_BOUND) {
            match parameters {
                Some(parameters) => touched_by_parameters(parameters, sharing),
                None => self.pin(Pin::HiddenSetting),
            }
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if effects.contains(Effects::BLOCK) {
            sharing.common.learn(statement);
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

    /// Notes what a FunctionCall may leave behind: whatever it calls.
    pub(super) fn suspect_function(&mut self, body: &[u8]) {
        let (oid, arguments) = body.split_at(body.len().min(4));
        let oid = oid.try_into().map_or(0, u32::from_be_bytes);
        let read = if SEQUENCE_READERS.contains(&oid) { Effects::SEQUENCE_READ } else { Effects::NONE };
        self.sequences(Effects::SEQUENCE_MOVE | read, None);
        let settings = Effects::SETTINGS_ALL | Effects::SETTINGS_BOUND;
        let hidden = if oid == SETSEED { Effects::FUNCTION } else { Effects::NONE };
        self.suspect(own::VISIBLE | settings | hidden, b"", Some(arguments));
    }

    pub(in crate::session) fn pin(&mut self, pin: Pin) {
        // No catalogue shows what these leave, and `DISCARD ALL` leaves it.
        self.spoils_backend |= matches!(pin, Pin::Load | Pin::Function);
        if let Some(sharing) = &mut self.sharing
            && !sharing.pins.contains(pin)
        {
            sharing.pins = sharing.pins.with(pin);
            sharing.new_pins.push_back(pin);
        }
    }
}

/// Notes every parameter that may be a setting's name.
fn touched_by_parameters(parameters: &[u8], sharing: &mut Sharing) {
    let mut reader = Reader::new(parameters);
    let mut values = || {
        for _ in 0..reader.i16().ok()? {
            reader.i16().ok()?;
        }
        for _ in 0..reader.i16().ok()? {
            let Ok(length) = usize::try_from(reader.i32().ok()?) else { continue };
            let value = reader.octets(length).ok()?;
            let name = |octet: &u8| octet.is_ascii_alphanumeric() || b"_.$".contains(octet);
            if (1..=SETTING_NAME_MAX).contains(&value.len()) && value.iter().all(name) {
                sharing.touched.push(value.to_ascii_lowercase().into());
            }
        }
        Some(())
    };
    values();
}
