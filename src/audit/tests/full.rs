//! A log that takes nothing, or not enough.

use super::*;

#[tokio::test]
async fn shedding_drops_counts_and_says_what_was_lost() {
    let mut scene = Scene::new();
    scene.settings.on_full = OnFull::Shed;
    let audit = scene.open();
    scene.fill_the_disk(&audit).await;
    for _ in 0..10 {
        audit.submit(opened()).await.unwrap();
    }
    assert_eq!(scene.counted("gatekeeper_audit_dropped_total"), 10);
    scene.free_the_disk(&audit).await;
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    assert_eq!(actions(&lines), ["audit.started", "session.opened", "audit.lost", "audit.stopped"]);
    assert_eq!(lines[2]["audit.lost.count"], 10);
    assert!(lines[2]["audit.lost.first_time"].as_str() <= lines[2]["audit.lost.last_time"].as_str());
}

#[tokio::test]
async fn blocking_waits_for_room_and_goes_on_when_there_is_some() {
    let scene = Scene::new();
    let audit = scene.open();
    scene.fill_the_disk(&audit).await;
    let mut waiting = audit.submit(opened());
    let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "a record was taken by a log that cannot be written");
    scene.free_the_disk(&audit).await;
    waiting.await.unwrap();
    audit.close().await;
    assert_eq!(
        actions(&scene.lines()),
        ["audit.started", "session.opened", "session.opened", "audit.stopped"]
    );
}

#[tokio::test]
async fn blocking_ends_in_a_refusal_that_the_log_tells_of_later() {
    let mut scene = Scene::new();
    scene.settings.block_timeout = Duration::from_millis(10);
    let audit = scene.open();
    scene.fill_the_disk(&audit).await;
    assert_eq!(audit.submit(opened()).await, Err(AuditUnavailable));
    // Who gives up waiting has lost a record as well.
    let mut given_up = audit.submit(opened());
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut given_up).poll(cx)))
            .await
            .is_pending()
    );
    drop(given_up);
    scene.free_the_disk(&audit).await;
    audit.close().await;
    let lines = scene.lines();
    assert_eq!(lines[2]["audit.lost.count"], 2);
    assert_eq!(audit.submit(opened()).await, Err(AuditUnavailable), "a closed log takes nothing");
    assert!(audit.reopen().await.is_err());
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
