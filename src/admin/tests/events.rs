use serde_json::{Value, json};

use super::desk::{Desk, WELL};
use crate::{
    events::EventKind,
    names::{EndpointName, ListenerName, UserName},
    topology::{Health, SnapshotChange},
};

#[tokio::test]
async fn what_happened_is_listed_newest_first_and_from_where_one_left_off() {
    let desk = Desk::new(WELL);
    let events = &desk.context.api.observers.events;
    events.tell(EventKind::Topology(SnapshotChange::Health {
        endpoint: EndpointName::new("primary").unwrap(),
        from: Health::Up,
        to: Health::Down,
        reason: Some("no answer".into()),
    }));
    for _ in 0..3 {
        events
            .tell(EventKind::Refused { listener: ListenerName::new("app").unwrap(), reason: "max_clients" });
    }
    let list = async |query: &str| {
        let body = desk.get(&format!("/v1/events{query}")).await.json();
        body["events"].as_array().unwrap().clone()
    };
    let all = list("").await;
    let seen: Vec<_> =
        all.iter().map(|event| (&event["kind"], &event["severity"], &event["times"])).collect();
    assert_eq!(json!(seen), json!([["refused", "warning", 3], ["topology", "alarm", 1]]));
    assert_eq!(all[0]["text"], "listener `app` refused a client: max clients");
    assert_eq!((&all[0]["listener"], &all[1]["endpoint"]), (&"app".into(), &"primary".into()));
    assert_eq!(all[1]["text"], "endpoint `primary` is down: no answer");
    assert_eq!(list(&format!("?after={}", all[1]["seq"])).await.len(), 1);
    let newest = list("?limit=1").await;
    assert_eq!((newest.len(), &newest[0]["seq"]), (1, &all[0]["seq"]));
    assert_eq!(desk.get("/v1/events?after=ever").await.code(), "bad_request");
}

#[tokio::test]
async fn what_an_operator_does_is_an_event_and_what_is_refused_is_none() {
    let desk = Desk::new(WELL);
    let _session = desk.session("app", "primary");
    desk.ask("DELETE", "/v1/sessions/1", &[]).await;
    desk.ask("DELETE", "/v1/sessions/99", &[]).await;
    desk.ask("POST", "/v1/pools/pause?database=orders&user=alice", &[]).await;
    desk.ask("POST", "/v1/endpoints/nowhere/pause", &[]).await;
    desk.ask("POST", "/v1/pools/resume", &[]).await;
    let body = desk.get("/v1/events").await.json();
    let texts: Vec<_> = body["events"].as_array().unwrap().iter().map(|event| &event["text"]).collect();
    assert_eq!(
        json!(texts),
        json!([
            "an operator (admin): resume all pools",
            "an operator (admin): pause the pools of database `orders`, user `alice`",
            "an operator (admin): ends session 1 of listener `app`",
        ])
    );
}

#[tokio::test]
async fn a_text_from_elsewhere_is_cut_where_a_character_ends() {
    let desk = Desk::new(WELL);
    desk.context.api.observers.events.tell(EventKind::TokenFailed {
        endpoint: EndpointName::new("primary").unwrap(),
        user: UserName::new("alice").unwrap(),
        error: "é".repeat(10_000),
    });
    let body = desk.get("/v1/events").await.json();
    let text = body["events"][0]["text"].as_str().unwrap();
    assert!(text.ends_with("é…") && text.chars().count() < 400, "{text}");
}

#[tokio::test]
async fn the_history_of_the_writer_is_part_of_the_topology() {
    let mut desk = Desk::new(WELL);
    let remember = |desk: &Desk| {
        let api = &desk.context.api;
        api.observers.events.begin(&api.routing.topology.load());
    };
    remember(&desk);
    desk.becomes("primary primary down primary\nreads read-pool up standby");
    remember(&desk);
    let body = desk.get("/v1/topology").await.json();
    let writers = body["writers"].as_array().unwrap();
    let seen: Vec<_> = writers.iter().map(|term| (&term["endpoint"], &term["health"])).collect();
    assert_eq!(json!(seen), json!([["primary", "down"], ["primary", "up"]]));
    assert_eq!((&writers[0]["until"], &writers[1]["until"]["at"]), (&Value::Null, &writers[0]["from"]["at"]));
}
