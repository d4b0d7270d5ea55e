//! OTLP over HTTP: where spans and metrics are sent to, and how.
//!
//! Promises: a request ends within its time limit; headers, which may hold a key, are never logged. Refuses to know:
//! spans and metrics. Implemented here, because only a few fields are needed, and the protocol only ever adds fields.

mod collector;
mod connection;
mod export_headers;
mod export_target;
pub(super) mod protobuf;
mod resource;
mod sender;

pub use collector::{Collector, CollectorError};
pub use export_headers::ExportHeaders;
pub use export_target::ExportTarget;
pub use resource::Resource;
pub(super) use sender::OtlpSender;
