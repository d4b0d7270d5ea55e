//! The audit log of a running program.

use std::{fs, path::Path, process::Command, sync::LazyLock, time::Duration};

use serde_json::Value;

use super::until;

#[path = "../../src/audit/tests/schema.rs"]
mod schema;

static SCHEMA: LazyLock<schema::Schema> =
    LazyLock::new(|| schema::Schema::new(gatekeeper::testing::audit::SCHEMA));

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited(pub Value);

impl Audited {
    /// The value of `key` as text; empty without a value.
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

/// Every line of the log at `path`; fails on a line that violates the schema.
pub fn audited(path: &Path) -> Vec<Audited> {
    let log = fs::read_to_string(path).unwrap_or_default();
    // The last line may still be on its way.
    let whole = log.rfind('\n').map_or("", |end| &log[..=end]);
    let lines =
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    lines
        .map(|line| {
            assert_eq!(SCHEMA.faults(&line), [""; 0], "{line:#}");
            Audited(line)
        })
        .collect()
}

/// Waits for a line that `wanted` likes, and returns all lines.
pub async fn audited_until(path: &Path, wanted: impl Fn(&Audited) -> bool) -> Vec<Audited> {
    until(Duration::from_secs(10), async || {
        let lines = audited(path);
        if lines.iter().any(&wanted) { Ok(lines) } else { Err(lines) }
    })
    .await
}

/// Every line of the rotated files of the log at `path`, in order of `seq`.
pub fn audited_in_all(path: &Path) -> Vec<Audited> {
    let mut lines: Vec<_> = files(path).iter().flat_map(|file| audited(file)).collect();
    lines.sort_by_key(|line| line.0["seq"].as_u64());
    lines
}

/// The files of a log that was rotated.
pub fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let files = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with(&name)).collect()
}

/// Output and exit code of `gatekeeper audit verify` for all files of the log at `path`.
pub fn verified(path: &Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatekeeper"));
    let output = command.args(["audit", "verify"]).args(options).args(files(path)).output().unwrap();
    assert_eq!(output.stderr, b"", "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}
