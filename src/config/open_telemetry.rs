//! OpenTelemetry's own variables: they fill in what neither the file nor a variable of Gatekeeper sets.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use super::{
    environment::Environment,
    problem::{Origin, ProblemReport},
    tree::{Item, Table},
};

/// A value with the variable.
type Found = (String, Origin);

/// A kind of telemetry.
struct Signal {
    /// The table.
    table: &'static str,
    /// Part of a variable's name.
    word: &'static str,
    /// Path behind the address of all signals.
    path: &'static str,
}

const TRACES: Signal = Signal { table: "traces", word: "TRACES", path: "/v1/traces" };
const METRICS: Signal = Signal { table: "metrics", word: "METRICS", path: "/v1/metrics" };

/// Fills in `[traces]` and `[metrics]`.
pub(super) fn apply_variables(root: &mut Table, environment: &Environment, report: &ProblemReport) {
    if environment.whole("OTEL_SDK_DISABLED").is_some_and(|(text, _)| text.eq_ignore_ascii_case("true")) {
        root.remove(TRACES.table);
        root.remove(METRICS.table);
        return;
    }
    let interval = environment.whole("OTEL_METRIC_EXPORT_INTERVAL").map(in_milliseconds);
    METRICS.apply(root, environment, report, |_| vec![("interval", interval)]);
    TRACES.apply(root, environment, report, |is_endpoint_found| {
        let ratio = find_ratio(environment, report).or_else(|| {
            // The default sampler of OpenTelemetry samples all without a parent.
            is_endpoint_found.then(|| ("100%".to_owned(), Origin::Default))
        });
        vec![("ratio", ratio)]
    });
}

fn in_milliseconds((text, origin): Found) -> Found {
    (format!("{text}ms"), origin)
}

impl Signal {
    /// Fills in the signal's table, if an address is configured or found; `more` has further keys.
    fn apply(
        &self,
        root: &mut Table,
        environment: &Environment,
        report: &ProblemReport,
        more: impl FnOnce(bool) -> Vec<(&'static str, Option<Found>)>,
    ) {
        let table = root.get(self.table).and_then(Item::as_table);
        let is_configured = table.is_some_and(|table| table.get("endpoint").is_some());
        let endpoint = if is_configured { None } else { self.find_endpoint(environment, report) };
        let Some(origin) = endpoint.as_ref().map(|(_, origin)| origin.clone()).or_else(|| {
            // The table exists: it keeps its position.
            is_configured.then_some(Origin::Default)
        }) else {
            return;
        };
        let mut found = more(endpoint.is_some());
        found.extend([
            ("endpoint", endpoint),
            ("timeout", self.find(environment, "TIMEOUT").map(in_milliseconds)),
            ("ca_file", self.find(environment, "CERTIFICATE")),
            ("headers", self.find(environment, "HEADERS")),
            ("service_name", environment.whole("OTEL_SERVICE_NAME")),
            ("resource_attributes", environment.whole("OTEL_RESOURCE_ATTRIBUTES")),
        ]);
        let table = root.table_mut(self.table, &origin);
        for (key, found) in found {
            if let (None, Some((text, origin))) = (table.get(key), found) {
                table.set(key, Item::text(text, &origin));
            }
        }
    }

    /// A variable of the signal, or else the one for all signals.
    fn find(&self, environment: &Environment, name: &str) -> Option<Found> {
        let all = environment.whole(&format!("OTEL_EXPORTER_OTLP_{name}"));
        environment.whole(&format!("OTEL_EXPORTER_OTLP_{}_{name}", self.word)).or(all)
    }

    /// The collector's address, unless the signal goes elsewhere or by a protocol that is not supported.
    fn find_endpoint(&self, environment: &Environment, report: &ProblemReport) -> Option<Found> {
        let all = environment.whole("OTEL_EXPORTER_OTLP_ENDPOINT");
        // The address for all signals is the base of the paths.
        let all = all.map(|(text, origin)| (format!("{}{}", text.trim_end_matches('/'), self.path), origin));
        let own = environment.whole(&format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", self.word));
        let endpoint = own.or(all)?;
        let exporter = environment.whole(&format!("OTEL_{}_EXPORTER", self.word));
        if exporter.is_some_and(|(text, _)| text != "otlp") {
            return None;
        }
        let protocol = self.find(environment, "PROTOCOL");
        if let Some((text, origin)) = protocol.filter(|(text, _)| text != "http/protobuf") {
            let what = format!("\"{text}\" is not supported, and no {} are sent", self.table);
            let remedy =
                "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the collector's address for HTTP";
            report.warning(&origin, self.table, what, remedy);
            return None;
        }
        Some(endpoint)
    }
}

/// The sampling ratio. A span with a parent is always sampled like the parent.
fn find_ratio(environment: &Environment, report: &ProblemReport) -> Option<Found> {
    let (sampler, origin) = environment.whole("OTEL_TRACES_SAMPLER")?;
    let ratio = match sampler.strip_prefix("parentbased_").unwrap_or(&sampler) {
        "always_on" => Some(1.0),
        "always_off" => Some(0.0),
        "traceidratio" => match environment.whole("OTEL_TRACES_SAMPLER_ARG") {
            None => Some(1.0),
            Some((text, _)) => text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)),
        },
        _ => None,
    };
    match ratio {
        Some(ratio) => Some((format!("{}%", ratio * 100.0), origin)),
        None => {
            let remedy = "set always_on, always_off or traceidratio, with a number from 0 to 1 in OTEL_TRACES_SAMPLER_ARG";
            report.warning(&origin, "traces.ratio", "the sampler is not supported, and ignored", remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{ConfigSource, LoadedConfig};

    const MINIMAL: [(&str, &str); 3] = [
        ("GATEKEEPER_BACKEND_HOST", "127.0.0.1"),
        ("GATEKEEPER_BACKEND_INSECURE_PLAINTEXT", "true"),
        ("GATEKEEPER_BACKEND_TLS_MODE", "disable"),
    ];

    fn load(variables: &[(&str, &str)]) -> LoadedConfig {
        let all = MINIMAL.iter().chain(variables).copied();
        ConfigSource::variables(all).load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The settings of `table`, by key.
    fn settings(table: &str, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        let settings = load(variables).settings.into_iter();
        let key = |name: &str| Some(name.strip_prefix(table)?.strip_prefix('.')?.to_owned());
        settings.filter_map(|it| Some((key(&it.name)?, it.value))).collect()
    }

    /// The settings of `[traces]`, by key.
    fn traces(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings("traces", variables)
    }

    #[test]
    fn the_address_of_all_signals_turns_both_on() {
        let metrics = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example/base/"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
        ];
        let seen = settings("metrics", &metrics);
        assert_eq!(seen["endpoint"], "https://otlp.example:443/base/v1/metrics");
        assert_eq!((&*seen["interval"], &*seen["timeout"]), ("15s", "10s"));
        let seen = traces(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example/base/")]);
        assert_eq!(seen["endpoint"], "https://otlp.example:443/base/v1/traces");
        assert_eq!((&*seen["ratio"], &*seen["timeout"]), ("100%", "10s"));
        let config = load(&[]).config;
        assert!(config.traces.is_none() && config.metrics.is_none());
    }

    #[test]
    fn the_variables_of_traces_come_first() {
        let seen = traces(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all.example:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces.example:4318/here"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"),
            ("OTEL_SERVICE_NAME", "pooler"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,cloud.region=europe-west1"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert_eq!(seen["endpoint"], "http://traces.example:4318/here");
        assert_eq!((&*seen["timeout"], &*seen["ratio"], &*seen["headers"]), ("2s500ms", "25%", "(secret)"));
        assert_eq!(seen["service_name"], "pooler");
        assert!(seen["resource_attributes"].contains("cloud.region=europe-west1"));
        assert!(seen.values().all(|value| !value.contains("hunter2")));
    }

    #[test]
    fn gatekeepers_own_settings_come_before() {
        let seen = traces(&[
            ("GATEKEEPER_TRACES_ENDPOINT", "http://own.example:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all.example:4318"),
            ("OTEL_SERVICE_NAME", "pooler"),
        ]);
        assert_eq!(seen["endpoint"], "http://own.example:4318/v1/traces");
        assert_eq!((&*seen["ratio"], &*seen["service_name"]), ("0%", "pooler"));
    }

    #[test]
    fn variables_turn_signals_off() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all.example:4318");
        let config = load(&[all, ("OTEL_METRICS_EXPORTER", "none")]).config;
        assert!(config.metrics.is_none() && config.traces.is_some());
        let config = load(&[all, ("OTEL_SDK_DISABLED", "true")]).config;
        assert!(config.metrics.is_none());
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all.example:4318");
        let own = ("GATEKEEPER_TRACES_ENDPOINT", "http://own.example:4318");
        for variables in [
            &[endpoint, ("OTEL_SDK_DISABLED", "true")][..],
            &[own, ("OTEL_SDK_DISABLED", "TRUE")],
            &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(load(variables).config.traces.is_none(), "{variables:?}");
        }
        let loaded = load(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert!(loaded.config.traces.is_none());
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.iter().any(|warning| warning.contains("\"grpc\" is not supported")), "{warnings:?}");
    }
}
