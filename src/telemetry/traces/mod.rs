//! Traces: where sessions spend their time, sent to an OpenTelemetry collector.
//!
//! Promises: if off, tracing costs one branch; an unsampled span costs only the search for its parent; spans wait in a
//! bounded queue, and are dropped and counted if the queue is full or the collector fails: sessions never wait. Refuses
//! to know: statement texts, except for the comment that names the parent. No text and no parameter is sent.

mod encode;
mod exporter;
mod parent;
mod settings;
mod span;
mod tracer;

pub use exporter::Exporter;
pub use parent::{Parent, parent_of};
pub use settings::TraceSettings;
pub use span::{Attribute, Span, SpanId};
pub use tracer::{SpanContext, Tracer};
