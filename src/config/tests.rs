//! Messages for configuration mistakes and warnings, word for word.

use super::{Config, ConfigSource, LoadedConfig};

mod clients;
mod combinations;
mod environment;
mod files;
mod mistakes;
mod split;

/// A file without mistakes, as a base for changes.
const GOOD: &str = r#"[[cluster]]
name = "orders"

[[cluster.endpoint]]
name = "primary"
role = "primary"
address = "127.0.0.1:5432"

[[listener]]
name = "app"
bind = "127.0.0.1:15432"
route = "primary"
"#;

fn file(text: &str) -> ConfigSource {
    ConfigSource::text("g.toml", text)
}

fn variables(pairs: &[(&str, &str)]) -> ConfigSource {
    ConfigSource::variables(pairs.iter().copied())
}

fn loaded(source: &ConfigSource) -> LoadedConfig {
    match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems}"),
    }
}

fn config(source: &ConfigSource) -> Config {
    loaded(source).config
}

fn mistakes(source: &ConfigSource) -> Vec<String> {
    match source.load() {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(source: &ConfigSource) -> Vec<String> {
    loaded(source).warnings.iter().map(ToString::to_string).collect()
}

/// `GOOD` with each `from` replaced by `to`.
fn spoiled(changes: &[(&str, &str)]) -> ConfigSource {
    let mut text = GOOD.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    file(&text)
}

/// Rows of changes to `GOOD` (or variables), and all expected messages.
type Cases<'c> = &'c [(&'c [(&'c str, &'c str)], &'c [&'c str])];

/// Checks a table of changes to `GOOD` and expected messages.
#[track_caller]
fn check(say: fn(&ConfigSource) -> Vec<String>, table: Cases<'_>) {
    let mut wrong = Vec::new();
    for (changes, expected) in table {
        let problems = say(&spoiled(changes));
        if problems != *expected {
            wrong.push(format!("{changes:?}\n  reported: {problems:#?}\n  expected: {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_small_file_is_enough() {
    let config = config(&file(GOOD));
    assert_eq!(config.endpoints.len(), 1);
    assert_eq!(config.endpoints[0].endpoint.address.to_string(), "127.0.0.1:5432");
    assert_eq!(config.listeners[0].route.to_string(), "primary");
    assert_eq!(config.admin.unwrap().bind.to_string(), "127.0.0.1:8080");
    assert!(config.audit.is_none());
}
