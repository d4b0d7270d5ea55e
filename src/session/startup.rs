//! Settings of a client's start-up packet, where its backends logged in without them.
//!
//! `RESET` leads back to these values, and such a backend does not know them. Behind each statement that leads settings back
//! the session gives them again, before anything else runs. Where something would run in between (several statements in one
//! Query, a `DO`), a session without a transaction turns to backends that logged in with its options. Within a transaction
//! the statement is refused.

use super::{
    ledger::Owed,
    machine::Session,
    own::{self, GivenSetting},
    reported::APPLICATION_NAME,
    settings::Settings,
    sharing::{Sharing, Untold},
};
use crate::{
    route::Side,
    sql::{self, Effects, LeadsBack, LedBack},
    wire::{
        SqlState, TransactionStatus,
        fault::{Report, Severity},
    },
};

/// A client's start-up settings.
#[derive(Default)]
pub(super) struct Startup {
    /// Where `RESET` leads back to, as far as the held backend does not know it.
    pub(super) settings: Settings,
    /// Some of them are others than `application_name`.
    is_carried: bool,
    /// Portals bound in this transaction, and what their statements lead back.
    portals: Vec<BoundPortal>,
    /// What an Execute has led back, to be given again ahead of the client's next message.
    due: Vec<LedBack>,
    /// `DISCARD ALL` has taken settings away in a batch that goes on.
    discarded: bool,
    /// The held backend is given up for one that logged in with the client's options.
    moving: bool,
    /// Backends that logged in with the client's options serve the session from now on.
    apart: bool,
}

/// A portal, and what its statement leads back.
type BoundPortal = (Box<[u8]>, Vec<LedBack>);

const LEADS_BACK: Effects = Effects::SETTINGS_ALL.union(Effects::SETTINGS_LOCAL);

// === impl Startup ===

impl Startup {
    pub(super) fn new(settings: Settings) -> Self {
        let is_carried = settings.entries().iter().any(|entry| *entry.name != *APPLICATION_NAME);
        Self { settings, is_carried, ..Self::default() }
    }

    /// Whether the session's backends are to have logged in with the client's options.
    pub(super) fn is_apart(&self) -> bool {
        self.apart
    }

    /// `DISCARD ALL` has taken settings away, in a batch or not.
    pub(super) fn note_discard(&mut self, in_batch: bool) {
        self.portals.clear();
        self.due.clear();
        self.discarded = in_batch;
    }

    /// True once if the held backend is to be given its settings ahead of a message, since the batch goes on behind `DISCARD ALL`.
    pub(super) fn takes_discard(&mut self, ends_batch: bool) -> bool {
        std::mem::take(&mut self.discarded) && !ends_batch
    }

    /// The transaction is over.
    pub(super) fn forget_portals(&mut self) {
        self.portals.clear();
    }

    /// The held backend is given back. Returns what is to be given of `settings` to backends that logged in with the client's
    /// options, if such backends serve from now on.
    pub(super) fn moved(&mut self, settings: &Settings) -> Option<Settings> {
        if !std::mem::take(&mut self.moving) {
            return None;
        }
        (self.apart, self.is_carried) = (true, false);
        let first = std::mem::take(&mut self.settings);
        self.settings = Settings::default().with(APPLICATION_NAME, first.get(APPLICATION_NAME));
        let known = first.entries().iter().filter(|entry| *entry.name != *APPLICATION_NAME);
        let known = known.filter(|entry| settings.get(&entry.name) == Some(&entry.value));
        Some(settings.with_all(known.map(|entry| (&*entry.name, None))))
    }

    /// The values of what is led back.
    fn values<'a>(&'a self, led: &'a [LedBack]) -> impl Iterator<Item = GivenSetting<'a>> {
        let entries = self.settings.entries();
        let of = move |led: &'a LedBack| {
            let matches = move |name: &[u8]| led.name.as_deref().is_none_or(|wanted| wanted == name);
            entries.iter().filter(move |entry| matches(&entry.name)).map(move |entry| GivenSetting {
                name: &entry.name,
                value: &entry.value,
                local: led.local,
            })
        };
        led.iter().flat_map(of)
    }
}

impl Session {
    /// Which start-up settings a statement with these effects leads back.
    pub(super) fn leads_back(&self, effects: Effects, statement: &[u8]) -> LeadsBack {
        match self.sharing.as_deref().map(|sharing| &sharing.startup) {
            Some(startup) if startup.is_carried && effects.intersects(LEADS_BACK) => {
                sql::leads_back(statement, |name| startup.settings.get(name).is_some())
            }
            _ => LeadsBack::No,
        }
    }

    /// Notes which start-up settings a statement leads back that is bound to `portal`; false if it must be refused.
    pub(super) fn note_portal(&mut self, portal: &[u8], effects: Effects, statement: &[u8]) -> bool {
        let leads_back = self.leads_back(effects, statement);
        let Some(sharing) = self.sharing.as_deref_mut() else { return true };
        let portals = &mut sharing.startup.portals;
        if !portals.is_empty() {
            portals.retain(|(bound, _)| **bound != *portal);
        }
        match leads_back {
            LeadsBack::No => true,
            LeadsBack::AtEnd(led) => {
                portals.push((portal.into(), led));
                true
            }
            LeadsBack::Midway => false,
        }
    }

    /// Whether a statement that is about to be parsed has to wait for a backend that logged in with the client's options.
    pub(super) fn moves_before_parse(&mut self, statement: &[u8]) -> bool {
        let Some(sharing) = self.sharing.as_deref().filter(|sharing| sharing.startup.is_carried) else {
            return false;
        };
        let effects = sharing.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        self.leads_back(effects, statement) == LeadsBack::Midway && self.move_apart()
    }

    /// What an Execute of `portal` leads back.
    pub(super) fn led_back_by(&self, portal: &[u8]) -> Vec<LedBack> {
        let portals = self.sharing.as_deref().map_or(&[][..], |sharing| &sharing.startup.portals);
        let found = portals.iter().find(|(bound, _)| **bound == *portal);
        found.map_or(Vec::new(), |(_, led)| led.clone())
    }

    /// An Execute has led settings back, if it is an Execute that is answered now.
    pub(super) fn note_led_back(&mut self) {
        if let Some(sharing) = &mut self.sharing {
            sharing.startup.due.extend(self.ledger.led_back_by_execute());
        }
    }

    /// Whether a message that has reached its backend waits until another one serves.
    pub(super) fn is_moving(&mut self) -> bool {
        let Some(sharing) = self.sharing.as_deref_mut() else { return false };
        // What a state check has found holds the session to this one.
        sharing.startup.moving &= sharing.pins.is_empty() && sharing.strays.is_empty();
        sharing.startup.moving
    }

    /// Gives the held backend up for one that logged in with the client's options, if nothing is under way there.
    pub(super) fn move_apart(&mut self) -> bool {
        let owes_nothing = self.ledger.owes_client_nothing();
        let outside = self.status == TransactionStatus::Idle && !self.in_batch && owes_nothing;
        let Some(sharing) = self.sharing.as_deref_mut() else { return false };
        let moves = outside
            && sharing.untold == Untold::Nothing
            && sharing.pins.is_empty()
            && sharing.suspicion.is_empty()
            && sharing.strays.is_empty();
        sharing.startup.moving = moves;
        sharing.unused &= !moves;
        moves
    }

    /// Whether something is to be given again ahead of the client's next message.
    pub(super) fn has_settings_due(&self) -> bool {
        self.sharing.as_deref().is_some_and(|sharing| !sharing.startup.due.is_empty())
    }

    /// Gives again, within a batch of the client's, what was led back there.
    pub(super) fn give_due_settings(&mut self) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let due = std::mem::take(&mut sharing.startup.due);
        self.give_again(&due, false);
    }

    /// Gives settings again that were led back. With `synced` this is a batch of its own, and the client's request ends with
    /// it. False if there is nothing to give.
    pub(super) fn give_again(&mut self, led: &[LedBack], synced: bool) -> bool {
        let Some(sharing) = self.sharing.as_deref_mut() else { return false };
        let side = sharing.split.as_ref().map_or(Side::Writer, |split| split.side);
        let startup = std::mem::take(&mut sharing.startup);
        let pen = if synced { sharing.pen().map(|(_, pen)| pen) } else { sharing.pen_within_batch() };
        let own = pen.and_then(|pen| own::write_again(startup.values(led), side, synced, pen));
        sharing.startup = startup;
        let Some(own) = own else { return false };
        // What the server reports from now on is what the client has.
        sharing.leads_back = false;
        sharing.confirming |= synced;
        self.owe(Owed::Own(own));
        true
    }
}

impl Sharing {
    /// The settings that the client said at its start.
    pub(super) fn first_settings(&self) -> Settings {
        self.startup.settings.clone()
    }

    /// True if the held backend has lost a start-up setting by `DISCARD ALL`, and is given it with the next statement: its value
    /// there is not the client's.
    pub(super) fn lacks_startup_setting(&self, name: &[u8]) -> bool {
        let held = self.held.as_deref().map(|held| &held.settings);
        self.startup.settings.get(name).is_some() && held.is_some_and(|held| held.get(name).is_none())
    }

    /// What a client is told at its login of a setting that it has said at its start itself.
    pub(super) fn first_report(&self, name: &[u8]) -> Option<&[u8]> {
        self.startup.settings.get(&name.to_ascii_lowercase())?;
        self.known.at_login(name)
    }
}

/// The error of a statement that leads a start-up setting back, behind which more would run before it is given again.
pub(super) fn led_back_midway() -> Report<'static> {
    let message =
        "start-up options cannot be reset in the middle of a statement, or of several in one message, here";
    let mut report = Report::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, message);
    report.hint = Some("Send RESET or SET ... TO DEFAULT in a message of its own.".into());
    report
}
