use super::*;

const BUCKETS: Buckets = Buckets::Connect;
const CELLS: usize = BUCKETS.bounds().len() + 1;

fn timings() -> Timings<CELLS> {
    Timings::new(BUCKETS)
}

fn total(timings: &Timings<CELLS>) -> Total {
    let mut total = Total::default();
    timings.totals().into_iter().for_each(|bucket| total.add(bucket));
    total
}

#[test]
fn a_bound_belongs_to_the_bucket_below_it() {
    for (bucket, bound) in BUCKETS.bounds().iter().enumerate() {
        let timings = timings();
        timings.record(Duration::from_nanos(*bound));
        timings.record(Duration::from_nanos(*bound + 1));
        let totals = timings.totals();
        assert_eq!(totals[bucket], Total { count: 1, nanoseconds: u128::from(*bound) });
        assert_eq!(totals[bucket + 1], Total { count: 1, nanoseconds: u128::from(*bound + 1) });
    }
}

#[test]
fn more_records_than_a_cell_can_count_are_counted() {
    let timings = timings();
    let records = 3 << 19;
    (0..records).for_each(|_| timings.record(Duration::from_nanos(7)));
    let all = Total { count: records, nanoseconds: u128::from(7 * records) };
    assert_eq!(timings.totals()[0], all);
    assert_eq!(timings.totals()[0], all, "asked again");
}

#[test]
fn more_time_than_a_cell_can_hold_is_counted() {
    let timings = timings();
    let (long, longer) = (Duration::from_nanos(MAX_NANOSECONDS), Duration::from_secs(86_400));
    (0..100).for_each(|_| timings.record(long));
    timings.record(longer);
    let nanoseconds = u128::from(100 * MAX_NANOSECONDS) + longer.as_nanos();
    assert_eq!(timings.totals()[CELLS - 1], Total { count: 101, nanoseconds });
    (0..2).for_each(|_| timings.record(Duration::MAX));
    let nanoseconds = nanoseconds + 2 * u128::from(u64::MAX);
    assert_eq!(timings.totals()[CELLS - 1], Total { count: 103, nanoseconds });
}

#[test]
fn what_many_threads_record_while_others_look_is_exact_and_never_falls() {
    let timings = timings();
    std::thread::scope(|scope| {
        let recording: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| (0..20_000).for_each(|nanos| timings.record(Duration::from_nanos(nanos * 11))))
            })
            .collect();
        let mut last = Total::default();
        while !recording.iter().all(|thread| thread.is_finished()) {
            let now = total(&timings);
            assert!(now.count >= last.count && now.nanoseconds >= last.nanoseconds, "{now:?} after {last:?}");
            last = now;
        }
    });
    let nanoseconds = 3 * 11 * (0..20_000).sum::<u128>();
    assert_eq!(total(&timings), Total { count: 60_000, nanoseconds });
}
