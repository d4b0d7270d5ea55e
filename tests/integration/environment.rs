//! Configuration by environment variables only, as in a container; and the reports of mistakes.

use std::{fs, net::TcpListener};

use gatekeeper::testing::sandbox::{ALICE, SERVICE_ACCOUNT, SandboxOptions, ServerTls, Single};

use crate::harness::{
    Checked, Gatekeeper, Psql, check, connect, psql,
    stand::{admin, listener},
    until,
};

const APP: &str = "user=app password=app-password dbname=app";

/// One server, with the variables common to all configurations.
struct Container {
    server: Single,
    variables: Vec<(&'static str, String)>,
}

impl Container {
    async fn new() -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        let host = listener(&server).ip().to_string();
        let variables = vec![
            ("GATEKEEPER_BACKEND_HOST", server.address().ip().to_string()),
            ("GATEKEEPER_BACKEND_PORT", server.address().port().to_string()),
            ("GATEKEEPER_BACKEND_TLS_MODE", "verify-ca".to_owned()),
            ("GATEKEEPER_BACKEND_TLS_CA_FILE", server.authority().ca_file().display().to_string()),
            ("GATEKEEPER_LISTEN_HOST", host.clone()),
            ("GATEKEEPER_API_HOST", host),
            ("GATEKEEPER_AUDIT_FILE", server.folder().join("audit.jsonl").display().to_string()),
            ("GATEKEEPER_AUDIT_LEVEL", "statements".to_owned()),
        ];
        Self { server, variables }
    }

    async fn run(&self, more: &[(&'static str, &str)]) -> Gatekeeper {
        let mut all: Vec<_> = self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(more);
        Gatekeeper::from_environment(&all, admin(&self.server)).await
    }

    /// The audit log, once a line contains all of `parts`.
    async fn audited(&self, parts: &[&str]) -> String {
        until(std::time::Duration::from_secs(10), async || {
            let log = fs::read_to_string(self.server.folder().join("audit.jsonl")).unwrap_or_default();
            let found = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            found.map(str::to_owned).ok_or(log)
        })
        .await
    }
}

#[tokio::test]
async fn one_endpoint_is_served_and_its_role_labels_metrics_and_audit() {
    let container = Container::new().await;
    for role in ["primary", "replica"] {
        let gatekeeper = container.run(&[("GATEKEEPER_BACKEND_ROLE", role)]).await;
        let client = connect(listener(&container.server), APP).await.unwrap();
        client.simple_query("SELECT 1").await.unwrap();
        let role_in_audit = format!("\"server.backend_role\":\"{role}\"");
        container.audited(&["\"event.action\":\"statement.executed\"", &role_in_audit]).await;
        let metrics = gatekeeper.get("/metrics").await.unwrap().body;
        let label = format!("backend_role=\"{role}\"");
        let series: Vec<_> = metrics.lines().filter(|line| line.contains("backend_role=")).collect();
        assert!(!series.is_empty() && series.iter().all(|line| line.contains(&label)), "{series:#?}");
        let statements = series
            .iter()
            .find(|line| line.starts_with("gatekeeper_statements_total") && line.contains("\"ok\""));
        assert!(statements.is_some_and(|line| line.ends_with(" 1")), "{statements:?}");
    }
}

#[tokio::test]
async fn several_endpoints_share_settings_and_have_a_listener_each() {
    let container = Container::new().await;
    let gatekeeper = container
        .run(&[
            ("GATEKEEPER_ENDPOINTS", "primary,read-one"),
            ("GATEKEEPER_READ_ONE_BACKEND_ROLE", "replica"),
            ("GATEKEEPER_READ_ONE_BACKEND_TLS_MODE", "verify-full"),
            ("GATEKEEPER_READ_ONE_BACKEND_TLS_SERVER_NAME", container.server.dns_name()),
        ])
        .await;
    let first = listener(&container.server);
    for (port, endpoint, role) in
        [(first.port(), "primary", "primary"), (first.port() + 1, "read-one", "replica")]
    {
        let client = connect((first.ip(), port).into(), APP).await.unwrap();
        client.simple_query("SELECT 1").await.unwrap();
        let [listener, endpoint, role] =
            [("listener", endpoint), ("server.endpoint", endpoint), ("server.backend_role", role)]
                .map(|(key, value)| format!("\"{key}\":\"{value}\""));
        container.audited(&["statement.executed", &listener, &endpoint, &role]).await;
    }
    let series = "gatekeeper_endpoint_info{endpoint=\"read-one\",backend_role=\"replica\"";
    assert!(gatekeeper.get("/metrics").await.unwrap().body.contains(series));
}

/// Variables of a block of `docs/deploy.md`, and the program running with the variables.
struct Documented {
    gatekeeper: Gatekeeper,
    /// The command below the variables.
    command: String,
    port: u16,
}

impl Documented {
    /// Runs the first block below the words `above`: verbatim, except for addresses, paths and the token command.
    async fn run(server: &Single, above: &str) -> Self {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy.md")).unwrap();
        let (_, below) = page.split_once(above).expect(above);
        let (_, block) = below.split_once("```env\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let (port, api) = (free_port(), free_port());
        let mut command = String::new();
        let mut variables: Vec<(&str, String)> = Vec::new();
        for line in block.lines() {
            if let Some(line) = line.strip_prefix("# ") {
                command = line.to_owned();
                continue;
            }
            let (name, value) = line.split_once('=').unwrap();
            let value = match name {
                "GATEKEEPER_BACKEND_HOST" => server.address().ip().to_string(),
                "GATEKEEPER_BACKEND_PORT" => server.address().port().to_string(),
                "GATEKEEPER_BACKEND_TLS_CA_FILE" => server.authority().ca_file().display().to_string(),
                "GATEKEEPER_BACKEND_TOKEN_CMD" => server.tokens().command(),
                "GATEKEEPER_LISTEN_PORT" => port.to_string(),
                "GATEKEEPER_API_PORT" => api.to_string(),
                _ => value.to_owned(),
            };
            variables.push((name, value));
        }
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gatekeeper = Gatekeeper::from_environment(&variables, ([127, 0, 0, 1], api).into()).await;
        Self { gatekeeper, command, port }
    }

    /// Runs the command below the block, as `user` if given.
    async fn psql(&self, user: Option<&str>) -> Psql {
        let words: Vec<&str> = self.command.split(' ').collect();
        let ["psql", "-h", host, "-p", "15432", "-U", documented] = words.as_slice() else {
            panic!("{}", self.command)
        };
        let (user, port) = (user.unwrap_or(documented), self.port);
        let connection = format!("host={host} port={port} user={user} password=app-password dbname=app");
        psql(&connection, "SELECT current_user").await
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_documented_token_command_serves_every_user_of_this_machine() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let documented = Documented::run(&server, "### Tokens for everybody").await;
    let answer = documented.psql(None).await;
    assert_eq!((answer.rows.as_str(), answer.stderr.as_str()), (ALICE, ""));
    assert_eq!(documented.psql(Some(SERVICE_ACCOUNT)).await.rows, SERVICE_ACCOUNT);
    let log = documented.gatekeeper.stderr();
    let warnings: Vec<&str> = log.lines().filter(|line| line.starts_with("warning: ")).collect();
    let [warning] = warnings.as_slice() else { panic!("{log}") };
    for name in ["GATEKEEPER_LISTEN_AUTH", "GATEKEEPER_BACKEND_TOKEN_USERS"] {
        assert!(warning.contains(name), "{warning}");
    }
}

#[tokio::test]
async fn the_documented_password_pattern_lets_clients_log_in_with_their_own() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let documented = Documented::run(&server, "### The clients' own passwords").await;
    let answer = documented.psql(None).await;
    assert_eq!((answer.rows.as_str(), answer.stderr.as_str()), ("app", ""));
}

#[tokio::test]
async fn the_documented_sidecar_pattern_speaks_plaintext_on_this_machine() {
    let options = || SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let server = Single::start(options()).await.unwrap();
    let documented = Documented::run(&server, "### Beside Google's Auth Proxy").await;
    let answer = documented.psql(None).await;
    assert_eq!((answer.rows.as_str(), answer.stderr.as_str()), ("app", ""));
    drop(documented);

    let file = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/sidecar.toml")).unwrap();
    let listener = listener(&server);
    let file = file
        .replace("127.0.0.1:5432", &server.address().to_string())
        .replace("127.0.0.1:15432", &listener.to_string());
    let admin = admin(&server);
    let file = format!("{file}\n[admin]\nbind = \"{admin}\"\n");
    let _gatekeeper = Gatekeeper::start(server.folder(), &file, admin).await;
    connect(listener, APP).await.unwrap();
}

#[test]
fn a_sound_environment_passes_and_shows_where_each_value_came_from() {
    let Checked { code, settings, .. } =
        check(None, &[("GATEKEEPER_BACKEND_HOST", "127.0.0.1"), ("GATEKEEPER_BACKEND_TLS_MODE", "disable")]);
    assert_eq!(code, Some(0));
    let line = |name: &str| settings.lines().find(|line| line.starts_with(name)).unwrap_or(&settings);
    assert!(line("endpoint.primary.address").ends_with("GATEKEEPER_BACKEND_HOST"), "{settings}");
    assert!(line("endpoint.primary.role").ends_with("default"), "{settings}");
}

#[test]
fn every_mistake_is_reported_and_unknown_variables_get_a_suggestion() {
    let Checked { code, settings, stderr } = check(
        None,
        &[
            ("GATEKEEPER_BACKEND_HOSTS", "10.0.0.1"),
            ("GATEKEEPER_BACKEND_HOST", "10.0.0.1"),
            ("GATEKEEPER_BACKEND_PORT", "54321432"),
            ("GATEKEEPER_BACKEND_TLS_MODE", "verify"),
            ("GATEKEEPER_BACKEND_TLS_CA_FILE", "/nonexistent/ca.pem"),
            ("GATEKEEPER_BACKEND_ROLE", "reader"),
            ("GATEKEEPER_API_HOST", "0.0.0.0"),
        ],
    );
    assert_eq!(code, Some(1));
    assert_eq!(settings, "");
    for words in [
        "GATEKEEPER_BACKEND_HOSTS: ",
        "GATEKEEPER_BACKEND_HOST?",
        "GATEKEEPER_BACKEND_PORT: ",
        "GATEKEEPER_BACKEND_TLS_MODE: ",
        "GATEKEEPER_BACKEND_TLS_CA_FILE: ",
        "/nonexistent/ca.pem",
        "GATEKEEPER_BACKEND_ROLE: ",
        "ADMIN_API_KEY",
    ] {
        assert!(stderr.contains(words), "no `{words}` in:\n{stderr}");
    }
    assert!(
        stderr.lines().all(|line| line.starts_with("error: ") || line.starts_with("warning: ")),
        "{stderr}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let Checked { code, stderr, .. } = check(Some("/nonexistent/gatekeeper.toml".as_ref()), &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/nonexistent/gatekeeper.toml"), "{stderr}");
    let Checked { code, stderr, .. } = check(None, &[("GATEKEEPER_CONFIG", "/nonexistent/gatekeeper.toml")]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/nonexistent/gatekeeper.toml"), "{stderr}");
}

#[test]
fn an_empty_environment_is_answered_with_the_required_variables() {
    let Checked { code, stderr, .. } = check(None, &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("GATEKEEPER_BACKEND_HOST"), "{stderr}");
}
