use serde_json::Value;

use super::desk::{Desk, WELL};

#[tokio::test]
async fn it_shows_what_is_declared_and_what_was_seen() {
    let desk = Desk::new("primary primary up primary\nreads read-pool down primary");
    let _session = desk.session("app", "primary");
    let body = desk.get("/v1/topology").await.json();
    assert_eq!(body["writer"], "primary");
    assert_eq!(body["age_seconds"], Value::Null, "no endpoint was ever looked at");
    assert_eq!(body["clusters"][0]["region"], "us-central1");
    assert_eq!(body["clusters"][0]["endpoints"], serde_json::json!(["primary", "reads"]));
    let shown = |at: usize, key: &str| body["endpoints"][at][key].clone();
    for (key, primary, reads) in [
        ("name", "primary".into(), "reads".into()),
        ("address", "127.0.0.1:5432".into(), "127.0.0.1:5432".into()),
        ("declared_role", "primary".into(), "read-pool".into()),
        ("observed_role", "primary".into(), "primary".into()),
        ("role_mismatch", false.into(), true.into()),
        ("writer", true.into(), false.into()),
        ("health", "up".into(), "down".into()),
        ("last_error", Value::Null, "connection refused".into()),
        ("sessions", 1.into(), 0.into()),
    ] {
        assert_eq!((shown(0, key), shown(1, key)), (primary, reads), "{key}");
    }
    assert_eq!(shown(0, "tls")["mode"], "disable");
    assert_eq!(shown(0, "login"), serde_json::json!({"kind": "password", "tokens": null}));
    assert_eq!(
        shown(1, "login"),
        serde_json::json!({"kind": "token", "tokens": {"mints": 0, "failures": 0, "last_error": null, "kept": []}})
    );
}

#[tokio::test]
async fn two_writers_are_shown_as_such() {
    let mut desk = Desk::new(WELL);
    assert_eq!(desk.get("/v1/topology").await.json()["two_writers"], false);
    desk.becomes("primary primary up standby\nreads read-pool up standby");
    assert_eq!(desk.get("/v1/topology").await.json()["writer"], Value::Null);
    desk.becomes("primary primary up primary\nreads read-pool up primary");
    assert_eq!(desk.get("/v1/topology").await.json()["two_writers"], true);
}

#[tokio::test]
async fn the_program_says_what_it_is_and_where_it_listens() {
    let desk = Desk::new(WELL);
    let body = desk.get("/v1/info").await.json();
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["listeners"][0]["name"], "app");
    assert_eq!(body["listeners"][1]["route"], "read-pool");
    assert_eq!(body["listeners"][1]["auth"], "trust");
}
