//! Traces: what a session spends its time on, told to an OpenTelemetry collector.
//!
//! Promises: off, it costs one branch; a span that is not sampled costs nothing more than reading its parent; spans wait in
//! a bounded queue, and what finds no room, or no collector that takes it, is dropped and counted: no session ever waits.
//! Refuses to know: what a statement says, but for the comment that names its parent. No text and no parameter leaves here.
//!
//! It is OTLP over HTTP in plaintext, to a collector on this machine or in this network, written here: of a protocol that
//! changes by addition only, a dozen fields are needed.

mod collector;
mod encode;
mod exporter;
mod parent;
mod settings;
mod span;
mod tracer;

pub use collector::{Collector, CollectorError};
pub use exporter::Exporter;
pub use parent::{Parent, parent_of};
pub use settings::TraceSettings;
pub use span::{Attribute, Span, SpanId};
pub use tracer::{SpanContext, Tracer};
