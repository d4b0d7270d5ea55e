//! The session's id in `application_name`: views and logs of the server joined with the audit log.

use std::{fs, path::Path, process::Stdio, time::Duration};

use gatekeeper::testing::sandbox::{APP, DATABASE, SandboxOptions, Single};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::harness::{
    Pooled, Shape, Stand,
    audit::audited,
    connect,
    pages::Page,
    stand::{config, listener},
    until,
};

const PATIENCE: Duration = Duration::from_secs(20);
const TAGGED: &str = "application_name_add_session = true";

/// The value of one row with one column.
async fn value(client: &Client, sql: &str) -> String {
    let rows = client.simple_query(sql).await.unwrap();
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    row.unwrap_or_else(|| panic!("no row: {sql}"))
}

/// The name that the server shows for the backend of `client`.
async fn seen(client: &Client) -> String {
    value(client, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()").await
}

/// The tag in the audit log of the authenticated session `number`, counted from 1.
async fn tag(audit: &Path, number: usize) -> String {
    until(PATIENCE, async || {
        let records = audited(audit);
        let mut sessions = records.iter().filter(|record| record.action() == "session.authenticated");
        let session = sessions.nth(number - 1).ok_or(records.len())?;
        Ok::<_, usize>(format!("gk:{}:{}", session.text("boot_id"), session.text("session.id")))
    })
    .await
}

/// Waits until the server shows `name` for the backend of `client`.
async fn becomes(client: &Client, name: &str) {
    until(PATIENCE, async || match seen(client).await {
        seen if seen == name => Ok(()),
        other => Err(other),
    })
    .await;
}

fn audit_to(server: &Single) -> String {
    format!("[audit]\nfile = {:?}\n", server.folder().join("audit.jsonl"))
}

#[tokio::test]
async fn a_leased_backend_carries_the_sessions_id() {
    let rest = "[audit]\nfile = \"audit.jsonl\"\n";
    let shape = Shape { size: 1, listener: TAGGED, rest, plain: true, ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let audit = pooled.stand.server.folder().join("audit.jsonl");
    let login = |name: &str| format!("user={} dbname={DATABASE} application_name={name}", APP.name);
    let one = pooled.stand.connect(&login("one")).await.unwrap();
    let one_name = format!("one {}", tag(&audit, 1).await);
    let two = pooled.stand.connect(&login("two")).await.unwrap();
    let two_name = format!("two {}", tag(&audit, 2).await);
    assert_ne!(one_name[4..], two_name[4..]);
    // One backend serves both in turn.
    for _ in 0..2 {
        assert_eq!((seen(&one).await, seen(&two).await), (one_name.clone(), two_name.clone()));
    }
    assert_eq!(value(&one, "SHOW application_name").await, one_name, "the client sees the same");

    // As the JDBC driver does after its login.
    one.simple_query("SET application_name = 'job'").await.unwrap();
    becomes(&one, &format!("job {}", &one_name[4..])).await;
    one.simple_query("RESET application_name").await.unwrap();
    becomes(&one, &one_name).await;
    one.simple_query("DISCARD ALL").await.unwrap();
    becomes(&one, &one_name).await;
    assert_eq!(seen(&two).await, two_name);
    let long = pooled.stand.connect(&login(&"n".repeat(70))).await.unwrap();
    let long_tag = tag(&audit, 3).await;
    let long_name = seen(&long).await;
    assert!(long_name.len() == 63 && long_name.ends_with(&format!("n {long_tag}")), "{long_name}");
    let unnamed = pooled.stand.connect(&format!("user={} dbname={DATABASE}", APP.name)).await.unwrap();
    assert_eq!(seen(&unnamed).await, tag(&audit, 4).await);
}

#[tokio::test]
async fn a_backend_for_life_carries_the_sessions_id() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let audit = server.folder().join("audit.jsonl");
    let password = server.folder().join("app-password");
    fs::write(&password, APP.password).unwrap();
    let login = format!("login = {{ user = {:?}, password = {{ file = {password:?} }} }}", APP.name);
    let keys = format!("auth = {{ method = \"trust\" }}\npool = {{ size = 1 }}\n{TAGGED}");
    let stand_config = config(&server, &login, &keys, &audit_to(&server));
    let stand = Stand::start(server, &stand_config).await;
    let parameters = format!("user={} dbname={DATABASE} application_name=it's", APP.name);
    let mut backends = Vec::new();
    for number in 1..=2 {
        let client = stand.connect(&parameters.replace("it's", "'it\\'s'")).await.unwrap();
        assert_eq!(seen(&client).await, format!("it's {}", tag(&audit, number).await));
        assert_eq!(value(&client, "SHOW application_name").await, seen(&client).await);
        backends.push(value(&client, "SELECT pg_backend_pid()").await);
        drop(client);
        let idle = "SELECT application_name FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle'";
        until(PATIENCE, async || match stand.server.node().sql(DATABASE, idle).await.unwrap() {
            name if name.contains("gk:") => Err(name),
            _ => Ok(()),
        })
        .await;
    }
    assert_eq!(backends[0], backends[1], "sessions share the backends of a pool");
}

#[tokio::test]
async fn a_relayed_login_carries_the_sessions_id() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let audit = server.folder().join("audit.jsonl");
    let stand_config = config(&server, "", TAGGED, &audit_to(&server));
    let stand = Stand::start(server, &stand_config).await;
    let app = "user=app password=app-password dbname=app application_name=tests";
    let client = stand.connect(app).await.unwrap();
    assert_eq!(seen(&client).await, format!("tests {}", tag(&audit, 1).await));
}

#[tokio::test]
async fn the_recipe_joins_activity_with_the_audit_log() {
    let rest = "[audit]\nfile = \"audit.jsonl\"\n";
    let shape = Shape { size: 2, listener: TAGGED, rest, plain: true, ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let server = &pooled.stand.server;
    let client = connect(listener(server), &format!("user={} dbname={DATABASE}", APP.name)).await.unwrap();
    client.simple_query("BEGIN").await.unwrap();
    let pid = value(&client, "SELECT pg_backend_pid()").await;
    let tag = tag(&server.folder().join("audit.jsonl"), 1).await;
    let page = Page::read("docs/audit.md");
    let block = page.blocks().into_iter().find(|block| block.language == "sql").unwrap();
    let recipe = server.folder().join("recipe.sql");
    fs::write(&recipe, block.text).unwrap();
    let socket = server.node().socket_dir().display().to_string();
    let port = server.address().port();
    let connection = format!("host={socket} port={port} user=postgres dbname={DATABASE}");
    let mut psql = tokio::process::Command::new(server.installation().psql());
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &connection, "-f"]).arg(&recipe);
    let output = psql.current_dir(server.folder()).stdin(Stdio::null()).output().await.unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    let session = tag.rsplit(':').next().unwrap();
    let expected = format!("{pid}|{session}|{}|127.0.0.1", APP.name);
    assert!(rows.lines().any(|row| row == expected), "{expected}\n{rows}{:?}", output.stderr);
}
