//! Certificates and CAs renewed while sessions run and clients log in.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatekeeper::testing::sandbox::{Certificate, SandboxOptions, Single};
use tokio::task::JoinSet;

use crate::harness::{
    Stand, connect, connect_tls,
    pki::{Identity, Pki},
    stand::config,
    until,
};

const PATIENCE: Duration = Duration::from_secs(20);
const APP: &str = "user=app password=app-password dbname=app";
const RELOADED: &str = "gatekeeper_file_reloads_total{outcome=\"ok\"}";
const REFUSED: &str = "gatekeeper_file_reloads_total{outcome=\"error\"}";

/// Clients that log in, ask, and leave, over and over; a login that fails is a panic.
struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(listener: SocketAddr) -> Self {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..3 {
            let (over, done) = (Arc::clone(&over), Arc::clone(&done));
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let client = connect(listener, APP).await.unwrap();
                    client.simple_query("SELECT 1").await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { over, done, clients }
    }

    /// Waits for logins that began after this call.
    async fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        until(PATIENCE, async || {
            let since = self.done.load(Ordering::Relaxed) - before;
            if since >= 6 { Ok(()) } else { Err(since) }
        })
        .await;
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}

/// Waits until `series` has grown beyond `before`.
async fn beyond(stand: &Stand, series: &str, before: f64) {
    until(PATIENCE, async || match stand.gatekeeper.metric(series).await {
        Some(now) if now > before => Ok(()),
        seen => Err((seen, stand.gatekeeper.stderr())),
    })
    .await;
}

#[tokio::test]
async fn a_ca_rotation_under_load_fails_no_session_or_login() {
    let stand = Stand::passthrough().await;
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(stand.connect(APP).await.unwrap());
    }
    let load = Load::start(stand.listener);
    let authority = stand.server.authority();

    authority.begin_rotation().unwrap();
    beyond(&stand, RELOADED, 0.0).await;
    load.goes_on().await;
    stand.server.node().present(Certificate::Named).unwrap();
    load.goes_on().await;
    authority.finish_rotation().unwrap();
    beyond(&stand, RELOADED, 1.0).await;
    load.goes_on().await;
    load.end().await;

    for client in &old {
        client.simple_query("SELECT 1").await.unwrap();
    }
    assert_eq!(stand.gatekeeper.metric(REFUSED).await, Some(0.0));
}

#[tokio::test]
async fn a_half_written_ca_file_is_logged_and_ignored() {
    let stand = Stand::passthrough().await;
    let file = stand.server.authority().ca_file();
    let whole = fs::read_to_string(file).unwrap();
    for bad in [&whole[..whole.len() / 2], ""] {
        let before = stand.gatekeeper.metric(REFUSED).await.unwrap();
        fs::write(file, bad).unwrap();
        beyond(&stand, REFUSED, before).await;
        stand.connect(APP).await.unwrap();
    }
    stand.gatekeeper.wait_for_log("changed files are invalid; the previous ones stay in use").await;
    stand.gatekeeper.wait_for_log(&file.display().to_string()).await;
    fs::write(file, whole).unwrap();
    stand.connect(APP).await.unwrap();
}

#[tokio::test]
async fn a_listeners_certificate_is_replaced_without_ending_its_sessions() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let old = Pki::new(server.folder(), "old");
    let Identity { cert, key } = old.issue("gatekeeper.example");
    let config = config(&server, "", &format!("tls = {{ cert = {cert:?}, key = {key:?} }}"), "");
    let stand = Stand::start(server, &config).await;
    let md5 = "user=app_md5 password=app-md5-password dbname=app";
    let log_in = async |pki: &Pki| connect_tls(stand.listener, md5, &pki.ca_file, "gatekeeper.example").await;
    let session = log_in(&old).await.unwrap();

    let new = Pki::new(stand.server.folder(), "new");
    new.issue("gatekeeper.example");
    until(PATIENCE, async || log_in(&new).await.map_err(|error| error.to_string())).await;
    assert!(log_in(&old).await.is_err(), "the old certificate is shown no more");
    session.simple_query("SELECT 1").await.unwrap();

    // A key that does not match the certificate, as in the middle of a renewal.
    let other = old.issue("other.example");
    fs::copy(&other.key, &key).unwrap();
    beyond(&stand, REFUSED, 0.0).await;
    log_in(&new).await.unwrap();
}
