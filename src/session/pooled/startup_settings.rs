//! Settings of a client's start-up packet, for backends logged in without the settings.
//!
//! `RESET` restores the start-up values, unknown to a backend logged in without the values. After each resetting
//! statement the session applies the settings again, before anything else runs. If statements would run in between
//! (several statements in a Query, a `DO`), a session without a transaction moves to backends logged in with the
//! client's options. Within a transaction the statement is rejected.

use crate::{
    session::{
        batch_writer::GivenSetting, reported_parameters::APPLICATION_NAME, setting_values::SettingValues,
    },
    sql::{self, Effects, SettingReset, SettingResets},
};

/// A client's start-up settings.
#[derive(Default)]
pub(in crate::session) struct StartupSettings {
    /// Values restored by `RESET`, as far as unknown to the held backend.
    values: SettingValues,
    mode: StartupMode,
    /// Portals bound in the transaction, with the settings reset by the portals' statements.
    portals: Vec<BoundPortal>,
    due: DueSettings,
    /// Names of the settings reported while Gatekeeper applied settings.
    withheld: Vec<Box<[u8]>>,
}

/// Settings to apply again ahead of the client's next message.
#[derive(Default)]
enum DueSettings {
    #[default]
    None,
    /// An Execute has reset some.
    Reset(Vec<SettingReset>),
    /// `DISCARD ALL` has cleared all in an unfinished batch.
    Discarded,
}

/// How backends get the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum StartupMode {
    /// The only setting is `application_name`, if any: no statement reads the value in between.
    #[default]
    NameOnly,
    /// The session applies the settings on each backend.
    Carried,
    /// As [`Self::Carried`], but the held backend is given up for a backend logged in with the client's options.
    Moving,
    /// Backends logged in with the client's options serve the session.
    Apart,
}

/// Portal, with the settings reset by the portal's statement.
type BoundPortal = (Box<[u8]>, Vec<SettingReset>);

/// Effects of statements able to reset a setting.
pub(in crate::session) const MAY_RESET_SETTINGS: Effects =
    Effects::SETTINGS_ALL.union(Effects::SETTINGS_LOCAL);

// === impl StartupSettings ===

impl StartupSettings {
    /// Creates the state of a client with the start-up `values`.
    pub(super) fn new(values: SettingValues) -> Self {
        let is_carried = values.entries().iter().any(|entry| *entry.name != *APPLICATION_NAME);
        let mode = if is_carried { StartupMode::Carried } else { StartupMode::NameOnly };
        Self { values, mode, ..Self::default() }
    }

    /// Values restored by `RESET`, as far as unknown to the held backend.
    pub(in crate::session) const fn values(&self) -> &SettingValues {
        &self.values
    }

    /// True if the session's backends must have logged in with the client's options.
    pub(in crate::session) fn is_apart(&self) -> bool {
        self.mode == StartupMode::Apart
    }

    /// True if the session applies start-up settings other than the name.
    pub(in crate::session) fn is_carried(&self) -> bool {
        matches!(self.mode, StartupMode::Carried | StartupMode::Moving)
    }

    // --- moving to backends logged in with the client's options

    /// Gives up the held backend, if `may_move`, for a backend logged in with the client's options.
    pub(in crate::session) fn begin_move(&mut self, may_move: bool) {
        self.mode = match self.mode {
            StartupMode::Carried | StartupMode::Moving if may_move => StartupMode::Moving,
            StartupMode::Moving => StartupMode::Carried,
            mode => mode,
        };
    }

    /// True if the held backend is given up.
    pub(in crate::session) fn is_moving(&self) -> bool {
        self.mode == StartupMode::Moving
    }

    /// Notes the return of the held backend. If backends logged in with the client's options serve from now on, returns
    /// the part of `settings` to apply there.
    pub(in crate::session) fn on_return(&mut self, settings: &SettingValues) -> Option<SettingValues> {
        if self.mode != StartupMode::Moving {
            return None;
        }
        self.mode = StartupMode::Apart;
        let first = std::mem::take(&mut self.values);
        self.values = SettingValues::default().with(APPLICATION_NAME, first.get(APPLICATION_NAME));
        let known = first.entries().iter().filter(|entry| *entry.name != *APPLICATION_NAME);
        let known = known.filter(|entry| settings.get(&entry.name) == Some(&entry.value));
        Some(settings.with_all(known.map(|entry| (&*entry.name, None))))
    }

    // --- resets

    /// Start-up settings reset by a statement with `effects`.
    pub(in crate::session) fn reset_by(&self, effects: Effects, statement: &[u8]) -> SettingResets {
        if !self.is_carried() || !effects.intersects(MAY_RESET_SETTINGS) {
            return SettingResets::No;
        }
        sql::find_setting_resets(statement, |name| self.values.get(name).is_some())
    }

    /// Notes the settings reset by a statement bound to `portal`; false if the statement must be rejected.
    pub(in crate::session) fn note_portal(
        &mut self,
        portal: &[u8],
        effects: Effects,
        statement: &[u8],
    ) -> bool {
        let reset = self.reset_by(effects, statement);
        if !self.portals.is_empty() {
            self.portals.retain(|(bound, _)| **bound != *portal);
        }
        match reset {
            SettingResets::No => true,
            SettingResets::AtEnd(settings) => {
                self.portals.push((portal.into(), settings));
                true
            }
            SettingResets::Midway => false,
        }
    }

    /// Settings reset by an Execute of `portal`.
    pub(in crate::session) fn reset_by_portal(&self, portal: &[u8]) -> Vec<SettingReset> {
        let found = self.portals.iter().find(|(bound, _)| **bound == *portal);
        found.map_or(Vec::new(), |(_, settings)| settings.clone())
    }

    /// Forgets the portals of a finished transaction.
    pub(in crate::session) fn forget_portals(&mut self) {
        self.portals.clear();
    }

    /// Notes settings reset by an executed statement, to apply again.
    pub(in crate::session) fn note_reset(&mut self, settings: Vec<SettingReset>) {
        match &mut self.due {
            DueSettings::Reset(due) => due.extend(settings),
            _ if settings.is_empty() => {}
            due => *due = DueSettings::Reset(settings),
        }
    }

    /// Takes the settings to apply again ahead of the client's next message.
    pub(in crate::session) fn take_due(&mut self) -> Vec<SettingReset> {
        match std::mem::take(&mut self.due) {
            DueSettings::Reset(due) => due,
            due => {
                self.due = due;
                Vec::new()
            }
        }
    }

    /// True if settings must be applied again ahead of the client's next message.
    pub(in crate::session) fn has_due(&self) -> bool {
        matches!(self.due, DueSettings::Reset(_))
    }

    /// Notes settings cleared by `DISCARD ALL`, within a batch or not.
    pub(in crate::session) fn on_discard_all(&mut self, in_batch: bool) {
        self.portals.clear();
        self.due = if in_batch { DueSettings::Discarded } else { DueSettings::None };
    }

    /// True once if the held backend needs the settings ahead of a message, as the batch continues after `DISCARD ALL`.
    pub(in crate::session) fn take_discarded(&mut self, ends_batch: bool) -> bool {
        let is_discarded = matches!(self.due, DueSettings::Discarded);
        if is_discarded {
            self.due = DueSettings::None;
        }
        is_discarded && !ends_batch
    }

    /// Forgets what was due in a failed batch: its resets are rolled back, and the next batch applies the settings cleared
    /// by `DISCARD ALL`.
    pub(in crate::session) fn on_failed_batch(&mut self) {
        self.due = DueSettings::None;
    }

    /// Values of the `reset` settings.
    pub(in crate::session) fn values_of<'a>(
        &'a self,
        reset: &'a [SettingReset],
    ) -> impl Iterator<Item = GivenSetting<'a>> {
        let entries = self.values.entries();
        let of = move |reset: &'a SettingReset| {
            let matches = move |name: &[u8]| reset.name.as_deref().is_none_or(|wanted| wanted == name);
            entries.iter().filter(move |entry| matches(&entry.name)).map(move |entry| GivenSetting {
                name: &entry.name,
                value: &entry.value,
                local: reset.local,
            })
        };
        reset.iter().flat_map(of)
    }

    // --- reports

    /// True if the report of the setting `name` has to wait for the client's next ReadyForQuery, as on a dedicated backend.
    /// `applies` means a report while Gatekeeper applies settings, possibly in the middle of the client's batch.
    pub(in crate::session) fn withholds_report(&mut self, name: &[u8], applies: bool) -> bool {
        self.withheld.retain(|withheld| **withheld != *name);
        if applies {
            self.withheld.push(name.into());
        }
        applies
    }

    /// Takes the names of the withheld reports.
    pub(in crate::session) fn take_withheld(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.withheld)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFECTS: Effects = Effects::SETTINGS_ALL;

    fn startup() -> StartupSettings {
        let values =
            SettingValues::default().with(b"application_name", Some(b"a")).with(b"work_mem", Some(b"1MB"));
        StartupSettings::new(values)
    }

    fn names(startup: &StartupSettings, reset: &[SettingReset]) -> Vec<String> {
        let name = |setting: GivenSetting<'_>| String::from_utf8_lossy(setting.name).into_owned();
        startup.values_of(reset).map(name).collect()
    }

    #[test]
    fn a_name_alone_is_never_in_the_way() {
        let name = StartupSettings::new(SettingValues::default().with(b"application_name", Some(b"a")));
        assert!(!name.is_carried());
        assert_eq!(name.reset_by(EFFECTS, b"RESET ALL"), SettingResets::No);
    }

    #[test]
    fn a_reset_is_due_after_its_portal() {
        let mut startup = startup();
        assert!(startup.note_portal(b"p", EFFECTS, b"RESET work_mem"));
        assert!(startup.reset_by_portal(b"").is_empty());
        let reset = startup.reset_by_portal(b"p");
        assert_eq!(names(&startup, &reset), ["work_mem"]);
        startup.note_reset(reset);
        assert!(startup.has_due());
        startup.on_failed_batch();
        assert!(!startup.has_due(), "a failed batch is rolled back");
        startup.forget_portals();
        assert!(startup.reset_by_portal(b"p").is_empty());
    }

    #[test]
    fn a_reset_in_the_middle_is_rejected() {
        let mut startup = startup();
        assert!(!startup.note_portal(b"", EFFECTS, b"DO $$BEGIN RESET work_mem; END$$"));
        let both = startup.reset_by(EFFECTS, b"RESET work_mem; SELECT 1");
        assert_eq!(both, SettingResets::Midway);
    }

    #[test]
    fn discard_all_counts_within_a_batch_only() {
        let mut startup = startup();
        startup.on_discard_all(false);
        assert!(!startup.take_discarded(false));
        startup.on_discard_all(true);
        assert!(startup.take_discarded(false) && !startup.take_discarded(false));
        startup.on_discard_all(true);
        assert!(!startup.take_discarded(true), "the batch is over");
    }

    #[test]
    fn a_session_that_has_moved_applies_no_more() {
        let mut startup = startup();
        let settings = startup.values().with(b"role", Some(b"joe"));
        assert!(startup.on_return(&settings).is_none());
        startup.begin_move(true);
        startup.begin_move(false);
        assert!(!startup.is_moving() && startup.is_carried());
        startup.begin_move(true);
        let left = startup.on_return(&settings).expect("the session moves");
        let names: Vec<_> = left.entries().iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, [&b"application_name"[..], b"role"]);
        assert!(startup.is_apart() && !startup.is_carried());
    }

    #[test]
    fn a_withheld_report_is_taken_once() {
        let mut startup = startup();
        assert!(startup.withholds_report(b"TimeZone", true) && startup.withholds_report(b"TimeZone", true));
        assert!(startup.withholds_report(b"DateStyle", true));
        assert!(!startup.withholds_report(b"DateStyle", false), "a later report is current");
        assert_eq!(startup.take_withheld(), [Box::from(&b"TimeZone"[..])]);
        assert!(startup.take_withheld().is_empty());
    }
}
