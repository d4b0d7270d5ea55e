//! What is said to somebody who wrote a configuration: each mistake and each warning, word for word.

use super::{Config, ConfigSource, Loaded};

/// A file without a mistake, to be spoiled.
const GOOD: &str = r#"
[[cluster]]
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

fn loaded(source: &ConfigSource) -> Loaded {
    match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems}"),
    }
}

fn config(source: &ConfigSource) -> Config {
    loaded(source).config
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

#[test]
fn one_variable_is_enough() {
    let config = config(&ConfigSource::variables([("GATEKEEPER_BACKEND_HOST", "127.0.0.1")]));
    assert_eq!(config.endpoints[0].endpoint.name.as_str(), "primary");
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:15432");
    assert_eq!(config.listeners[0].route.to_string(), "endpoint:primary");
}
