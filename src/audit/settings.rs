//! Settings of the audit log.

use std::{path::PathBuf, time::Duration};

/// Settings of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// Destination of records.
    pub output: AuditOutput,
    /// Which records are written.
    pub level: AuditLevel,
    /// Form of a statement's text in records.
    pub statements: StatementText,
    /// Behavior while the queue is full.
    pub on_full: OnFull,
    /// Capacity of the queue in records. Default 65 536.
    pub queue: usize,
    /// With `Block`: maximum wait of a client for room before its request is refused. Default 5 s.
    pub block_timeout: Duration,
    /// Size in bytes at which Gatekeeper rotates the file; `None` leaves rotation to other programs. Default none.
    pub rotate_bytes: Option<u64>,
    /// Bytes of statement text kept. Default 8 KiB.
    pub max_text: usize,
    /// When written records are synced to disk.
    pub sync: SyncPolicy,
    /// True if each line carries the hash of the line before.
    pub hash_chain: bool,
}

/// When written records are synced to disk. Only a failing machine loses unsynced records; written records survive the
/// end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Never; the kernel writes within about half a minute, which is the possible loss.
    #[default]
    Never,
    /// At this interval, which is the possible loss.
    Interval(Duration),
    /// After each write.
    Batch,
}

/// Destination of audit records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditOutput {
    /// Appended to the file, created with mode 0640.
    File(PathBuf),
    /// Standard output, for containers.
    Stdout,
}

/// Which records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AuditLevel {
    /// Sessions, logins, topology, credentials, configuration, admin requests.
    #[default]
    Sessions,
    /// Also statements that may write, according to their text.
    Writes,
    /// Also every statement.
    Statements,
}

/// Form of a statement's text in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatementText {
    /// No text.
    None,
    /// A hash that is equal for statements that differ only in literals.
    Fingerprint,
    /// The text without literals and comments.
    #[default]
    Normalized,
    /// The text as sent; statements that carry passwords are still redacted.
    Full,
}

/// Behavior while the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Clients wait for a bounded time, then requests are refused.
    Block,
    /// Records are dropped and counted; the loss is recorded once the queue has room.
    #[default]
    Shed,
}
