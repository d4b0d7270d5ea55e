//! Settings of a session: the values it has, and the values reported to its client.

use super::startup_settings::MAY_RESET_SETTINGS;
use crate::{
    session::{
        batch_writer::SESSION_AUTHORIZATION,
        reported_parameters::{ReportedParameters, of_its_kind},
        session_tag::SessionTag,
        setting_values::{SETTINGS_MAX_BYTES, SettingValues},
        state_check::StateReport,
        tracked_backend_state::TrackedBackendState,
    },
    sql::Effects,
};

/// Settings of a session.
pub(in crate::session) struct SessionSettings {
    values: SettingValues,
    /// Values reported to the client.
    reported: ReportedParameters,
    /// A statement of the transaction may have reset settings.
    may_be_reset: bool,
    /// Kept in `application_name`, whatever the client sets.
    tag: Option<SessionTag>,
}

/// Treatment of a setting's report by the server.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) enum SettingReport {
    /// The client gets the report.
    Forward,
    /// The client knows the value.
    Known,
    /// The client gets the start-up value instead: `RESET` restores the value unknown to the backend.
    Replace(Vec<u8>),
}

/// Client encodings with ASCII bytes as possible second bytes of a character. None is a server encoding.
/// <https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED>
const UNREADABLE_ENCODINGS: [&[u8]; 7] =
    [b"BIG5", b"GB18030", b"GBK", b"JOHAB", b"SHIFT_JIS_2004", b"SJIS", b"UHC"];

// === impl SessionSettings ===

impl SessionSettings {
    /// Creates the settings of a client with the `startup` values, and `reported` values of the server.
    pub(super) fn new(startup: SettingValues, reported: ReportedParameters) -> Self {
        Self { values: startup, reported, may_be_reset: false, tag: None }
    }

    /// Keeps `tag` in `application_name`.
    pub(in crate::session) fn set_tag(&mut self, tag: SessionTag) {
        self.tag = Some(tag);
    }

    /// Values of the session.
    pub(in crate::session) const fn values(&self) -> &SettingValues {
        &self.values
    }

    /// Values reported to the client.
    pub(in crate::session) const fn reported(&self) -> &ReportedParameters {
        &self.reported
    }

    /// Restores the `startup` values: `DISCARD ALL`.
    pub(in crate::session) fn on_discard_all(&mut self, startup: &SettingValues) {
        self.values = startup.clone();
    }

    /// Replaces the values, after a move to other backends.
    pub(in crate::session) fn set_values(&mut self, values: SettingValues) {
        self.values = values;
    }

    /// Notes a leased backend; `is_standby` means a standby. Returns the reports for the client, of values changed by the
    /// server's configuration.
    pub(in crate::session) fn on_lease(
        &mut self,
        held: &mut TrackedBackendState,
        is_standby: bool,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        if !held.shares_settings(&mut self.values) {
            return Vec::new();
        }
        let reported = held.reported();
        // A client served by both sides sees one server, which takes writes.
        let agrees =
            if is_standby { reported.says_as(&self.reported) } else { reported.agrees(&self.reported) };
        if agrees {
            return Vec::new();
        }
        let news: Vec<_> = reported
            .iter()
            .filter(|(name, value)| self.reported.get(name) != Some(value))
            .filter(|(name, _)| !(is_standby && of_its_kind(name)))
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        for (name, value) in &news {
            self.reported.set(name, value);
        }
        news
    }

    /// Handles a report of the server; `is_default` means the value of the backend's login. `startup` holds the settings of
    /// the client's start-up packet.
    pub(in crate::session) fn on_report(
        &mut self,
        name: &[u8],
        value: &[u8],
        is_default: bool,
        startup: &SettingValues,
    ) -> SettingReport {
        // `RESET` restores the client's start-up value, unknown to the backend.
        if self.may_be_reset
            && is_default
            && let Some(first) = self.startup_report(name, startup)
        {
            let first = first.to_vec();
            return if self.set_reported(name, &first) {
                SettingReport::Replace(first)
            } else {
                SettingReport::Known
            };
        }
        if self.set_reported(name, value) { SettingReport::Forward } else { SettingReport::Known }
    }

    /// Handles the report of a state check; `login` is the login user of the backend, and `startup` holds the settings of the
    /// client's start-up packet. Returns the settings of the backend; `None` if too large.
    pub(in crate::session) fn on_state_report(
        &mut self,
        seen: &StateReport,
        login: Option<&[u8]>,
        startup: &SettingValues,
    ) -> Option<SettingValues> {
        let before = if seen.all { SettingValues::default() } else { self.values.clone() };
        // The default session user is the login user of the backend.
        let is_default = |name: &[u8], value: Option<&[u8]>| {
            name == SESSION_AUTHORIZATION && value == login && self.values.get(name).is_none()
        };
        let seen_now = seen.settings.iter().filter(|(name, value)| {
            !name.starts_with(b"transaction_") && !is_default(name, value.as_deref())
        });
        let held = before.with_all(seen_now.map(|(name, value)| (&**name, value.as_deref())));
        if held.bytes() > SETTINGS_MAX_BYTES {
            return None;
        }
        self.values = held.clone();
        // The next statement applies start-up settings cleared by `DISCARD ALL`.
        if seen.all {
            let gone = startup.entries().iter().filter(|entry| held.get(&entry.name).is_none());
            self.values = held.with_all(gone.map(|entry| (&*entry.name, Some(&*entry.value))));
        }
        // The next statement applies the tag that the client's `SET` has removed.
        if let Some(tag) = &self.tag {
            self.values = tag.apply_to_values(&self.values);
        }
        Some(held)
    }

    /// Notes a value reported to the client; false if the client knows the value.
    pub(in crate::session) fn set_reported(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.reported.set(name, value)
    }

    /// Value reported to the client at login for a setting of the client's start-up packet.
    fn startup_report(&self, name: &[u8], startup: &SettingValues) -> Option<&[u8]> {
        startup.get(&name.to_ascii_lowercase())?;
        self.reported.at_login(name)
    }

    /// True if characters of the client's encoding may contain ASCII bytes: the server reads texts differently from
    /// Gatekeeper.
    fn is_unreadable(&self) -> bool {
        let encoding = self.reported.get(b"client_encoding");
        encoding.is_some_and(|encoding| UNREADABLE_ENCODINGS.contains(&encoding))
    }

    /// Notes a statement with possible side `effects`.
    pub(in crate::session) fn note(&mut self, effects: Effects) {
        self.may_be_reset |= effects.intersects(MAY_RESET_SETTINGS);
    }

    /// Notes that reset settings are applied again: reported values are the client's from now on.
    pub(in crate::session) fn on_applied_again(&mut self) {
        self.may_be_reset = false;
    }

    /// Handles the end of a transaction.
    pub(in crate::session) fn on_settled(&mut self) {
        self.may_be_reset = false;
    }

    /// Possible side effects of `text`, with the apparent `effects`.
    pub(in crate::session) fn proved(&self, effects: Effects, text: &[u8]) -> Effects {
        // Excludes sequences: all sessions would have to track sequence use.
        const ANYTHING: Effects =
            Effects::ALL.without(Effects::SEQUENCE_READ.union(Effects::SEQUENCE_MOVE).union(Effects::BLOCK));
        if !text.is_ascii() && self.is_unreadable() { effects.union(ANYTHING) } else { effects }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::handshake::Parameters;
    use crate::session::{pooled::startup_settings::StartupSettings, tests::fresh_backend};

    fn reported(values: &[(&str, &str)]) -> ReportedParameters {
        let mut reported = ReportedParameters::new(Parameters::default().into());
        for (name, value) in values {
            reported.set(name.as_bytes(), value.as_bytes());
        }
        reported
    }

    fn settings(values: &[(&str, &str)]) -> SessionSettings {
        SessionSettings::new(SettingValues::default(), reported(values))
    }

    fn report(settings: &mut SessionSettings, zone: &str) -> SettingReport {
        settings.on_report(b"TimeZone", zone.as_bytes(), false, &SettingValues::default())
    }

    #[test]
    fn a_report_is_forwarded_once() {
        let mut settings = settings(&[("TimeZone", "UTC")]);
        assert_eq!(report(&mut settings, "UTC"), SettingReport::Known);
        assert_eq!(report(&mut settings, "CET"), SettingReport::Forward);
        assert_eq!(report(&mut settings, "CET"), SettingReport::Known);
    }

    #[test]
    fn changed_configuration_is_reported_at_the_lease() {
        let mut settings = settings(&[("TimeZone", "UTC")]);
        let mut backend = fresh_backend();
        for (name, value) in [(&b"TimeZone"[..], &b"CET"[..]), (b"in_hot_standby", b"on")] {
            backend.note_report(name, value);
        }
        backend.note_settings(SettingValues::default().with(b"work_mem", Some(b"1MB")));
        assert!(settings.on_lease(&mut backend, false).is_empty(), "settings are applied first");
        backend.note_settings(SettingValues::default());
        let news = settings.on_lease(&mut backend, true);
        assert_eq!(news, [(b"TimeZone".to_vec(), b"CET".to_vec())], "a standby looks like the writer");
        assert!(settings.on_lease(&mut backend, true).is_empty());
    }

    #[test]
    fn texts_in_some_encodings_may_do_anything() {
        for (encoding, is_readable) in [("UTF8", true), ("SJIS", false)] {
            let settings = settings(&[("client_encoding", encoding)]);
            assert!(settings.proved(Effects::NONE, b"SELECT 1").is_empty());
            let proved = settings.proved(Effects::NONE, b"SELECT '\x83\\'");
            assert_eq!(proved.is_empty(), is_readable, "{encoding}");
        }
    }

    #[test]
    fn a_name_set_by_the_client_gets_the_tag() {
        let mut settings = settings(&[]);
        settings.set_tag(SessionTag::new("b", 7));
        let name = (Arc::from(&b"application_name"[..]), Some(Box::from(&b"job"[..])));
        let report = StateReport { pins: None, settings: vec![name], all: false, statements: None };
        let held = settings.on_state_report(&report, None, &SettingValues::default()).unwrap();
        assert_eq!(held.get(b"application_name"), Some(&b"job"[..]), "what the backend has");
        assert_eq!(settings.values().get(b"application_name"), Some(&b"job gk:b:7"[..]));
    }

    #[test]
    fn discard_all_restores_the_startup_values() {
        let values = SettingValues::default().with(b"work_mem", Some(b"1MB"));
        let mut startup = StartupSettings::new(values.clone());
        let mut settings = SessionSettings::new(values.clone(), reported(&[]));
        settings.set_values(values.with(b"role", Some(b"joe")));
        settings.on_discard_all(startup.values());
        startup.on_discard_all(true);
        assert!(*settings.values() == values && startup.take_discarded(false));
    }
}
