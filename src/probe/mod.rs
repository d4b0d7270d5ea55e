//! Looks at every endpoint and keeps the topology snapshot: its only writer.

mod settings;

pub use settings::ProbeSettings;
