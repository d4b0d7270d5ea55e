//! Programs of Prometheus, where they are installed.

use std::process::Command;

/// With the value `required`, tests that need Prometheus fail without it; otherwise such tests are skipped.
pub const REQUIRED: &str = "GATEKEEPER_TEST_PROMETHEUS";

/// A command for `prometheus` or `promtool`; `None`: skip the test.
pub fn tool(name: &str) -> Option<Command> {
    if Command::new(name).arg("--version").output().is_ok() {
        return Some(Command::new(name));
    }
    let required = std::env::var(REQUIRED).is_ok_and(|value| value == "required");
    assert!(!required, "{name} is not installed, and {REQUIRED} requires {name}: run .ci/setup prometheus");
    eprintln!("skipped: no {name} on this machine (.ci/setup prometheus)");
    None
}
