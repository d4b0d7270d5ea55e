use axum::{body::Body, extract::Request, http::StatusCode};
use serde_json::json;

use super::desk::{Answer, Desk, WELL, answer};
use crate::{
    names::EndpointName,
    topology::{Fence, FenceCause, WriterControl},
};

async fn move_writer(desk: &Desk, body: &str) -> Answer {
    let request = Request::post("/v1/topology/writer").body(Body::from(body.to_owned())).unwrap();
    answer(desk.router.clone(), request).await
}

#[tokio::test]
async fn a_move_that_cannot_be_is_refused_with_its_reason() {
    let desk = Desk::new("primary primary up primary\nreads read-pool up primary\ndr secondary up primary");
    for (body, status, code, words) in [
        ("{\"endpoint\": \"nowhere\"}", 404, "not_found", "endpoint `nowhere` does not exist"),
        ("{\"endpoint\": \"reads\"}", 409, "serves_reads", "declared read-pool"),
        ("{\"endpoint\": \"dr\"}", 409, "no_login", "its role cannot be read"),
        ("{\"endpoint\": \"dr\", \"promotion_wait\": 60}", 409, "no_login", "its role cannot be read"),
        ("{\"endpoint\": \"dr\", \"wait\": -1}", 400, "bad_request", "SECONDS"),
        ("{\"endpoint\": \"dr\", \"promotion_wait\": 3601}", 400, "bad_request", "at most 3600 seconds"),
        ("{\"endpoint\": \"d r\"}", 400, "bad_request", ""),
        ("", 400, "bad_request", "SECONDS"),
    ] {
        let answer = move_writer(&desk, body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code.to_owned()), "{body}");
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    let topology = desk.get("/v1/topology").await.json();
    assert_eq!((&topology["move"], &topology["writer"]), (&json!(null), &json!("primary")));
    desk.context.monitor.drain();
    assert_eq!(move_writer(&desk, "{\"endpoint\": \"dr\"}").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_writer_is_not_moved_to_itself() {
    let desk = Desk::new(WELL);
    let answer = move_writer(&desk, "{\"endpoint\": \"primary\", \"wait\": 0}").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!((&answer.json()["writer"], &answer.json()["from"]), (&json!("primary"), &json!(null)));
}

#[tokio::test]
async fn the_topology_shows_fences_and_the_appointed_writer() {
    let mut desk = Desk::new("primary primary up primary\ndr secondary up primary");
    let name = |text| EndpointName::new(text).unwrap();
    desk.control(WriterControl {
        incumbent: Some(name("dr")),
        appointed: Some(name("dr")),
        fences: vec![Fence { endpoint: name("primary"), cause: FenceCause::Moved }],
        is_held: false,
    });
    let topology = desk.get("/v1/topology").await.json();
    assert_eq!((&topology["writer"], &topology["appointed"]), (&json!("dr"), &json!("dr")));
    assert_eq!(topology["fences"], json!([{"endpoint": "primary", "cause": "moved"}]));
    let fenced: Vec<_> = topology["endpoints"].as_array().unwrap().iter().map(|it| &it["fenced"]).collect();
    assert_eq!(json!(fenced), json!(["moved", null]));
    // The probe of a desk has no endpoints.
    assert_eq!(desk.ask("DELETE", "/v1/topology/fences/primary", &[]).await.code(), "not_found");
}
