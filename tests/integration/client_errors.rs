//! Errors in Gatekeeper's name: counted, logged and audited.

use std::time::Duration;

use gatekeeper::testing::sandbox::{APP, DATABASE};

use crate::harness::{Frames, Pooled, Shape, Stand, audit::audited_until, until};

const PATIENCE: Duration = Duration::from_secs(20);
const PATH: &str = "listener=\"app\",endpoint=\"primary\",backend_role=\"primary\"";

/// An application that would forge a line and color a terminal.
const HOSTILE: &str = "app\n2026-01-01T00:00:00Z ERROR gatekeeper: forged\u{1b}[31m\r";

async fn client(pooled: &Pooled, application: &str) -> Frames {
    Frames::log_in(pooled.listener(), APP, &[("database", DATABASE), ("application_name", application)]).await
}

#[tokio::test]
async fn a_refused_statement_is_counted_logged_and_audited() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let rest = format!("[audit]\nfile = {file:?}\nlevel = \"statements\"\n");
    let pool = "query_wait_timeout = \"200ms\"";
    let pooled = Pooled::start(Shape { size: 1, pool, rest: &rest, ..Shape::default() }).await;
    let mut holder = client(&pooled, "leaky-job").await;
    holder.ask("BEGIN; SELECT 1").await.unwrap();
    let mut hostile = client(&pooled, HOSTILE).await;
    for _ in 0..5 {
        assert_eq!(hostile.ask("SELECT 1").await.unwrap_err(), "53300");
    }
    holder.ask("COMMIT").await.unwrap();
    hostile.ask("SELECT 1").await.expect("the session continues");

    let gatekeeper = &pooled.stand.gatekeeper;
    let refused = format!("gatekeeper_statements_total{{{PATH},outcome=\"refused\"}}");
    let class = format!("gatekeeper_statement_errors_total{{{PATH},sqlstate_class=\"53\"}}");
    until(PATIENCE, async || match (gatekeeper.metric(&refused).await, gatekeeper.metric(&class).await) {
        (Some(5.0), Some(5.0)) => Ok(()),
        other => Err(other),
    })
    .await;

    let events = gatekeeper.get("/v1/events").await.unwrap().body;
    assert!(events.contains("listener `app` refused a statement: pool timeout"), "{events}");

    let lines = audited_until(&file, |line| line.action() == "statement.refused").await;
    let line = lines.iter().find(|line| line.action() == "statement.refused").unwrap();
    let field = |key| line.text(key);
    assert_eq!((field("event.outcome"), field("event.reason")), ("failure".into(), "pool_timeout".into()));
    assert_eq!(
        (field("db.response.status_code"), field("server.endpoint")),
        ("53300".into(), "primary".into())
    );
    assert_eq!(field("client.application_name"), HOSTILE);

    gatekeeper.wait_for_log("statement refused").await;
    let log = gatekeeper.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("statement refused")).collect();
    assert_eq!(lines.len(), 1, "one line in ten seconds: {log}");
    for fact in [
        "reason=\"pool_timeout\"",
        "oldest_application=\"leaky-job\"",
        "oldest_state=\"idle in transaction\"",
        "held=1",
    ] {
        assert!(lines[0].contains(fact), "{fact} is not in {}", lines[0]);
    }
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01")), "a client forged a line: {log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "{log:?}");
    // The numbers of the lines that were not written.
    gatekeeper.wait_for_log("further errors of clients").await;
    assert!(gatekeeper.stderr().contains("more=4"), "{}", gatekeeper.stderr());
}

#[tokio::test]
async fn a_failed_login_is_logged_without_its_password() {
    let stand = Stand::passthrough().await;
    let login = "user=app password=hunter2 dbname=app application_name=reports";
    stand.connect(login).await.expect_err("the password is wrong");
    stand.gatekeeper.wait_for_log("client rejected").await;
    let log = stand.gatekeeper.stderr();
    let line = log.lines().find(|line| line.contains("client rejected")).unwrap();
    for fact in ["sqlstate=\"28P01\"", "user=\"app\"", "application=\"reports\"", "reason=\"endpoint\""] {
        assert!(line.contains(fact), "{fact} is not in {line}");
    }
    assert!(!log.contains("hunter2"));
}

#[tokio::test]
async fn connections_are_logged_on_request() {
    for (rest, is_logged) in [("", false), ("[log]\nconnections = true\n", true)] {
        let pooled = Pooled::start(Shape { rest, ..Shape::default() }).await;
        let client = client(&pooled, "reports").await;
        drop(client);
        // The end of a session is counted after it is logged.
        until(PATIENCE, async || {
            let ended = pooled
                .stand
                .gatekeeper
                .metric("gatekeeper_sessions_total{listener=\"app\",outcome=\"ok\"}")
                .await;
            if ended == Some(1.0) { Ok(()) } else { Err(ended) }
        })
        .await;
        if is_logged {
            pooled.stand.gatekeeper.wait_for_log("session opened").await;
            pooled.stand.gatekeeper.wait_for_log("session closed").await;
            assert!(pooled.stand.gatekeeper.stderr().contains("reason=\"client_closed\""));
        }
        let log = pooled.stand.gatekeeper.stderr();
        assert_eq!(log.contains("session opened"), is_logged, "{log}");
    }
}
