use serde_json::json;

use super::desk::{Desk, WELL};

/// Status and readiness of the listeners, with their problems.
async fn readiness(desk: &Desk, path: &str) -> (u16, Vec<String>) {
    let answer = desk.get(path).await;
    let body = answer.json();
    assert_eq!(body["ready"] == true, answer.status == 200, "{}", answer.text);
    let listeners = body["listeners"].as_array().unwrap();
    let shown = listeners.iter().map(|listener| {
        let word = |key: &str| listener[key].as_str().unwrap_or("-").to_owned();
        assert_eq!(listener["ready"] == true, listener["problem"].is_null() || listener["holding"] == true);
        format!("{} {} {} {}", word("name"), word("endpoint"), word("reason"), word("problem"))
    });
    (answer.status.as_u16(), shown.collect())
}

#[tokio::test]
async fn ready_means_that_every_listener_has_an_endpoint_that_is_up() {
    let mut desk = Desk::new(WELL);
    assert_eq!(
        readiness(&desk, "/readyz").await,
        (200, vec!["app primary writer -".into(), "reports reads read-pool -".into()])
    );
    assert_eq!(
        desk.get("/readyz?listener=app").await.json(),
        json!({"ready": true, "draining": false, "problem": null, "listeners": [{
            "name": "app", "route": "primary", "ready": true, "holding": false, "endpoint": "primary", "reason": "writer", "problem": null,
        }]})
    );
    desk.becomes("primary primary up primary\nreads read-pool down -");
    let reports = "reports reads read-pool endpoint `reads` is down: connection refused";
    assert_eq!(readiness(&desk, "/readyz").await, (503, vec!["app primary writer -".into(), reports.into()]));
    assert_eq!(readiness(&desk, "/readyz?listener=app").await.0, 200);
    assert_eq!(readiness(&desk, "/readyz?listener=reports").await, (503, vec![reports.into()]));
}

#[tokio::test]
async fn auth_proxy_paths_answer_as_ours() {
    let mut desk = Desk::new(WELL);
    for state in [WELL, "primary primary down -"] {
        desk.becomes(state);
        for (theirs, ours) in [
            ("/startup", "/livez"),
            ("/liveness", "/livez"),
            ("/readiness", "/readyz"),
            ("/readiness?listener=app", "/readyz?listener=app"),
            ("/readiness?listener=nowhere", "/readyz?listener=nowhere"),
        ] {
            let (theirs, ours) = (desk.get(theirs).await, desk.get(ours).await);
            assert_eq!((theirs.status, theirs.text), (ours.status, ours.text), "{state}");
        }
    }
}

#[tokio::test]
async fn a_lost_writer_is_waited_for() {
    let mut desk = Desk::new(WELL);
    desk.becomes(WELL);
    desk.becomes("primary primary down -\nreads read-pool up standby");
    let (status, listeners) = readiness(&desk, "/readyz").await;
    assert_eq!(
        (status, listeners[0].as_str()),
        (200, "app primary writer endpoint `primary` is down: connection refused")
    );
    desk.becomes("primary primary up standby\nreads read-pool up standby");
    assert_eq!(readiness(&desk, "/readyz").await.0, 200, "the absence goes on");
    desk.becomes(WELL);
    assert_eq!(readiness(&desk, "/readyz").await.0, 200);
}

#[tokio::test]
async fn an_endpoint_that_never_answered_is_not_ready() {
    let desk = Desk::new("primary primary unknown -");
    let app = "app primary writer endpoint `primary` has not answered yet";
    assert_eq!(
        readiness(&desk, "/readyz").await,
        (503, vec![app.into(), "reports - no-reader no read pool can serve now".into()])
    );
}

#[tokio::test]
async fn a_primary_in_recovery_is_named_as_what_is_wrong() {
    let desk = Desk::new("primary primary up standby\nreads read-pool up standby");
    let app = "app - no-writer no endpoint accepts writes now: endpoint `primary` is declared primary, but its server reports standby";
    assert_eq!(readiness(&desk, "/readyz?listener=app").await, (503, vec![app.into()]));
}

#[tokio::test]
async fn a_listener_that_is_not_there_is_said_to_be_missing() {
    let desk = Desk::new(WELL);
    let answer = desk.get("/readyz?listener=nowhere").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));
    assert_eq!(desk.get("/readyz?listener=a&listener=b").await.code(), "bad_request");
}

#[tokio::test]
async fn a_draining_program_lives_and_is_not_ready() {
    let desk = Desk::new(WELL);
    desk.context.monitor.drain();
    let answer = desk.get("/readyz?listener=app").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["draining"], true);
    assert_eq!(desk.get("/livez").await.status, 200);
}
