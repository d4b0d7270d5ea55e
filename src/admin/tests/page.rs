use axum::{body::Body, extract::Request};
use serde_json::Value;

use super::desk::{Answer, CLIENT, Desk, KEY, WELL, answer};
use crate::admin::guard::Client;

/// A desk that remote machines can reach, with a key.
fn locked() -> Desk {
    Desk::with("192.0.2.1:8080", Some(KEY), WELL)
}

async fn log_in(desk: &Desk, key: &str) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri("/v1/login")
        .header("content-type", "application/json")
        .extension(Client(CLIENT.parse().unwrap()))
        .body(Body::from(serde_json::json!({ "key": key }).to_string()));
    answer(desk.router.clone(), request.unwrap()).await
}

/// The cookie of a login, as a browser sends it.
async fn cookie(desk: &Desk) -> String {
    let answer = log_in(desk, KEY).await;
    assert_eq!(answer.status, 204);
    let set_cookie = answer.headers["set-cookie"].to_str().unwrap();
    set_cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    let desk = locked();
    let page = desk.get("/").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    for allowed in ["unsafe", "http:", "https:", "data:", "*"] {
        assert!(!policy.contains(allowed), "{policy}");
    }
    let named: Vec<_> = page.text.split('"').filter(|text| text.starts_with("/page/")).collect();
    assert!(named.len() >= 4, "{named:?}");
    for file in named {
        let answer = desk.get(file).await;
        assert_eq!((answer.status.as_u16(), answer.text.is_empty()), (200, false), "{file}");
        for import in answer.text.lines().filter_map(|line| line.strip_prefix("import ")) {
            let other = import.split('"').nth(1).unwrap().strip_prefix("./").unwrap();
            assert_eq!(desk.get(&format!("/page/{other}")).await.status, 200, "{file} imports {other}");
        }
        for (what, form) in [("another's file", "://"), ("markup", "innerHTML"), ("style", " style=")] {
            let ours = answer.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!ours.contains(form), "{file} has {what}");
        }
    }
    for form in ["<style", " style=", " onclick=", "://", "<script>"] {
        assert!(!page.text.contains(form), "{form}");
    }
    assert_eq!(desk.get("/page/../settings.rs").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn every_answer_keeps_browsers_from_doing_more_with_it() {
    let desk = locked();
    for path in ["/", "/page/page.css", "/v1/info", "/nowhere"] {
        let answer = desk.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_has_shown_the_key_looks_and_changes_nothing() {
    let desk = locked();
    let _session = desk.session("app", "primary");
    let cookie = cookie(&desk).await;
    let with = async |method: &str, path: &str, more: &[(&str, &str)]| {
        let headers: Vec<_> = [("cookie", cookie.as_str())].into_iter().chain(more.iter().copied()).collect();
        desk.ask(method, path, &headers).await
    };
    for path in ["/v1/info", "/v1/topology", "/v1/stream", "/metrics", "/openapi.json"] {
        assert_eq!(with("GET", path, &[]).await.status, 200, "{path}");
        assert_eq!(with("GET", path, &[("sec-fetch-site", "same-origin")]).await.status, 200, "{path}");
    }
    for (method, path) in [("DELETE", "/v1/sessions/1"), ("POST", "/v1/reload"), ("POST", "/v1/pools/pause")]
    {
        let answer = with(method, path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "only_looks"), "{path}");
    }
    let key = format!("Bearer {KEY}");
    assert_eq!(with("POST", "/v1/pools/resume", &[("authorization", &key)]).await.status, 200);
    assert_eq!(with("GET", "/v1/info", &[("authorization", "Bearer x")]).await.code(), "wrong_key");
    for site in ["cross-site", "same-site"] {
        assert_eq!(with("GET", "/v1/info", &[("sec-fetch-site", site)]).await.code(), "no_key", "{site}");
        assert_eq!(with("POST", "/v1/logout", &[("sec-fetch-site", site)]).await.code(), "no_key", "{site}");
    }
    let gone = with("POST", "/v1/logout", &[]).await;
    assert_eq!(gone.status, 204);
    assert!(gone.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(with("GET", "/v1/info", &[]).await.code(), "no_key");
}

#[tokio::test(start_paused = true)]
async fn only_the_key_logs_in_and_the_cookie_is_the_browsers_alone() {
    let desk = locked();
    for wrong in ["", "correct", &format!("{KEY}x")] {
        let answer = log_in(&desk, wrong).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "wrong_key"), "{wrong}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    assert_eq!(desk.ask("POST", "/v1/login", &[]).await.code(), "bad_request");
    assert_eq!(log_in(&desk, &"x".repeat(10_000)).await.code(), "bad_request");
    let answer = log_in(&desk, KEY).await;
    let set_cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set_cookie.starts_with("gatekeeper-8080="), "{set_cookie}");
    for word in ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        assert!(set_cookie.split("; ").any(|part| part == word), "{set_cookie}");
    }
    assert!(
        !set_cookie.contains(KEY) && !set_cookie.contains("Secure"),
        "the way is in plaintext: {set_cookie}"
    );
    let guessed = [("cookie", "gatekeeper-8080=AAAA")];
    assert_eq!(desk.ask("GET", "/v1/info", &guessed).await.code(), "no_key");
    assert_eq!(log_in(&Desk::new(WELL), KEY).await.code(), "not_found");
    // Successful and failed logins are recorded.
    let records = desk.audited().await;
    let seen: Vec<_> = records
        .iter()
        .filter(|record| record["url.path"] == "/v1/login")
        .map(|record| (&record["http.response.status_code"], &record["admin.authenticated"]))
        .collect();
    let (no, yes) = (Value::from(false), Value::from(true));
    assert_eq!(seen.iter().filter(|(status, known)| **status == 401 && **known == no).count(), 3);
    assert_eq!(seen.last(), Some(&(&Value::from(204), &yes)), "{seen:?}");
}

#[tokio::test]
async fn without_a_key_no_website_is_shown_anything_by_another_name() {
    let desk = Desk::new(WELL);
    for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"] {
        assert_eq!(desk.ask("GET", "/v1/info", &[("host", host)]).await.status, 200, "{host}");
    }
    for host in ["rebound.example:8080", "127.0.0.1.example", "localhost.example", "@"] {
        let answer = desk.ask("GET", "/v1/info", &[("host", host)]).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "foreign_origin"), "{host}");
        assert_eq!(desk.ask("GET", "/readyz", &[("host", host)]).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn the_stream_has_all_that_the_page_shows() {
    let desk = Desk::new(WELL);
    let _session = desk.session("app", "primary");
    let answer = desk.get("/v1/stream").await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let data = answer.text.strip_prefix("event: picture\nretry: 1000\ndata: ").unwrap();
    let picture: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
    assert!(!data.trim_end().contains('\n'), "an event is one line of data");
    assert_eq!(picture["topology"]["writer"], "primary");
    assert_eq!(picture["sessions"]["sessions"][0]["application"], "psql");
    assert_eq!(picture["readiness"]["listeners"][0]["endpoint"], "primary");
    assert_eq!(picture["info"]["listeners"][1]["name"], "reports");
    assert!(picture["pools"]["pools"].is_array() && picture["events"]["events"].is_array());
}

#[tokio::test]
async fn more_than_a_few_who_look_on_are_told_to_come_back() {
    let desk = Desk::new(WELL);
    let places = desk.context.broadcaster.client_permits();
    let all = places.available_permits();
    let taken = std::sync::Arc::clone(&places).acquire_many_owned(u32::try_from(all).unwrap()).await.unwrap();
    assert_eq!(desk.get("/v1/stream").await.code(), "overloaded");
    drop(taken);
    assert_eq!(desk.get("/v1/stream").await.status, 200);
    assert_eq!(places.available_permits(), all, "whoever went away takes no place");
}
