//! Publishes the configuration to the console, and compares reloads with it.

use super::active_settings::{ActiveSettings, needs_restart};
use crate::{
    admin::SettingChange,
    config::{LoadedConfig, Origin},
    console::{ConfigLine, ConsoleSettings},
    live::{Live, Publisher, live},
};

/// The configuration as the console shows it.
pub(super) struct Configured {
    settings: Publisher<ConsoleSettings>,
    lines: Publisher<Vec<ConfigLine>>,
    active: ActiveSettings,
}

impl Configured {
    /// The publisher, and the values to read.
    pub(super) fn new(loaded: &LoadedConfig) -> (Self, Live<ConsoleSettings>, Live<Vec<ConfigLine>>) {
        let (settings, shown) = live(loaded.config.console.clone());
        let (lines, shown_lines) = live(lines_of(loaded));
        let active = ActiveSettings::new(loaded.settings.clone());
        (Self { settings, lines, active }, shown, shown_lines)
    }

    /// Publishes a reloaded configuration; returns its differences to the settings in use.
    pub(super) fn publish(&mut self, loaded: &LoadedConfig) -> Vec<SettingChange> {
        let changes = self.active.changes(&loaded.settings);
        self.active.adopt(&loaded.settings);
        self.settings.publish(loaded.config.console.clone());
        self.lines.publish(lines_of(loaded));
        changes
    }
}

fn lines_of(loaded: &LoadedConfig) -> Vec<ConfigLine> {
    let line = |setting: &crate::config::Setting| ConfigLine {
        key: setting.name.clone(),
        value: setting.value.clone(),
        is_default: setting.origin == Origin::Default,
        changeable: !needs_restart(&setting.name),
    };
    loaded.settings.iter().map(line).collect()
}
