//! Settings of split listeners.

use std::time::Duration;

use super::*;
use crate::{
    pool::PoolMode,
    route::{Consistency, Hints, RoutePolicy, SplitSettings, WhenNoReader},
};

/// A split listener between a primary and a read pool, with `more` keys.
fn split(more: &str) -> String {
    format!(
        r#"[[cluster]]
name = "orders"
login = {{ user = "app", password = "p" }}

[[cluster.endpoint]]
name = "primary"
role = "primary"
address = "127.0.0.1:5432"

[[cluster.endpoint]]
name = "reads"
role = "read-pool"
address = "127.0.0.1:5433"

[[listener]]
name = "app"
bind = "127.0.0.1:15432"
route = "split"
auth = {{ method = "trust" }}
pool = {{ mode = "transaction" }}
{more}"#
    )
}

fn settings(text: &str) -> SplitSettings {
    match &config(&file(text)).listeners[0].route {
        RoutePolicy::Split(settings) => SplitSettings::clone(settings),
        other => panic!("{other}"),
    }
}

#[test]
fn a_listener_that_splits_needs_no_more_than_the_word() {
    assert_eq!(settings(&split("")), SplitSettings::default());
    let pool = &config(&file(&split(""))).listeners[0].pool;
    assert!(pool.splits && pool.mode == PoolMode::Transaction);
    assert!(!config(&file(GOOD)).listeners[0].pool.splits);
}

#[test]
fn every_key_of_split_is_read() {
    let text = split(
        r#"when_no_reader = "refuse"
consistency = "bounded"
max_lag = "1s"
freshness_wait = "50ms"
read_deadline = "2s"
hints = "all"
primary_only = ["Shop.Outbox", "migrations"]
secondary_read_pools = true

[runtime]
local_region = "eu"
"#,
    );
    let expected = SplitSettings {
        when_no_reader: WhenNoReader::Refuse,
        consistency: Consistency::Bounded,
        max_lag: Duration::from_secs(1),
        freshness_wait: Duration::from_millis(50),
        read_deadline: Duration::from_secs(2),
        hints: Hints::All,
        primary_only: vec!["shop.outbox".parse().unwrap(), "migrations".parse().unwrap()],
        local_region: Some("eu".to_owned()),
        secondary_read_pools: true,
    };
    assert_eq!(settings(&text), expected);
}

#[test]
fn the_words_are_those_that_the_router_knows() {
    for level in Consistency::ALL {
        assert_eq!(settings(&split(&format!("consistency = \"{}\"", level.as_str()))).consistency, level);
    }
    for hints in Hints::ALL {
        assert_eq!(settings(&split(&format!("hints = \"{}\"", hints.as_str()))).hints, hints);
    }
}

#[test]
fn the_environment_says_it_too() {
    let variables = [
        ("GATEKEEPER_LISTEN_CONSISTENCY", "eventual"),
        ("GATEKEEPER_APP_LISTEN_PRIMARY_ONLY", "a.b,c"),
        ("GATEKEEPER_LOCAL_REGION", "us"),
    ];
    let config = config(&file(&split("")).with_variables(variables));
    let RoutePolicy::Split(settings) = &config.listeners[0].route else { panic!("it splits") };
    assert_eq!(settings.consistency, Consistency::Eventual);
    assert_eq!(settings.primary_only.len(), 2);
    assert_eq!(settings.local_region.as_deref(), Some("us"));
}

#[test]
fn what_cannot_be_split_is_refused_with_what_to_write() {
    let problems_of = |text: &str| mistakes(&file(text));
    assert_eq!(
        problems_of(&split("").replace("pool = { mode = \"transaction\" }\n", "")),
        [
            "g.toml:18:9: listener.app.route: cannot split for sessions that keep one backend for life (pool mode \"session\"); write pool = { mode = \"transaction\" }, or \"primary\" or \"read-pool\" here"
        ]
    );
    let passthrough = split("").replace("login = { user = \"app\", password = \"p\" }\n", "");
    let passthrough =
        passthrough.replace("auth = { method = \"trust\" }\npool = { mode = \"transaction\" }\n", "");
    assert_eq!(
        problems_of(&passthrough),
        [
            "g.toml:17:9: listener.app.route: cannot split for a client that authenticates at the server itself: it keeps one backend for life; give the endpoints a token command or a password and the listener auth = { method = \"scram\", … }, or write \"primary\" or \"read-pool\""
        ]
    );
    assert_eq!(
        problems_of(&split("primary_only = [\"a b\"]\nhints = \"some\"")),
        [
            "g.toml:21:17: listener.app.primary_only: cannot be \"a b\": a relation is named as in `schema.table` or `table`, each part in double quotes where SQL wants them; write \"schema.table\" or \"table\"",
            "g.toml:22:9: listener.app.hints: cannot be \"some\"; write one of \"off\", \"primary\", \"all\"",
        ]
    );
    assert_eq!(
        problems_of(&split("consistency = \"session\"").replace("\"split\"", "\"primary\"")),
        ["g.toml:21:15: listener.app.consistency: goes with route = \"split\" only; remove it"]
    );
}
