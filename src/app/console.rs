//! Builds the console, and publishes the configuration to the console.

use crate::{
    config::{LoadedConfig, Origin},
    console::{ConfigLine, ConsoleSettings},
    live::{Live, Publisher, live},
};

/// The configuration as the console shows it.
pub(super) struct Configured {
    settings: Publisher<ConsoleSettings>,
    lines: Publisher<Vec<ConfigLine>>,
}

/// Settings that are read at the start only: tables, and single keys.
const AT_START: [&str; 5] = ["admin", "audit", "log", "traces", "runtime.workers"];

impl Configured {
    /// The publisher, and the values to read.
    pub(super) fn new(loaded: &LoadedConfig) -> (Self, Live<ConsoleSettings>, Live<Vec<ConfigLine>>) {
        let (settings, shown) = live(loaded.config.console.clone());
        let (lines, shown_lines) = live(lines_of(loaded));
        (Self { settings, lines }, shown, shown_lines)
    }

    /// Publishes a reloaded configuration.
    pub(super) fn publish(&mut self, loaded: &LoadedConfig) {
        self.settings.publish(loaded.config.console.clone());
        self.lines.publish(lines_of(loaded));
    }
}

fn lines_of(loaded: &LoadedConfig) -> Vec<ConfigLine> {
    let at_start = |name: &str| {
        AT_START.iter().any(|key| {
            name.strip_prefix(key).is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
        })
    };
    let line = |setting: &crate::config::Setting| ConfigLine {
        key: setting.name.clone(),
        value: setting.value.clone(),
        is_default: setting.origin == Origin::Default,
        changeable: !at_start(&setting.name),
    };
    loaded.settings.iter().map(line).collect()
}
