//! Authentication of clients: SCRAM against a users file, passthrough, trust; and the errors of rejected clients.

use std::{fs, path::PathBuf, time::Duration};

use gatekeeper::testing::{
    sandbox::{SandboxOptions, Single},
    scram::Verifier,
    wire::authentication::{self, SaslInitialResponse},
};

use crate::harness::{
    Gatekeeper, Stand,
    pki::{Identity, Pki, replace},
    psql,
    raw::{Message, Raw},
    refused,
    stand::{admin, config},
    until,
};

const PATIENCE: Duration = Duration::from_secs(15);
const APP: &str = "user=app password=app-password dbname=app";
/// All clients become `app` at the endpoint.
const AS_APP: &str = "login = { user = \"app\", password = { file = \"app-password\" } }";

/// Entry of a users file for `password`.
fn verifier(password: &str) -> String {
    Verifier::derive(password.as_bytes(), b"sixteen bytes!!!", 4096).unwrap().to_string()
}

async fn server() -> Single {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    fs::write(server.folder().join("app-password"), "app-password\n").unwrap();
    server
}

/// A listener with SCRAM authentication by `users`, the text of a users file.
async fn scram(users: &str) -> (Stand, PathBuf) {
    let server = server().await;
    let file = server.folder().join("users");
    replace(&file, users);
    let listener = format!("auth = {{ method = \"scram\", users_file = {file:?} }}");
    let config = config(&server, AS_APP, &listener, "");
    (Stand::start(server, &config).await, file)
}

/// In a table `[users]`.
fn toml(users: &[(&str, &str)]) -> String {
    let lines = users.iter().map(|(name, password)| format!("{name:?} = \"{}\"\n", verifier(password)));
    format!("[users]\n{}", lines.collect::<String>())
}

#[tokio::test]
async fn a_listed_user_with_the_right_password_becomes_the_endpoints_user() {
    let (stand, _) = scram(&toml(&[("carol", "carols-own")])).await;
    let client = stand.connect("user=carol password=carols-own dbname=app").await.unwrap();
    let row = client.query_one("SELECT current_user::text, current_database()::text", &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), ("app".into(), "app".into()));
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_get_equal_errors() {
    let (stand, _) = scram(&toml(&[("carol", "carols-own")])).await;
    let wrong = attempt(&stand, "carol").await;
    let unknown = attempt(&stand, "danny").await;
    assert_eq!(shapes(&wrong, "carol"), shapes(&unknown, "danny"));
    assert_eq!(
        salt(&unknown),
        salt(&attempt(&stand, "danny").await),
        "an unknown user's salt stays the same"
    );
    let last = wrong.last().unwrap();
    assert_eq!(last.field(b'C'), "28P01");
    assert_eq!(last.field(b'M'), "password authentication failed for user \"carol\"");
    for (reason, count) in [("wrong_password", 1.0), ("unknown_user", 2.0)] {
        let series =
            format!("gatekeeper_authentication_failures_total{{listener=\"app\",reason=\"{reason}\"}}");
        assert_eq!(stand.gatekeeper.metric(&series).await, Some(count), "operators can tell: {reason}");
    }
}

/// A SCRAM exchange with an invalid proof; returns all messages of the server.
async fn attempt(stand: &Stand, user: &str) -> Vec<Message> {
    let mut raw = Raw::connect(stand.listener).await;
    raw.startup(user, "app").await;
    let mut exchange = vec![raw.read().await.unwrap()];
    let mut first = Vec::new();
    let response =
        SaslInitialResponse { mechanism: b"SCRAM-SHA-256", data: Some(b"n,,n=,r=ours-ours-ours-ours-") };
    response.write(&mut first);
    raw.send(&first).await;
    exchange.push(raw.read().await.unwrap());
    let nonce = attribute(&exchange[1], "r");
    let mut last = Vec::new();
    let proof = format!("c=biws,r={nonce},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    authentication::write_sasl_response(&mut last, proof.as_bytes());
    raw.send(&last).await;
    exchange.extend(raw.until_settled().await);
    assert_eq!(raw.read().await, None, "the connection is over");
    exchange
}

/// An attribute of a SCRAM message, behind the four bytes of the request code.
fn attribute(message: &Message, name: &str) -> String {
    let text = String::from_utf8(message.body[4..].to_vec()).unwrap();
    let found = text.split(',').find_map(|attribute| attribute.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

fn salt(exchange: &[Message]) -> String {
    attribute(&exchange[1], "s")
}

/// The messages with variable parts masked: nonce, salt and the client's user name.
fn shapes(exchange: &[Message], user: &str) -> Vec<(u8, String)> {
    let nonce = attribute(&exchange[1], "r");
    let mask = |message: &Message| {
        let mut text = String::from_utf8_lossy(&message.body).into_owned();
        for secret in [nonce.as_str(), &salt(exchange), user] {
            text = text.replace(secret, &"*".repeat(secret.len()));
        }
        (message.tag, text)
    };
    exchange.iter().map(mask).collect()
}

#[tokio::test]
async fn a_pgbouncer_users_file_is_read_and_reloaded() {
    let line = |name: &str, password: &str| format!("\"{name}\" \"{}\"\n", verifier(password));
    let (stand, file) = scram(&line("carol", "carols-own")).await;
    let carol = stand.connect("user=carol password=carols-own dbname=app").await.unwrap();

    replace(&file, &(line("carol", "carols-new") + &line("erin", "erins-own")));
    until(PATIENCE, async || stand.connect("user=erin password=erins-own dbname=app").await.map_err(drop))
        .await;
    stand.connect("user=carol password=carols-new dbname=app").await.unwrap();
    let client_error = refused(stand.connect("user=carol password=carols-own dbname=app").await);
    assert_eq!(client_error.sqlstate, "28P01");
    carol.simple_query("SELECT 1").await.unwrap();

    replace(&file, "\"carol\" \"in the clear\"\n");
    stand.gatekeeper.wait_for_log("changed files are invalid; the previous ones stay in use").await;
    assert!(!stand.gatekeeper.stderr().contains("in the clear"), "what stands behind a name is not logged");
    stand.connect("user=erin password=erins-own dbname=app").await.unwrap();
}

#[tokio::test]
async fn over_tls_libpq_binds_its_proof_to_the_channel() {
    let server = server().await;
    let pki = Pki::new(server.folder(), "clients");
    let Identity { cert, key } = pki.issue("gatekeeper.example");
    let file = server.folder().join("users");
    replace(&file, &toml(&[("carol", "carols-own")]));
    let listener = format!(
        "auth = {{ method = \"scram\", users_file = {file:?} }}\ntls = {{ cert = {cert:?}, key = {key:?} }}"
    );
    let config = config(&server, AS_APP, &listener, "");
    let stand = Stand::start(server, &config).await;
    let to = |more: &str| {
        let (host, port) = (stand.listener.ip(), stand.listener.port());
        format!("host={host} port={port} user=carol password=carols-own dbname=app {more}")
    };
    for more in ["sslmode=require channel_binding=require", "sslmode=require", "sslmode=disable"] {
        let answer = psql(&to(more), "SELECT 'hello'").await;
        assert_eq!(answer.rows, "hello", "{more}: {}", answer.stderr);
    }
    let bound = psql(&to("sslmode=disable channel_binding=require"), "SELECT 1").await;
    assert!(bound.stderr.contains("channel binding required"), "{}", bound.stderr);
}

#[tokio::test]
async fn passthrough_carries_md5_scram_and_the_servers_errors() {
    let stand = Stand::passthrough().await;
    for (user, password) in [("app", "app-password"), ("app_md5", "app-md5-password")] {
        let client = stand.connect(&format!("user={user} password={password} dbname=app")).await.unwrap();
        let name: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
        assert_eq!(name, user);
        let client_error = refused(stand.connect(&format!("user={user} password=wrong dbname=app")).await);
        assert_eq!(client_error.sqlstate, "28P01");
        assert_eq!(client_error.message, format!("password authentication failed for user \"{user}\""));
    }
    let client_error = refused(stand.connect("user=app password=app-password dbname=missing").await);
    assert_eq!(
        (client_error.sqlstate.as_str(), client_error.message.as_str()),
        ("3D000", "database \"missing\" does not exist")
    );
    let series = "gatekeeper_authentication_failures_total{listener=\"app\",reason=\"endpoint\"}";
    assert_eq!(stand.gatekeeper.metric(series).await, Some(2.0));
}

#[tokio::test]
async fn passthrough_over_tls_asks_clients_to_disable_channel_binding() {
    let server = server().await;
    let Identity { cert, key } = Pki::new(server.folder(), "clients").issue("gatekeeper.example");
    let listener =
        format!("auth = {{ method = \"passthrough\" }}\ntls = {{ cert = {cert:?}, key = {key:?} }}");
    let config = config(&server, "", &listener, "");
    let stand = Stand::start(server, &config).await;
    stand.gatekeeper.wait_for_log("write \"password\"").await;
    let to = |user: &str, password: &str, more: &str| {
        let (host, port) = (stand.listener.ip(), stand.listener.port());
        format!("host={host} port={port} user={user} password={password} dbname=app sslmode=require {more}")
    };
    let rejected = psql(&to("app", "app-password", ""), "SELECT 1").await;
    assert!(!rejected.success);
    assert!(rejected.stderr.contains("which a relayed login cannot keep up"), "{}", rejected.stderr);
    assert!(rejected.stderr.contains("HINT:  Connect with channel_binding=disable"), "{}", rejected.stderr);
    for (user, password, more) in
        [("app", "app-password", "channel_binding=disable"), ("app_md5", "app-md5-password", "")]
    {
        let answer = psql(&to(user, password, more), "SELECT 'hello'").await;
        assert_eq!(answer.rows, "hello", "{user}: {}", answer.stderr);
    }
}

#[tokio::test]
async fn clients_log_in_with_every_sslmode_over_tls() {
    let server = server().await;
    let pki = Pki::new(server.folder(), "clients");
    let Identity { cert, key } = pki.issue("gatekeeper.example");
    let config = config(&server, "", &format!("tls = {{ cert = {cert:?}, key = {key:?} }}"), "");
    let stand = Stand::start(server, &config).await;
    let (address, port, ca) = (stand.listener.ip(), stand.listener.port(), pki.ca_file.display());
    for (user, password) in [("app", "app-password"), ("app_md5", "app-md5-password")] {
        for mode in ["prefer", "require", "verify-full"] {
            let to = format!(
                "host=gatekeeper.example hostaddr={address} port={port} user={user} password={password} dbname=app \
                 sslmode={mode} sslrootcert={ca}"
            );
            let answer = psql(&to, "SELECT 'hello'").await;
            assert_eq!(answer.rows, "hello", "{user} {mode}: {}", answer.stderr);
            let answer = psql(&to, "\\conninfo").await;
            assert!(
                answer.rows.contains("SSL connection"),
                "{user} {mode}: {} {}",
                answer.rows,
                answer.stderr
            );
        }
    }
}

#[tokio::test]
async fn trust_is_limited_to_the_local_machine() {
    let server = server().await;
    let text = config(&server, AS_APP, "auth = { method = \"trust\" }", "");
    let bind = format!("bind = \"{}\"", crate::harness::stand::listener(&server));
    let open = text.replace(&bind, "bind = \"0.0.0.0:15432\"");
    let mut refused = Gatekeeper::launch(server.folder(), &open, admin(&server), &[]);
    assert_eq!(refused.ended().await.code(), Some(1));
    refused.wait_for_log("insecure_trust").await;
    let stand = Stand::start(server, &text).await;
    stand.connect("user=whoever dbname=app").await.unwrap();
    let login = stand.connect(APP).await;
    assert!(login.is_ok(), "a password that nobody asks for does no harm");
}
