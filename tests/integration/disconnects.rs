//! Clients that vanish, servers that end or freeze: errors of the peers, and no leftovers.

use std::{fs, net::SocketAddr, time::Duration};

use gatekeeper::testing::{
    sandbox::{ALICE_AT_LISTENERS, APP, DATABASE, Sandbox, SandboxOptions, Single, Stop},
    wire::tag::backend as b,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Frames, Gatekeeper, Stand,
    frames::{copy_data, flush, query, statement},
    stand::{admin, config, listener},
    until,
};

const LIMIT: Duration = Duration::from_secs(20);
const SLEEP: &str = "SELECT pg_sleep(600)";
const BACKENDS: &str = "gatekeeper_backends{endpoint=\"primary\",backend_role=\"primary\"}";

async fn app(stand: &Stand) -> Frames {
    Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await
}

/// Waits until `sql` answers `wanted` on the server.
async fn server_says(server: &Single, sql: &str, wanted: &str) {
    until(LIMIT, async || match server.node().sql(DATABASE, sql).await.unwrap() {
        seen if seen == wanted => Ok(()),
        seen => Err(seen),
    })
    .await;
}

/// How many sessions of `app` the server has.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";

/// Number of idle sessions at the server.
const LISTENING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'ClientRead'";

async fn open_descriptors(gatekeeper: &Gatekeeper) -> usize {
    fs::read_dir(format!("/proc/{}/fd", gatekeeper.pid())).unwrap().count()
}

#[tokio::test]
async fn a_vanished_clients_statement_ends_without_leftovers() {
    let stand = Stand::passthrough().await;
    let server = &stand.server;
    let table = "CREATE TABLE kept (a int); GRANT ALL ON kept TO app";
    server.node().sql(DATABASE, table).await.unwrap();
    // Descriptors opened once, at first use, are not leaks.
    drop(app(&stand).await);
    server_says(server, SESSIONS, "0").await;
    let before = open_descriptors(&stand.gatekeeper).await;
    let endless = "SELECT repeat('x', 1000) FROM generate_series(1, 1000000000)";
    for (what, doing) in [
        ("nothing", Vec::new()),
        ("a statement", query(SLEEP)),
        ("a statement of the extended protocol", [statement("SELECT pg_sleep(600)", &[]), flush()].concat()),
        ("reading a long answer", query(endless)),
        ("an open transaction", query("BEGIN; LOCK TABLE kept")),
        ("COPY in", [query("COPY kept FROM STDIN"), copy_data(b"1\n")].concat()),
        ("COPY out", query("COPY (SELECT generate_series(1, 1000000000)) TO STDOUT")),
        ("saying something, half-way", b"Q\0\0\xff\xffSELECT".to_vec()),
    ] {
        for abruptly in [false, true] {
            let mut client = app(&stand).await;
            if !doing.is_empty() {
                client.send(&doing).await;
                if !doing.starts_with(b"Q\0\0\xff") {
                    server_says(server, "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'app' AND (state <> 'idle')", "t").await;
                }
            }
            if abruptly {
                client.raw.stream.set_zero_linger().unwrap();
            }
            drop(client);
            until(LIMIT, async || {
                let sessions = server.node().sql(DATABASE, SESSIONS).await.unwrap();
                let backends = stand.gatekeeper.metric(BACKENDS).await;
                let descriptors = open_descriptors(&stand.gatekeeper).await;
                let seen = (what, sessions.clone(), backends, descriptors, before);
                // The admin API and the probe open and close descriptors meanwhile.
                if sessions == "0" && backends == Some(0.0) && descriptors <= before + 1 {
                    Ok(())
                } else {
                    Err(seen)
                }
            })
            .await;
        }
    }
    assert_eq!(server.node().sql(DATABASE, "SELECT count(*) FROM kept").await.unwrap(), "0");
}

#[tokio::test]
async fn statements_of_vanished_clients_end_on_every_node() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let config = sandbox.config_toml().unwrap();
    let _gatekeeper = Gatekeeper::start(sandbox.folder(), &config, sandbox.admin_address()).await;
    let reads = sandbox.listeners().into_iter().find(|listener| listener.name == "reads").unwrap().address;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Frames::log_in(reads, ALICE_AT_LISTENERS, &[("database", DATABASE)]).await;
        client.send(&query(SLEEP)).await;
        clients.push(client);
    }
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'";
    let all_sleep = async |wanted: u32| {
        until(LIMIT, async || {
            let mut seen = 0;
            for node in sandbox.endpoint("reads").nodes() {
                seen += node.sql(DATABASE, sleeping).await.unwrap().parse::<u32>().unwrap();
            }
            if seen == wanted { Ok(()) } else { Err(seen) }
        })
        .await;
    };
    all_sleep(4).await;
    drop(clients);
    all_sleep(0).await;
}

#[tokio::test]
async fn a_session_ended_by_the_server_gets_its_error() {
    let stand = Stand::passthrough().await;
    let (mut idle, mut busy) = (app(&stand).await, app(&stand).await);
    busy.send(&query(SLEEP)).await;
    server_says(
        &stand.server,
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'",
        "1",
    )
    .await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
    stand.server.node().sql(DATABASE, end).await.unwrap();
    for client in [&mut idle, &mut busy] {
        let received = client.read_to_close().await;
        let last = received.last().unwrap();
        assert_eq!((last.tag, last.field(b'C').as_str()), (b::ERROR_RESPONSE, "57P01"));
        assert_eq!(last.field(b'R'), "ProcessInterrupts", "the server's own words, unchanged");
    }
}

#[tokio::test]
async fn a_lost_server_is_reported_and_used_again() {
    let stand = Stand::passthrough().await;
    let mut bystander = app(&stand).await;
    let mut victim = app(&stand).await;
    victim.send(&query(SLEEP)).await;
    let find = "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
    let pid = until(LIMIT, async || {
        let seen = stand.server.node().sql(DATABASE, find).await.unwrap();
        seen.parse::<i32>().map_err(|_| seen)
    })
    .await;
    server_says(&stand.server, LISTENING, "1").await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let received = victim.read_to_close().await;
    let last = received.last().unwrap();
    assert_eq!((last.field(b'V').as_str(), last.field(b'C').as_str()), ("FATAL", "08006"));
    assert!(last.field(b'H').contains("unknown"), "{last:?}");
    // The postmaster ends the other sessions: a warning, then a close.
    let received = bystander.read_to_close().await;
    let states: Vec<_> = received.iter().map(|message| (message.tag, message.field(b'C'))).collect();
    assert_eq!(states, [(b::NOTICE_RESPONSE, "57P02".to_owned()), (b::ERROR_RESPONSE, "08006".to_owned())]);
    until(LIMIT, async || match stand.server.node().sql(DATABASE, "SELECT 1").await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .await;
    assert_eq!(app(&stand).await.ask("SELECT 'back'").await.unwrap(), "back");

    let mut client = app(&stand).await;
    // A server that receives SIGTERM during a write drops its last message.
    server_says(&stand.server, LISTENING, "1").await;
    stand.server.node().stop(Stop::Immediate).await.unwrap();
    let received = client.read_to_close().await;
    let states: Vec<_> = received.iter().map(|message| (message.tag, message.field(b'C'))).collect();
    assert_eq!(states, [(b::NOTICE_RESPONSE, "57P01".to_owned()), (b::ERROR_RESPONSE, "08006".to_owned())]);
    until(LIMIT, async || match stand.gatekeeper.metric(BACKENDS).await {
        Some(0.0) => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn a_frozen_server_stops_only_its_own_sessions() {
    let (server, frozen) =
        tokio::join!(Single::start(SandboxOptions::default()), Single::start(SandboxOptions::default()));
    let (server, frozen) = (server.unwrap(), frozen.unwrap());
    let icy = SocketAddr::from((server.block().ip(100), 15433));
    let rest = format!(
        "[[cluster]]\nname = \"icy\"\nca_file = \"{}\"\n\n\
         [[cluster.endpoint]]\nname = \"icy\"\nrole = \"primary\"\naddress = \"{}\"\n\
         tls = {{ mode = \"verify-ca\" }}\nlogin = \"passthrough\"\n\n\
         [[listener]]\nname = \"icy\"\nbind = \"{icy}\"\nroute = \"endpoint:icy\"\n",
        frozen.authority().ca_file().display(),
        frozen.address(),
    );
    let config = config(&server, "login = \"passthrough\"", "", &rest);
    let config = config.replace("route = \"primary\"", "route = \"endpoint:primary\"");
    let gatekeeper = Gatekeeper::start(server.folder(), &config, admin(&server)).await;
    let parameters = [("database", DATABASE)];
    let mut stuck: Vec<Frames> = Vec::new();
    for _ in 0..8 {
        stuck.push(Frames::log_in(icy, APP, &parameters).await);
    }
    frozen.node().freeze();
    for client in &mut stuck {
        client.send(&query("SELECT 'thawed'")).await;
    }
    // Some clients leave in the middle, and some only connect: neither may delay others.
    stuck.truncate(4);
    let knock = move || async move { Frames::log_in(icy, APP, &[("database", DATABASE)]).await };
    #[expect(clippy::disallowed_methods, reason = "they end with the test's runtime")]
    let knocking: Vec<_> = (0..8).map(|_| tokio::spawn(knock())).collect();
    for _ in 0..20 {
        let mut client = Frames::log_in(listener(&server), APP, &parameters).await;
        assert_eq!(client.ask("SELECT 'quick'").await.unwrap(), "quick");
        assert_eq!(gatekeeper.get("/livez").await.unwrap().status, 200);
    }
    frozen.node().thaw();
    for client in &mut stuck {
        let received = client.read_until(b::READY_FOR_QUERY).await;
        assert!(received.iter().any(|message| message.tag == b::DATA_ROW), "{received:?}");
    }
    for knocking in knocking {
        assert_eq!(knocking.await.unwrap().ask("SELECT 'in'").await.unwrap(), "in");
    }
}
