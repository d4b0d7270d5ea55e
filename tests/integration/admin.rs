//! The admin API of the program: health, topology, sessions, reload, drain; its key and its TLS.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use gatekeeper::testing::sandbox::{ALICE, AddressBlock, DATABASE, SandboxOptions, Single, Stop};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::harness::{
    Gatekeeper, Pooled, Shape, Stand, client_tls,
    pki::{Identity, Pki},
    stand::{config, token_login},
    until,
};

const PATIENCE: Duration = Duration::from_secs(20);
const KEY: &str = "correct-horse-battery-staple";

/// A JSON response of the API.
async fn get(gatekeeper: &Gatekeeper, path: &str) -> (u16, Value) {
    let answer = gatekeeper.get(path).await.unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Waits until `/readyz` returns `status`; returns the body.
async fn readiness(gatekeeper: &Gatekeeper, status: u16) -> Value {
    until(PATIENCE, async || match get(gatekeeper, "/readyz").await {
        (seen, body) if seen == status => Ok(body),
        other => Err(other),
    })
    .await
}

/// Sends the head of a request on a connection that stays open, and reads the beginning of the response.
async fn kept_open(admin: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 15];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn idle_connections_starve_no_health_check() {
    let stand = Stand::tokens().await;
    let answers = async |path: &str| match stand.gatekeeper.get(path).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    };
    until(PATIENCE, async || answers("/readyz").await).await;
    let admin = crate::harness::stand::admin(&stand.server);
    let mut idle = Vec::new();
    for _ in 0..128 {
        idle.push(kept_open(admin).await);
    }
    for _ in 0..300 {
        idle.push(TcpStream::connect(admin).await.unwrap());
    }
    for path in ["/livez", "/readyz", "/readiness"] {
        assert!(answers(path).await.is_ok(), "{path}: {:?}", answers(path).await);
    }
    let shed = stand.gatekeeper.get("/v1/topology").await.unwrap();
    assert_eq!(shed.status, 503, "{}", shed.body);
    drop(idle);
    until(PATIENCE, async || answers("/v1/topology").await).await;
}

#[tokio::test]
async fn half_open_connections_block_no_request() {
    let stand = Stand::tokens().await;
    readiness(&stand.gatekeeper, 200).await;
    let admin = crate::harness::stand::admin(&stand.server);
    let kept = kept_open(admin).await;
    let mut half_open = Vec::new();
    for number in 0..600 {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        // Silent ones, and ones whose head does not end.
        if number % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nx-pa").await.unwrap();
        }
        half_open.push(stream);
    }
    // At once: no place has to become free first.
    let paths = ["/livez", "/readyz", "/metrics", "/v1/topology"];
    let answers = futures_util::future::join_all(paths.map(|path| stand.gatekeeper.get(path))).await;
    for (path, answer) in paths.iter().zip(answers) {
        assert_eq!(answer.unwrap().status, 200, "{path}");
    }
    let mut kept = kept;
    kept.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"ready\":true") {
        assert_ne!(kept.read_buf(&mut seen).await.unwrap(), 0, "a connection in use was replaced");
    }
    // The first ones made room; the last ones are given up after a while.
    let mut rest = Vec::new();
    half_open[0].read_to_end(&mut rest).await.ok();
    half_open.last_mut().unwrap().read_to_end(&mut rest).await.ok();
}

#[tokio::test]
async fn readiness_and_topology_follow_the_server() {
    let stand = Stand::tokens().await;
    readiness(&stand.gatekeeper, 200).await;
    let _client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    let (_, topology) = get(&stand.gatekeeper, "/v1/topology").await;
    let primary = &topology["endpoints"][0];
    assert_eq!(topology["writer"], "primary");
    for (key, expected) in [("health", "up"), ("observed_role", "primary"), ("declared_role", "primary")] {
        assert_eq!(primary[key], expected, "{primary}");
    }
    assert_eq!(primary["sessions"], 1);
    assert!(primary["position"]["lsn"].as_str().unwrap().contains('/'), "{primary}");
    assert!(
        primary["last_success"]["age_seconds"].as_f64().unwrap()
            <= topology["age_seconds"].as_f64().unwrap() + 1.0
    );
    assert_eq!(primary["nodes"][0]["id"], primary["node"]);
    let usages: Vec<_> =
        primary["tls"]["certificates"].as_array().unwrap().iter().map(|it| &it["usage"]).collect();
    assert_eq!(usages, ["ca", "peer"]);
    assert_eq!(primary["login"]["kind"], "token");
    let kept = &primary["login"]["tokens"]["kept"][0];
    assert_eq!(kept["user"], ALICE);
    assert!(kept["expires"]["in_seconds"].as_f64().unwrap() > 0.0, "{kept}");

    stand.server.node().stop(Stop::Immediate).await.unwrap();
    // For up to 90 s, clients wait for the writer.
    let listener = until(PATIENCE, async || match get(&stand.gatekeeper, "/readyz").await {
        (200, body) if body["listeners"][0]["holding"] == true => Ok(body["listeners"][0].clone()),
        seen => Err(seen),
    })
    .await;
    let problem = listener["problem"].as_str().unwrap();
    assert!(problem.starts_with("endpoint `primary` is down: "), "{problem}");
    stand.server.node().start().await.unwrap();
    until(PATIENCE, async || match get(&stand.gatekeeper, "/readyz").await {
        (200, body) if body["listeners"][0]["holding"] == false => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn readiness_fails_once_the_hold_is_over() {
    let pooled = Pooled::start(Shape { listener: "hold = \"1s\"", ..Shape::default() }).await;
    let gatekeeper = &pooled.stand.gatekeeper;
    readiness(gatekeeper, 200).await;
    pooled.stand.server.node().stop(Stop::Immediate).await.unwrap();
    let body = readiness(gatekeeper, 503).await;
    assert_eq!(body["listeners"][0]["holding"], false, "{body}");
    pooled.stand.server.node().start().await.unwrap();
    readiness(gatekeeper, 200).await;
}

#[tokio::test]
async fn a_session_is_listed_and_can_be_terminated() {
    let stand = Stand::passthrough().await;
    let client =
        stand.connect("user=app password=app-password dbname=app application_name=billing").await.unwrap();
    let (_, page) = get(&stand.gatekeeper, "/v1/sessions?listener=app").await;
    let [session] = page["sessions"].as_array().unwrap().as_slice() else { panic!("{page}") };
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    for (key, expected) in [
        ("user", Value::from("app")),
        ("application", "billing".into()),
        ("method", "passthrough".into()),
        ("endpoint", "primary".into()),
        ("reason", "writer".into()),
        ("state", "idle".into()),
        ("backend_pid", pid.into()),
    ] {
        assert_eq!(session[key], expected, "{session}");
    }
    let path = format!("/v1/sessions/{}", session["id"]);
    assert_eq!(stand.gatekeeper.ask("DELETE", &path, "", "").await.unwrap().status, 202);
    until(PATIENCE, async || match client.simple_query("SELECT 1").await {
        Err(error) if client.is_closed() => Ok(error),
        other => Err(format!("{other:?}")),
    })
    .await;
    until(PATIENCE, async || match get(&stand.gatekeeper, "/v1/sessions").await {
        (200, page) if page["total"] == 0 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(stand.gatekeeper.ask("DELETE", &path, "", "").await.unwrap().status, 404);
}

#[tokio::test]
async fn the_log_filter_is_replaced_at_run_time() {
    let stand = Stand::passthrough().await;
    let gatekeeper = &stand.gatekeeper;
    let json = "content-type: application/json\r\n";
    let replace = async |body: &str| gatekeeper.ask("POST", "/v1/log", json, body).await.unwrap().status;
    assert_eq!(replace("{\"filter\":\"gatekeeper=loud=er\"}").await, 422);
    assert_eq!(replace("{\"level\":\"debug\"}").await, 400);
    assert!(!gatekeeper.stderr().contains("DEBUG"), "{}", gatekeeper.stderr());
    assert_eq!(replace("{\"filter\":\"debug\"}").await, 200);
    stand.connect("user=app password=app-password dbname=app").await.unwrap();
    gatekeeper.wait_for_log("DEBUG").await;

    let file = gatekeeper.config_file();
    let quiet = format!("{}\n[log]\nlevel = \"error\"\n", fs::read_to_string(file).unwrap());
    fs::write(file, quiet).unwrap();
    let answer = gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap();
    assert!(answer.status == 200 && answer.body.contains("\"key\":\"log.level\""), "{}", answer.body);
}

#[tokio::test]
async fn a_reload_reports_every_mistake_or_every_change() {
    let stand = Stand::passthrough().await;
    let file = stand.gatekeeper.config_file();
    let good = fs::read_to_string(file).unwrap();
    let reload = async || {
        let answer = stand.gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap();
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    fs::write(file, format!("{good}\n[probe]\nintervall = \"1s\"\n\n[runtime]\nworkers = 0\n")).unwrap();
    let (status, body) = reload().await;
    assert_eq!((status, &body["error"]["code"]), (422, &Value::from("invalid_configuration")), "{body}");
    let details = body["error"]["details"].as_array().unwrap();
    assert_eq!(details.len(), 2, "{body}");
    assert!(details[0].as_str().unwrap().contains("interval"), "{body}");
    stand.connect("user=app password=app-password dbname=app").await.unwrap();

    let with_second = |bind: SocketAddr| {
        let auth = "auth = { method = \"passthrough\" }";
        format!("{good}\n[[listener]]\nname = \"second\"\nbind = \"{bind}\"\nroute = \"primary\"\n{auth}\n")
    };
    fs::write(file, with_second(stand.server.address())).unwrap();
    let (status, body) = reload().await;
    assert_eq!((status, &body["error"]["code"]), (409, &Value::from("unusable_configuration")), "{body}");
    assert!(body["error"]["details"][0].as_str().unwrap().contains("`second` cannot listen"), "{body}");

    fs::write(file, with_second((stand.server.block().ip(101), 15432).into())).unwrap();
    let (status, body) = reload().await;
    assert_eq!(status, 200, "{body}");
    assert!(body["changed"].as_array().unwrap().contains(&"listener `second` added".into()), "{body}");
    let names = readiness(&stand.gatekeeper, 200).await["listeners"].clone();
    assert_eq!((&names[0]["name"], &names[1]["name"]), (&"app".into(), &"second".into()));
}

#[tokio::test]
async fn a_reload_reports_each_changed_key() {
    let shape = Shape { rest: "[audit]\nfile = \"audit.jsonl\"\n", ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let gatekeeper = &pooled.stand.gatekeeper;
    let file = gatekeeper.config_file();
    let before = fs::read_to_string(file).unwrap();
    let after = before.replace("[audit]\n", "[audit]\nlevel = \"writes\"\n");
    fs::write(file, format!("{after}\n[probe]\nfailures = 4\n")).unwrap();
    let answer = gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let changes = serde_json::json!([
        {"key": "audit.level", "from": "sessions", "to": "writes", "needs_restart": true},
        {"key": "probe.failures", "from": "2", "to": "4", "needs_restart": false},
    ]);
    assert_eq!(body["settings"], changes, "{body}");
    assert_eq!(body["needs_restart"], serde_json::json!(["`audit.level` takes effect at the next start"]));
    gatekeeper.wait_for_log("setting changed").await;
    gatekeeper.wait_for_log("probe.failures").await;
    let audit = pooled.stand.server.folder().join("audit.jsonl");
    until(PATIENCE, async || {
        let records = crate::harness::audit::audited(&audit);
        match records.into_iter().find(|record| record.action() == "config.reloaded") {
            Some(reload) if reload.0["config.changes"] == changes => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn readiness_fails_before_a_shutdown() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let auth = "auth = { method = \"trust\" }";
    let config = config(&server, &token_login(&server), auth, "[runtime]\ndrain_delay = \"1h\"\n");
    let mut stand = Stand::start(server, &config).await;
    readiness(&stand.gatekeeper, 200).await;
    stand.gatekeeper.signal(Signal::TERM);
    assert_eq!(readiness(&stand.gatekeeper, 503).await["draining"], true);
    // Clients unaware of the drain are still served.
    stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    stand.gatekeeper.signal(Signal::TERM);
    assert!(stand.gatekeeper.ended().await.success());
}

/// The program alone, with the key [`KEY`] and `tls` for the admin API; the endpoint has no server.
async fn alone(folder: &Path, block: &AddressBlock, tls: &str) -> (Gatekeeper, SocketAddr) {
    let admin = (block.ip(100), 8080).into();
    let (nowhere, listener) = (block.address(101), block.address(102));
    let config = format!(
        "[[cluster]]\nname = \"orders\"\n\n\
         [[cluster.endpoint]]\nname = \"primary\"\nrole = \"primary\"\naddress = \"{nowhere}\"\n\
         tls = {{ mode = \"disable\" }}\nlogin = \"passthrough\"\n\n\
         [[listener]]\nname = \"app\"\nbind = \"{listener}\"\nroute = \"primary\"\n\
         auth = {{ method = \"passthrough\" }}\n\n\
         [admin]\nbind = \"{admin}\"\napi_key = {{ env = \"KEY\" }}\n{tls}\n"
    );
    let gatekeeper = Gatekeeper::launch(folder, &config, admin, &[("KEY", KEY)]);
    gatekeeper.wait_for_log("gatekeeper is ready").await;
    (gatekeeper, admin)
}

#[tokio::test]
async fn the_key_is_required_and_its_holder_is_audited() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    let audit = folder.path().join("audit.jsonl");
    let (gatekeeper, _) = alone(folder.path(), &block, &format!("\n[audit]\nfile = {audit:?}\n")).await;
    assert_eq!(gatekeeper.get("/livez").await.unwrap().status, 200);
    let shown = async |headers: &str| gatekeeper.ask("GET", "/v1/info", headers, "").await.unwrap().status;
    assert_eq!(shown("").await, 401);
    assert_eq!(shown("authorization: Bearer guess\r\n").await, 401);
    assert_eq!(shown(&format!("authorization: Bearer {KEY}\r\n")).await, 200);
    until(PATIENCE, async || {
        let records: Vec<Value> = fs::read_to_string(&audit)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|record: &Value| record["event.action"] == "admin.request")
            .collect();
        let seen: Vec<_> = records
            .iter()
            .map(|record| (&record["client.address"], &record["admin.authenticated"]))
            .collect();
        let from = Value::from("127.0.0.1");
        let (yes, no) = (Value::from(true), Value::from(false));
        let expected = [(&from, &no), (&from, &no), (&from, &yes)];
        if seen == expected { Ok(()) } else { Err(format!("{records:?}")) }
    })
    .await;
    assert!(!gatekeeper.stderr().contains(KEY) && !fs::read_to_string(&audit).unwrap().contains(KEY));
}

/// `GET /livez` over TLS, as sent by curl; returns the whole response and the server's certificate.
async fn over_tls(admin: SocketAddr, ca_file: &Path) -> std::io::Result<(String, Vec<u8>)> {
    let mut client = Arc::unwrap_or_clone(client_tls(ca_file));
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(admin).await?;
    let name = ServerName::try_from("admin.example").unwrap();
    let mut tls = TlsConnector::from(Arc::new(client)).connect(name, tcp).await?;
    tls.write_all(b"GET /livez HTTP/1.1\r\nhost: admin.example\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await?;
    let shown = tls.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((answer, shown))
}

#[tokio::test]
async fn the_api_serves_tls_and_loads_a_renewed_certificate() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    let pki = Pki::new(folder.path(), "admin");
    let Identity { cert, key } = pki.issue("admin.example");
    let (_gatekeeper, admin) =
        alone(folder.path(), &block, &format!("tls = {{ cert = {cert:?}, key = {key:?} }}")).await;
    let (answer, first) = over_tls(admin, &pki.ca_file).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let renewed = pki.issue("admin.example");
    assert_eq!(renewed.cert, cert, "the files are the same");
    until(PATIENCE, async || match over_tls(admin, &pki.ca_file).await {
        Ok((_, shown)) if shown != first => Ok(()),
        other => Err(other.map(|(answer, _)| answer)),
    })
    .await;
}

#[tokio::test]
async fn an_endless_request_head_is_rejected_without_harm() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    let (gatekeeper, admin) = alone(folder.path(), &block, "").await;
    let mut endless = TcpStream::connect(admin).await.unwrap();
    endless.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    // The connection is closed with unread data, so that writes and reads may fail.
    for _ in 0..64 {
        if endless.write_all(&[b'x'; 1024]).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    endless.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(gatekeeper.get("/livez").await.unwrap().status, 200);
}
