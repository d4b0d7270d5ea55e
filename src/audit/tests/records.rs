//! The fields of each kind of record, and the kinds of each level.

use super::{schema::Schema, *};

#[tokio::test]
async fn a_record_of_every_kind_is_what_the_schema_says() {
    let mut scene = Scene::new();
    (scene.settings.hash_chain, scene.settings.rotate_bytes) = (true, Some(12_000));
    scene.settings.block_timeout = Duration::from_millis(1);
    let audit = scene.open();
    for record in one_of_each(&audit) {
        audit.submit(record).await.unwrap();
    }
    scene.fill_the_disk(&audit).await;
    audit.submit(opened()).await.unwrap_err();
    scene.free_the_disk(&audit).await;
    until(|| scene.counted("gatekeeper_audit_queue_records") == 0).await;
    for record in one_of_each(&audit).into_iter().chain(one_of_each(&audit)) {
        audit.submit(record).await.unwrap();
    }
    audit.close().await;

    let schema = Schema::new(SCHEMA);
    let lines = scene.lines();
    for line in &lines {
        assert_eq!(schema.faults(line), [""; 0], "{line:#}");
    }
    let seen: BTreeSet<&str> = actions(&lines).into_iter().collect();
    assert_eq!(seen, schema.words("event.action").into_iter().collect(), "kinds in the schema");
    let used: BTreeSet<&str> =
        lines.iter().flat_map(|line| line.as_object().unwrap().keys()).map(|key| &**key).collect();
    let elsewhere = ["db.query.fingerprint", "db.query.truncated", "db.query.redacted"];
    let unused: Vec<_> =
        schema.keys().into_iter().filter(|key| !used.contains(key) && !elsewhere.contains(key)).collect();
    assert!(unused.is_empty(), "keys that no record has: {unused:?}");
}

/// Does not compile when a kind is added, as a reminder to extend `one_of_each`.
#[test]
fn one_of_each_is_one_of_each() {
    let number = |record: &Record| match record {
        Record::SessionOpened(_) => 0,
        Record::SessionRejected(_) => 1,
        Record::SessionAuthenticated(_) => 2,
        Record::SessionClosed(_) => 3,
        Record::SessionPinned(_) => 4,
        Record::StatementExecuted(_) => 5,
        Record::StatementCancelled(_) => 6,
        Record::BackendOpened(_) => 7,
        Record::BackendClosed(_) => 8,
        Record::TopologyChanged(_) => 9,
        Record::TokenMinted(_) => 10,
        Record::TokenFailed(_) => 11,
        Record::ConfigReloaded(_) => 12,
        Record::AdminRequest(_) => 13,
        Record::ConsoleCommand(_) => 14,
        Record::CommitResolved(_) => 15,
        Record::FailoverBegan(_) => 16,
        Record::FailoverEnded(_) => 17,
        Record::StatementRefused(_) => 18,
        Record::WriterMoved(_) => 19,
    };
    let seen: BTreeSet<i32> = one_of_each(&Audit::off()).iter().map(number).collect();
    assert_eq!(seen, (0..20).collect());
}

#[tokio::test]
async fn every_text_level_is_what_the_schema_says() {
    for statements in
        [StatementText::None, StatementText::Fingerprint, StatementText::Normalized, StatementText::Full]
    {
        let mut scene = Scene::new();
        (scene.settings.statements, scene.settings.max_text) = (statements, 20);
        let audit = scene.open();
        for text in ["SELECT 'a long literal, cut at twenty'", "ALTER ROLE bob PASSWORD 'x'", "SELECT '"] {
            audit.submit(statement(&audit, text, None)).await.unwrap();
        }
        audit.close().await;
        for line in scene.lines() {
            assert_eq!(Schema::new(SCHEMA).faults(&line), [""; 0], "{line:#}");
        }
    }
}

#[test]
fn the_schema_finds_what_is_wrong() {
    let right = serde_json::json!({
        "schema_version": 1, "seq": 1, "time": "2026-11-22T10:00:00.000000Z", "boot_id": "0123456789abcdef",
        "severity": "INFO", "event.action": "token.failed", "event.outcome": "failure", "event.reason": "why",
        "duration_ms": 1.5, "server.endpoint": "primary", "server.backend_role": "primary",
    });
    let schema = Schema::new(SCHEMA);
    assert_eq!(schema.faults(&right), [""; 0]);
    for (key, wrong) in [
        ("schema_version", Value::from(2)),
        ("seq", 0.into()),
        ("seq", "1".into()),
        ("time", "2026-11-22T10:00:00Z".into()),
        ("boot_id", "0123456789abcdeg".into()),
        ("boot_id", "0123456789abcdef0".into()),
        ("event.action", "token.lost".into()),
        ("duration_ms", Value::from(-1)),
        ("duration_ms", "1".into()),
        ("db.query.text", "SELECT 1".into()),
        ("colour", "red".into()),
        ("event.reason", Value::Null),
    ] {
        let mut line = right.clone();
        line[key] = wrong;
        assert!(!schema.faults(&line).is_empty(), "{line}");
    }
    for key in ["seq", "time", "event.reason", "server.endpoint"] {
        let mut line = right.clone();
        line.as_object_mut().unwrap().remove(key);
        assert!(!schema.faults(&line).is_empty(), "{line}");
    }
}

#[tokio::test]
async fn a_statement_is_written_without_its_literals_and_with_where_it_ran() {
    let scene = Scene::new();
    let audit = scene.open();
    audit.submit(statement(&audit, "SELECT 'x' /* why */", Some("22012"))).await.unwrap();
    audit.close().await;
    let line = &scene.lines()[1];
    for (key, expected) in [
        ("event.action", Value::from("statement.executed")),
        ("event.outcome", "failure".into()),
        ("session.id", "7".into()),
        ("listener", "app".into()),
        ("client.address", "::1".into()),
        ("user.name", "alice".into()),
        ("user.effective.name", "alice@example.com".into()),
        ("db.namespace", "orders \"x\"".into()),
        ("db.query.text", "SELECT $1".into()),
        ("db.response.status_code", "22012".into()),
        ("server.endpoint", "reads".into()),
        ("server.backend_role", "read-pool".into()),
        ("server.backend_pid", 4242.into()),
        ("route.reason", "listener".into()),
        ("duration_ms", 1.234.into()),
    ] {
        assert_eq!(line[key], expected, "{key}");
    }
}

#[tokio::test]
async fn level_sessions_leaves_statements_out_and_nothing_else() {
    let mut scene = Scene::new();
    scene.settings.level = AuditLevel::Sessions;
    let audit = scene.open();
    assert!(!audit.wants_statements() && audit.text(b"SELECT 1", false).is_none());
    for record in one_of_each(&audit) {
        audit.submit(record).await.unwrap();
    }
    audit.close().await;
    let lines = scene.lines();
    assert!(!actions(&lines).contains(&"statement.executed"));
    assert!(!actions(&lines).contains(&"statement.refused"));
    assert!(actions(&lines).contains(&"statement.cancelled"));
    assert_eq!(lines.len(), one_of_each(&audit).len() - 4 + 2);
    assert_gap_free(&lines);
}

#[tokio::test]
async fn without_a_log_every_record_is_taken_and_forgotten() {
    let audit = Audit::off();
    assert_eq!((audit.level(), audit.wants_statements()), (None, false));
    audit.submit(opened()).await.unwrap();
    audit.reopen().await.unwrap();
    audit.close().await;
}
