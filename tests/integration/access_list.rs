//! Access lists: users, databases, and limits on connections.

use std::fs;

use gatekeeper::testing::{
    sandbox::{SandboxOptions, Single},
    scram::Verifier,
};

use crate::harness::{Stand, refused, stand::config, until};

/// All clients become `app` at the endpoint.
const AS_APP: &str = "login = { user = \"app\", password = { file = \"app-password\" } }";

/// A listener with the given keys; `carol` and `danny` have passwords in the users file.
async fn start(endpoint: &str, listener: &str) -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    fs::write(server.folder().join("app-password"), "app-password\n").unwrap();
    let verifier = |password: &str| Verifier::derive(password.as_bytes(), b"sixteen bytes!!!", 4096).unwrap();
    let users = format!("[users]\ncarol = \"{}\"\ndanny = \"{}\"\n", verifier("carols"), verifier("dannys"));
    fs::write(server.folder().join("users.toml"), users).unwrap();
    let config = config(&server, endpoint, listener, "");
    Stand::start(server, &config).await
}

#[tokio::test]
async fn an_unlisted_user_fails_like_an_unknown_user() {
    let auth = "auth = { method = \"scram\", users_file = \"users.toml\", users = [\"carol\"] }";
    let stand = start(AS_APP, auth).await;
    stand.connect("user=carol password=carols dbname=app").await.unwrap();
    for (user, password) in [("danny", "dannys"), ("danny", "wrong"), ("carol", "wrong"), ("erin", "wrong")] {
        let client_error =
            refused(stand.connect(&format!("user={user} password={password} dbname=app")).await);
        assert_eq!(client_error.sqlstate, "28P01", "{user} {password}");
        assert_eq!(client_error.message, format!("password authentication failed for user \"{user}\""));
    }
}

#[tokio::test]
async fn an_unlisted_database_is_rejected_after_authentication() {
    let auth = "auth = { method = \"scram\", users_file = \"users.toml\", databases = [\"app\"] }";
    let stand = start(AS_APP, auth).await;
    stand.connect("user=carol password=carols dbname=app").await.unwrap();
    let client_error = refused(stand.connect("user=carol password=carols dbname=postgres").await);
    assert_eq!(client_error.sqlstate, "28000");
    assert_eq!(client_error.message, "database \"postgres\" may not be reached through this listener");
    let stranger = refused(stand.connect("user=carol password=wrong dbname=postgres").await);
    assert_eq!(stranger.sqlstate, "28P01");
    let series = "gatekeeper_client_refusals_total{listener=\"app\",reason=\"not_on_guest_list\"}";
    assert_eq!(stand.gatekeeper.metric(series).await, Some(1.0));
}

#[tokio::test]
async fn with_trust_the_access_list_error_is_open() {
    for (endpoint, method) in [("", "passthrough"), (AS_APP, "trust")] {
        let auth = format!("auth = {{ method = \"{method}\", users = [\"app\"], databases = [\"app\"] }}");
        let stand = start(endpoint, &auth).await;
        stand.connect("user=app password=app-password dbname=app").await.unwrap();
        let client_error = refused(stand.connect("user=carol password=carols dbname=app").await);
        assert_eq!(client_error.sqlstate, "28000", "{method}");
        assert_eq!(client_error.message, "user \"carol\" may not log in through this listener", "{method}");
        let client_error = refused(stand.connect("user=app password=app-password dbname=postgres").await);
        assert_eq!(client_error.sqlstate, "28000", "{method}");
    }
}

#[tokio::test]
async fn limits_of_a_user_or_database_are_its_own() {
    for (endpoint, method) in [("", "passthrough"), (AS_APP, "trust")] {
        let keys = format!(
            "auth = {{ method = \"{method}\" }}\nmax_clients_per_user = 1\nmax_clients_per_database = 2"
        );
        let stand = start(endpoint, &keys).await;
        let app = "user=app password=app-password dbname=app";
        let md5 = "user=app_md5 password=app-md5-password";
        let first = stand.connect(app).await.unwrap();
        let client_error = refused(stand.connect(app).await);
        assert_eq!(
            (client_error.sqlstate.as_str(), client_error.message.as_str()),
            ("53300", "too many connections for role \"app\"")
        );
        stand.connect(&format!("{md5} dbname=app")).await.unwrap();
        drop(first);
        until(std::time::Duration::from_secs(10), async || stand.connect(app).await.map_err(drop)).await;
    }
}
