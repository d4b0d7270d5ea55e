//! The audit log: who did what, where it ran, and why there.
//!
//! JSON Lines, one object a line, described by `schema.json` beside this file. Promises: `seq` has no gap within a
//! `boot_id`; what could not be written is said in a line of its own; a file holds whole lines; no password reaches it,
//! and without `statements = "full"` no literal does. Refuses to know: how a statement was routed, what a client is told
//! when the log is full.
//!
//! What may be lost, and when. With `on_full = "shed"`: what finds no room. With `block`: that a client came which was not let
//! in, and what happened once the queue and as much spare room are full, where nobody can be made to wait (a token minted, a
//! backend closed). Both are counted and said. When the process is killed: what stands in the queue, which is 5 ms if the
//! disk keeps up. When the machine fails: what was not synced, as `sync` has it. A failed sync is logged and counted; what it
//! was about cannot be known.

mod chain;
mod handle;
mod line;
mod queue;
mod reads;
pub mod record;
mod settings;
mod sink;
mod text;
pub mod verify;
mod writer;

pub use handle::{Audit, AuditError, Submit};
pub use record::Record;
pub use settings::{AuditLevel, AuditOutput, AuditSettings, OnFull, StatementText, SyncPolicy};

/// The JSON Schema of a line.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests;
