use proptest::prelude::*;

use super::*;
use crate::telemetry::{
    catalog::{Label, PROBE_DURATION},
    registry::Registry,
};

const BUCKETS: Buckets = Buckets::Connect;
const CELLS: usize = BUCKETS.bounds().len() + 1;

fn timings() -> Timings<CELLS> {
    Timings::new(BUCKETS)
}

fn total(timings: &Timings<CELLS>) -> Total {
    let mut total = Total::default();
    (0..CELLS).for_each(|bucket| total.add(timings.take(bucket)));
    total
}

#[test]
fn a_bound_belongs_to_the_bucket_below_it() {
    let timings = timings();
    for (bucket, bound) in BUCKETS.bounds().iter().enumerate() {
        timings.record(Duration::from_nanos(*bound));
        timings.record(Duration::from_nanos(*bound + 1));
        assert_eq!(timings.take(bucket), Total { count: 1, nanoseconds: *bound });
        assert_eq!(timings.take(bucket + 1), Total { count: 1, nanoseconds: *bound + 1 });
    }
}

#[test]
fn more_records_than_a_cell_can_count_are_counted() {
    let timings = timings();
    let records = 3 << 19;
    (0..records).for_each(|_| timings.record(Duration::from_nanos(7)));
    assert_eq!(timings.take(0), Total { count: records, nanoseconds: 7 * records });
    assert_eq!(timings.take(0), Total::default());
}

#[test]
fn more_time_than_a_cell_can_hold_is_counted() {
    let timings = timings();
    let (long, longer) = (Duration::from_nanos(LONGEST), Duration::from_secs(86_400));
    (0..100).for_each(|_| timings.record(long));
    timings.record(longer);
    let nanoseconds = 100 * LONGEST + u64::try_from(longer.as_nanos()).unwrap();
    assert_eq!(timings.take(CELLS - 1), Total { count: 101, nanoseconds });
    timings.record(Duration::MAX);
    assert_eq!(timings.take(CELLS - 1), Total { count: 1, nanoseconds: u64::MAX });
}

#[test]
fn what_many_threads_record_while_it_is_collected_is_exact() {
    let timings = timings();
    let mut collected = std::thread::scope(|scope| {
        let recording: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| (0..20_000).for_each(|nanos| timings.record(Duration::from_nanos(nanos * 11))))
            })
            .collect();
        let mut collected = Total::default();
        while !recording.iter().all(|thread| thread.is_finished()) {
            collected.add(total(&timings));
        }
        collected
    });
    collected.add(total(&timings));
    let nanoseconds = 3 * 11 * (0..20_000).sum::<u64>();
    assert_eq!(collected, Total { count: 60_000, nanoseconds });
}

/// Durations of every magnitude, bounds and their neighbours more often than chance would have it.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let near = (0..BUCKETS.bounds().len(), 0..3_u64).prop_map(|(at, off)| BUCKETS.bounds()[at] - 1 + off);
    let any = (0..45_u32, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1));
    prop::collection::vec(prop_oneof![near, any], 0..60)
}

proptest! {
    /// Rounds of records, each round flushed: what the page shows is what a plain list of them comes to.
    #[test]
    fn a_histogram_that_is_flushed_shows_what_was_recorded(rounds in prop::collection::vec(durations(), 0..4)) {
        let registry = Registry::new();
        let labels = vec![(Label::Endpoint, "a".into()), (Label::BackendRole, "primary".into())];
        let histogram = registry.histogram(&PROBE_DURATION, labels);
        let timings = timings();
        for round in &rounds {
            round.iter().for_each(|nanos| timings.record(Duration::from_nanos(*nanos)));
            timings.flush(&histogram);
        }
        let page = registry.render();
        let shown = |series: &str, bound: &str| -> f64 {
            let head = format!(
                "gatekeeper_probe_duration_seconds_{series}{{endpoint=\"a\",backend_role=\"primary\"{bound}}} "
            );
            page.lines().find_map(|line| line.strip_prefix(&head)).unwrap().parse().unwrap()
        };
        let all = || rounds.iter().flatten().copied();
        for bound in BUCKETS.bounds() {
            let below = all().filter(|nanos| nanos <= bound).count();
            let bound = format!(",le=\"{}\"", seconds(*bound));
            prop_assert_eq!(shown("bucket", &bound), below as f64);
        }
        prop_assert_eq!(shown("count", ""), all().count() as f64);
        let sum = all().map(u128::from).sum::<u128>() as f64 / 1e9;
        let off = (shown("sum", "") - sum).abs();
        prop_assert!(off <= sum * 1e-12, "{} is off by {off}", sum);
    }
}
