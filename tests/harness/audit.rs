//! The audit log of a running program.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use super::until;

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited(pub Value);

impl Audited {
    /// The value of `key` as text; empty when it is not there.
    pub fn text(&self, key: &str) -> String {
        match &self.0[key] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    pub fn action(&self) -> String {
        self.text("event.action")
    }
}

/// Every line of the log at `path`; fails on one that is no JSON object.
pub fn audited(path: &Path) -> Vec<Audited> {
    let log = fs::read_to_string(path).unwrap_or_default();
    // The last line may still be on its way.
    let whole = log.rfind('\n').map_or("", |end| &log[..=end]);
    whole.lines().map(|line| Audited(serde_json::from_str(line).unwrap())).collect()
}

/// Waits for a line that `wanted` likes, and returns all lines.
pub async fn audited_until(path: &Path, wanted: impl Fn(&Audited) -> bool) -> Vec<Audited> {
    until(Duration::from_secs(10), async || {
        let lines = audited(path);
        if lines.iter().any(&wanted) { Ok(lines) } else { Err(lines) }
    })
    .await
}
