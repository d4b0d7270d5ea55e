use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::desk::{Desk, WELL};
use crate::{frontend::Activity, wire::TransactionStatus};

async fn listed(desk: &Desk, query: &str) -> (u64, Vec<u64>) {
    let body = desk.get(&format!("/v1/sessions{query}")).await.json();
    let ids = body["sessions"].as_array().unwrap().iter().map(|session| session["id"].as_u64().unwrap());
    (body["total"].as_u64().unwrap(), ids.collect())
}

#[tokio::test]
async fn a_session_is_shown_with_its_client_and_its_server() {
    let desk = Desk::new(WELL);
    let _session = desk.session("app", "primary");
    let mut shown = desk.get("/v1/sessions").await.json()["sessions"][0].clone();
    for time in ["started", "state_since"] {
        let time = shown.as_object_mut().unwrap().remove(time).unwrap();
        assert!(time["at"].is_string() && time["age_seconds"].is_number());
    }
    assert_eq!(
        shown,
        json!({
            "id": 1, "listener": "app", "client": "192.0.2.1:1000", "tls": "TLSv1.3", "user": "alice",
            "database_user": "alice@example.com", "database": "orders", "application": "psql", "method": "scram",
            "endpoint": "primary", "backend_role": "primary", "backend_pid": 41, "server": "192.0.2.2:5432",
            "reason": "writer", "pins": [], "state": "idle", "waits_for": null,
            "awaited_pool": null, "transaction_since": null, "statements": 0,
        })
    );
}

#[tokio::test]
async fn sessions_are_listed_oldest_first_by_page_listener_and_endpoint() {
    let desk = Desk::new(WELL);
    let _held: Vec<_> = [("app", "primary"), ("reports", "reads"), ("reports", "primary")]
        .into_iter()
        .map(|(listener, endpoint)| desk.session(listener, endpoint))
        .collect();
    assert_eq!(listed(&desk, "").await, (3, vec![1, 2, 3]));
    assert_eq!(listed(&desk, "?limit=2").await, (3, vec![1, 2]));
    assert_eq!(listed(&desk, "?limit=2&after=2").await, (1, vec![3]));
    assert_eq!(listed(&desk, "?listener=reports").await, (2, vec![2, 3]));
    assert_eq!(listed(&desk, "?listener=reports&endpoint=primary").await, (1, vec![3]));
    assert_eq!(desk.get("/v1/sessions?limit=many").await.code(), "bad_request");
    assert_eq!(desk.get("/v1/sessions?sort=age").await.code(), "bad_request");
}

#[tokio::test]
async fn sessions_are_sorted_by_state_and_transaction() {
    let desk = Desk::new(WELL);
    let held: Vec<_> = (0..3).map(|_| desk.session("app", "primary")).collect();
    let open = Activity { status: TransactionStatus::Open, ..Activity::default() };
    let begun = Instant::now();
    for (at, after) in [(2, 1), (0, 2), (1, 3)] {
        let start = begun + Duration::from_secs(after);
        held[at].set_activity(open, start);
        held[at].set_transaction(Some(start));
    }
    held[0].set_activity(open, begun + Duration::from_secs(9));
    held[1].set_activity(Activity::default(), begun + Duration::from_secs(8));
    assert_eq!(listed(&desk, "?sort=id").await.1, [1, 2, 3]);
    assert_eq!(listed(&desk, "?sort=state").await.1, [3, 2, 1]);
    assert_eq!(listed(&desk, "?sort=transaction").await.1, [3, 1, 2]);
}

#[tokio::test]
async fn only_a_session_that_is_there_can_be_killed() {
    let desk = Desk::new(WELL);
    let session = desk.session("app", "primary");
    let answer = desk.ask("DELETE", "/v1/sessions/1", &[]).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["client"], Value::from("192.0.2.1:1000"));
    drop(session);
    for id in ["1", "2", "-1", "one", "99999999999999999999999"] {
        assert_eq!(desk.ask("DELETE", &format!("/v1/sessions/{id}"), &[]).await.code(), "not_found", "{id}");
    }
}
