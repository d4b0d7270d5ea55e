//! The audit log from end to end: a session's records, texts without literals, rotation, a full disk.

use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

use gatekeeper::testing::sandbox::{ALICE, SandboxOptions, Single};
use rustix::process::Signal;
use tokio_postgres::Client;

use crate::harness::{
    Gatekeeper, Stand,
    audit::{Audited, audited, audited_until},
    refused,
    stand::{admin, config, token_login},
    until,
};

const APP: &str = "user=app password=app-password dbname=app application_name=tests";
const PATIENCE: Duration = Duration::from_secs(15);

/// A passthrough stand with an audit log; `keys` are more keys of `[audit]`.
async fn stand(keys: &str) -> (Stand, PathBuf) {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let file = server.folder().join("audit.jsonl");
    let rest = format!("[audit]\nfile = {file:?}\n{keys}\n");
    let config = config(&server, "", "", &rest);
    (Stand::start(server, &config).await, file)
}

const STATEMENTS: &str = "level = \"statements\"";

/// The records of the last session that was closed, in order.
async fn last_session(file: &std::path::Path, client: Client) -> Vec<Audited> {
    drop(client);
    let lines = audited_until(file, |line| line.action() == "session.closed").await;
    let id = lines.iter().rfind(|line| line.action() == "session.closed").unwrap().text("session.id");
    lines.into_iter().filter(|line| line.text("session.id") == id).collect()
}

#[tokio::test]
async fn a_session_is_audited_from_open_to_close() {
    let (stand, file) = stand(STATEMENTS).await;
    let client = stand.connect(APP).await.unwrap();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    client.simple_query("SELECT * FROM missing_table").await.unwrap_err();
    let records = last_session(&file, client).await;
    let actions: Vec<_> = records.iter().map(Audited::action).collect();
    let statements = actions.iter().filter(|action| *action == "statement.executed").count();
    assert!(statements >= 2, "{actions:?}");
    let mut expected = vec!["session.opened", "session.authenticated", "backend.opened"];
    expected.extend(vec!["statement.executed"; statements]);
    expected.extend(["backend.closed", "session.closed"]);
    assert_eq!(actions, expected);

    for record in &records[1..] {
        for (key, value) in [
            ("listener", "app"),
            ("user.name", "app"),
            ("db.namespace", "app"),
            ("user.method", "passthrough"),
            ("client.application_name", "tests"),
            ("client.address", "127.0.0.1"),
        ] {
            assert_eq!(record.text(key), value, "{key} of {record:?}");
        }
    }
    for record in records.iter().filter(|record| !record.action().starts_with("session.")) {
        assert_eq!(record.text("server.endpoint"), "primary");
        assert_eq!(record.text("server.backend_role"), "primary");
        assert_eq!(record.text("server.backend_pid"), pid.to_string());
    }
    let failed = records.iter().find(|record| record.text("event.outcome") == "failure").unwrap();
    assert_eq!(failed.text("db.response.status_code"), "42P01");
    assert_eq!(failed.text("route.decision"), "primary");
    assert_ne!(failed.text("route.reason"), "");
    let asked =
        records.iter().find(|record| record.text("db.query.text").contains("pg_backend_pid")).unwrap();
    assert_eq!(asked.text("db.response.rows"), "1");
    assert_eq!(asked.text("db.operation.name"), "SELECT");
    assert_eq!(failed.text("db.operation.name"), "");
    assert_eq!(records.last().unwrap().text("session.statements"), statements.to_string());

    let all = audited(&file);
    assert!(
        all.iter().enumerate().all(|(place, line)| line.text("seq") == (place + 1).to_string()),
        "{all:#?}"
    );
}

#[tokio::test]
async fn texts_have_no_literals_in_the_simple_and_the_extended_protocol() {
    let (stand, file) = stand(STATEMENTS).await;
    let client = stand.connect(APP).await.unwrap();
    client.simple_query("SELECT 'simple-literal', 47114711471147").await.unwrap();
    let statement = client.prepare("SELECT $1::text, 'prepared-literal', 47124712471247").await.unwrap();
    for parameter in ["first-parameter", "second-parameter"] {
        client.query_one(&statement, &[&parameter]).await.unwrap();
    }
    let mut sent = stand.connect(APP).await.unwrap();
    let transaction = sent.transaction().await.unwrap();
    let portal = transaction.bind("SELECT 'portal-literal' FROM generate_series(1, 3)", &[]).await.unwrap();
    transaction.query_portal(&portal, 2).await.unwrap();
    transaction.query_portal(&portal, 2).await.unwrap();
    transaction.commit().await.unwrap();
    let records = last_session(&file, client).await;

    let texts: Vec<_> = records
        .iter()
        .filter(|record| record.action() == "statement.executed")
        .map(|record| record.text("db.query.text"))
        .collect();
    let executed: Vec<_> = texts.iter().filter(|text| text.contains("::text")).collect();
    assert_eq!(executed.len(), 2, "each Execute has its text: {texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("SELECT $1, $2")), "{texts:?}");
    let of_portal = async || {
        let lines = audited_until(&file, |line| line.text("db.query.text").contains("generate_series")).await;
        lines.iter().filter(|line| line.text("db.query.text").contains("generate_series")).count()
    };
    assert!(of_portal().await >= 1);
    let log = fs::read_to_string(&file).unwrap();
    for secret in ["literal", "4711471", "4712471", "parameter"] {
        assert!(!log.contains(secret), "`{secret}` in:\n{log}");
    }
}

#[tokio::test]
async fn level_sessions_audits_no_statement() {
    let (stand, file) = stand("").await;
    let client = stand.connect(APP).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let actions: Vec<_> = last_session(&file, client).await.iter().map(Audited::action).collect();
    assert_eq!(
        actions,
        ["session.opened", "session.authenticated", "backend.opened", "backend.closed", "session.closed"]
    );
}

#[tokio::test]
async fn a_rejected_client_is_audited_with_reason_and_sqlstate() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let file = server.folder().join("audit.jsonl");
    let rest = format!("[audit]\nfile = {file:?}\n");
    let config = config(&server, &token_login(&server), "auth = { method = \"trust\" }", &rest);
    let stand = Stand::start(server, &config).await;
    refused(stand.connect("user=bob@example.com dbname=app").await);
    let lines = audited_until(&file, |line| line.action() == "session.rejected").await;
    let rejected = lines.iter().find(|line| line.action() == "session.rejected").unwrap();
    assert_eq!(rejected.text("event.reason"), "user_not_listed");
    assert_eq!(rejected.text("db.response.status_code"), "28000");
    assert_eq!(rejected.text("user.name"), "bob@example.com");
    assert_eq!(rejected.text("severity"), "WARNING");

    let minted = audited_until(&file, |line| line.action() == "token.minted").await;
    let minted = minted.iter().find(|line| line.action() == "token.minted").unwrap();
    assert_eq!(minted.text("server.endpoint"), "primary");
    assert_eq!(minted.text("user.effective.name"), ALICE);
}

#[tokio::test]
async fn a_statement_is_audited_with_its_database_user() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let file = server.folder().join("audit.jsonl");
    fs::write(server.folder().join("app-password"), "app-password").unwrap();
    let login = "login = { user = \"app\", password = { file = \"app-password\" } }";
    let rest = format!("[audit]\nfile = {file:?}\n{STATEMENTS}\n");
    let config = config(&server, login, "auth = { method = \"trust\" }", &rest);
    let stand = Stand::start(server, &config).await;
    let client = stand.connect("user=carol dbname=app").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    for record in last_session(&file, client).await {
        if record.action() != "session.opened" && record.action() != "session.authenticated" {
            assert_eq!(record.text("user.name"), "carol", "{record:?}");
            assert_eq!(record.text("user.effective.name"), "app", "{record:?}");
        }
    }
}

#[tokio::test]
async fn sighup_reopens_a_renamed_file_without_losing_records() {
    a_signal_reopens_a_renamed_file(Signal::HUP).await;
}

#[tokio::test]
async fn sigusr1_reopens_a_renamed_file_without_losing_records() {
    a_signal_reopens_a_renamed_file(Signal::USR1).await;
}

async fn a_signal_reopens_a_renamed_file(signal: Signal) {
    let (stand, file) = stand("").await;
    let client = stand.connect(APP).await.unwrap();
    last_session(&file, client).await;
    let old = file.with_extension("1");
    fs::rename(&file, &old).unwrap();
    stand.gatekeeper.signal(signal);
    until(PATIENCE, async || if file.exists() { Ok(()) } else { Err(stand.gatekeeper.stderr()) }).await;
    let client = stand.connect(APP).await.unwrap();
    last_session(&file, client).await;
    let mut seqs: Vec<u64> =
        audited(&old).iter().chain(&audited(&file)).map(|line| line.0["seq"].as_u64().unwrap()).collect();
    assert!(audited(&old).len() >= 5 && audited(&file).len() >= 5);
    let expected: Vec<u64> = (1..=seqs.len() as u64).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, expected, "without a gap");
}

#[tokio::test]
async fn a_full_disk_rejects_clients_and_leaves_no_gap() {
    let (stand, file) = stand("on_full = \"block\"\nblock_timeout = \"200ms\"\nqueue = 8").await;
    let client = stand.connect(APP).await.unwrap();
    last_session(&file, client).await;
    // The log's name leads to a device that is always full.
    let begun = file.with_extension("begun");
    let lead_to = async |device: Option<&str>| {
        match device {
            Some(device) => {
                fs::rename(&file, &begun).unwrap();
                symlink(device, &file).unwrap();
            }
            None => fs::rename(&begun, &file).unwrap(),
        }
        let reloads = "gatekeeper_config_reloads_total{outcome=\"ok\"}";
        let before = stand.gatekeeper.metric(reloads).await;
        stand.gatekeeper.signal(Signal::HUP);
        until(PATIENCE, async || match stand.gatekeeper.metric(reloads).await {
            now if now > before => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    lead_to(Some("/dev/full")).await;
    // The queue takes some records first.
    let error =
        until(PATIENCE, async || stand.connect(APP).await.map_or_else(Ok, |_| Err("still served"))).await;
    let client_error = refused(Err(error));
    client_error.gives_nothing_away(stand.server.folder());
    assert_eq!(client_error.sqlstate, "53400");
    assert_eq!(client_error.message, "the audit log cannot be written, and statements must be audited");
    assert!(client_error.hint.unwrap().contains("audit log"));
    stand.gatekeeper.wait_for_log("audit log write failed; retrying").await;
    assert!(stand.gatekeeper.metric("gatekeeper_audit_write_errors_total").await > Some(0.0));

    lead_to(None).await;
    let client = stand.connect(APP).await.unwrap();
    let seen = audited(&file).len();
    drop(client);
    let lines = until(PATIENCE, async || {
        let lines = audited(&file);
        if lines.len() > seen && lines.last().unwrap().action() == "session.closed" {
            Ok(lines)
        } else {
            Err(lines)
        }
    })
    .await;
    let seqs: Vec<_> = lines.iter().map(|line| line.text("seq")).collect();
    assert_eq!(seqs, (1..=lines.len()).map(|seq| seq.to_string()).collect::<Vec<_>>());
    // Records about rejected clients did not fit, and the loss is recorded.
    let lost = lines.iter().filter(|line| line.action() == "audit.lost");
    assert!(lost.map(|line| line.text("audit.lost.count")).all(|count| count != "0"));
}

#[tokio::test]
async fn an_unwritable_log_is_reported_before_serving() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = config(&server, "", "", "[audit]\nfile = \"/dev/full\"\n");
    let mut gatekeeper = Gatekeeper::launch(server.folder(), &config, admin(&server), &[]);
    assert_eq!(gatekeeper.ended().await.code(), Some(1));
    gatekeeper.wait_for_log("audit log `/dev/full`: No space left on device").await;
}

#[tokio::test]
async fn at_the_level_writes_statements_that_only_read_are_left_out() {
    let (stand, file) = stand("level = \"writes\"\nstatements = \"full\"").await;
    let client = stand.connect(APP).await.unwrap();
    client.batch_execute("CREATE TEMPORARY TABLE notes (n int)").await.unwrap();
    client.execute("INSERT INTO notes VALUES ($1)", &[&7_i32]).await.unwrap();
    client.query("SELECT n FROM notes WHERE n = $1", &[&7_i32]).await.unwrap();
    client.simple_query("SELECT n FROM notes").await.unwrap();
    client.simple_query("SELECT n FROM notes; DELETE FROM notes").await.unwrap();
    client.simple_query("INSERT INTO nowhere VALUES (1)").await.unwrap_err();
    let records = last_session(&file, client).await;
    let statements = records.iter().filter(|record| record.action() == "statement.executed");
    let texts: Vec<_> = statements.map(|record| record.text("db.query.text")).collect();
    let expected = [
        "CREATE TEMPORARY TABLE notes (n int)",
        "INSERT INTO notes VALUES ($1)",
        "SELECT n FROM notes; DELETE FROM notes",
        "INSERT INTO nowhere VALUES (1)",
    ];
    assert_eq!(texts, expected);
}
