use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{record::*, *};
use crate::{
    names::{ClusterName, DatabaseName, EndpointName, ListenerName, UserName},
    telemetry::Metrics,
    topology::{DeclaredRole, Endpoint},
};

struct Scene {
    folder: tempfile::TempDir,
    metrics: Metrics,
    settings: AuditSettings,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = AuditSettings {
            output: AuditOutput::File(folder.path().join("audit.jsonl")),
            level: AuditLevel::Statements,
            statements: StatementText::Normalized,
            on_full: OnFull::Block,
            queue: 1024,
            block_timeout: Duration::from_secs(30),
            rotate_bytes: None,
            max_text: 8 << 10,
        };
        Self { folder, metrics: Metrics::new(), settings }
    }

    fn open(&self) -> Audit {
        Audit::open(self.settings.clone(), self.metrics.audit()).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Every line of every file, in order of `seq`.
    fn lines(&self) -> Vec<Value> {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut lines: Vec<Value> = files.flat_map(|path| read(&path)).collect();
        lines.sort_by_key(|line| line["seq"].as_u64());
        lines
    }

    fn counted(&self, metric: &str) -> u64 {
        let page = self.metrics.render();
        let line =
            page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ').map(str::to_owned));
        line.expect("the series exists").parse().expect("a whole number")
    }

    /// From now on the file cannot be written (`/dev/full`), until [`Scene::free_the_disk`].
    async fn fill_the_disk(&self, audit: &Audit) {
        until(|| self.counted("gatekeeper_audit_queue_records") == 0).await;
        std::fs::rename(self.path(), self.folder.path().join("before")).unwrap();
        std::os::unix::fs::symlink("/dev/full", self.path()).unwrap();
        audit.reopen().await.unwrap();
        audit.submit(opened()).await.unwrap();
        until(|| self.counted("gatekeeper_audit_write_errors_total") > 0).await;
    }

    async fn free_the_disk(&self, audit: &Audit) {
        std::fs::remove_file(self.path()).unwrap();
        audit.reopen().await.unwrap();
    }
}

async fn until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it did not come about in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line in {}", path.display());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn actions(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event.action"].as_str().unwrap()).collect()
}

fn assert_gap_free(lines: &[Value]) {
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<_>>());
    let boots: BTreeSet<_> = lines.iter().map(|line| line["boot_id"].as_str().unwrap()).collect();
    assert_eq!(boots.len(), 1);
}

fn session() -> Arc<Session> {
    Arc::new(Session {
        id: 7,
        listener: ListenerName::new("app").unwrap(),
        client: Some("[::1]:4711".parse().unwrap()),
        tls: Some("1.3"),
        user: Some(UserName::new("alice").unwrap()),
        database_user: Some(UserName::new("alice@example.com").unwrap()),
        database: Some(DatabaseName::new("orders \"x\"").unwrap()),
        method: Some("scram"),
        application: Some("psql".into()),
    })
}

fn opened() -> Record {
    Record::SessionOpened(Arc::new(Session {
        user: None,
        database_user: None,
        database: None,
        method: None,
        tls: None,
        application: None,
        client: None,
        ..(*session()).clone()
    }))
}

fn endpoint() -> Arc<Endpoint> {
    Arc::new(Endpoint {
        name: EndpointName::new("reads").unwrap(),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role: DeclaredRole::ReadPool,
        address: "10.0.0.1".parse().unwrap(),
    })
}

fn server() -> Server {
    Server { endpoint: endpoint(), backend_pid: Some(4242) }
}

fn statement(audit: &Audit, text: &str, sqlstate: Option<&str>) -> Record {
    Record::StatementExecuted(Box::new(Statement {
        session: session(),
        server: server(),
        route: Some(Route { decision: "read-pool", reason: "listener" }),
        text: audit.text(text.as_bytes(), false),
        operation: Some("SELECT".into()),
        duration: Duration::from_nanos(1_234_567),
        sqlstate: sqlstate.and_then(Sqlstate::new),
        rows: Some(3),
    }))
}

fn one_of_each(audit: &Audit) -> Vec<Record> {
    let mint = |error: Option<&str>| {
        Box::new(Mint {
            endpoint: endpoint(),
            user: Some(UserName::new("alice@example.com").unwrap()),
            duration: Duration::from_millis(80),
            error: error.map(Into::into),
        })
    };
    let backend = |reason, session| {
        let user = UserName::new("alice@example.com").unwrap();
        Box::new(Backend { server: server(), session, user, duration: Duration::from_millis(9), reason })
    };
    vec![
        opened(),
        Record::SessionRejected(Box::new(SessionRejected {
            session: session(),
            reason: "max_clients",
            sqlstate: Sqlstate::new("53300"),
        })),
        Record::SessionAuthenticated(session()),
        statement(audit, "SELECT 'x' /* why */", None),
        statement(audit, "SELECT 1/0", Some("22012")),
        statement(audit, "SELECT 'unterminated", Some("42601")),
        Record::StatementCancelled(Box::new(Cancelled {
            session: session(),
            server: Some(server()),
            delivered: true,
            client: Some("127.0.0.1:1".parse().unwrap()),
        })),
        Record::SessionClosed(Box::new(SessionClosed {
            session: session(),
            reason: Some("client"),
            duration: Duration::from_secs(3),
            statements: 2,
            traffic: (100, 2000),
        })),
        Record::BackendOpened(backend(None, None)),
        Record::BackendClosed(backend(Some("session_end"), Some(session()))),
        Record::TopologyChanged(Box::new(TopologyChange {
            endpoint: Some(endpoint()),
            what: "health",
            from: Some("up".into()),
            to: Some("down".into()),
        })),
        Record::TokenMinted(mint(None)),
        Record::TokenFailed(mint(Some("exit status 1: no credentials"))),
        Record::ConfigReloaded(Box::new(Reload { trigger: "signal", error: None })),
        Record::ConfigReloaded(Box::new(Reload { trigger: "admin", error: Some("two mistakes".into()) })),
        Record::AdminRequest(Box::new(AdminRequest {
            client: Some("127.0.0.1:9".parse().unwrap()),
            authenticated: false,
            method: "POST".into(),
            path: "/v1/reload".into(),
            status: 401,
        })),
        Record::ConsoleCommand(Box::new(ConsoleCommand {
            session: session(),
            command: "PAUSE orders".into(),
            sqlstate: Sqlstate::new("42501"),
        })),
    ]
}

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

/// The part of JSON Schema that `schema.json` uses.
fn assert_valid(schema: &Value, line: &Value) {
    let object = line.as_object().expect("an object");
    let required = |list: &Value| {
        for key in list.as_array().unwrap() {
            assert!(object.contains_key(key.as_str().unwrap()), "{key} is missing in {line}");
        }
    };
    required(&schema["required"]);
    for (key, value) in object {
        let property = &schema["properties"][key];
        assert!(property.is_object(), "the schema has no {key}: {line}");
        let fits = match property["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => *value == property["const"],
        };
        assert!(fits, "{key} in {line}");
        if let Some(words) = property["enum"].as_array() {
            assert!(words.contains(value), "{key} in {line}");
        }
    }
    for rule in schema["allOf"].as_array().unwrap() {
        if rule["if"]["properties"]["event.action"]["const"] == line["event.action"] {
            required(&rule["then"]["required"]);
        }
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

#[tokio::test]
async fn rotation_and_reopening_lose_nothing() {
    let mut scene = Scene::new();
    scene.settings.rotate_bytes = Some(20_000);
    let audit = scene.open();
    for round in 0..5 {
        for _ in 0..100 {
            audit.submit(opened()).await.unwrap();
        }
        std::fs::rename(scene.path(), scene.folder.path().join(format!("moved-{round}"))).unwrap();
        audit.reopen().await.unwrap();
    }
    audit.close().await;
    let lines = scene.lines();
    assert_gap_free(&lines);
    assert_eq!(lines.len(), 502);
    let files = std::fs::read_dir(scene.folder.path()).unwrap().count();
    assert!(files > 6, "the file was moved by us too, not by the test alone: {files} files");
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

#[test]
fn a_record_is_small() {
    assert_eq!((size_of::<Record>(), size_of::<Submit>()), (16, 16));
}
