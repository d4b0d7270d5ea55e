//! Builds the program from a configuration, reloads it, ends it.

mod settings;

pub use settings::RuntimeSettings;
