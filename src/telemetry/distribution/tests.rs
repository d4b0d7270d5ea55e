use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::telemetry::{
    catalog::{Buckets, Label, PROBE_DURATION},
    registry::{Labels, MetricRegistry, label_set},
    timings::Timings,
};

const BUCKETS: Buckets = Buckets::Connect;
const CELLS: usize = BUCKETS.bounds().len() + 1;

fn labels() -> Labels {
    vec![(Label::Endpoint, "a".into()), (Label::BackendRole, "a\"b\\c\nd".into())]
}

/// A page of one series without its sum, and the sum.
fn apart(page: &str) -> (Vec<&str>, f64) {
    let (sum, rest): (Vec<_>, Vec<_>) = page.lines().partition(|line| line.contains("_sum{"));
    (rest, sum[0].rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn a_histogram_without_series_is_not_shown() {
    let mut page = String::new();
    write_histogram::<CELLS>(&mut page, &PROBE_DURATION, []);
    assert_eq!(page, "");
}

/// Durations of all magnitudes, with many bounds and neighbors of bounds.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let near = (0..BUCKETS.bounds().len(), 0..3_u64).prop_map(|(at, off)| BUCKETS.bounds()[at] - 1 + off);
    let any = (0..45_u32, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1));
    prop::collection::vec(prop_oneof![near, any], 0..60)
}

proptest! {
    /// Records of two workers, possibly none: except for the exact sum, the exporter writes the same page.
    #[test]
    fn a_histogram_looks_like_the_exporters(first in durations(), second in durations()) {
        let registry = MetricRegistry::new();
        let exporters = registry.histogram(&PROBE_DURATION, labels());
        let workers = [Timings::<CELLS>::new(BUCKETS), Timings::new(BUCKETS)];
        for (worker, records) in workers.iter().zip([&first, &second]) {
            for nanos in records {
                worker.record(Duration::from_nanos(*nanos));
                exporters.record(Duration::from_nanos(*nanos));
            }
        }
        let labels = label_set(&PROBE_DURATION, labels());
        let mut page = String::new();
        write_histogram(&mut page, &PROBE_DURATION, [(&labels, Timings::sum(&workers))]);
        let exporters = registry.render();
        let ((lines, sum), (expected, _)) = (apart(&page), apart(&exporters));
        prop_assert_eq!(lines, expected);
        let nanoseconds = first.iter().chain(&second).map(|nanos| u128::from(*nanos)).sum::<u128>();
        prop_assert_eq!(sum, nanoseconds as f64 / 1e9);
    }
}
