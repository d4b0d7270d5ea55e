//! OpenTelemetry's own variables: they fill in what neither the file nor a variable of Gatekeeper sets.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use super::{
    environment::Environment,
    problem::{Origin, ProblemReport},
    tree::{Item, Table},
};

/// A value and its variable.
type Found = (String, Origin);

/// Fills in `[traces]`.
pub(super) fn apply_variables(root: &mut Table, environment: &Environment, report: &ProblemReport) {
    if environment.whole("OTEL_SDK_DISABLED").is_some_and(|(text, _)| text.eq_ignore_ascii_case("true")) {
        root.remove("traces");
        return;
    }
    let is_configured = root.get("traces").and_then(Item::as_table).is_some_and(has_endpoint);
    let endpoint = if is_configured { None } else { find_endpoint(environment, report) };
    if !is_configured && endpoint.is_none() {
        return;
    }
    let origin = endpoint.as_ref().map_or(Origin::Default, |(_, origin)| origin.clone());
    let traces = root.table_mut("traces", &origin);
    let ratio = find_ratio(environment, report).or_else(|| {
        // The default sampler of OpenTelemetry: what has no parent is sampled.
        endpoint.is_some().then(|| ("100%".to_owned(), Origin::Default))
    });
    let timeout = of_traces(environment, "TIMEOUT").map(|(text, origin)| (format!("{text}ms"), origin));
    for (key, found) in [
        ("endpoint", endpoint),
        ("ratio", ratio),
        ("timeout", timeout),
        ("ca_file", of_traces(environment, "CERTIFICATE")),
        ("headers", of_traces(environment, "HEADERS")),
        ("service_name", environment.whole("OTEL_SERVICE_NAME")),
        ("resource_attributes", environment.whole("OTEL_RESOURCE_ATTRIBUTES")),
    ] {
        if let (None, Some((text, origin))) = (traces.get(key), found) {
            traces.set(key, Item::text(text, &origin));
        }
    }
}

fn has_endpoint(traces: &Table) -> bool {
    traces.get("endpoint").is_some()
}

/// A variable for traces, or else the one for all signals.
fn of_traces(environment: &Environment, name: &str) -> Option<Found> {
    let all = environment.whole(&format!("OTEL_EXPORTER_OTLP_{name}"));
    environment.whole(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or(all)
}

/// The collector's address, unless spans go elsewhere or by a protocol that is not supported.
fn find_endpoint(environment: &Environment, report: &ProblemReport) -> Option<Found> {
    let all = environment.whole("OTEL_EXPORTER_OTLP_ENDPOINT");
    // The address for all signals is the base of the paths.
    let all = all.map(|(text, origin)| (format!("{}/v1/traces", text.trim_end_matches('/')), origin));
    let endpoint = environment.whole("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(all)?;
    if environment.whole("OTEL_TRACES_EXPORTER").is_some_and(|(text, _)| text != "otlp") {
        return None;
    }
    if let Some((text, origin)) = of_traces(environment, "PROTOCOL").filter(|(text, _)| text != "http/protobuf") {
        let what = format!("\"{text}\" is not supported, and no traces are sent");
        let remedy = "set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf, and the collector's address for HTTP";
        report.warning(&origin, "traces", what, remedy);
        return None;
    }
    Some(endpoint)
}

/// The sampling ratio. What has a parent is always sampled as its parent is.
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

    /// The settings of `[traces]`, by key.
    fn traces(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        let settings = load(variables).settings.into_iter();
        let ours = settings.filter_map(|it| Some((it.name.strip_prefix("traces.")?.to_owned(), it.value)));
        ours.collect()
    }

    #[test]
    fn the_address_of_all_signals_turns_traces_on() {
        let seen = traces(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example/base/")]);
        assert_eq!(seen["endpoint"], "https://otlp.example:443/base/v1/traces");
        assert_eq!((&*seen["ratio"], &*seen["timeout"]), ("100%", "10s"));
        assert!(load(&[]).config.traces.is_none());
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
        assert_eq!((&*seen["timeout"], &*seen["ratio"], &*seen["headers"]), ("2500ms", "25%", "(secret)"));
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
    fn variables_turn_traces_off() {
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
