//! Hints of a client for the route of its statements, and state that keeps a session on one side.

use crate::harness::{
    Frames, Split,
    frames::{bind, execute, parse, sync},
    split::last_route,
    until,
};
use gatekeeper::testing::wire::tag::backend::READY_FOR_QUERY;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_comment_or_a_setting_keeps_reads_on_the_primary() {
    let split = Split::with("").await;
    let mut client = split.client().await;
    client.ask("SELECT 1").await.unwrap();
    assert_eq!(last_route(&mut client).await, "reads (read)");
    client.ask("/* gatekeeper: route=primary */ SELECT 1").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (hint)");
    client.ask("SET gatekeeper.route = 'primary'").await.unwrap();
    client.ask("SELECT 1").await.unwrap();
    client.ask("SELECT 1").await.unwrap();
    assert_eq!(last_route(&mut client).await, "primary (session-setting)");
    client.ask("RESET gatekeeper.route").await.unwrap();
    client.ask("SELECT 1").await.unwrap();
    client.ask("SELECT 1").await.unwrap();
    assert_eq!(last_route(&mut client).await, "reads (read)");
    let mut other = split.client_with(&[("options", "-c gatekeeper.route=primary")]).await;
    other.ask("SELECT 1").await.unwrap();
    assert_eq!(last_route(&mut other).await, "primary (session-setting)");
    assert_eq!(other.ask("SHOW gatekeeper.route").await.unwrap(), "primary");
}

#[tokio::test]
async fn last_route_is_shown_by_message_too() {
    let split = Split::with("").await;
    let mut client = split.client().await;
    client.ask("SELECT 1").await.unwrap();
    let show = [parse("", "SHOW gatekeeper.last_route"), bind("", "", &[]), execute("", 0), sync()].concat();
    client.send(&show).await;
    let received = client.read_until(READY_FOR_QUERY).await;
    let row = received.iter().find(|message| message.tag == b'D').unwrap();
    assert!(row.body.ends_with(b"reads (read)"), "{row:?}");
}

#[tokio::test]
async fn unlogged_relations_are_read_on_the_primary() {
    let split = Split::with("primary_only = [\"public.job\"]").await;
    split
        .primary(
            "CREATE TABLE job (n int); CREATE UNLOGGED TABLE fleeting (n int); CREATE TABLE plain (n int); \
             CREATE VIEW jobs AS SELECT * FROM job; \
             GRANT ALL ON job, fleeting, plain, jobs TO PUBLIC",
        )
        .await;
    split.settles().await;
    let mut client = split.client().await;
    // Known after the first query of the setting.
    until(PATIENCE, async || {
        client.ask("SELECT n FROM plain").await.unwrap();
        match last_route(&mut client).await {
            route if route == "reads (read)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
    for (relation, ground) in
        [("job", "primary-only"), ("fleeting", "unlogged"), ("pg_stat_activity", "server-state")]
    {
        client.ask(&format!("SELECT count(*) FROM {relation}")).await.unwrap();
        assert_eq!(last_route(&mut client).await, format!("primary ({ground})"), "{relation}");
    }
}

#[tokio::test]
async fn views_of_unlogged_relations_are_read_on_the_primary() {
    let split = Split::with("primary_only = [\"public.job\"]").await;
    split
        .primary(
            "CREATE TABLE task (n int); CREATE TABLE job (n int) INHERITS (task); CREATE TABLE old_job () INHERITS (job); \
             CREATE TABLE plain (n int); CREATE VIEW jobs AS SELECT * FROM job; CREATE VIEW more AS SELECT * FROM jobs; \
             CREATE FUNCTION count_jobs() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM Job); END'; \
             CREATE FUNCTION atomic_jobs() RETURNS bigint STABLE BEGIN ATOMIC SELECT count(*) FROM job; END; \
             CREATE VIEW counted AS SELECT count_jobs(); \
             GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
        )
        .await;
    split.settles().await;
    let mut client = split.client().await;
    let reads_pool = async |client: &mut Frames, text: &str| {
        // Definitions are known only after a statement asked for the definitions.
        until(PATIENCE, async || {
            client.ask(text).await.unwrap();
            match last_route(client).await {
                route if route == "reads (read)" => Ok(()),
                route => Err(route),
            }
        })
        .await;
    };
    reads_pool(&mut client, "SELECT count(*) FROM plain").await;
    let readers = [
        "SELECT count(*) FROM job",
        "SELECT count(*) FROM jobs",
        "SELECT count(*) FROM more",
        "SELECT count(*) FROM task",
        "SELECT count(*) FROM old_job",
        "SELECT count_jobs()",
        "SELECT atomic_jobs()",
        "SELECT * FROM counted",
    ];
    for text in readers {
        client.ask(text).await.unwrap();
        assert_eq!(last_route(&mut client).await, "primary (primary-only)", "{text}");
    }

    // A reload changes the list, for the existing session and for a new session.
    let file = split.gatekeeper.config_file();
    let reload = |list: &str| {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| if line.starts_with("primary_only") { list } else { line });
        std::fs::write(file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        split.gatekeeper.signal(rustix::process::Signal::HUP);
    };
    reload("primary_only = [\"plain\"]");
    for mut client in [client, split.client().await] {
        for text in readers {
            reads_pool(&mut client, text).await;
        }
        client.ask("SELECT count(*) FROM plain").await.unwrap();
        assert_eq!(last_route(&mut client).await, "primary (primary-only)");
    }
}

#[tokio::test]
async fn a_session_with_state_on_the_primary_stays_there() {
    let split = Split::with("").await;
    let mut client = split.client().await;
    client.ask("CREATE TEMPORARY TABLE mine (n int)").await.unwrap();
    client.ask("INSERT INTO mine VALUES (7)").await.unwrap();
    assert_eq!(client.ask("SELECT n FROM mine").await.unwrap(), "7");
    assert_eq!(client.ask("SELECT 1").await.unwrap(), "1");
    assert!(last_route(&mut client).await.starts_with("primary"));
    client.ask("DROP TABLE mine").await.unwrap();
    until(PATIENCE, async || {
        client.ask("SELECT 1").await.unwrap();
        match last_route(&mut client).await {
            route if route == "reads (read)" => Ok(()),
            route => Err(route),
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancel_reaches_the_read_pool_that_runs_the_statement() {
    let split = Split::with("").await;
    let mut client = split.client().await;
    client.ask("SELECT 1").await.unwrap();
    client
        .send(&crate::harness::frames::query("SELECT count(*) FROM pg_class WHERE pg_sleep(60) IS NOT NULL"))
        .await;
    let running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
    until(PATIENCE, async || {
        let mut seen = String::new();
        for node in ["reads-1", "reads-2"] {
            seen += &split.sandbox.node(node).sql("postgres", running).await.unwrap();
        }
        if seen.contains('1') { Ok(()) } else { Err(seen) }
    })
    .await;
    crate::harness::frames::cancel(split.listener(), client.key.as_ref().unwrap()).await;
    let received = client.read_until(READY_FOR_QUERY).await;
    let error = received.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.field(b'C'), "57014");
    assert_eq!(client.ask("SELECT 1").await.unwrap(), "1");
}
