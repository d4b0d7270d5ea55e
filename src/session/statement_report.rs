//! Report of a finished statement, for metrics and audit log.

use std::{sync::Arc, time::Instant};

use crate::{closed_set::closed_set, wire::SqlState};

/// Finished statement.
#[derive(Debug, Clone)]
pub struct StatementReport {
    /// Message that requested the statement.
    pub kind: StatementKind,
    /// Instant of reading the request from the client.
    pub started: Instant,
    /// Instant of reading the end of the response from the server.
    pub ended: Instant,
    /// Rows returned or changed, by the server's CommandComplete; summed over a Query of several statements.
    pub rows: u64,
    /// SessionStatement tag of the server without its counts, as `INSERT`; of a Query of several statements, that of the first.
    /// Present if texts are captured and the statement succeeded.
    pub operation: Option<Box<str>>,
    /// Error of the statement; of a Query, the first.
    pub error: Option<SqlState>,
    /// Text of the statement, if texts are captured.
    pub text: Option<CapturedText>,
}

/// Text of a statement, in the client's encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedText {
    /// The text, from its start.
    pub bytes: Arc<[u8]>,
    /// True if the end is missing: beyond the limit, or not yet read when the statement started.
    pub is_cut: bool,
}

closed_set! {
    /// Message that requested a statement.
    pub enum StatementKind {
        /// A Query message, possibly of several statements.
        Query = "query",
        /// An Execute message.
        Execute = "execute",
        /// A Parse, Bind or Describe that failed: those that succeed are not statements of their own.
        Prepare = "prepare",
        /// A FunctionCall message.
        FunctionCall = "function-call",
    }
}
