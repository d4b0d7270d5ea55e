use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::desk::{Desk, WELL};
use crate::{
    events::EventKind,
    frontend::{Activity, OpenTransactions, Registered, SessionWait, TransactionAge},
    topology::{Fence, FenceCause, SnapshotChange, WriterControl},
    wire::TransactionStatus,
};

/// State, and the kinds of the faults.
async fn verdict(desk: &Desk) -> (String, Vec<String>) {
    let body = desk.get("/v1/verdict").await.json();
    let kinds =
        body["faults"].as_array().unwrap().iter().map(|fault| fault["kind"].as_str().unwrap().to_owned());
    (body["state"].as_str().unwrap().to_owned(), kinds.collect())
}

#[tokio::test]
async fn a_service_without_faults_is_healthy() {
    let desk = Desk::new(WELL);
    assert_eq!(verdict(&desk).await, ("healthy".to_owned(), Vec::new()));
}

#[tokio::test]
async fn the_page_and_the_api_show_the_same_verdict() {
    let mut desk = Desk::new(WELL);
    desk.becomes("primary primary up primary\nreads read-pool down -");
    let event = desk.get("/v1/stream").await.text;
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let picture: Value = serde_json::from_str(data).unwrap();
    let mut body = desk.get("/v1/verdict").await.json();
    let fault = body["faults"][0].clone();
    assert_eq!(fault["text"], "reads is down: connection refused.");
    assert_eq!((&fault["endpoint"], &fault["severity"]), (&Value::from("reads"), &Value::from("alarm")));
    // Requested one after the other.
    let without_ages = |mut verdict: Value| {
        for fault in verdict["faults"].as_array_mut().unwrap() {
            fault["since"]["age_seconds"] = Value::Null;
        }
        verdict
    };
    assert_eq!(without_ages(picture["verdict"].clone()), without_ages(body.take()));
    assert_eq!(
        verdict(&desk).await,
        ("not_ready".to_owned(), vec!["endpoint_down".to_owned(), "listener_unready".to_owned()])
    );
    desk.becomes(WELL);
    assert_eq!(verdict(&desk).await, ("healthy".to_owned(), Vec::new()), "mended");
}

#[tokio::test]
async fn a_failed_reload_is_a_fault_until_the_next_one() {
    let desk = Desk::new(WELL);
    let events = &desk.context.api.observers.events;
    for error in ["first", "second"] {
        events.record_event(EventKind::ReloadFailed { trigger: "signal", error: error.to_owned() });
    }
    assert_eq!(verdict(&desk).await, ("faulty".to_owned(), vec!["reload_failed".to_owned()]));
    let body = desk.get("/v1/verdict").await.json();
    assert!(body["faults"][0]["text"].as_str().unwrap().ends_with("fail: second."), "{body}");
    events.record_event(EventKind::Reloaded { trigger: "admin", changed: Vec::new() });
    assert_eq!(verdict(&desk).await, ("healthy".to_owned(), Vec::new()));
}

/// In a transaction, without a statement.
fn leave_idle_in_transaction(session: &Registered) {
    let start = Instant::now();
    session.set_transaction(Some(start));
    let (wait, status) = (SessionWait::Nothing, TransactionStatus::Open);
    session.set_activity(Activity { begun: 1, busy: false, wait, status }, start);
}

/// The cost with many sessions, a tenth of them in a transaction, for `bench/results/processor-time.md`:
/// `cargo test --release --lib ten_thousand_sessions -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "by hand: a measurement"]
async fn a_diagnosis_of_ten_thousand_sessions_is_cheap() {
    let desk = Desk::new(WELL);
    let sessions: Vec<_> = (0..10_000).map(|_| desk.session("app", "primary")).collect();
    for session in sessions.iter().step_by(10) {
        leave_idle_in_transaction(session);
    }
    let measure = |what: &str| {
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(crate::admin::diagnose(&desk.context.monitor).len(), 0);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("{what}: median {:?}, fastest {:?}", times[100], times[0]);
    };
    measure("nothing is wrong");
    // The watchdog has seen an old transaction, which is over: all sessions are looked at.
    let age = TransactionAge { session: 1, age: Duration::from_secs(20) };
    let endpoint = Arc::clone(sessions[0].current_backend().unwrap().endpoint().endpoint());
    let (listener, longest_idle) = ("app".parse().unwrap(), Some(age));
    let open = OpenTransactions { listener, endpoint, oldest: age, longest_idle };
    desk.context.api.sessions.publish_transactions([open].into());
    measure("a transaction may be stuck");
}

#[tokio::test]
async fn alarms_come_first() {
    let mut desk = Desk::new(WELL);
    let events = &desk.context.api.observers.events;
    let listener = || "app".parse().unwrap();
    events.record_event(EventKind::ReloadFailed { trigger: "signal", error: "no such key".to_owned() });
    events.record_event(EventKind::Refused { listener: listener(), reason: "max_clients" });
    events.record_event(EventKind::StatementRefused { listener: listener(), reason: "pool_timeout" });
    let wanted = ["statements_refused", "clients_refused", "reload_failed"];
    assert_eq!(verdict(&desk).await, ("faulty".to_owned(), wanted.map(str::to_owned).to_vec()));
    desk.becomes("primary primary up primary\nreads read-pool up primary");
    let (_, kinds) = verdict(&desk).await;
    assert!(kinds.contains(&"role_mismatch".to_owned()), "{kinds:?}");
    desk.context.monitor.drain();
    assert_eq!(verdict(&desk).await.1.last().unwrap(), "draining", "information comes last");
}

#[tokio::test]
async fn a_fence_and_a_wrong_role_are_faults_since_their_event() {
    let mut desk = Desk::new("primary primary up primary\ndr secondary up primary");
    let name = |text: &str| text.parse().unwrap();
    let events = desk.context.api.observers.events.clone();
    let snapshot = desk.context.api.routing.topology.load();
    let fenced = SnapshotChange::Fenced { endpoint: name("primary"), cause: FenceCause::Moved };
    events.topology_changed(&fenced, &snapshot);
    desk.control(WriterControl {
        incumbent: Some(name("dr")),
        appointed: Some(name("dr")),
        fences: vec![Fence { endpoint: name("primary"), cause: FenceCause::Moved }],
        is_held: false,
    });
    let body = desk.get("/v1/verdict").await.json();
    let of_kind = |kind: &str| {
        let faults = body["faults"].as_array().unwrap().iter();
        faults.filter(|fault| fault["kind"] == kind).cloned().collect::<Vec<_>>()
    };
    let [fence] = of_kind("fenced").try_into().unwrap();
    assert_eq!(fence["text"], "primary is fenced (the writer was moved): it takes no writes.");
    assert!(fence["since"]["at"].is_string(), "{fence}");
    let [mismatch] = of_kind("role_mismatch").try_into().unwrap();
    assert_eq!(mismatch["text"], "dr is declared secondary, but its server reports primary.");
    assert!(mismatch["remedy"].as_str().unwrap().contains("exchange the roles in the configuration"));
    assert_eq!(mismatch["since"], Value::Null, "without an event the begin is unknown");
}

#[tokio::test]
async fn two_writers_are_an_alarm() {
    let desk = Desk::new("primary primary up primary\nreads read-pool up primary");
    let body = desk.get("/v1/verdict").await.json();
    let fault =
        body["faults"].as_array().unwrap().iter().find(|fault| fault["kind"] == "two_writers").unwrap();
    assert_eq!(
        (&fault["severity"], &body["state"]),
        (&Value::from("alarm"), &Value::from("faulty")),
        "{body}"
    );
}
