//! Settings of a client's start-up packet, for backends logged in without the settings.
//!
//! `RESET` restores the start-up values, unknown to a backend logged in without the values. After each resetting
//! statement the session applies the settings again, before anything else runs. If statements would run in between
//! (several statements in a Query, a `DO`), a session without a transaction moves to backends logged in with the
//! client's options. Within a transaction the statement is rejected.

use super::{
    ledger::Owed,
    own::{self, GivenSetting},
    pooled::{BackendEvent, Pooled},
    reported::APPLICATION_NAME,
    settings::Settings,
};
use crate::{
    route::Side,
    sql::{self, Effects, LeadsBack, LedBack},
    wire::{
        SqlState, TransactionStatus,
        backend::{self, ParameterStatus},
        fault::{Report, Severity},
    },
};

/// A client's start-up settings.
#[derive(Default)]
pub(super) struct Startup {
    /// Values restored by `RESET`, as far as unknown to the held backend.
    pub(super) settings: Settings,
    /// The settings include more than `application_name`.
    is_carried: bool,
    /// Portals bound in the transaction, with the settings reset by the portals' statements.
    portals: Vec<BoundPortal>,
    /// Settings reset by an Execute, to apply again ahead of the client's next message.
    due: Vec<LedBack>,
    /// `DISCARD ALL` has cleared settings in an unfinished batch.
    discarded: bool,
    /// The held backend is given up for a backend logged in with the client's options.
    moving: bool,
    /// Backends logged in with the client's options serve the session from now on.
    apart: bool,
    /// Names of the settings reported while Gatekeeper applied settings.
    withheld: Vec<Box<[u8]>>,
}

/// Portal, with the settings reset by the portal's statement.
type BoundPortal = (Box<[u8]>, Vec<LedBack>);

const LEADS_BACK: Effects = Effects::SETTINGS_ALL.union(Effects::SETTINGS_LOCAL);

// === impl Startup ===

impl Startup {
    pub(super) fn new(settings: Settings) -> Self {
        let is_carried = settings.entries().iter().any(|entry| *entry.name != *APPLICATION_NAME);
        Self { settings, is_carried, ..Self::default() }
    }

    /// True if the session's backends must have logged in with the client's options.
    pub(super) fn is_apart(&self) -> bool {
        self.apart
    }

    /// Notes settings cleared by `DISCARD ALL`, within a batch or not.
    pub(super) fn note_discard(&mut self, in_batch: bool) {
        self.portals.clear();
        self.due.clear();
        self.discarded = in_batch;
    }

    /// True once if the held backend needs the settings ahead of a message, as the batch continues after `DISCARD ALL`.
    pub(super) fn takes_discard(&mut self, ends_batch: bool) -> bool {
        std::mem::take(&mut self.discarded) && !ends_batch
    }

    /// Forgets what was due in a failed batch: its resets are rolled back, and the next batch applies the settings cleared
    /// by `DISCARD ALL`.
    pub(super) fn note_failed_batch(&mut self) {
        self.due.clear();
        self.discarded = false;
    }

    /// True if the report of the setting `name` has to wait for the client's next ReadyForQuery, as on a dedicated backend.
    /// `applies` means a report while Gatekeeper applies settings, possibly in the middle of the client's batch.
    pub(super) fn withholds_report(&mut self, name: &[u8], applies: bool) -> bool {
        self.withheld.retain(|withheld| **withheld != *name);
        if applies {
            self.withheld.push(name.into());
        }
        applies
    }

    /// Forgets the portals of a finished transaction.
    pub(super) fn forget_portals(&mut self) {
        self.portals.clear();
    }

    /// Notes the return of the held backend. If backends logged in with the client's options serve from now on, returns
    /// the part of `settings` to apply there.
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

    /// Values of the reset settings.
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

impl Pooled {
    /// Start-up settings reset by a statement with `effects`.
    pub(super) fn leads_back(&self, effects: Effects, statement: &[u8]) -> LeadsBack {
        let startup = &self.settings.startup;
        if !startup.is_carried || !effects.intersects(LEADS_BACK) {
            return LeadsBack::No;
        }
        sql::leads_back(statement, |name| startup.settings.get(name).is_some())
    }

    /// Notes the start-up settings reset by a statement bound to `portal`; false if the statement must be rejected.
    pub(super) fn note_portal(&mut self, portal: &[u8], effects: Effects, statement: &[u8]) -> bool {
        let leads_back = self.leads_back(effects, statement);
        let portals = &mut self.settings.startup.portals;
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

    /// True if a statement must wait, before Parse, for a backend logged in with the client's options.
    pub(super) fn moves_before_parse(&mut self, statement: &[u8]) -> bool {
        if !self.settings.startup.is_carried {
            return false;
        }
        let effects = self.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        self.leads_back(effects, statement) == LeadsBack::Midway && self.move_apart()
    }

    /// Settings reset by an Execute of `portal`.
    pub(super) fn led_back_by(&self, portal: &[u8]) -> Vec<LedBack> {
        let portals = &self.settings.startup.portals;
        let found = portals.iter().find(|(bound, _)| **bound == *portal);
        found.map_or(Vec::new(), |(_, led)| led.clone())
    }

    /// Notes settings reset by the Execute answered now, if any.
    pub(super) fn note_led_back(&mut self) {
        self.settings.startup.due.extend(self.conversation.ledger.led_back_by_execute());
    }

    /// True if the next message waits for another backend, though the current backend is held.
    pub(super) fn is_moving(&mut self) -> bool {
        // Pins found by a state check tie the session to the current backend.
        self.settings.startup.moving &= self.cleanup.pins().is_empty() && !self.statements.is_on_backend();
        self.settings.startup.moving
    }

    /// Gives up the held backend for a backend logged in with the client's options, if nothing is under way there.
    pub(super) fn move_apart(&mut self) -> bool {
        let owes_nothing = self.conversation.ledger.owes_client_nothing();
        let outside = self.conversation.status == TransactionStatus::Idle
            && !self.conversation.in_batch
            && owes_nothing;
        let moves =
            outside && !self.begin.exists() && self.cleanup.is_clean() && !self.statements.is_on_backend();
        self.settings.startup.moving = moves;
        if moves {
            self.backend.note_use();
        }
        moves
    }

    /// Sends the withheld reports to the client, with ReadyForQuery behind them; false if there is nothing to report.
    pub(super) fn send_withheld_reports(&mut self) -> bool {
        let withheld = std::mem::take(&mut self.settings.startup.withheld);
        let mut has_reported = false;
        for name in withheld {
            let reported = self.backend.held().and_then(|held| held.reported.get(&name));
            if let Some(value) = reported
                && self.settings.known.set(&name, value)
            {
                ParameterStatus { name: &name, value }.write(self.outgoing.client());
                has_reported = true;
            }
        }
        if has_reported {
            self.learn();
            backend::write_ready_for_query(self.outgoing.client(), self.conversation.status);
        }
        has_reported
    }

    /// True if settings must be applied again ahead of the client's next message.
    pub(super) fn has_settings_due(&self) -> bool {
        !self.settings.startup.due.is_empty()
    }

    /// Applies settings again within a client's batch, after a reset there.
    pub(super) fn give_due_settings(&mut self) {
        let due = std::mem::take(&mut self.settings.startup.due);
        self.give_again(&due, false);
    }

    /// Applies reset settings again. With `synced` the settings are a separate batch, and the client's request ends
    /// with the batch. False if there is nothing to apply.
    pub(super) fn give_again(&mut self, led: &[LedBack], synced: bool) -> bool {
        let side = self.router.as_ref().map_or(Side::Writer, |split| split.side);
        let startup = std::mem::take(&mut self.settings.startup);
        let pen = if synced { self.pen().map(|(_, pen)| pen) } else { self.pen_within_batch() };
        let own = pen.and_then(|pen| own::write_again(startup.values(led), side, synced, pen));
        self.settings.startup = startup;
        let Some(own) = own else { return false };
        // Values reported by the server from now on are the client's.
        self.settings.leads_back = false;
        if synced {
            self.on_backend_event(BackendEvent::SettingsSent);
        }
        self.owe(Owed::Own(own));
        true
    }
}

impl Pooled {
    /// Settings from the client's start-up packet.
    pub(super) fn first_settings(&self) -> Settings {
        self.settings.startup.settings.clone()
    }

    /// Value reported to the client at login for a setting of the client's start-up packet.
    pub(super) fn first_report(&self, name: &[u8]) -> Option<&[u8]> {
        self.settings.startup.settings.get(&name.to_ascii_lowercase())?;
        self.settings.known.at_login(name)
    }
}

/// Error for a reset of a start-up setting, if further statements would run before the setting is applied again.
pub(super) fn led_back_midway() -> Report<'static> {
    let message =
        "start-up options cannot be reset in the middle of a statement, or of several in one message, here";
    let mut report = Report::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, message);
    report.hint = Some("Send RESET or SET ... TO DEFAULT in a message of its own.".into());
    report
}
