//! Promises in files that people copy: example configurations load and list every setting; dashboards, alerts and the
//! runbook use existing names.

#![expect(clippy::print_stderr, reason = "a skipped test reports the reason")]

#[path = "harness/grafana/mod.rs"]
mod grafana;
#[path = "harness/pages.rs"]
mod page;

#[path = "contract/alerts.rs"]
mod alerts;
#[path = "contract/commands.rs"]
mod commands;
#[path = "contract/dashboards.rs"]
mod dashboards;
#[path = "contract/entrance.rs"]
mod entrance;
#[path = "contract/metrics.rs"]
mod metrics;
#[path = "contract/pages.rs"]
mod pages;
#[path = "contract/runbook.rs"]
mod runbook;

use std::{
    fs,
    path::{Path, PathBuf},
};

use gatekeeper::testing::config::{Config, ConfigSource, KEYS, variables};

/// A file of `config/`.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn text_of(name: &str) -> String {
    fs::read_to_string(shipped(name)).expect("shipped files are readable")
}

/// Loads without the mentioned files, which belong to another machine.
fn load(source: ConfigSource) -> Result<Config, Vec<String>> {
    match source.without_references().load() {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
    }
}

fn load_text(text: &str) -> Result<Config, Vec<String>> {
    load(ConfigSource::text("example.toml", text))
}

/// The mistakes that no other setting could put right.
fn wrong_by_themselves(problems: Vec<String>) -> Vec<String> {
    let faults =
        ["unknown key", "unknown variable", "cannot be", "cannot listen", "is not a ", "stands twice"];
    problems.into_iter().filter(|problem| faults.iter().any(|fault| problem.contains(fault))).collect()
}

/// One `key = value` of an example, live or commented out.
struct Line {
    number: usize,
    table: String,
    key: String,
    live: bool,
    /// Marked as having no default, or part of a table that is commented out.
    marked: bool,
}

/// Every key of a TOML example with its table.
fn lines_of(text: &str) -> Vec<Line> {
    let mut table = String::new();
    let mut table_is_live = true;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let live = !line.starts_with('#');
        let line = line.trim_start_matches("# ");
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
            table_is_live = live;
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.trim_end().chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            let marked = value.contains("# no default") || !table_is_live;
            lines.push(Line { number, table: table.clone(), key: key.trim_end().to_owned(), live, marked });
        }
    }
    lines
}

/// The text with one line replaced.
fn with_line(text: &str, number: usize, line: &str) -> String {
    let lines: Vec<&str> =
        text.lines().enumerate().map(|(at, old)| if at == number { line } else { old }).collect();
    lines.join("\n")
}

#[test]
fn every_example_loads() {
    let mut seen = 0;
    let folders = ["", "debian", "kubernetes", "kubernetes/sidecar"].map(shipped);
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("there are examples"));
    for path in entries.map(|entry| entry.expect("its entries are readable").path()) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).expect("shipped files are readable");
            if let Err(problems) = load_text(&text) {
                panic!("{}:\n{}", path.display(), problems.join("\n"));
            }
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} examples were found");
}

#[test]
fn the_complete_example_has_every_key() {
    let text = text_of("example.toml");
    let lines = lines_of(&text);
    let missing: Vec<String> = KEYS
        .iter()
        .filter(|key| !lines.iter().any(|line| line.table == key.table && line.key == key.name))
        .map(|key| format!("{}.{}", key.table, key.name))
        .collect();
    assert!(missing.is_empty(), "config/example.toml lacks {missing:?}");
}

#[test]
fn each_key_of_the_complete_example_stands_at_its_default() {
    let text = text_of("example.toml");
    let whole = load_text(&text).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    let mut checked = 0;
    for Line { number, table, key, live, marked } in lines_of(&text) {
        if live && !marked {
            let without = load_text(&with_line(&text, number, ""))
                .unwrap_or_else(|problems| panic!("without {table}.{key}: {}", problems.join("\n")));
            assert!(without == whole, "{table}.{key} does not stand at its default");
            checked += 1;
        }
    }
    assert!(checked > 25, "only {checked} defaults were checked");
}

#[test]
fn commented_keys_of_the_complete_example_load() {
    let text = text_of("example.toml");
    for Line { number, table, key, live, .. } in lines_of(&text) {
        let line = text.lines().nth(number).unwrap_or_default();
        if !live
            && !table.starts_with("admin.tls")
            && let Err(problems) = load_text(&with_line(&text, number, line.trim_start_matches("# ")))
        {
            let wrong = wrong_by_themselves(problems);
            assert!(wrong.is_empty(), "{table}.{key}: {}", wrong.join("\n"));
        }
    }
}

/// A line `NAME=value`.
type Variable = (String, String);

/// The variables of `config/compose.env`: live ones, and those commented out.
fn environment() -> (Vec<Variable>, Vec<Variable>) {
    let (mut live, mut commented) = (Vec::new(), Vec::new());
    for line in text_of("compose.env").lines() {
        let is_live = !line.starts_with('#');
        if let Some((name, value)) = line.trim_start_matches('#').split_once('=')
            && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        {
            let list = if is_live { &mut live } else { &mut commented };
            list.push((name.to_owned(), value.to_owned()));
        }
    }
    (live, commented)
}

#[test]
fn the_environment_of_the_example_loads_alone() {
    let (live, _) = environment();
    let config =
        load(ConfigSource::variables(live)).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    assert_eq!(config.listeners.len(), 1);
}

#[test]
fn the_environment_of_the_example_has_every_variable_and_no_other() {
    let (live, commented) = environment();
    let mut written: Vec<&String> = live.iter().chain(&commented).map(|(name, _)| name).collect();
    let mut known: Vec<String> = variables().collect();
    written.sort();
    known.sort();
    assert_eq!(written, known.iter().collect::<Vec<_>>());
}

#[test]
fn commented_variables_of_the_environment_load() {
    let (live, commented) = environment();
    for (name, value) in commented {
        let mut all = live.clone();
        all.push((name.clone(), value));
        if let Err(problems) = load(ConfigSource::variables(all)) {
            let wrong = wrong_by_themselves(problems);
            assert!(wrong.is_empty(), "{name}: {}", wrong.join("\n"));
        }
    }
}

#[test]
fn the_configuration_of_the_readme_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).expect("shipped files are readable");
    let (_, rest) = text.split_once("```toml\n").expect("the README has a configuration");
    let (config, _) = rest.split_once("```").expect("it ends");
    assert_eq!(load_text(config).err(), None);
}
