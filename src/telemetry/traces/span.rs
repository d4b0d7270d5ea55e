//! A span.

use std::time::Instant;

use super::SpanContext;

/// Identifies a span in its trace.
pub type SpanId = [u8; 8];

/// A timed operation.
#[derive(Debug, Clone)]
pub struct Span {
    /// Name from a closed set.
    pub name: &'static str,
    /// Position in the trace.
    pub context: SpanContext,
    /// True for a request to the server, false for internal work.
    pub towards_server: bool,
    /// Start.
    pub started: Instant,
    /// End.
    pub ended: Instant,
    /// Attributes, with OpenTelemetry's names where defined.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// SQLSTATE or description of the error.
    pub error: Option<String>,
}

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A value from a closed set.
    Word(&'static str),
    /// A number.
    Number(i64),
}
