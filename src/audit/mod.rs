//! The audit log: who did what, where it ran, and why there.

mod settings;

pub use settings::{AuditLevel, AuditOutput, AuditSettings, OnFull, StatementText};
