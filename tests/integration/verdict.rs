//! The verdict on the service: an exhausted pool, a stuck transaction, a failed reload, a certificate that ends soon.

use std::{fs, time::Duration};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, Single},
    wire::tag::backend as b,
};
use serde_json::Value;

use crate::harness::{
    Frames, Gatekeeper, Pooled, Shape, Stand,
    frames::query,
    pki::{Identity, Pki, replace},
    stand::config,
    until,
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn get(gatekeeper: &Gatekeeper, path: &str) -> Value {
    let answer = gatekeeper.get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits for a fault of this kind.
async fn fault(gatekeeper: &Gatekeeper, kind: &str) -> Value {
    until(PATIENCE, async || {
        let body = get(gatekeeper, "/v1/verdict").await;
        let found = body["faults"].as_array().unwrap().iter().find(|fault| fault["kind"] == kind);
        found.cloned().ok_or_else(|| body.to_string())
    })
    .await
}

/// Waits until no fault of this kind is left.
async fn mended(gatekeeper: &Gatekeeper, kind: &str) {
    until(PATIENCE, async || {
        let body = get(gatekeeper, "/v1/verdict").await;
        let is_left = body["faults"].as_array().unwrap().iter().any(|fault| fault["kind"] == kind);
        if is_left { Err(body.to_string()) } else { Ok(()) }
    })
    .await;
}

fn text(fault: &Value) -> &str {
    fault["text"].as_str().unwrap()
}

#[tokio::test]
async fn an_exhausted_pool_and_its_stuck_transaction_are_faults() {
    let shape = Shape { size: 1, plain: true, pool: "query_wait_timeout = \"6s\"", ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let gatekeeper = &pooled.stand.gatekeeper;
    let parameters = [("database", DATABASE), ("application_name", "leaky-job")];
    let mut leaky = Frames::log_in(pooled.listener(), APP, &parameters).await;
    leaky.send(&query("BEGIN")).await;
    leaky.read_until(b::READY_FOR_QUERY).await;
    leaky.send(&query("SELECT 1")).await;
    leaky.read_until(b::READY_FOR_QUERY).await;
    let mut victim = pooled.client().await;
    victim.send(&query("SELECT 1")).await;

    let waits = fault(gatekeeper, "pool_waits").await;
    let holder =
        format!("oldest lease by session {} (app, leaky-job), idle in transaction for", waits["session"]);
    assert!(text(&waits).contains(&holder), "{waits}");
    assert!(text(&waits).contains("@primary of listener app: 1 session waiting, longest"), "{waits}");
    assert_eq!((&waits["severity"], &waits["listener"]), (&"alarm".into(), &"app".into()), "{waits}");
    assert!(waits["since"]["age_seconds"].as_f64().unwrap() >= 2.0, "{waits}");
    let sessions = get(gatekeeper, "/v1/sessions").await["sessions"].clone();
    let (first, second) = (&sessions[0], &sessions[1]);
    assert_eq!((&first["state"], &first["waits_for"]), (&"idle in transaction".into(), &Value::Null));
    let age = |value: &Value| value["age_seconds"].as_f64().unwrap();
    assert!(age(&first["transaction_since"]) >= age(&first["state_since"]), "{first}");
    assert_eq!((&second["waits_for"], &second["transaction_since"]), (&"backend".into(), &Value::Null));
    let pool = format!("{DATABASE}/app@primary");
    assert_eq!(second["awaited_pool"], pool.as_str(), "{second}");
    assert!(age(&second["state_since"]) >= 2.0, "the wait: {second}");

    let received = victim.read_until(b::READY_FOR_QUERY).await;
    let error = received.iter().find(|message| message.tag == b::ERROR_RESPONSE).unwrap();
    assert_eq!(error.field(b'C'), "53300");
    let refused = fault(gatekeeper, "statements_refused").await;
    assert_eq!(text(&refused), "Listener app refused 1 statement in the last minute: pool timeout (1).");
    let stuck = fault(gatekeeper, "stuck_transaction").await;
    assert!(text(&stuck).starts_with("Listener app: 1 transaction stuck, first that of session"), "{stuck}");
    assert_eq!((&stuck["session"], &stuck["severity"]), (&first["id"], &"warning".into()), "{stuck}");
    assert_eq!(get(gatekeeper, "/v1/verdict").await["state"], "faulty");

    leaky.send(&query("COMMIT")).await;
    leaky.read_until(b::READY_FOR_QUERY).await;
    mended(gatekeeper, "stuck_transaction").await;
    mended(gatekeeper, "pool_waits").await;
    // The client gets its response before the session publishes its state.
    let sessions = until(PATIENCE, async || {
        let sessions = get(gatekeeper, "/v1/sessions").await["sessions"].clone();
        let is_idle = sessions[0]["state"] == "idle" && sessions[0]["transaction_since"].is_null();
        if is_idle { Ok(sessions) } else { Err(sessions) }
    })
    .await;
    assert_eq!(sessions[1]["awaited_pool"], Value::Null, "the wait has ended: {sessions}");
}

#[tokio::test]
async fn a_failed_reload_is_a_fault() {
    let stand = Stand::passthrough().await;
    let file = stand.gatekeeper.config_file();
    let good = fs::read_to_string(file).unwrap();
    let reload = async || stand.gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap().status;
    fs::write(file, format!("{good}\n[runtime]\nworkers = 0\n")).unwrap();
    assert_eq!(reload().await, 422);
    let failed = fault(&stand.gatekeeper, "reload_failed").await;
    assert!(text(&failed).contains("workers"), "{failed}");
    assert!(
        failed["since"]["at"].is_string() && failed["remedy"].as_str().unwrap().contains("check"),
        "{failed}"
    );
    fs::write(file, good).unwrap();
    assert_eq!(reload().await, 200);
    mended(&stand.gatekeeper, "reload_failed").await;
    assert_eq!(get(&stand.gatekeeper, "/v1/verdict").await["state"], "healthy");
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_a_fault_until_it_is_replaced() {
    const NAME: &str = "gatekeeper.example";
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let pki = Pki::new(server.folder(), "clients");
    let Identity { cert, key } = pki.issue_for(NAME, Duration::from_secs(3 * 86_400 + 60));
    let listener =
        format!("auth = {{ method = \"passthrough\" }}\ntls = {{ cert = {cert:?}, key = {key:?} }}");
    let settings = config(&server, "", &listener, "");
    let stand = Stand::start(server, &settings).await;
    let ends = fault(&stand.gatekeeper, "certificate_ends").await;
    assert!(
        text(&ends).starts_with(&format!("The certificate of listener app (CN={NAME}) ends in 3 d 0 h, at ")),
        "{ends}"
    );
    assert_eq!((&ends["listener"], &ends["severity"]), (&"app".into(), &"warning".into()), "{ends}");
    pki.issue(NAME);
    mended(&stand.gatekeeper, "certificate_ends").await;
    let good = fs::read_to_string(&cert).unwrap();
    replace(&cert, "no certificate");
    let unusable = fault(&stand.gatekeeper, "file_unusable").await;
    assert!(text(&unusable).contains("gatekeeper.example.crt` holds no certificate."), "{unusable}");
    replace(&cert, &good);
    mended(&stand.gatekeeper, "file_unusable").await;
}
