//! What is written of each kind of record, and which kinds.

use super::{schema::assert_valid, *};

#[tokio::test]
async fn a_record_of_every_kind_is_what_the_schema_says() {
    let scene = Scene::new();
    let audit = scene.open();
    for record in one_of_each(&audit) {
        audit.submit(record).await.unwrap();
    }
    scene.fill_the_disk(&audit).await;
    audit.submit_now(opened());
    scene.free_the_disk(&audit).await;
    audit.close().await;

    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let lines = scene.lines();
    for line in &lines {
        assert_valid(&schema, line);
    }
    let seen: BTreeSet<&str> = actions(&lines).into_iter().collect();
    let listed = schema["properties"]["event.action"]["enum"].as_array().unwrap();
    assert_eq!(seen, listed.iter().map(|action| action.as_str().unwrap()).collect(), "kinds in the schema");

    let used: BTreeSet<&String> = lines.iter().flat_map(|line| line.as_object().unwrap().keys()).collect();
    let keys: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
    let elsewhere = ["db.query.fingerprint", "db.query.truncated", "db.query.redacted"];
    let unused: Vec<_> = keys.difference(&used).filter(|key| !elsewhere.contains(&key.as_str())).collect();
    assert!(unused.is_empty(), "keys that no record has: {unused:?}");
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
    assert!(actions(&lines).contains(&"statement.cancelled"));
    assert_eq!(lines.len(), one_of_each(&audit).len() - 3 + 2);
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
