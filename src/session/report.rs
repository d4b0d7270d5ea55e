//! What is told of a statement once it is over: for the metrics and the audit log.

use std::{sync::Arc, time::Instant};

use crate::{closed_set::closed_set, wire::SqlState};

/// A statement that is over.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it was asked for.
    pub kind: StatementKind,
    /// When its request was read from the client.
    pub started: Instant,
    /// When the end of its answer was read from the server.
    pub ended: Instant,
    /// Rows returned or touched, as the server's CommandComplete says; summed over a Query of several statements.
    pub rows: u64,
    /// The server's command tag without its counts, as `INSERT`; of a Query of several statements that of the first. Known
    /// when texts are kept, of a statement that succeeded.
    pub operation: Option<Box<str>>,
    /// Its error; the first one of a Query.
    pub error: Option<SqlState>,
    /// Its text, when texts are kept.
    pub text: Option<Text>,
}

/// A statement's text, in the client's encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text, from its start.
    pub bytes: Arc<[u8]>,
    /// There was more: beyond the limit, or beyond what was read at one time.
    pub cut: bool,
}

closed_set! {
    /// How a statement was asked for.
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
