//! Spans as OTLP's protocol buffers.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Attribute, Span};
use crate::telemetry::otlp::{
    Resource,
    protobuf::{write_bytes, write_fixed, write_message, write_number, write_resource},
};

/// Both clocks at one time: spans are measured with the monotonic clock and reported in wall-clock time.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    pub(super) instant: Instant,
    pub(super) time: SystemTime,
}

/// `SpanKind`
const INTERNAL: u64 = 1;
const CLIENT: u64 = 3;
/// `StatusCode`
const ERROR: u64 = 2;

/// `ExportTraceServiceRequest` with all of `spans`.
pub(super) fn encode_request(spans: &[Span], resource: &Resource, clocks: Clocks) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.len() * 320 + 128);
    write_message(&mut out, 1, |resource_spans| {
        write_resource(resource_spans, 1, resource);
        write_message(resource_spans, 2, |scope_spans| {
            write_message(scope_spans, 1, |scope| write_bytes(scope, 1, b"gatekeeper"));
            for span in spans {
                write_message(scope_spans, 2, |out| write_span(out, span, clocks));
            }
        });
    });
    out
}

fn write_span(out: &mut Vec<u8>, span: &Span, clocks: Clocks) {
    write_bytes(out, 1, &span.context.trace);
    write_bytes(out, 2, &span.context.span);
    if let Some(parent) = &span.context.parent {
        write_bytes(out, 4, parent);
    }
    write_bytes(out, 5, span.name.as_bytes());
    write_number(out, 6, if span.towards_server { CLIENT } else { INTERNAL });
    write_fixed(out, 7, clocks.unix_nanoseconds(span.started));
    write_fixed(out, 8, clocks.unix_nanoseconds(span.ended));
    for (name, value) in &span.attributes {
        write_attribute(out, 9, name, value);
    }
    if let Some(error) = &span.error {
        write_attribute(out, 9, "error.type", &Attribute::Text(error.clone()));
        write_message(out, 15, |status| write_number(status, 3, ERROR));
    }
}

/// `KeyValue`
fn write_attribute(out: &mut Vec<u8>, field: u64, name: &str, value: &Attribute) {
    write_message(out, field, |pair| {
        write_bytes(pair, 1, name.as_bytes());
        write_message(pair, 2, |any| match value {
            Attribute::Text(text) => write_bytes(any, 1, text.as_bytes()),
            Attribute::Word(word) => write_bytes(any, 1, word.as_bytes()),
            Attribute::Number(value) => write_number(any, 3, value.cast_unsigned()),
        });
    });
}

// === impl Clocks ===

impl Clocks {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// Nanoseconds since 1970.
    fn unix_nanoseconds(self, moment: Instant) -> u64 {
        let time = match moment.checked_duration_since(self.instant) {
            Some(later) => self.time.checked_add(later),
            None => self.time.checked_sub(self.instant.saturating_duration_since(moment)),
        };
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}
