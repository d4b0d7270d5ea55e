//! What an operator may say about the audit log.

use std::{path::PathBuf, time::Duration};

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// Where records go.
    pub output: AuditOutput,
    /// Which records are written.
    pub level: AuditLevel,
    /// How much of a statement's text is written.
    pub statements: StatementText,
    /// What happens when the queue is full.
    pub on_full: OnFull,
    /// Records that may wait. Default 65 536.
    pub queue: usize,
    /// With `Block`: how long a client waits for room before it is refused. Default 5 s.
    pub block_timeout: Duration,
    /// Bytes after which a file is rotated by us; `None` leaves rotation to others. Default none.
    pub rotate_bytes: Option<u64>,
    /// Bytes of statement text kept. Default 8 KiB.
    pub max_text: usize,
    /// When what was written is made to reach the disk.
    pub sync: SyncPolicy,
    /// Whether each line carries the hash of the one before.
    pub hash_chain: bool,
}

/// When what was written is made to reach the disk. It matters when the machine fails: what was written survives the end of
/// the process, however it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// When the kernel thinks fit: its last half minute or so may be missing.
    #[default]
    Never,
    /// When so much time has passed, which is what may be missing.
    Interval(Duration),
    /// After each write: what is in the file is on the disk.
    Batch,
}

/// Where audit records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditOutput {
    /// Appended to this file, created with mode 0640.
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
    /// And every statement that may write, by its text.
    Writes,
    /// And every statement.
    Statements,
}

/// How much of a statement's text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatementText {
    /// Nothing.
    None,
    /// A hash that is the same for statements that differ only in literals.
    Fingerprint,
    /// The text with its literals replaced by the server's own grammar.
    #[default]
    Normalized,
    /// The text as sent; statements that carry passwords are still redacted.
    Full,
}

/// What happens when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Clients wait, for a bounded time, then are refused.
    Block,
    /// Records are dropped and counted; what was lost is written as soon as there is room.
    #[default]
    Shed,
}
