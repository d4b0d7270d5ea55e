//! Findings of `gatekeeper doctor`, stage by stage, with their remedies.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use gatekeeper::testing::{
    sandbox::{ALICE, APP, Certificate, SERVICE_ACCOUNT, Sandbox, SandboxOptions, ServerTls, Single, Stop},
    scram::Verifier,
};
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{
    pki::{Identity, Pki},
    until,
};

/// Output and exit code of the doctor.
struct Visit {
    code: Option<i32>,
    report: Value,
    /// All output, on both channels.
    wrote: String,
}

/// An endpoint of a configuration, key by key.
struct Entry {
    name: &'static str,
    role: &'static str,
    address: String,
    ca: String,
    tls: String,
    login: String,
}

async fn single() -> Single {
    Single::start(SandboxOptions::default()).await.unwrap()
}

fn tokens(words: &[String], users: &[&str]) -> String {
    format!("{{ token_command = {words:?}, users = {users:?} }}")
}

/// The primary of `server`, verified by name, with token logins of the sandbox's two IAM users.
fn primary(server: &Single) -> Entry {
    Entry {
        name: "primary",
        role: "primary",
        address: server.address().to_string(),
        ca: server.authority().ca_file().display().to_string(),
        tls: format!("{{ mode = \"verify-full\", server_name = \"{}\" }}", server.dns_name()),
        login: tokens(&server.tokens().command_words(), &[ALICE, SERVICE_ACCOUNT]),
    }
}

fn config(endpoints: &[Entry], rest: &str) -> String {
    let mut text = String::new();
    for Entry { name, role, address, ca, tls, login } in endpoints {
        text += &format!(
            "[[cluster]]\nname = \"of-{name}\"\nca_file = \"{ca}\"\n[[cluster.endpoint]]\nname = \"{name}\"\n\
             role = \"{role}\"\naddress = \"{address}\"\ntls = {tls}\nlogin = {login}\nconnect_timeout = \"2s\"\n\n"
        );
    }
    let first = &endpoints[0];
    let method = if first.login.contains("passthrough") { "passthrough" } else { "trust" };
    let listener =
        format!("[[listener]]\nname = \"app\"\nbind = \"127.0.0.1:0\"\nauth = {{ method = \"{method}\" }}\n");
    text + &listener
        + &format!("route = \"endpoint:{}\"\n\n[admin]\nbind = \"127.0.0.1:0\"\n{rest}", first.name)
}

async fn run(folder: &Path, config: &str, arguments: &[&str]) -> Output {
    let file = folder.join("doctor.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatekeeper"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GATEKEEPER_"))
    {
        command.env_remove(name);
    }
    command.arg("doctor").args(arguments).arg("--config").arg(&file).stdin(Stdio::null());
    command.kill_on_drop(true).output().await.unwrap()
}

async fn visit(folder: &Path, config: &str) -> Visit {
    let output = run(folder, config, &["--json"]).await;
    let wrote =
        [output.stdout.clone(), output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).join("");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {wrote}"));
    Visit { code: output.status.code(), report, wrote }
}

/// Visits a single endpoint.
async fn visit_one(server: &Single, entry: Entry) -> Visit {
    visit(server.folder(), &config(&[entry], "")).await
}

const STAGES: [&str; 8] = ["name", "route", "tls", "token", "login", "role", "lag", "privileges"];

impl Visit {
    fn finding(&self, endpoint: &str, stage: &str) -> &Value {
        let all = self.report["endpoints"].as_array().unwrap().iter();
        let findings =
            all.filter(|it| it["name"] == endpoint).flat_map(|it| it["findings"].as_array().unwrap());
        findings
            .into_iter()
            .find(|finding| finding["stage"] == stage)
            .unwrap_or_else(|| panic!("{}", self.wrote))
    }

    fn verdicts(&self, endpoint: &str) -> [&str; 8] {
        STAGES.map(|stage| self.finding(endpoint, stage)["verdict"].as_str().unwrap())
    }

    /// The first endpoint fails at `stage`, with `words` and a `remedy`, and later stages are not run.
    #[track_caller]
    fn fails_at(&self, stage: &str, words: &str, remedy: &str) {
        let name = self.report["endpoints"][0]["name"].as_str().unwrap();
        let at = STAGES.iter().position(|it| *it == stage).unwrap();
        let verdicts = self.verdicts(name);
        assert!(!verdicts[..at].contains(&"failed"), "{}", self.wrote);
        assert_eq!(verdicts[at], "failed", "{}", self.wrote);
        assert!(verdicts[at + 1..].iter().all(|verdict| *verdict == "skipped"), "{}", self.wrote);
        let finding = self.finding(name, stage);
        assert!(finding["details"].to_string().contains(words), "no `{words}` in {finding:#}");
        assert!(finding["remedies"].to_string().contains(remedy), "no `{remedy}` in {finding:#}");
        assert_eq!((self.code, &self.report["verdict"]), (Some(1), &Value::from("failed")));
    }
}

#[tokio::test]
async fn a_healthy_cluster_is_all_ok() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let mut entries = Vec::new();
    for cluster in sandbox.clusters() {
        for endpoint in cluster.endpoints() {
            entries.push(Entry {
                name: endpoint.name(),
                role: endpoint.role(),
                address: endpoint.address().to_string(),
                ca: cluster.authority().ca_file().display().to_string(),
                tls: format!("{{ mode = \"verify-full\", server_name = \"{}\" }}", endpoint.dns_name()),
                login: tokens(&sandbox.tokens().command_words(), &[ALICE, SERVICE_ACCOUNT]),
            });
        }
    }
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    let text = config(&entries, "");
    let visit = visit(sandbox.folder(), &text).await;
    for name in names {
        assert_eq!(visit.verdicts(name), ["ok"; 8], "{name}: {}", visit.wrote);
    }
    assert_eq!(visit.code, Some(0));
    let lag = visit.finding("reads", "lag")["details"].to_string();
    assert!(lag.contains("replayed up to 0/"), "{lag}");
    let login = visit.finding("primary", "login")["details"].to_string();
    assert!(login.contains("asked for cleartext password"), "{login}");
    assert!(!visit.wrote.contains("ya29."), "a token was shown");

    // For people: within 80 columns but for words that do not break, and without escape sequences.
    let output = run(sandbox.folder(), &text, &["reads"]).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("endpoint reads: read-pool of cluster of-reads, "), "{printed}");
    assert!(printed.ends_with("\n\nall ok\n") && !printed.contains('\x1b'), "{printed}");
    assert!(!printed.contains("endpoint primary") && !printed.contains("listener"), "{printed}");
    for line in printed.lines() {
        assert!(line.chars().count() <= 80 || line.trim().split(' ').count() == 1, "{line}");
    }
}

#[tokio::test]
async fn an_unknown_endpoint_name_lists_the_known_ones() {
    let server = single().await;
    let output = run(server.folder(), &config(&[primary(&server)], ""), &["reads"]).await;
    assert_eq!(output.status.code(), Some(2));
    let stderr_text = String::from_utf8(output.stderr).unwrap();
    assert!(stderr_text.contains("unknown endpoint `reads`; configured: `primary`"), "{stderr_text}");
}

#[tokio::test]
async fn each_certificate_mismatch_has_its_own_finding() {
    let server = single().await;
    let foreign = server.authority().foreign_ca_file().display().to_string();
    let visit = visit_one(&server, Entry { ca: foreign, ..primary(&server) }).await;
    visit.fails_at(
        "tls",
        "which is not among the trusted CAs",
        "put the CA that signed the server's certificate",
    );

    let raw = Entry { tls: "{ mode = \"verify-full\" }".into(), ..primary(&server) };
    let visit = visit_one(&server, raw).await;
    visit.fails_at("tls", server.dns_name(), "`tls.server_name`");

    server.node().present(Certificate::Expired).unwrap();
    until_certificate_is(&server, "expired").await;
}

/// The server takes a moment to load a new certificate.
async fn until_certificate_is(server: &Single, words: &str) {
    until(Duration::from_secs(20), async || {
        let visit = visit_one(server, primary(server)).await;
        match visit.finding("primary", "tls")["details"].to_string().contains(words) {
            true => {
                visit.fails_at("tls", words, "renew the server's certificate");
                Ok(())
            }
            false => Err(visit.wrote),
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_without_tls_differs_from_a_closed_port() {
    let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    visit_one(&server, primary(&server)).await.fails_at("tls", "does not offer TLS", "turn TLS on");
    server.node().stop(Stop::Fast).await.unwrap();
    let visit = visit_one(&server, primary(&server)).await;
    visit.fails_at("route", "Connection refused", "nothing listens on port");
}

#[tokio::test]
async fn an_unresolvable_name_fails_first() {
    let server = single().await;
    let nowhere = Entry { address: "primary.invalid:5432".into(), ..primary(&server) };
    visit_one(&server, nowhere).await.fails_at("name", "`primary.invalid` does not resolve", "resolver");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_recognized() {
    let server = single().await;
    for (answer, words, remedy) in [
        (Some("HTTP/1.1 400 Bad Request\r\n\r\n"), "answered `H` to the SSLRequest", "PostgreSQL server"),
        (Some("SSH-2.0-OpenSSH_9.2\r\n"), "unencrypted bytes", "no PostgreSQL server"),
        (Some(""), "the connection broke", "hangs up"),
        (None, "not done within 2s (tls)", "says nothing"),
    ] {
        let address = stranger(&server, answer);
        let visit = visit_one(&server, Entry { address: address.to_string(), ..primary(&server) }).await;
        visit.fails_at("tls", words, remedy);
    }
}

/// A server that waits for eight bytes, sends `answer` and closes, or never sends anything.
fn stranger(server: &Single, answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind((server.block().ip(101), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut guest in listener.incoming().map_while(Result::ok) {
            match answer {
                Some(answer) => {
                    // The first connection only sees whether there is a way.
                    if std::io::Read::read_exact(&mut guest, &mut [0; 8]).is_ok() {
                        std::io::Write::write_all(&mut guest, answer.as_bytes()).unwrap();
                    }
                }
                None => kept.push(guest),
            }
        }
    });
    address
}

#[tokio::test]
async fn each_token_command_failure_has_its_own_finding() {
    let server = single().await;
    let missing = Entry { login: tokens(&["/no/such/gcloud".into()], &[ALICE]), ..primary(&server) };
    visit_one(&server, missing).await.fails_at(
        "token",
        "command not found: /no/such/gcloud",
        "its full path",
    );

    server.tokens().fail("ERROR: (gcloud.auth) no credentialed accounts").unwrap();
    let visit = visit_one(&server, primary(&server)).await;
    visit.fails_at("token", "(gcloud.auth) no credentialed accounts", "run the command by hand");

    server.tokens().hang().unwrap();
    let login = primary(&server).login.replace(" users", " token_timeout = \"1s\", users");
    let visit = visit_one(&server, Entry { login, ..primary(&server) }).await;
    visit.fails_at("token", "not finished within 1 s", "`token_timeout`");
}

#[tokio::test]
async fn an_expired_token_is_reported_with_every_possible_reason() {
    let server = single().await;
    server.tokens().set_ttl(Duration::ZERO).unwrap();
    let visit = visit_one(&server, primary(&server)).await;
    visit.fails_at(
        "login",
        "authentication failed for user \\\"alice@example.com\\\"",
        "the token is expired",
    );
    assert!(!visit.wrote.contains("ya29."), "a token was shown");
}

#[tokio::test]
async fn a_native_user_differs_from_an_instance_without_iam() {
    let server = single().await;
    let command = server.tokens().command_words();
    let native = |users| Entry { login: tokens(&command, users), ..primary(&server) };
    let either = visit_one(&server, native(&[APP.name])).await;
    either.fails_at("login", "a token cannot answer", "alloydb.iam_authentication");
    let user = visit_one(&server, native(&[APP.name, ALICE])).await;
    user.fails_at("login", "of alice@example.com it takes a token", "this user is not an IAM user");
    let flag = visit_one(&server, native(&[APP.name, "replicator"])).await;
    flag.fails_at("login", "a token of none of the other listed users", "is off on this instance");
}

#[tokio::test]
async fn users_that_cannot_use_tokens_are_warned_about() {
    let server = single().await;
    let users = [ALICE, SERVICE_ACCOUNT, "nobody@example.com", APP.name];
    let login = tokens(&server.tokens().command_words(), &users);
    let visit = visit_one(&server, Entry { login, ..primary(&server) }).await;
    let finding = visit.finding("primary", "privileges");
    assert_eq!(finding["verdict"], "warning", "{finding:#}");
    let details = finding["details"].to_string();
    assert!(details.contains("users that do not exist: nobody@example.com"), "{details}");
    assert!(details.contains("users that are not IAM users: app"), "{details}");
    assert_eq!(visit.code, Some(0), "a warning is no failure");
}

#[tokio::test]
async fn an_unlisted_user_gets_a_finding_without_a_token() {
    let server = single().await;
    let entry = primary(&server);
    let login = format!("{}\nprobe = {{ user = \"{}\" }}", entry.login, APP.name);
    let visit = visit_one(&server, Entry { login, ..entry }).await;
    visit.fails_at("token", "user `app` is not among those", "add `app` to the endpoint's `users`");
    assert_eq!(server.tokens().mint_count(), 0);
}

#[tokio::test]
async fn a_database_without_connect_privilege_is_reported() {
    let server = single().await;
    server.node().sql("postgres", "CREATE DATABASE closed").await.unwrap();
    server.node().sql("postgres", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC").await.unwrap();
    let entry = primary(&server);
    let login = format!("{}\nprobe = {{ database = \"closed\" }}", entry.login);
    let visit = visit_one(&server, Entry { login, ..entry }).await;
    visit.fails_at("login", "permission denied for database", "grant this user the privilege to connect");
}

#[tokio::test]
async fn a_primary_declared_as_read_pool_is_reported() {
    let server = single().await;
    let visit = visit_one(&server, Entry { role: "read-pool", ..primary(&server) }).await;
    visit.fails_at("role", "declared read-pool, reported primary", "correct the endpoint's `address`");
}

#[tokio::test]
async fn passthrough_over_tls_is_a_warning_with_a_remedy() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let Identity { cert, key } = Pki::new(server.folder(), "clients").issue("gatekeeper.example");
    let text = config(&[Entry { login: "\"passthrough\"".into(), ..primary(&server) }], "");
    let login = |report: &Value| {
        let findings = report["listeners"][0]["findings"].as_array().unwrap().iter();
        findings.filter(|it| it["stage"] == "login").cloned().collect::<Vec<_>>()
    };
    let plain = visit(server.folder(), &text).await;
    assert_eq!(login(&plain.report)[0]["verdict"], "ok", "{}", plain.wrote);
    let route = "route = \"endpoint:";
    let tls = format!("tls = {{ cert = {cert:?}, key = {key:?} }}\n{route}");
    let both = visit(server.folder(), &text.replace(route, &tls)).await;
    let finding = &login(&both.report)[0];
    assert_eq!(finding["verdict"], "warning", "{}", both.wrote);
    assert!(finding["remedies"].to_string().contains("password"), "{finding}");
}

#[tokio::test]
async fn passthrough_checks_the_server_without_a_login() {
    let server = single().await;
    let visit = visit_one(&server, Entry { login: "\"passthrough\"".into(), ..primary(&server) }).await;
    let verdicts = visit.verdicts("primary");
    assert_eq!(verdicts, ["ok", "ok", "ok", "skipped", "skipped", "skipped", "skipped", "skipped"]);
    let login = visit.finding("primary", "login")["details"].to_string();
    assert!(
        login.contains("passthrough") && login.contains("speaks PostgreSQL; it asks for SCRAM"),
        "{login}"
    );
    assert_eq!(visit.code, Some(0));
}

#[tokio::test]
async fn an_expiring_listener_certificate_is_a_warning() {
    let server = single().await;
    let pki = Pki::new(server.folder(), "clients");
    let verifier = Verifier::derive(b"carols-own", b"sixteen bytes!!!", 4096).unwrap();
    let users = server.folder().join("users.toml");
    fs::write(&users, format!("[users]\ncarol = \"{verifier}\"\n")).unwrap();
    let address = server.block().address(100);
    for (days, verdict) in [(13, "warning"), (20, "ok")] {
        let identity = pki.issue_for("front", Duration::from_secs(days * 86_400 + 3_600));
        let listener = format!(
            "[[listener]]\nname = \"outside\"\nbind = \"{address}\"\nroute = \"primary\"\n\
             tls = {{ cert = {:?}, key = {:?} }}\nauth = {{ method = \"scram\", users_file = {users:?} }}\n",
            identity.cert, identity.key
        );
        let visit = visit(server.folder(), &config(&[primary(&server)], &listener)).await;
        let outside = &visit.report["listeners"][1];
        let [tls, users] = [&outside["findings"][0], &outside["findings"][1]];
        assert_eq!(
            (tls["verdict"].as_str(), users["verdict"].as_str()),
            (Some(verdict), Some("ok")),
            "{outside:#}"
        );
        let details = tls["details"].to_string();
        assert!(details.contains(&format!("in {days} days")), "{details}");
        assert_eq!((visit.code, visit.report["verdict"].as_str()), (Some(0), Some(verdict)));
    }
}
