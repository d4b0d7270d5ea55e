use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::desk::{Answer, CLIENT, Desk, KEY, PASSWORD, VIEWER_KEY, WELL};

const PUBLIC: &str = "192.0.2.1:8080";

async fn with_key(desk: &Desk, path: &str, key: &str) -> Answer {
    desk.ask("GET", path, &[("authorization", key)]).await
}

#[tokio::test(start_paused = true)]
async fn only_the_key_itself_opens() {
    let desk = Desk::with(PUBLIC, Some(KEY), WELL);
    for good in [format!("Bearer {KEY}"), format!("bearer  {KEY} ")] {
        assert_eq!(with_key(&desk, "/v1/topology", &good).await.status, 200, "{good}");
    }
    let longer = format!("Bearer {KEY}x");
    let shorter = format!("Bearer {}", &KEY[1..]);
    for (shown, code) in [
        (longer.as_str(), "wrong_key"),
        (&shorter, "wrong_key"),
        ("Bearer ", "wrong_key"),
        (KEY, "no_key"),
        ("Basic Y29ycmVjdDpob3JzZQ==", "wrong_key"),
        ("Basic !", "no_key"),
        ("Basic aGFsZg==", "no_key"),
        ("Digest x", "no_key"),
        ("Bear", "no_key"),
    ] {
        let answer = with_key(&desk, "/v1/topology", shown).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, code), "{shown}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"gatekeeper\"");
    }
    assert_eq!(desk.get("/v1/topology").await.code(), "no_key");
}

#[tokio::test(start_paused = true)]
async fn where_others_can_reach_it_everything_needs_the_key() {
    let desk = Desk::with(PUBLIC, Some(KEY), WELL);
    for path in ["/livez", "/readyz", "/startup", "/metrics", "/v1/info", "/openapi.json", "/nowhere"] {
        assert_eq!(desk.get(path).await.status, 401, "{path}");
    }
    assert_eq!(desk.ask("POST", "/livez", &[]).await.status, 401);
    assert_eq!(with_key(&desk, "/livez", &format!("Bearer {KEY}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn on_loopback_health_and_metrics_need_no_key() {
    let desk = Desk::with("[::1]:8080", Some(KEY), WELL);
    for path in ["/livez", "/readyz?listener=app", "/metrics"] {
        assert_eq!(desk.get(path).await.status, 200, "{path}");
        assert_eq!(with_key(&desk, path, "Bearer wrong").await.status, 200, "{path}");
    }
    assert_eq!(desk.get("/v1/info").await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_said_health_needs_no_key_anywhere_and_metrics_do() {
    let desk = Desk::open_health(PUBLIC, KEY);
    for path in ["/livez", "/readyz", "/startup", "/liveness", "/readiness"] {
        assert_eq!(desk.get(path).await.status, 200, "{path}");
    }
    for path in ["/metrics", "/v1/info"] {
        assert_eq!(desk.get(path).await.status, 401, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_key_anybody_on_this_machine_may_ask_but_no_website() {
    let desk = Desk::new(WELL);
    assert_eq!(desk.get("/v1/info").await.status, 200);
    assert_eq!(desk.ask("DELETE", "/v1/sessions/1", &[]).await.status, 404);
    let website = ("origin", "https://example.com");
    let answer = desk.ask("DELETE", "/v1/sessions/1", &[website]).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "foreign_origin"));
}

#[tokio::test(start_paused = true)]
async fn requests_are_recorded_and_those_for_health_only_when_denied() {
    let desk = Desk::with(PUBLIC, Some(KEY), WELL);
    let key = format!("Bearer {KEY}");
    with_key(&desk, "/livez", &key).await;
    with_key(&desk, "/metrics", &key).await;
    with_key(&desk, "/v1/sessions?limit=3", &key).await;
    with_key(&desk, &format!("/{}", "x".repeat(1000)), &key).await;
    desk.get("/livez").await;
    let page = desk.context.api.metrics.render();
    for (outcome, count) in [("ok", 3), ("error", 1), ("denied", 1)] {
        let line = format!("gatekeeper_admin_requests_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(page.contains(&line), "{line}");
    }
    let records = desk.audited().await;
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            let path = record["url.path"].as_str().unwrap();
            (
                path.len(),
                record["http.response.status_code"].as_u64().unwrap(),
                record["admin.authenticated"] == true,
            )
        })
        .collect();
    assert_eq!(seen, [(12, 200, true), (256, 404, true), (6, 401, false)]);
    assert_eq!(records[0]["url.path"], "/v1/sessions");
    assert!(CLIENT.starts_with(records[0]["client.address"].as_str().unwrap()));
}

#[tokio::test]
async fn no_answer_holds_a_secret() {
    let desk = Desk::with("127.0.0.1:8080", Some(KEY), WELL);
    let _session = desk.session("app", "primary");
    let key = format!("Bearer {KEY}");
    for route in crate::admin::router::all_routes() {
        let text = with_key(&desk, route.path, &key).await.text;
        for secret in [KEY, PASSWORD, "ours", "theirs"] {
            assert!(!text.contains(secret), "{}: {text}", route.path);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_is_the_password_of_any_user() {
    let desk = Desk::with(PUBLIC, Some(KEY), WELL);
    for user in ["prometheus", "", "admin"] {
        let shown = format!("Basic {}", STANDARD.encode(format!("{user}:{KEY}")));
        assert_eq!(with_key(&desk, "/metrics", &shown).await.status, 200, "{user}");
        assert_eq!(desk.ask("DELETE", "/v1/sessions/1", &[("authorization", &shown)]).await.status, 404);
    }
    let colon = format!("basic {}", STANDARD.encode(format!("user:x:{KEY}")));
    assert_eq!(with_key(&desk, "/metrics", &colon).await.code(), "wrong_key", "a password may have colons");
}

#[tokio::test(start_paused = true)]
async fn the_key_of_viewers_changes_nothing() {
    let desk = Desk::with(PUBLIC, Some(KEY), WELL);
    let bearer = format!("Bearer {VIEWER_KEY}");
    let basic = format!("Basic {}", STANDARD.encode(format!("prometheus:{VIEWER_KEY}")));
    for shown in [&bearer, &basic] {
        for path in ["/metrics", "/livez", "/v1/topology", "/v1/sessions", "/openapi.json"] {
            assert_eq!(with_key(&desk, path, shown).await.status, 200, "{path}");
        }
        let mut changes = 0;
        for (path, methods) in crate::admin::description()["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|method| *method != "get") {
                if path == "/v1/login" {
                    continue;
                }
                let answer = desk.ask(&method.to_uppercase(), path, &[("authorization", shown)]).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code().as_str()),
                    (403, "read_only_key"),
                    "{path}"
                );
                changes += 1;
            }
        }
        assert!(changes >= 10, "{changes} changes were tried");
    }
    let wrong = format!("{bearer}x");
    assert_eq!(with_key(&desk, "/metrics", &wrong).await.code(), "wrong_key");
}
