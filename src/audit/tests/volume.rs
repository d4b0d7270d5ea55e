//! Many records: by several threads, through several files.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn eight_threads_leave_no_gap_and_lose_nothing() {
    let mut scene = Scene::new();
    scene.settings.queue = 64;
    let audit = scene.open();
    let tasks = crate::tasks::Tasks::new();
    let (done, mut finished) = tokio::sync::mpsc::channel(8);
    for _ in 0..8 {
        let (audit, done) = (audit.clone(), done.clone());
        tasks.spawn("producer", async move {
            for _ in 0..500 {
                audit.submit(statement(&audit, "SELECT 1", None)).await.unwrap();
            }
            done.send(()).await.unwrap();
        });
    }
    for _ in 0..8 {
        finished.recv().await.unwrap();
    }
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    assert_eq!(lines.len(), 8 * 500 + 2);
    let times: Vec<_> = lines.iter().skip(1).map(|line| line["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "the order of the lines is not the order of their times");
    assert_eq!(scene.counted("gatekeeper_audit_records_total"), 8 * 500 + 2);
    assert_eq!(scene.counted("gatekeeper_audit_queue_records"), 0);
    assert_eq!(scene.counted("gatekeeper_audit_dropped_total"), 0);
}

#[tokio::test]
async fn rotation_and_reopening_lose_nothing_and_are_told_on_both_sides() {
    let mut scene = Scene::new();
    (scene.settings.rotate_bytes, scene.settings.hash_chain) = (Some(20_000), true);
    scene.settings.sync = SyncPolicy::Interval(Duration::from_millis(1));
    let audit = scene.open();
    for round in 0..5 {
        for _ in 0..100 {
            audit.submit(opened()).await.unwrap();
        }
        let moved = scene.folder.path().join(format!("moved-{round}"));
        // No file has the name for a moment while the log rotates.
        until(|| std::fs::rename(scene.path(), &moved).is_ok()).await;
        audit.reopen().await.unwrap();
        audit.reopen().await.unwrap();
    }
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    assert_eq!(actions(&lines).iter().filter(|action| **action == "session.opened").count(), 500);

    let files: Vec<PathBuf> =
        std::fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 6, "the file was moved by us too, not by the test alone: {files:?}");
    let side = |line: &Value| line["audit.rotated.side"].as_str().unwrap_or_default().to_owned();
    for file in &files {
        // A moved file cannot be moved aside by size: the limit grows a little each time.
        let is_moved = file.file_name().unwrap().to_str().unwrap().starts_with("moved-");
        let limit = if is_moved { 25_000 } else { 20_000 };
        assert!(std::fs::metadata(file).unwrap().len() <= limit, "{}", file.display());
        let lines = read(file);
        let (first, last) = (&lines[0], lines.last().unwrap());
        assert!(side(first) == "begin" || first["event.action"] == "audit.started", "{first}");
        assert!(side(last) == "end" || last["event.action"] == "audit.stopped", "{last}");
        if last["event.reason"] == "size" {
            assert_eq!(last["audit.rotated.file"], file.file_name().unwrap().to_str().unwrap());
        }
    }
    let changes = actions(&lines).iter().filter(|action| **action == "audit.rotated").count();
    assert_eq!(changes, 2 * (files.len() - 1), "opening the same file again is no change");
}

#[tokio::test]
async fn a_folder_that_takes_no_new_name_leaves_the_lines_in_the_old_file() {
    let mut scene = Scene::new();
    scene.settings.rotate_bytes = Some(10_000);
    let audit = scene.open();
    std::fs::rename(scene.path(), scene.folder.path().join("elsewhere")).unwrap();
    for _ in 0..100 {
        audit.submit(opened()).await.unwrap();
    }
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    assert_eq!(lines.len(), 102);
    assert!(scene.counted("gatekeeper_audit_write_errors_total") > 0);
}

#[test]
fn a_record_is_small() {
    assert_eq!((size_of::<Record>(), size_of::<Submit>()), (16, 16));
}
