//! Settings of traces: `[traces]`.

use super::{problem::Origin, reader::Section};
use crate::telemetry::traces::{Collector, CollectorError, TraceSettings};

/// Default capacity of the span queue.
const DEFAULT_QUEUE_SPANS: usize = 4096;

/// Reads `[traces]`; without the table, tracing is off.
pub(super) fn read_traces(root: &Section<'_>) -> Option<TraceSettings> {
    let section = root.table("traces", "traces")?;
    let form = "write a collector's address, as in \"http://127.0.0.1:4318\"";
    let read = |text: &str| {
        text.parse::<Collector>().map_err(|error: CollectorError| format!("cannot be \"{text}\": {error}"))
    };
    let collector = section.parsed("endpoint", read, form).map(|spot| spot.value);
    if collector.is_none() && !section.has_key("endpoint") {
        section.missing("endpoint", "endpoint = \"http://127.0.0.1:4318\"");
    }
    let form = "write a part of a hundred, from \"0%\" to \"100%\"";
    let per_million = match section.has_key("ratio") {
        true => section.parsed("ratio", parse_percent, form).map(|spot| spot.value.0),
        false => {
            section.record("ratio", "0%", &Origin::Default);
            Some(0)
        }
    };
    let queue = section.count("queue", 1, DEFAULT_QUEUE_SPANS);
    Some(TraceSettings { collector: collector?, per_million: per_million?, queue })
}

/// Parts per million, shown as configured.
struct Part(u32);

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
fn parse_percent(text: &str) -> Result<Part, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    number
        .map(|number| Part((number * 10_000.0).round() as u32))
        .ok_or_else(|| format!("cannot be \"{text}\""))
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}
