//! A span, as it is sent.

use std::time::Instant;

use super::SpanContext;

/// What names a span in its trace.
pub type SpanId = [u8; 8];

/// Something that took time.
#[derive(Debug, Clone)]
pub struct Span {
    /// What it is called: a word of a closed set.
    pub name: &'static str,
    /// Where it belongs.
    pub context: SpanContext,
    /// It is ours towards the server, rather than something of our own.
    pub towards_server: bool,
    /// When it began.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What is known of it; the names are OpenTelemetry's where it has one.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The SQLSTATE or word of what went wrong.
    pub error: Option<String>,
}

/// What an attribute may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A word of a closed set.
    Word(&'static str),
    /// A number.
    Number(i64),
}
