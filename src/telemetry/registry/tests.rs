use super::*;
use crate::telemetry::catalog::{AUDIT_RECORDS, CLIENTS, ENDPOINT_INFO, PROBE_DURATION, TOKEN_EXPIRY};

fn endpoint(name: &str) -> Labels {
    vec![(Label::Endpoint, name.into()), (Label::BackendRole, "primary".into())]
}

/// The page's value of a series.
fn shown(registry: &MetricRegistry, series: &str) -> String {
    let page = registry.render();
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{page}")).to_owned()
}

#[test]
fn workers_that_count_at_once_lose_nothing() {
    let registry = MetricRegistry::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let counter = registry.counter(&AUDIT_RECORDS, Vec::new());
            scope.spawn(move || (0..1000).for_each(|_| counter.increment()));
        }
    });
    assert_eq!(shown(&registry, "gatekeeper_audit_records_total"), "4000");
}

#[test]
fn a_level_raised_by_one_worker_and_lowered_by_another_is_zero() {
    let registry = MetricRegistry::new();
    let labels = || vec![(Label::Listener, "app".into()), (Label::State, "idle".into())];
    registry.level(&CLIENTS, labels()).increment();
    registry.level(&CLIENTS, labels()).decrement();
    assert_eq!(shown(&registry, "gatekeeper_clients{listener=\"app\",state=\"idle\"}"), "0");
}

#[test]
fn handles_made_again_go_on_with_the_same_numbers() {
    let registry = MetricRegistry::new();
    registry.counter(&AUDIT_RECORDS, Vec::new()).add(3);
    registry.counter(&AUDIT_RECORDS, Vec::new()).add(4);
    registry.gauge(&TOKEN_EXPIRY, endpoint("a"), f64::NAN).set(5.0);
    let _again = registry.gauge(&TOKEN_EXPIRY, endpoint("a"), f64::NAN);
    assert_eq!(shown(&registry, "gatekeeper_audit_records_total"), "7");
    let series = "gatekeeper_token_expiry_timestamp_seconds{endpoint=\"a\",backend_role=\"primary\"}";
    assert_eq!(shown(&registry, series), "5");
}

#[test]
fn a_histogram_shows_cumulative_buckets_sum_and_count() {
    let registry = MetricRegistry::new();
    let histogram = registry.histogram(&PROBE_DURATION, endpoint("a"));
    let labels = "endpoint=\"a\",backend_role=\"primary\"";
    let bucket = |bound: &str| {
        shown(&registry, &format!("gatekeeper_probe_duration_seconds_bucket{{{labels},le=\"{bound}\"}}"))
    };
    assert_eq!((bucket("0.00025"), bucket("+Inf")), ("0".into(), "0".into()), "before the first record");
    // A bound belongs to its own bucket: `le` means "at most".
    for micros in [250, 251] {
        histogram.record(Duration::from_micros(micros));
    }
    registry.run_upkeep();
    histogram.record(Duration::from_secs(20));
    assert_eq!(bucket("0.00025"), "1");
    assert_eq!(bucket("0.001"), "2");
    assert_eq!(bucket("10"), "2");
    assert_eq!(bucket("+Inf"), "3");
    let sum: f64 =
        shown(&registry, &format!("gatekeeper_probe_duration_seconds_sum{{{labels}}}")).parse().unwrap();
    assert!((sum - 20.000_501).abs() < 1e-9, "{sum}");
    assert_eq!(shown(&registry, &format!("gatekeeper_probe_duration_seconds_count{{{labels}}}")), "3");
}

#[test]
fn moments_keep_all_their_digits_and_unknown_ones_are_not_numbers() {
    let registry = MetricRegistry::new();
    let gauge = registry.gauge(&TOKEN_EXPIRY, endpoint("a"), f64::NAN);
    let series = "gatekeeper_token_expiry_timestamp_seconds{endpoint=\"a\",backend_role=\"primary\"}";
    assert_eq!(shown(&registry, series), "NaN");
    gauge.set(1_795_012_345.678);
    assert_eq!(shown(&registry, series), "1795012345.678");
}

#[test]
fn label_values_are_escaped() {
    let registry = MetricRegistry::new();
    let mut labels = endpoint("a");
    labels.extend([(Label::Cluster, "c".into()), (Label::Region, "a\"b\\c\nd".into())]);
    registry.gauge(&ENDPOINT_INFO, labels, 1.0);
    assert!(registry.render().contains(r#"region="a\"b\\c\nd"} 1"#));
}

#[test]
#[should_panic(expected = "the catalogue lists other labels")]
fn a_series_with_other_labels_than_the_catalogue_says_cannot_be_made() {
    MetricRegistry::new().counter(&AUDIT_RECORDS, endpoint("a"));
}
