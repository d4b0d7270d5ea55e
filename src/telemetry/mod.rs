//! Metrics and the program's own log.

mod settings;

pub use settings::{LogFormat, LogSettings};
