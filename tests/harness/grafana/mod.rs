//! Contents of `grafana/`, read for tests: dashboards, alerts, the queries of both, and their faults.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses its own part")]

mod dashboard;
mod faults;
mod promql;
mod rules;
mod tool;

use std::path::{Path, PathBuf};

pub use dashboard::{Dashboard, Panel, Target, Variable};
pub use faults::{faults, faults_of_query, faults_of_set};
pub use promql::{Query, Selector};
pub use rules::{Alert, alerts};
pub use tool::{REQUIRED, tool};

/// A file of `grafana/`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(name)
}

/// Text of a file.
pub fn text(name: &str) -> String {
    let path = file(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
