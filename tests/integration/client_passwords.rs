//! `method = "password"`: verified by the server, and cached.

use std::fs;

use gatekeeper::testing::sandbox::{SandboxOptions, Single};

use crate::harness::{
    Stand,
    pki::{Identity, Pki},
    psql, refused,
    stand::{config, token_login, verified},
};

/// Sessions run as `app`, for every client user.
const AS_APP: &str = "login = { user = \"app\", password = { file = \"app-password\" } }";
const OLD: &str = "user=app_md5 password=app-md5-password dbname=app";
const NEW: &str = "user=app_md5 password=changed dbname=app";

async fn start(endpoint: &str, auth: &str) -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    fs::write(server.folder().join("app-password"), "app-password\n").unwrap();
    let config = config(&server, endpoint, &format!("auth = {{ method = \"password\"{auth} }}"), "");
    Stand::start(server, &config).await
}

/// User of the statements of a client.
async fn session_user(stand: &Stand, parameters: &str) -> String {
    let client = stand.connect(parameters).await.unwrap();
    client.query_one("SELECT session_user::text", &[]).await.unwrap().get(0)
}

async fn state(stand: &Stand, parameters: &str) -> String {
    refused(stand.connect(parameters).await).sqlstate
}

async fn change_password(stand: &Stand) {
    stand.server.node().sql("postgres", "ALTER ROLE app_md5 PASSWORD 'changed'").await.unwrap();
}

#[tokio::test]
async fn without_a_configured_login_the_client_password_is_used() {
    let stand = start("", "").await;
    for (user, password) in [("app", "app-password"), ("app_md5", "app-md5-password")] {
        let login = format!("user={user} password={password} dbname=app");
        for _ in 0..2 {
            assert_eq!(session_user(&stand, &login).await, user);
        }
    }
    let client_error = refused(stand.connect("user=app password=app-password dbname=missing").await);
    assert_eq!(
        (client_error.sqlstate.as_str(), client_error.message.as_str()),
        ("3D000", "database \"missing\" does not exist")
    );
    assert!(!stand.gatekeeper.stderr().contains("app-password"));
}

#[tokio::test]
async fn with_a_configured_login_the_client_password_only_authenticates() {
    let stand = start(AS_APP, "").await;
    assert_eq!(session_user(&stand, OLD).await, "app");
    assert_eq!(state(&stand, NEW).await, "28P01");
}

#[tokio::test]
async fn unknown_unlisted_and_wrong_password_clients_get_equal_errors() {
    for endpoint in ["", AS_APP] {
        let stand = start(endpoint, ", users = [\"app\"]").await;
        assert_eq!(session_user(&stand, "user=app password=app-password dbname=app").await, "app");
        for (user, password) in [
            ("app", "wrong"),
            ("nobody-of-that-name", "wrong"),
            ("app_md5", "app-md5-password"),
            ("app", "''"),
        ] {
            let client_error =
                refused(stand.connect(&format!("user={user} password={password} dbname=app")).await);
            assert_eq!(client_error.sqlstate, "28P01", "{user}");
            assert_eq!(client_error.message, format!("password authentication failed for user \"{user}\""));
        }
        let still = session_user(&stand, "user=app password=app-password dbname=app").await;
        assert_eq!(still, "app", "wrong passwords of others do no harm");
    }
}

#[tokio::test]
async fn a_cached_password_is_replaced_by_the_next_accepted_one() {
    let stand = start(AS_APP, "").await;
    assert_eq!(session_user(&stand, OLD).await, "app");
    change_password(&stand).await;
    assert_eq!(session_user(&stand, OLD).await, "app", "remembered: the server was not asked");
    assert_eq!(session_user(&stand, NEW).await, "app");
    assert_eq!(state(&stand, OLD).await, "28P01");
}

#[tokio::test]
async fn a_cached_password_rejected_by_the_server_is_dropped() {
    let stand = start("", "").await;
    assert_eq!(session_user(&stand, OLD).await, "app_md5");
    change_password(&stand).await;
    for _ in 0..2 {
        assert_eq!(state(&stand, OLD).await, "28P01");
    }
    assert_eq!(session_user(&stand, NEW).await, "app_md5");
    assert_eq!(session_user(&stand, NEW).await, "app_md5");
}

#[tokio::test]
async fn a_cached_password_counts_at_every_endpoint_until_rejected() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    // Two read pools and their primary: one server, three endpoints.
    let reader = |name: &str| {
        format!(
            "[[cluster.endpoint]]\nname = {name:?}\nrole = \"read-pool\"\naddress = \"{}\"\n{}\n\n",
            server.address(),
            verified(&server)
        )
    };
    let more = reader("reads-1") + &reader("reads-2");
    let config = config(&server, "", "auth = { method = \"password\" }", &more)
        .replace("route = \"primary\"", "route = \"read-pool\"");
    let stand = Stand::start(server, &config).await;
    let held = stand.connect(OLD).await.unwrap();
    // The less busy endpoint serves next, without an earlier login.
    for _ in 0..4 {
        assert_eq!(session_user(&stand, OLD).await, "app_md5");
    }
    change_password(&stand).await;
    for _ in 0..4 {
        assert_eq!(state(&stand, OLD).await, "28P01");
    }
    for _ in 0..4 {
        assert_eq!(session_user(&stand, NEW).await, "app_md5");
    }
    held.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn an_expired_password_is_verified_at_the_server_again() {
    let stand = start(AS_APP, ", remember = \"1ms\"").await;
    assert_eq!(session_user(&stand, OLD).await, "app");
    change_password(&stand).await;
    assert_eq!(state(&stand, OLD).await, "28P01");
}

#[tokio::test]
async fn with_a_token_login_only_listed_users_cost_a_token() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = config(&server, &token_login(&server), "auth = { method = \"password\" }", "");
    let stand = Stand::start(server, &config).await;
    let client_error = refused(stand.connect(OLD).await);
    assert_eq!(client_error.sqlstate, "28000");
    assert_eq!(client_error.message, "user \"app_md5\" may not be logged in with a token here");
    assert_eq!(state(&stand, NEW).await, "28P01");
}

#[tokio::test]
async fn libpq_sends_its_password_inside_tls() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let Identity { cert, key } = Pki::new(server.folder(), "clients").issue("gatekeeper.example");
    let listener = format!(
        "auth = {{ method = \"password\" }}\ntls = {{ cert = {cert:?}, key = {key:?}, required = true }}"
    );
    let config = config(&server, "", &listener, "");
    let stand = Stand::start(server, &config).await;
    let (host, port) = (stand.listener.ip(), stand.listener.port());
    let to = format!("host={host} port={port} {OLD} channel_binding=disable");
    let answer = psql(&format!("{to} sslmode=require"), "SELECT session_user").await;
    assert_eq!(answer.rows, "app_md5", "{}", answer.stderr);
    let plain = psql(&format!("{to} sslmode=disable"), "SELECT 1").await;
    assert!(plain.stderr.contains("this listener accepts TLS connections only"), "{}", plain.stderr);
}
