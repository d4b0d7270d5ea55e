use super::*;
use crate::telemetry::catalog::{AUDIT_RECORDS, CLIENTS, ENDPOINT_INFO, PROBE_DURATION, TOKEN_EXPIRY};

fn endpoint(name: &str) -> Labels {
    vec![(Label::Endpoint, name.into()), (Label::BackendRole, "primary".into())]
}

#[test]
fn workers_count_apart_and_are_shown_as_one() {
    let registry = Registry::default();
    std::thread::scope(|scope| {
        for shard in 0..4 {
            let counter = registry.counter(&AUDIT_RECORDS, Vec::new(), shard);
            scope.spawn(move || (0..1000).for_each(|_| counter.increment()));
        }
    });
    assert!(registry.render().ends_with("\ngatekeeper_audit_records_total 4000\n"));
}

#[test]
fn a_level_raised_on_one_worker_and_lowered_on_another_is_zero() {
    let registry = Registry::default();
    let labels = || vec![(Label::Listener, "app".into()), (Label::State, "idle".into())];
    registry.level(&CLIENTS, labels(), 1).increment();
    registry.level(&CLIENTS, labels(), 2).decrement();
    assert!(registry.render().ends_with("gatekeeper_clients{listener=\"app\",state=\"idle\"} 0\n"));
}

#[test]
fn handles_made_again_go_on_with_the_same_numbers() {
    let registry = Registry::default();
    registry.counter(&AUDIT_RECORDS, Vec::new(), 0).add(3);
    registry.counter(&AUDIT_RECORDS, Vec::new(), 0).add(4);
    assert!(registry.render().contains("gatekeeper_audit_records_total 7\n"));
}

#[test]
fn a_histogram_shows_cumulative_buckets_sum_and_count() {
    let registry = Registry::default();
    let histogram = registry.histogram(&PROBE_DURATION, endpoint("a"), 0);
    // A bound belongs to its own bucket: `le` means "at most".
    for micros in [100, 101, 20_000_000] {
        histogram.record(Duration::from_micros(micros));
    }
    let page = registry.render();
    let labels = "endpoint=\"a\",backend_role=\"primary\"";
    for line in [
        format!("gatekeeper_probe_duration_seconds_bucket{{{labels},le=\"0.0001\"}} 1\n"),
        format!("gatekeeper_probe_duration_seconds_bucket{{{labels},le=\"0.00025\"}} 2\n"),
        format!("gatekeeper_probe_duration_seconds_bucket{{{labels},le=\"10\"}} 2\n"),
        format!("gatekeeper_probe_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3\n"),
        format!("gatekeeper_probe_duration_seconds_sum{{{labels}}} 20.000201\n"),
        format!("gatekeeper_probe_duration_seconds_count{{{labels}}} 3\n"),
    ] {
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

#[test]
fn moments_keep_all_their_digits_and_unknown_ones_are_not_numbers() {
    let registry = Registry::default();
    let gauge = registry.gauge(&TOKEN_EXPIRY, endpoint("a"), f64::NAN);
    assert!(registry.render().contains("\"primary\"} NaN\n"));
    gauge.set(1_795_012_345.678);
    assert!(registry.render().contains("\"primary\"} 1795012345.678\n"));
}

#[test]
fn label_values_are_escaped() {
    let registry = Registry::default();
    let mut labels = endpoint("a");
    labels.extend([(Label::Cluster, "c".into()), (Label::Region, "a\"b\\c\nd".into())]);
    registry.gauge(&ENDPOINT_INFO, labels, 1.0);
    assert!(registry.render().contains(r#"region="a\"b\\c\nd"} 1"#));
}

#[test]
fn a_removed_endpoint_leaves_no_series_behind() {
    let registry = Registry::default();
    registry.gauge(&TOKEN_EXPIRY, endpoint("a"), 1.0);
    registry.gauge(&TOKEN_EXPIRY, endpoint("b"), 1.0);
    registry.forget(Label::Endpoint, "a");
    let page = registry.render();
    assert!(!page.contains("\"a\"") && page.contains("\"b\""), "{page}");
}

#[test]
#[should_panic(expected = "the catalogue lists other labels")]
fn a_series_with_other_labels_than_the_catalogue_says_cannot_be_made() {
    Registry::default().counter(&AUDIT_RECORDS, endpoint("a"), 0);
}
