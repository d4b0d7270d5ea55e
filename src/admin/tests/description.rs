use std::collections::BTreeSet;

use super::desk::{Desk, WELL};
use crate::admin::router::all_routes;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn the_description_and_the_paths_agree() {
    let mut desk = Desk::new(WELL);
    let description = desk.get("/openapi.json").await.json();
    let documented = description["paths"].as_object().unwrap();
    let names: BTreeSet<_> = documented.keys().map(String::as_str).collect();
    let mut ids: Vec<_> = documented
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "each operation has an id of its own");
    assert_eq!(names, all_routes().iter().map(|route| route.path).collect());
    let _session = desk.session("app", "primary");
    // Without a receiver, the reload fails after it has been authorized.
    desk.commands.close();
    for (path, methods) in documented {
        for method in METHODS {
            let asked =
                path.replace("{id}", "1").replace("{name}", "primary").replace("{operation}", "resume");
            let answer = desk.ask(&method.to_uppercase(), &asked, &[]).await;
            match methods.get(method) {
                Some(operation) => {
                    let status = answer.status.as_str().to_owned();
                    assert!(
                        operation["responses"].get(&status).is_some(),
                        "{method} {path} answered {status}"
                    );
                }
                None => assert_eq!(answer.code(), "method_not_allowed", "{method} {path}"),
            }
        }
    }
}

#[tokio::test]
async fn everything_under_a_version_says_that_it_needs_the_key() {
    let description = Desk::new(WELL).get("/openapi.json").await.json();
    assert_eq!(description["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let needed = operation["responses"].get("401").is_some();
            assert_eq!(needed, path.starts_with("/v1/"), "{method} {path}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let answer = Desk::new(WELL).get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.contains("\n# TYPE gatekeeper_admin_requests_total counter\n"));
}

#[tokio::test]
async fn metrics_are_openmetrics_for_who_asks_for_it() {
    let accept = ("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let answer = Desk::new(WELL).ask("GET", "/metrics", &[accept]).await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.text.contains("\n# TYPE gatekeeper_admin_requests counter\n"));
    assert!(answer.text.ends_with("\n# EOF\n") && !answer.text.contains("\n\n"), "{}", answer.text);
}

#[tokio::test]
async fn an_unknown_path_is_an_error_like_any_other() {
    let answer = Desk::new(WELL).get("/v2/topology").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));
    assert_eq!(answer.headers["content-type"], "application/json");
}
