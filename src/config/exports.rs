//! Settings of traces, and of metrics that are sent: `[traces]`, `[metrics]`.

use std::time::Duration;

use super::{problem::Origin, reader::Section, secret};
use crate::telemetry::{
    MetricExportSettings,
    otlp::{Collector, CollectorError, ExportHeaders, ExportTarget, Resource},
    traces::TraceSettings,
};

/// Default capacity of the span queue.
const DEFAULT_QUEUE_SPANS: usize = 4096;
/// Default time limit of a request, as in OpenTelemetry.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default interval of metrics, as in OpenTelemetry.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Reads `[traces]`; without the table, tracing is off.
pub(super) fn read_traces(root: &Section<'_>) -> Option<TraceSettings> {
    let section = root.table("traces", "traces")?;
    let target = read_target(&section, "/v1/traces");
    let form = "write a part of a hundred, from \"0%\" to \"100%\"";
    let per_million = match section.has_key("ratio") {
        true => section.parsed("ratio", parse_percent, form).map(|spot| spot.value.0),
        false => {
            section.record("ratio", "0%", &Origin::Default);
            Some(0)
        }
    };
    let queue = section.count("queue", 1, DEFAULT_QUEUE_SPANS);
    Some(TraceSettings { target: target?, per_million: per_million?, queue })
}

/// Reads `[metrics]`; without the table, metrics are not sent.
pub(super) fn read_metrics(root: &Section<'_>) -> Option<MetricExportSettings> {
    let section = root.table("metrics", "metrics")?;
    let target = read_target(&section, "/v1/metrics");
    let interval = section.positive_duration("interval", DEFAULT_INTERVAL);
    Some(MetricExportSettings { target: target?, interval })
}

/// Reads the keys that both tables have.
fn read_target(section: &Section<'_>, default_path: &str) -> Option<ExportTarget> {
    let form = "write a collector's address, as in \"http://127.0.0.1:4318\"";
    let read = |text: &str| {
        let failed = |error: CollectorError| format!("cannot be \"{text}\": {error}");
        Collector::parse(text, default_path).map_err(failed)
    };
    let collector = section.parsed("endpoint", read, form).map(|spot| spot.value);
    if collector.is_none() && !section.has_key("endpoint") {
        section.missing("endpoint", "endpoint = \"http://127.0.0.1:4318\"");
    }
    let timeout = section.positive_duration("timeout", DEFAULT_TIMEOUT);
    let ca_file = section.path("ca_file").map(|spot| spot.value);
    if let Some(file) = ca_file.as_ref().filter(|file| section.context.follow && !file.is_file()) {
        let what = format!("file {} does not exist", file.display());
        section.problem("ca_file", what, "name a file of CA certificates in PEM");
    }
    let (headers, resource) = (read_headers(section), read_resource(section));
    Some(ExportTarget { collector: collector?, ca_file, headers, timeout, resource })
}

fn read_headers(section: &Section<'_>) -> ExportHeaders {
    let Some(text) = secret::read_secret(section, "headers") else { return ExportHeaders::default() };
    // A placeholder has no form.
    if !section.context.follow {
        return ExportHeaders::default();
    }
    text.reveal().parse().unwrap_or_else(|error| {
        let remedy = "write name=value,name=value with percent-encoded values";
        section.problem("headers", format!("{error}"), remedy);
        ExportHeaders::default()
    })
}

fn read_resource(section: &Section<'_>) -> Resource {
    let form = "write name=value,name=value with percent-encoded values";
    let read = |text: &str| text.parse::<Resource>().map_err(|error| error.to_string());
    let resource = section.parsed("resource_attributes", read, form).map(|spot| spot.value);
    let resource = resource.unwrap_or_default();
    match section.text("service_name") {
        Some(name) => resource.with_service_name(&name.value),
        None => resource,
    }
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
