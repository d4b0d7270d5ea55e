//! A log whose output fails or is too slow.

use super::*;
use crate::audit::handle::AuditUnavailable;

#[tokio::test]
async fn shedding_drops_counts_and_says_what_was_lost() {
    let mut scene = Scene::new();
    scene.settings.on_full = OnFull::Shed;
    let audit = scene.open();
    for _ in 0..3 {
        audit.submit(opened()).await.unwrap();
    }
    scene.fill_the_disk(&audit).await;
    assert!(audit.holds_statements().is_none(), "nobody waits");
    for _ in 0..10 {
        audit.submit(opened()).await.unwrap();
    }
    assert_eq!(scene.counted("gatekeeper_audit_dropped_total"), 10);
    let condition = audit.condition();
    assert_eq!((condition.losses.map(|(count, _)| count), condition.blocks), (Some(10), false));
    let (since, _) = condition.write_error.expect("the disk is full");
    assert!(since <= condition.losses.unwrap().1, "the disk was full first");
    scene.free_the_disk(&audit).await;
    until(|| audit.condition().write_error.is_none()).await;
    until(|| scene.counted("gatekeeper_audit_queue_records") == 0).await;
    audit.submit(opened()).await.unwrap();
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    let lost = lines.iter().find(|line| line["event.action"] == "audit.lost").unwrap();
    assert_eq!(lost["audit.lost.count"], 10);
    assert!(lost["audit.lost.first_time"].as_str() <= lost["audit.lost.last_time"].as_str());
    // Records before the loss have at most the first number; later records have a higher number than the second.
    let range = lost["audit.lost.after_seq"].as_u64().unwrap()..lost["seq"].as_u64().unwrap();
    let of = |action: &str| {
        let of = lines.iter().filter(|line| line["event.action"] == action);
        of.map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert!(range.start >= 4 && range.start < range.end, "{range:?} in {lines:#?}");
    assert_eq!(of("session.opened")[..3], [2, 3, 4]);
}

#[tokio::test]
async fn blocking_waits_for_room_and_goes_on_when_there_is_some() {
    let scene = Scene::new();
    let audit = scene.open();
    assert!(audit.holds_statements().is_none(), "there is room");
    scene.fill_the_disk(&audit).await;
    let mut waiting = audit.submit(opened());
    let mut held = audit.holds_statements().expect("a statement has to wait");
    for waits in [&mut waiting, &mut held] {
        let early = tokio::time::timeout(Duration::from_millis(20), waits).await;
        assert!(early.is_err(), "a log that cannot be written does not let anybody go on");
    }
    scene.free_the_disk(&audit).await;
    waiting.await.unwrap();
    held.await.unwrap();
    assert!(audit.holds_statements().is_none());
    audit.close().await;
    assert_eq!(
        actions(&scene.lines()),
        [
            "audit.started",
            "audit.rotated",
            "audit.rotated",
            "audit.rotated",
            "session.opened",
            "audit.stopped"
        ]
    );
}

#[tokio::test]
async fn blocking_ends_in_a_refusal_and_what_happened_is_told_all_the_same() {
    let mut scene = Scene::new();
    scene.settings.block_timeout = Duration::from_millis(10);
    let audit = scene.open();
    scene.fill_the_disk(&audit).await;
    assert_eq!(audit.holds_statements().unwrap().await, Err(AuditUnavailable));
    assert_eq!(audit.submit(statement(&audit, "SELECT 1", None)).await, Err(AuditUnavailable));
    audit.submit_now(statement(&audit, "SELECT 2", None));
    // A submitter that stops waiting does not take back the record.
    let mut given_up = audit.submit(statement(&audit, "SELECT 3", None));
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut given_up).poll(cx)))
            .await
            .is_pending()
    );
    drop(given_up);
    // A rejected client is only counted, because rejections are unlimited in number.
    for _ in 0..2 {
        assert_eq!(audit.submit(opened()).await, Err(AuditUnavailable));
    }
    scene.free_the_disk(&audit).await;
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    let recorded = lines.iter().filter(|line| line["event.action"] == "statement.executed").count();
    assert_eq!(recorded, 3);
    let lost = lines.iter().find(|line| line["event.action"] == "audit.lost").unwrap();
    assert_eq!(lost["audit.lost.count"], 2);
    assert_eq!(scene.counted("gatekeeper_audit_dropped_total"), 2);
    assert_eq!(scene.counted("gatekeeper_audit_queue_records"), 0);
    assert_eq!(audit.submit(opened()).await, Err(AuditUnavailable), "a closed log takes nothing");
    assert!(audit.reopen().await.is_err());
}

#[tokio::test]
async fn spare_room_has_an_end_and_comes_back() {
    let mut scene = Scene::new();
    (scene.settings.queue, scene.settings.block_timeout) = (4, Duration::from_millis(1));
    let audit = scene.open();
    for round in 1..=2 {
        scene.fill_the_disk(&audit).await;
        for _ in 0..6 {
            audit.submit_now(statement(&audit, "SELECT 1", None));
        }
        assert_eq!(scene.counted("gatekeeper_audit_dropped_total"), round * 2, "as much again as the queue");
        std::fs::remove_file(scene.folder.path().join("before")).unwrap();
        scene.free_the_disk(&audit).await;
        until(|| scene.counted("gatekeeper_audit_queue_records") == 0).await;
    }
    audit.close().await;
}

#[tokio::test]
async fn a_disk_that_stays_full_does_not_keep_the_process_from_ending() {
    let scene = Scene::new();
    let audit = scene.open();
    scene.fill_the_disk(&audit).await;
    tokio::time::timeout(Duration::from_secs(20), audit.close()).await.expect("it gives up");
}

#[test]
fn a_log_that_cannot_be_written_is_found_out_at_the_start() {
    let mut scene = Scene::new();
    for (path, wanted) in [("/dev/full", "`/dev/full`"), ("/nonexistent/audit", "`/nonexistent/audit`")] {
        scene.settings.output = AuditOutput::File(path.into());
        let error =
            Audit::open(scene.settings.clone(), scene.metrics.audit()).err().expect("it cannot be written");
        assert_eq!(error.to_string(), format!("opening the audit log {wanted}"));
    }
}

#[tokio::test]
async fn a_long_statement_takes_the_room_of_several_records() {
    let scene = Scene::new();
    let audit = scene.open();
    let queue = queue::Queue::new(20);
    let long = "x".repeat(9 * 1024);
    assert!(queue.try_push(statement(&audit, &long, None)).is_ok());
    assert!(queue.try_push(statement(&audit, &long, None)).is_ok());
    assert!(queue.try_push(opened()).is_err(), "two of them fill a queue of twenty");
    audit.close().await;
}
