use super::*;

const MS: Duration = Duration::from_millis(1);

/// Samples by query time in milliseconds; each was answered within the millisecond.
fn trail(samples: &[(u32, u64)]) -> (WriterSamples, Instant) {
    let start = Instant::now();
    let mut trail = WriterSamples::default();
    for &(at, lsn) in samples {
        push(&mut trail, start, (at, at), lsn);
    }
    (trail, start)
}

fn push(trail: &mut WriterSamples, start: Instant, (asked, answered): (u32, u32), lsn: u64) {
    trail.push(WalPosition { lsn, asked_at: start + MS * asked }, start + MS * answered);
}

#[test]
fn a_node_is_as_fresh_as_the_latest_sample_that_it_has_replayed() {
    let (trail, start) = trail(&[(0, 100), (2, 200), (4, 200), (6, 300)]);
    let fresh = |lsn| trail.fresh_as_of(lsn).map(|t| (t - start).as_millis());
    assert_eq!(fresh(99), None);
    assert_eq!(fresh(100), Some(0));
    assert_eq!(fresh(250), Some(4), "an idle writer makes nobody stale");
    assert_eq!(fresh(u64::MAX), Some(6));
}

#[test]
fn a_floor_asks_for_the_first_sample_that_is_not_older() {
    let (trail, start) = trail(&[(0, 100), (2, 200), (6, 300)]);
    let since = |at: u32| trail.first_sample_since(start + MS * at).map(|position| position.lsn);
    assert_eq!([since(0), since(1), since(2), since(3), since(6)], [100, 200, 200, 300, 300].map(Some));
    assert_eq!(since(7), None, "nobody has asked the writer since");
    assert_eq!(trail.first_sample_beyond(100).map(|position| position.lsn), Some(200));
    assert_eq!(trail.first_sample_beyond(300), None);
}

#[test]
fn a_writer_that_went_back_starts_a_new_trail() {
    let (trail, _) = trail(&[(0, 1000), (2, 500)]);
    assert_eq!(trail.fresh_as_of(400), None);
    assert_eq!(trail.oldest().map(|position| position.lsn), Some(500));
}

#[test]
fn answers_that_overtook_each_other_start_no_new_trail() {
    let (mut trail, start) = trail(&[(0, 100)]);
    push(&mut trail, start, (10, 30), 300);
    // Queried while the previous query was under way, and answered first by the server.
    push(&mut trail, start, (20, 25), 200);
    assert_eq!(trail.fresh_as_of(100), Some(start), "what was known before stays known");
    assert_eq!(trail.first_sample_since(start + MS * 10).map(|position| position.lsn), Some(200));
    // Asked before all that is known: of no more use.
    push(&mut trail, start, (5, 40), 150);
    assert_eq!(trail.fresh_as_of(199), Some(start));
}

#[test]
fn a_position_behind_a_page_header_is_replayed_when_the_page_before_is() {
    for (inserted, replayed) in [(8192 * 7 + 24, 8192 * 7), ((16 << 20) * 3 + 40, (16 << 20) * 3)] {
        let (trail, start) = trail(&[(0, inserted)]);
        assert_eq!(trail.fresh_as_of(replayed), Some(start));
    }
    let (trail, _) = trail(&[(0, 8192 * 7 + 40)]);
    assert_eq!(trail.fresh_as_of(8192 * 7), None, "something can end there on an ordinary page");
}

#[test]
fn an_idle_writer_takes_two_samples_however_often_it_is_asked() {
    let (trail, start) = trail(&(0..1000).map(|at| (at, 100)).collect::<Vec<_>>());
    assert_eq!(trail.samples.len(), 2);
    assert_eq!(trail.fresh_as_of(100), Some(start + MS * 999));
    assert_eq!(trail.first_sample_since(start + MS * 500).map(|position| position.lsn), Some(100));
}

#[test]
fn an_hour_of_samples_every_five_milliseconds_stays_small_dense_lately_and_sparse_long_ago() {
    let start = Instant::now();
    let mut trail = WriterSamples::default();
    let asked = |at: u32| start + MS * 5 * at;
    let last = 12 * 60 * 60;
    for at in 0..=last {
        trail.push(WalPosition { lsn: u64::from(at) * 1000 + 1, asked_at: asked(at) }, asked(at));
        assert!(trail.samples.len() <= MAX_SAMPLES);
    }
    let now = asked(last);
    let age_of = |floor: Duration| {
        let sample = trail.first_sample_since(now.checked_sub(floor).unwrap()).unwrap();
        now.saturating_duration_since(sample.asked_at)
    };
    assert_eq!(age_of(Duration::from_millis(100)), Duration::from_millis(100), "the last moments are whole");
    for seconds in [2, 10, 60, 170] {
        let floor = Duration::from_secs(seconds);
        let found = age_of(floor);
        assert!(found <= floor && floor - found <= floor / 8, "{floor:?}: the next sample is {found:?} old");
    }
    let ordered =
        |a: &Sample, b: &Sample| a.position.lsn < b.position.lsn && a.position.asked_at < b.position.asked_at;
    assert!(trail.samples.iter().zip(trail.samples.iter().skip(1)).all(|(a, b)| ordered(a, b)));
}

#[test]
fn a_month_of_samples_keeps_its_beginning() {
    let start = Instant::now();
    let mut trail = WriterSamples::default();
    let asked = |at: u32| start + MS * 2000 * at;
    let last = 30 * 24 * 60 * 30;
    for at in 0..=last {
        trail.push(WalPosition { lsn: u64::from(at) * 1000 + 1, asked_at: asked(at) }, asked(at));
        assert!(trail.samples.len() <= MAX_SAMPLES);
    }
    assert_eq!(trail.fresh_as_of(1), Some(start));
    for at in [last / 2, last - 3600, last - 600] {
        let (age, found) = (asked(last) - asked(at), trail.fresh_as_of(u64::from(at) * 1000 + 1).unwrap());
        assert!(asked(at) - found <= age / 4, "{age:?} ago: {:?} too early", asked(at) - found);
    }
}
