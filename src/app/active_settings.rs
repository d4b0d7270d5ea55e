//! The settings in use, by key: changes of a reload, and changes for the next start.

use std::collections::BTreeMap;

use crate::{
    admin::SettingChange,
    config::{Origin, Setting},
};

/// Settings that are read at the start only: tables, and single keys.
const AT_START: [&str; 8] = [
    "admin",
    "audit",
    "log.format",
    "log.connections",
    "metrics",
    "traces",
    "runtime.handover",
    "runtime.workers",
];

/// The settings in use.
pub(super) struct ActiveSettings {
    by_name: BTreeMap<String, Setting>,
}

/// True if a new value of the setting `name` takes effect at the next start.
pub(super) fn needs_restart(name: &str) -> bool {
    AT_START
        .iter()
        .any(|key| name.strip_prefix(key).is_some_and(|behind| behind.is_empty() || behind.starts_with('.')))
}

// === impl ActiveSettings ===

impl ActiveSettings {
    /// The settings of the start.
    pub(super) fn new(settings: Vec<Setting>) -> Self {
        Self { by_name: settings.into_iter().map(|setting| (setting.name.clone(), setting)).collect() }
    }

    /// The differences between `loaded` and the settings in use, in the order of the keys.
    ///
    /// Defaults of a table that was added or removed are no differences.
    pub(super) fn changes(&self, loaded: &[Setting]) -> Vec<SettingChange> {
        let loaded: BTreeMap<&str, &Setting> =
            loaded.iter().map(|setting| (setting.name.as_str(), setting)).collect();
        let removed = self.by_name.values().filter(|setting| !loaded.contains_key(setting.name.as_str()));
        let removed = removed.map(|setting| (setting.name.as_str(), Some(setting), None));
        let present = loaded.iter().map(|(name, setting)| (*name, self.by_name.get(*name), Some(*setting)));
        let mut changes: Vec<SettingChange> =
            removed.chain(present).filter(|(_, from, to)| is_change(*from, *to)).map(change).collect();
        changes.sort_by(|one, other| one.key.cmp(&other.key));
        changes
    }

    /// Takes over `loaded`, except settings that need a restart.
    pub(super) fn adopt(&mut self, loaded: &[Setting]) {
        self.by_name.retain(|name, _| needs_restart(name));
        let changeable = loaded.iter().filter(|setting| !needs_restart(&setting.name));
        self.by_name.extend(changeable.map(|setting| (setting.name.clone(), setting.clone())));
    }
}

fn is_change(from: Option<&Setting>, to: Option<&Setting>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => from.value != to.value || from.hidden != to.hidden,
        (Some(only), None) | (None, Some(only)) => only.origin != Origin::Default,
        (None, None) => false,
    }
}

fn change((name, from, to): (&str, Option<&Setting>, Option<&Setting>)) -> SettingChange {
    let value = |setting: &Setting| setting.value.clone();
    SettingChange {
        key: name.to_owned(),
        from: from.map(value),
        to: to.map(value),
        needs_restart: needs_restart(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigSource;

    const BASE: &str = r#"
        [[cluster]]
        name = "main"
        [[cluster.endpoint]]
        name = "primary"
        role = "primary"
        address = "10.0.0.1:5432"
        insecure_plaintext = true
        tls = { mode = "disable" }
        login = { user = "app", password = { env = "APP_PASSWORD" } }
        [[listener]]
        name = "app"
        bind = "127.0.0.1:15432"
        route = "primary"
        auth = { method = "trust" }
        max_clients = 100
    "#;

    fn settings(more: &str, password: &str) -> Vec<Setting> {
        let source = ConfigSource::text("gatekeeper.toml", &format!("{BASE}{more}"));
        let loaded = source.with_variables([("APP_PASSWORD", password)]).load();
        loaded.unwrap_or_else(|problems| panic!("{problems}")).settings
    }

    fn lines(active: &ActiveSettings, loaded: &[Setting]) -> Vec<String> {
        active.changes(loaded).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_changed_key_is_named_with_both_values() {
        let active = ActiveSettings::new(settings("hold = \"10s\"", "one"));
        assert!(lines(&active, &settings("hold = \"10s\"", "one")).is_empty());
        assert_eq!(lines(&active, &settings("hold = \"20s\"", "one")), ["listener.app.hold: 10s → 20s"]);
        let with_wait = settings("hold = \"10s\"\npool = { size = 5 }", "one");
        assert_eq!(lines(&active, &with_wait), ["listener.app.pool.size: 100 → 5"]);
    }

    #[test]
    fn a_changed_secret_is_named_without_its_value() {
        let active = ActiveSettings::new(settings("", "hunter2"));
        assert_eq!(
            lines(&active, &settings("", "hunter3")),
            ["endpoint.primary.login.password: another value of (secret, env APP_PASSWORD)"]
        );
    }

    #[test]
    fn a_key_waits_for_the_next_start() {
        let mut active = ActiveSettings::new(settings("", "one"));
        let loaded = settings("[log]\nformat = \"json\"\nlevel = \"warn\"", "one");
        let waiting = "log.format: text → json, at the next start";
        assert_eq!(lines(&active, &loaded), [waiting, "log.level: info → warn"]);
        active.adopt(&loaded);
        assert_eq!(lines(&active, &loaded), [waiting], "it still waits");
    }

    #[test]
    fn a_new_table_is_shown_without_its_defaults() {
        let active = ActiveSettings::new(settings("", "one"));
        let loaded = settings(
            "[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:15433\"\nroute = \"primary\"\nauth = { method = \"trust\" }",
            "one",
        );
        assert_eq!(
            lines(&active, &loaded),
            [
                "listener.second.auth.method: unset → trust",
                "listener.second.bind: unset → 127.0.0.1:15433",
                "listener.second.name: unset → second",
                "listener.second.route: unset → primary",
            ]
        );
        let mut active = active;
        active.adopt(&loaded);
        assert_eq!(lines(&active, &settings("", "one"))[0], "listener.second.auth.method: trust → unset");
    }
}
