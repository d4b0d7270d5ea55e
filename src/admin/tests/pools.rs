use std::sync::Arc;

use super::desk::{Answer, Desk, WELL};
use crate::{
    names::{DatabaseName, EndpointName, ListenerName, UserName},
    pool::{Pool, PoolKey, PoolMode, PoolSettings},
    wire::{ProtocolVersion, StartupMessage},
};

/// A pool of listener `app`, for user `alice`.
fn pool(desk: &Desk, endpoint: &str, database: &str) -> Arc<Pool> {
    let routing = &desk.context.api.routing;
    let target = PoolKey {
        listener: ListenerName::new("app").unwrap(),
        endpoint: EndpointName::new(endpoint).unwrap(),
        database: DatabaseName::new(database).unwrap(),
        user: UserName::new("alice").unwrap(),
        startup: StartupMessage::new(ProtocolVersion::V3_0),
        mode: PoolMode::Transaction,
    };
    let settings = Arc::new(PoolSettings::new(PoolMode::Transaction, 100));
    let endpoints = routing.endpoints.load();
    routing.pools.pool(endpoints.get(&target.endpoint).unwrap(), &target, &settings)
}

/// Each pool with its state, in the order of the list.
fn states(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let pools = body["pools"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    pools
        .map(|pool| {
            format!("{} {} {}", text(&pool["endpoint"]), text(&pool["database"]), text(&pool["state"]))
        })
        .collect()
}

#[tokio::test]
async fn pools_are_listed_with_what_they_hold() {
    let desk = Desk::new(WELL);
    let (_one, _other) = (pool(&desk, "reads", "orders"), pool(&desk, "primary", "stock"));
    assert_eq!(states(&desk.get("/v1/pools").await), ["primary stock open", "reads orders open"]);
    let answer = desk.get("/v1/pools?endpoint=reads").await.json();
    let pool = &answer["pools"][0];
    assert_eq!(
        (&pool["mode"], &pool["size"], &pool["user"]),
        (&"transaction".into(), &20.into(), &"alice".into())
    );
    assert_eq!((&pool["backends"]["leased"], &pool["waiting"]), (&0.into(), &0.into()));
    assert_eq!(desk.get("/v1/pools?endpoint=No").await.code(), "bad_request");
}

#[tokio::test]
async fn operations_reach_the_pools_that_are_meant_and_those_made_later() {
    let desk = Desk::new(WELL);
    let (_one, _other) = (pool(&desk, "reads", "orders"), pool(&desk, "primary", "orders"));
    let done = desk.ask("POST", "/v1/endpoints/reads/pause?wait=1", &[]).await.json();
    assert_eq!(done, serde_json::json!({"pools": 1, "quiet": true}));
    let _later = pool(&desk, "reads", "stock");
    assert_eq!(
        states(&desk.get("/v1/pools").await),
        ["primary orders open", "reads orders paused", "reads stock paused"]
    );
    assert_eq!(desk.ask("POST", "/v1/pools/drain?database=orders", &[]).await.json()["pools"], 2);
    assert_eq!(
        desk.ask("POST", "/v1/pools/resume?endpoint=primary&user=alice", &[]).await.json()["pools"],
        1
    );
    assert_eq!(
        states(&desk.get("/v1/pools").await),
        ["primary orders open", "reads orders draining", "reads stock paused"]
    );
    assert_eq!(desk.ask("POST", "/v1/pools/resume", &[]).await.json()["pools"], 3);
    assert_eq!(desk.ask("POST", "/v1/pools/reconnect", &[]).await.json()["pools"], 3);
    assert!(states(&desk.get("/v1/pools").await).iter().all(|pool| pool.ends_with(" open")));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let desk = Desk::new(WELL);
    for path in [
        "/v1/endpoints/nowhere/pause",
        "/v1/endpoints/reads/explode",
        "/v1/pools/explode",
        "/v1/pools/pause?endpoint=nowhere",
    ] {
        assert_eq!(desk.ask("POST", path, &[]).await.code(), "not_found", "{path}");
    }
}
