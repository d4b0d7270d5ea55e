//! A full file system and a killed process: the promises of `block` and `shed`, in the real program.

use std::{fs, path::PathBuf, time::Duration};

use gatekeeper::testing::sandbox::{SandboxOptions, Single};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio_postgres::Client;

use crate::harness::{
    Gatekeeper, Stand,
    audit::{Audited, audited_in_all, verified},
    refused,
    stand::{admin, config},
    until,
};

const APP: &str = "user=app password=app-password dbname=app application_name=tests";
const PATIENCE: Duration = Duration::from_secs(20);
const INSERT: &str = "INSERT INTO done VALUES (1)";

/// A passthrough stand that audits statements, with a table that counts the executed statements.
async fn stand(keys: &str) -> (Stand, PathBuf, String) {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let file = server.folder().join("audit.jsonl");
    let rest = format!("[audit]\nfile = {file:?}\nlevel = \"statements\"\n{keys}\n");
    let config = config(&server, "", "", &rest);
    let stand = Stand::start(server, &config).await;
    let client = stand.connect(APP).await.unwrap();
    client.batch_execute("CREATE TABLE done (a int)").await.unwrap();
    (stand, file, config)
}

/// Limits all files of the process to `bytes`: the write across the limit is short, and the next write fails. `None`
/// lifts the limit.
fn limit(stand: &Stand, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(stand.gatekeeper.pid()).unwrap());
    let maximum = prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    assert_eq!(maximum.maximum, None, "a hard limit is in the way");
}

fn size(file: &PathBuf) -> u64 {
    fs::metadata(file).unwrap().len()
}

/// Inserts until an error; returns the number of acknowledged inserts.
async fn insert_until_refused(client: &Client) -> (usize, tokio_postgres::Error) {
    for count in 0..100_000 {
        if let Err(error) = client.simple_query(INSERT).await {
            return (count, error);
        }
    }
    panic!("nothing was refused");
}

fn inserts(lines: &[Audited]) -> usize {
    lines.iter().filter(|line| line.text("db.query.text") == "INSERT INTO done VALUES ($1)").count()
}

async fn rows(stand: &Stand) -> usize {
    let client = stand.connect(APP).await.unwrap();
    let count: i64 = client.query_one("SELECT count(*) FROM done", &[]).await.unwrap().get(0);
    usize::try_from(count).unwrap()
}

#[tokio::test]
async fn block_fails_statements_loses_none_and_resumes() {
    let (stand, file, _) = stand("on_full = \"block\"\nblock_timeout = \"300ms\"").await;
    let client = stand.connect(APP).await.unwrap();
    // In the middle of a line, most likely.
    limit(&stand, Some(size(&file) + 20_001));
    let (answered, error) = insert_until_refused(&client).await;
    let client_error = refused(Err(error));
    client_error.gives_nothing_away(stand.server.folder());
    assert_eq!(client_error.sqlstate, "53400");
    assert_eq!(client_error.message, "the audit log cannot be written, and statements must be audited");
    stand.gatekeeper.wait_for_log("audit log write failed; retrying").await;
    // New clients are rejected, too.
    assert_eq!(refused(stand.connect(APP).await).sqlstate, "53400");
    let ready = stand.gatekeeper.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(
        ready.body.contains("the audit log cannot be written") && ready.body.contains("free space"),
        "{}",
        ready.body
    );
    let whole = fs::read(&file).unwrap();
    assert!(whole.ends_with(b"\n"), "half a line is left in the file");

    limit(&stand, None);
    stand.gatekeeper.wait_for_log("audit log writes resumed").await;
    assert_eq!(stand.gatekeeper.get("/readyz").await.unwrap().status, 200);
    let ran = rows(&stand).await;
    assert_eq!(ran, answered, "what was refused did not run");
    let lines = until(PATIENCE, async || {
        let lines = audited_in_all(&file);
        // The end of the rejected session is audited in full.
        let refused =
            |line: &&Audited| line.action() == "session.closed" && line.text("event.outcome") == "failure";
        let ended = lines.iter().filter(refused).count();
        if inserts(&lines) == ran && ended == 1 { Ok(lines) } else { Err((inserts(&lines), ended)) }
    })
    .await;
    // Only the record of the rejected client is lost.
    let lost: u64 = lines.iter().filter_map(|line| line.0["audit.lost.count"].as_u64()).sum();
    assert_eq!(lost, 1);
    let (code, report) = verified(&file, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("1 record lost by the log's own word"), "{report}");
}

#[tokio::test]
async fn shed_continues_to_serve_and_records_the_loss() {
    let (stand, file, _) = stand("on_full = \"shed\"").await;
    let client = stand.connect(APP).await.unwrap();
    limit(&stand, Some(size(&file) + 5_001));
    let mut ran = 0;
    until(PATIENCE, async || {
        for _ in 0..100 {
            client.simple_query(INSERT).await.unwrap();
        }
        ran += 100;
        match stand.gatekeeper.metric("gatekeeper_audit_dropped_total").await {
            Some(dropped) if dropped >= 100.0 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let ready = stand.gatekeeper.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "clients are served: {}", ready.body);
    limit(&stand, None);
    stand.gatekeeper.wait_for_log("audit log writes resumed").await;
    assert_eq!(rows(&stand).await, ran);
    let lines = until(PATIENCE, async || {
        let lines = audited_in_all(&file);
        let recorded = lines.iter().any(|line| line.action() == "audit.lost")
            && lines.iter().any(|line| line.text("db.query.text").starts_with("SELECT count"));
        if recorded { Ok(lines) } else { Err(lines.len()) }
    })
    .await;
    let lost: u64 = lines.iter().filter_map(|line| line.0["audit.lost.count"].as_u64()).sum();
    assert_eq!(
        inserts(&lines) + usize::try_from(lost).unwrap(),
        ran,
        "each insert is recorded or counted as lost"
    );
    let (code, report) = verified(&file, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains(&format!("{lost} records were lost here, as recorded in the log")), "{report}");
    let (code, report) = verified(&file, &["--strict", "--quiet"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("FAULT") && report.contains("NOT COMPLETE"), "{report}");
}

#[tokio::test]
async fn a_kill_loses_only_the_last_records_and_verify_reports_it() {
    let (mut stand, file, config) = stand("sync = \"interval\"\nhash_chain = true").await;
    let client = stand.connect(APP).await.unwrap();
    for _ in 0..500 {
        client.simple_query(INSERT).await.unwrap();
    }
    let queue = "gatekeeper_audit_queue_records";
    until(PATIENCE, async || match stand.gatekeeper.metric(queue).await {
        Some(0.0) => Ok(()),
        other => Err(other),
    })
    .await;
    // Killed under load: the last records before the kill may be missing, earlier records may not.
    let (gatekeeper, load) = (&stand.gatekeeper, insert_until_refused(&client));
    let kill = async {
        tokio::task::yield_now().await;
        until(PATIENCE, async || match gatekeeper.metric("gatekeeper_audit_records_total").await {
            Some(written) if written > 800.0 => Ok(()),
            other => Err(other),
        })
        .await;
        gatekeeper.signal(Signal::KILL);
    };
    let ((answered, _), ()) = tokio::join!(load, kill);
    stand.gatekeeper.ended().await;
    let recorded = inserts(&audited_in_all(&file));
    assert!(recorded > 750, "{recorded} of {} are recorded", 500 + answered);

    let (code, report) = verified(&file, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("it is running, or it was killed"), "{report}");
    // Simulates a kill in the middle of a line.
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() - 40]).unwrap();
    stand.gatekeeper = Gatekeeper::start(stand.server.folder(), &config, admin(&stand.server)).await;
    stand.connect(APP).await.unwrap().simple_query("SELECT 1").await.unwrap();
    stand.gatekeeper.signal(Signal::TERM);
    stand.gatekeeper.ended().await;
    let (code, report) = verified(&file, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("it was killed, and what it had not written yet is missing"), "{report}");
    assert!(report.contains("the last line of this process is cut off"), "{report}");
    assert_eq!(verified(&file, &["--quiet"]), (Some(0), String::new()));
    assert_eq!(verified(&file, &["--strict"]).0, Some(1));

    // A removed record is a fault of another kind.
    let text = fs::read_to_string(&file).unwrap();
    let without: String =
        text.split_inclusive('\n').enumerate().filter(|(at, _)| *at != 100).map(|(_, l)| l).collect();
    fs::write(&file, without).unwrap();
    let (code, report) = verified(&file, &["--quiet"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("audit.jsonl:101: record 101 of boot"), "{report}");
}
