//! The audit log: who ran which statement, on which endpoint, and why there.
//!
//! JSON Lines, one object per line, described by `schema.json` beside this file. Promises: `seq` has no gap within a
//! `boot_id`; lost records are reported in a line of their own; a file holds whole lines; passwords never reach the
//! log, and literals only with `statements = "full"`. Refuses to know: routing, and the error that a client receives
//! while the log is full.
//!
//! Possible losses. With `on_full = "shed"`: records beyond the queue. With `block`: records of rejected connections,
//! and, once the queue and the spare room of equal size are full, records of events that cannot wait (a minted token, a
//! closed backend). Both are counted and reported. A killed process loses the queue: about 5 ms of records while the
//! disk keeps up. A failed machine loses unsynced records, as configured by `sync`. A failed sync is logged and
//! counted; the affected records are unknown.

mod chain;
mod handle;
mod line;
mod log_writer;
mod queue;
mod reads;
pub mod record;
mod settings;
mod sink;
mod text;
pub mod verify;

pub use handle::{Audit, AuditCondition, AuditError, Submit};
pub use record::Record;
pub use settings::{AuditLevel, AuditOutput, AuditSettings, OnFull, StatementText, SyncPolicy};

/// The JSON Schema of a line.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests;
