//! Cancel requests: with Gatekeeper's keys, to the server that runs the statement.

use std::{process::Stdio, time::Duration};

use gatekeeper::testing::{
    sandbox::{ALICE, ALICE_AT_LISTENERS, APP, DATABASE, NativeUser, Sandbox, SandboxOptions, Single},
    wire::{BackendKey, ProtocolVersion, tag::backend as b},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Frames, Gatekeeper, Stand, client_tls, connect_tls,
    frames::{cancel, query},
    pki::Pki,
    stand::{config, token_login},
    tls::Tls,
    until,
};

const LIMIT: Duration = Duration::from_secs(20);
const SLEEP: &str = "SELECT pg_sleep(600)";
const SLEEPING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'";

async fn app(stand: &Stand) -> Frames {
    Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await
}

/// Waits until so many statements sleep on the server.
async fn sleeping(stand: &Stand, wanted: &str) {
    until(LIMIT, async || match stand.server.node().sql(DATABASE, SLEEPING).await.unwrap() {
        seen if seen == wanted => Ok(()),
        seen => Err(seen),
    })
    .await;
}

/// The SQLSTATE that the statement under way ends with.
async fn end_of_statement(client: &mut Frames) -> String {
    let received = client.read_until(b::READY_FOR_QUERY).await;
    let error = received.iter().find(|message| message.tag == b::ERROR_RESPONSE);
    error.map(|error| error.field(b'C')).unwrap_or_default()
}

#[tokio::test]
async fn a_canceled_statement_ends_and_its_session_continues() {
    let stand = Stand::passthrough().await;
    let mut client = app(&stand).await;
    for _ in 0..3 {
        client.send(&query(SLEEP)).await;
        sleeping(&stand, "1").await;
        cancel(stand.listener, client.key.as_ref().unwrap()).await;
        assert_eq!(end_of_statement(&mut client).await, "57014");
        assert_eq!(client.ask("SELECT 'well'").await.unwrap(), "well");
    }
}

#[tokio::test]
async fn an_almost_right_key_cancels_nothing() {
    let stand = Stand::passthrough().await;
    let (mut client, other) = (app(&stand).await, app(&stand).await);
    let (key, others) = (client.key.clone().unwrap(), other.key.clone().unwrap());
    client.send(&query(SLEEP)).await;
    sleeping(&stand, "1").await;
    let mut guessed = key.secret().to_vec();
    guessed[3] ^= 1;
    for wrong in [
        BackendKey::new(key.pid(), &guessed),
        BackendKey::new(key.pid(), others.secret()),
        BackendKey::new(others.pid(), key.secret()),
        BackendKey::new(key.pid(), &[key.secret(), &[0; 28]].concat()),
    ] {
        cancel(stand.listener, &wrong.unwrap()).await;
    }
    let refused = "gatekeeper_cancel_requests_total{listener=\"app\",outcome=\"error\"}";
    assert_eq!(stand.gatekeeper.metric(refused).await, Some(4.0));
    sleeping(&stand, "1").await;
    cancel(stand.listener, &key).await;
    assert_eq!(end_of_statement(&mut client).await, "57014");
}

#[tokio::test]
async fn a_late_cancel_spares_the_next_statement() {
    let stand = Stand::passthrough().await;
    let mut client = app(&stand).await;
    for round in 0..20 {
        let asked = format!("SELECT 'round {round}'");
        cancel(stand.listener, client.key.as_ref().unwrap()).await;
        assert_eq!(client.ask(&asked).await.unwrap(), format!("round {round}"));
    }
}

/// A stand whose listener requires TLS, with the CA of the certificate.
async fn tls_stand() -> (Stand, Pki) {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let pki = Pki::new(server.folder(), "proxy");
    let identity = pki.issue("proxy.example");
    let keys = format!(
        "tls = {{ cert = \"{}\", key = \"{}\", required = true }}\nauth = {{ method = \"trust\" }}",
        identity.cert.display(),
        identity.key.display()
    );
    let config = config(&server, &token_login(&server), &keys, "");
    (Stand::start(server, &config).await, pki)
}

#[tokio::test]
async fn a_cancel_over_tls_is_accepted() {
    let (stand, pki) = tls_stand().await;
    let parameters = format!("user={ALICE} dbname={DATABASE}");
    let client = connect_tls(stand.listener, &parameters, &pki.ca_file, "proxy.example").await.unwrap();
    let cancelling = async {
        sleeping(&stand, "1").await;
        let stream = tokio::net::TcpStream::connect(stand.listener).await.unwrap();
        let tls = Tls { config: client_tls(&pki.ca_file), name: "proxy.example".to_owned() };
        client.cancel_token().cancel_query_raw(stream, tls).await.unwrap();
    };
    let (ended, ()) = tokio::join!(client.simple_query(SLEEP), cancelling);
    assert_eq!(ended.unwrap_err().code().unwrap().code(), "57014");
}

#[tokio::test]
async fn psql_cancels_with_control_c_in_the_clear_even_where_tls_is_required() {
    let (stand, _pki) = tls_stand().await;
    // libpq before 17 sends cancel requests in the clear, for every sslmode.
    let connection = format!(
        "host={} port={} user={ALICE} dbname={DATABASE} sslmode=require",
        stand.listener.ip(),
        stand.listener.port(),
    );
    let mut psql = tokio::process::Command::new("psql");
    psql.args(["-XAtq", "-d", &connection, "-c", SLEEP]).kill_on_drop(true);
    psql.stdin(Stdio::null()).stderr(Stdio::piped());
    let psql = psql.spawn().unwrap();
    sleeping(&stand, "1").await;
    let pid = Pid::from_raw(i32::try_from(psql.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let stderr_text = psql.wait_with_output().await.unwrap().stderr;
    let stderr_text = String::from_utf8_lossy(&stderr_text);
    assert!(stderr_text.contains("canceling statement due to user request"), "{stderr_text}");
    sleeping(&stand, "0").await;
}

#[tokio::test]
async fn long_keys_of_protocol_3_2_cancel_too() {
    let stand = Stand::tokens().await;
    let alice = NativeUser { name: ALICE, password: "" };
    let parameters = [("database", DATABASE)];
    let mut client = Frames::log_in_with(stand.listener, alice, &parameters, ProtocolVersion::V3_2).await;
    let key = client.key.clone().unwrap();
    assert_eq!((client.version, key.secret().len()), (ProtocolVersion::V3_2, 32));
    client.send(&query(SLEEP)).await;
    sleeping(&stand, "1").await;
    cancel(stand.listener, &BackendKey::new(key.pid(), &key.secret()[..4]).unwrap()).await;
    sleeping(&stand, "1").await;
    cancel(stand.listener, &key).await;
    assert_eq!(end_of_statement(&mut client).await, "57014");
    let newer = ProtocolVersion { major: 3, minor: 9 };
    let client = Frames::log_in_with(stand.listener, alice, &parameters, newer).await;
    assert_eq!(client.version, ProtocolVersion::V3_2, "brought down to what is known");
}

#[tokio::test]
async fn a_cancel_reaches_the_right_node_behind_one_address() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let config = sandbox.config_toml().unwrap();
    let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, sandbox.admin_address()).await;
    let reads = sandbox.listeners().into_iter().find(|listener| listener.name == "reads").unwrap().address;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Frames::log_in(reads, ALICE_AT_LISTENERS, &[("database", DATABASE)]).await);
    }
    for client in &mut clients {
        client.send(&query(SLEEP)).await;
    }
    let nodes = sandbox.endpoint("reads").nodes();
    until(LIMIT, async || {
        let (a, b) = (nodes[0].sql(DATABASE, SLEEPING).await, nodes[1].sql(DATABASE, SLEEPING).await);
        match (a.unwrap().parse::<u32>().unwrap(), b.unwrap().parse::<u32>().unwrap()) {
            (a, b) if a + b == 4 && a > 0 && b > 0 => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
    for client in &mut clients {
        cancel(reads, client.key.as_ref().unwrap()).await;
        assert_eq!(end_of_statement(client).await, "57014");
    }
    drop(gatekeeper);
}
