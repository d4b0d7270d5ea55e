//! Traces: where sessions spend their time, sent to an OpenTelemetry collector.
//!
//! Promises: if off, tracing costs one branch; an unsampled span costs only the search for its parent; spans wait in a
//! bounded queue, and are dropped and counted if the queue is full or the collector fails: sessions never wait. Refuses
//! to know: statement texts, except for the comment that names the parent. No text and no parameter is sent.
//!
//! OTLP over HTTP, in plaintext or with TLS. Implemented here, because only a dozen fields are needed, and the
//! protocol only ever adds fields.

mod collector;
mod connection;
mod encode;
mod export_headers;
mod exporter;
mod parent;
mod resource;
mod settings;
mod span;
mod tracer;

pub use collector::{Collector, CollectorError};
pub use export_headers::{ExportHeaders, ExportHeadersError};
pub use exporter::Exporter;
pub use parent::{Parent, parent_of};
pub use resource::{Resource, ResourceError};
pub use settings::TraceSettings;
pub use span::{Attribute, Span, SpanId};
pub use tracer::{SpanContext, Tracer};
