//! A process is replaced while clients connect and run transactions.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single},
    wire::BackendKey,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_postgres::{Config, NoTls, config::SslMode};

use crate::harness::{
    Gatekeeper, Pooled, Shape, Stand, Successor, audit::audited, frames::cancel, run_command, stand, until,
};

const PATIENCE: Duration = Duration::from_secs(30);
const REST: &str = "handover = \"handover.sock\"\n[audit]\nfile = \"audit.jsonl\"\nlevel = \"statements\"\n";

/// Clients that connect, run a transaction, and leave, over and over.
struct Load {
    over: Arc<AtomicBool>,
    committed: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn start(listener: SocketAddr) -> Self {
        let (over, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (over, committed) = (Arc::clone(&over), Arc::clone(&committed));
            clients.spawn(async move {
                let mut errors = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match run_transaction(listener).await {
                        Ok(()) => _ = committed.fetch_add(1, Ordering::Relaxed),
                        Err(error) => errors.push(error),
                    }
                }
                errors
            });
        }
        Self { over, committed, clients }
    }

    /// Waits for transactions that are committed after this call.
    async fn goes_on(&self) {
        let before = self.committed.load(Ordering::Relaxed);
        until(PATIENCE, async || match self.committed.load(Ordering::Relaxed) - before {
            ..20 => Err("no progress"),
            _ => Ok(()),
        })
        .await;
    }

    /// Stops; returns the number of committed transactions, and the errors.
    async fn end(self) -> (usize, Vec<String>) {
        self.over.store(true, Ordering::Relaxed);
        let errors = self.clients.join_all().await.concat();
        (self.committed.load(Ordering::Relaxed), errors)
    }
}

async fn run_transaction(listener: SocketAddr) -> Result<(), String> {
    let mut config = Config::new();
    config.user(APP.name).dbname(DATABASE).ssl_mode(SslMode::Disable);
    let stream =
        tokio::net::TcpStream::connect(listener).await.map_err(|error| format!("connect: {error}"))?;
    let (client, connection) =
        config.connect_raw(stream, NoTls).await.map_err(|error| format!("login: {error}"))?;
    let work = async move {
        for sql in ["BEGIN", "INSERT INTO handed VALUES (1)", "COMMIT"] {
            client.simple_query(sql).await.map_err(|error| format!("{sql}: {error:?}"))?;
        }
        Ok(())
    };
    tokio::select! {
        done = work => done,
        ended = connection => Err(format!("the connection ended: {ended:?}")),
    }
}

async fn info(gatekeeper: &Gatekeeper) -> Value {
    until(PATIENCE, async || match gatekeeper.get("/v1/info").await {
        Ok(answer) if answer.status == 200 => Ok(serde_json::from_str(&answer.body).unwrap()),
        other => Err(other),
    })
    .await
}

async fn pool() -> Pooled {
    let pooled = Pooled::start(Shape { size: 3, rest: REST, plain: true, ..Shape::default() }).await;
    pooled.server("CREATE TABLE handed (number int); GRANT INSERT ON handed TO PUBLIC").await;
    pooled
}

#[tokio::test]
async fn a_restart_refuses_no_client_and_loses_no_transaction() {
    let mut pooled = pool().await;
    let file = pooled.stand.gatekeeper.config_file().display().to_string();
    let load = Load::start(pooled.listener());
    load.goes_on().await;
    let long = pooled.stand.connect(&format!("user={} dbname={DATABASE}", APP.name)).await.unwrap();
    long.simple_query("BEGIN").await.unwrap();
    let old = pooled.stand.gatekeeper.pid();
    let done = run_command(&["restart", "--config", &file], &[]).await;
    assert!(done.code == Some(0), "{done:?}");
    let new = info(&pooled.stand.gatekeeper).await["pid"].as_u64().unwrap();
    let _successor = Successor(u32::try_from(new).unwrap());
    assert_ne!(new, u64::from(old));
    load.goes_on().await;
    let (committed, errors) = load.end().await;
    assert_eq!(errors, [""; 0]);
    assert_eq!(pooled.server("SELECT count(*) FROM handed").await, committed.to_string());

    // The old process serves its sessions to their end, and ends.
    long.simple_query("INSERT INTO handed VALUES (2)").await.unwrap();
    long.simple_query("COMMIT").await.unwrap();
    long.simple_query("SELECT 1").await.unwrap();
    drop(long);
    assert!(pooled.stand.gatekeeper.ended().await.success());
    run_transaction(pooled.listener()).await.unwrap();
    let folder = pooled.stand.server.folder().to_owned();
    assert!(folder.join("handover.sock").exists(), "the next process can take over");

    // Both wrote one audit log.
    kill_process(Pid::from_raw(i32::try_from(new).unwrap()).unwrap(), Signal::TERM).unwrap();
    until(PATIENCE, async || if folder.join("handover.sock").exists() { Err("it lives") } else { Ok(()) })
        .await;
    let audit = folder.join("audit.jsonl");
    until(PATIENCE, async || {
        let stopped = audited(&audit).iter().filter(|record| record.action() == "audit.stopped").count();
        if stopped == 2 { Ok(()) } else { Err(stopped) }
    })
    .await;
    let verified = run_command(&["audit", "verify", "--strict", &audit.display().to_string()], &[]).await;
    assert!(verified.code == Some(0), "{verified:?}");
}

/// Replaces the process that serves; returns the new one.
async fn replaced(pooled: &Pooled) -> Successor {
    let before = info(&pooled.stand.gatekeeper).await["pid"].clone();
    let file = pooled.stand.gatekeeper.config_file().display().to_string();
    let done = run_command(&["restart", "--config", &file], &[]).await;
    assert!(done.code == Some(0), "{done:?}");
    let now = info(&pooled.stand.gatekeeper).await["pid"].clone();
    assert_ne!(now, before);
    Successor(u32::try_from(now.as_u64().unwrap()).unwrap())
}

/// psql with a statement that runs for 600 s.
struct LongStatement {
    psql: tokio::process::Child,
}

impl LongStatement {
    /// Returns once `count` statements run.
    async fn start(pooled: &Pooled, count: usize) -> Self {
        let listener = pooled.listener();
        let (host, port) = (listener.ip(), listener.port());
        let connection =
            format!("host={host} port={port} user={} dbname={DATABASE} sslmode=disable", APP.name);
        let mut psql = tokio::process::Command::new("psql");
        psql.args(["-XAtq", "-v", "VERBOSITY=verbose", "-d", &connection, "-c", "SELECT pg_sleep(600)"]);
        psql.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let statement = Self { psql: psql.spawn().unwrap() };
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'";
        until(PATIENCE, async || match pooled.server(sql).await {
            running if running == count.to_string() => Ok(()),
            other => Err(other),
        })
        .await;
        statement
    }

    /// Cancels the statement as Control-C does; returns the error.
    async fn interrupt(self) -> String {
        let pid = Pid::from_raw(self.psql.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let output = tokio::time::timeout(PATIENCE, self.psql.wait_with_output()).await.unwrap();
        String::from_utf8(output.unwrap().stderr).unwrap()
    }
}

#[tokio::test]
async fn sessions_of_replaced_processes_are_canceled() {
    let pooled = pool().await;
    let oldest = LongStatement::start(&pooled, 1).await;
    let _second = replaced(&pooled).await;
    let older = LongStatement::start(&pooled, 2).await;
    let _third = replaced(&pooled).await;

    // An unknown key is unknown to all three.
    let unknown = BackendKey::new(12, &[1; 4]).unwrap();
    cancel(pooled.listener(), &unknown).await;
    let requests =
        |outcome| format!("gatekeeper_cancel_requests_total{{listener=\"app\",outcome=\"{outcome}\"}}");
    assert_eq!(pooled.stand.gatekeeper.metric(&requests("error")).await, Some(1.0));

    // The third process serves the listener: the requests pass through one or two others.
    for (statement, count) in [(oldest, 1.0), (older, 2.0)] {
        let error = statement.interrupt().await;
        assert!(error.contains("57014") && error.contains("user request"), "{error}");
        let series = requests("ok");
        until(PATIENCE, async || match pooled.stand.gatekeeper.metric(&series).await {
            Some(done) if done == count => Ok(()),
            other => Err(other),
        })
        .await;
    }
    let audit = pooled.stand.server.folder().join("audit.jsonl");
    until(PATIENCE, async || {
        match audited(&audit).iter().filter(|record| record.action() == "statement.cancelled").count() {
            2 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn decisions_of_operators_stay_in_force() {
    let pooled = pool().await;
    let gatekeeper = &pooled.stand.gatekeeper;
    let paused =
        gatekeeper.ask("POST", &format!("/v1/pools/pause?database={DATABASE}"), "", "").await.unwrap();
    assert_eq!(paused.status, 200, "{}", paused.body);
    let filter = "{\"filter\": \"gatekeeper=debug\"}";
    let set = gatekeeper.ask("POST", "/v1/log", "content-type: application/json\r\n", filter).await.unwrap();
    assert_eq!(set.status, 200, "{}", set.body);
    let _successor = replaced(&pooled).await;
    // Already the login waits: the first client of a pool needs a backend.
    let mut login = Box::pin(run_transaction(pooled.listener()));
    let waiting = until(PATIENCE, async || match pooled.seen().await {
        seen if seen.waiting == 1 => Ok(()),
        seen => Err(seen),
    });
    tokio::select! {
        done = &mut login => panic!("the pool is paused: {done:?}"),
        () = waiting => {}
    }
    let resumed = gatekeeper.ask("POST", "/v1/pools/resume", "", "").await.unwrap();
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    login.await.unwrap();
    cancel(pooled.listener(), &BackendKey::new(12, &[1; 4]).unwrap()).await;
    // A line of level debug, by the successor alone.
    gatekeeper.wait_for_log("cancel request with an unknown key").await;
}

#[tokio::test]
async fn a_replaced_process_leaves_its_places_on_the_server() {
    // Room for the pool of one process and the connections of both probes, and for no second pool.
    let server = SandboxOptions { tls: ServerTls::Off, max_connections: 12, ..SandboxOptions::default() };
    let endpoint = "max_backends = 7";
    let shape = Shape { size: 4, rest: REST, plain: true, server, endpoint, ..Shape::default() };
    let pooled = Pooled::start(shape).await;
    let parameters = format!("user={} dbname={DATABASE}", APP.name);
    let mut older = Vec::new();
    for _ in 0..4 {
        older.push(pooled.stand.connect(&parameters).await.unwrap());
    }
    // Each of them takes a backend, which is idle afterwards.
    for client in &older {
        client.simple_query("BEGIN; SELECT 1").await.unwrap();
    }
    for client in &older {
        client.simple_query("COMMIT").await.unwrap();
    }
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND datname = '{DATABASE}'",
        APP.name
    );
    assert_eq!(pooled.server(&sql).await, "4");
    let _successor = replaced(&pooled).await;
    until(PATIENCE, async || match pooled.server(&sql).await.as_str() {
        "0" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await;
    // The successor has room for its whole pool, and the sessions of the old process get a backend when they need one.
    let mut newer = Vec::new();
    for _ in 0..4 {
        let client = pooled.stand.connect(&parameters).await.unwrap();
        client.simple_query("BEGIN; SELECT 1").await.unwrap();
        newer.push(client);
    }
    older[0].simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_successor_that_cannot_start_changes_nothing() {
    let shape = Shape { size: 3, rest: REST, plain: true, ..Shape::default() };
    let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let server = Single::start(options).await.unwrap();
    let local = server.folder().join(".s.PGSQL.15432");
    let config = format!(
        "{}\n[[listener]]\nname = \"local\"\nbind = {local:?}\nroute = \"primary\"\nauth = {{ method = \"trust\" }}\n",
        shape.config(&server)
    );
    let mut pooled = Pooled { stand: Stand::start(server, &config).await };
    pooled.server("CREATE TABLE handed (number int); GRANT INSERT ON handed TO PUBLIC").await;
    let gatekeeper = &pooled.stand.gatekeeper;
    let file = gatekeeper.config_file().to_owned();
    let good = std::fs::read_to_string(&file).unwrap();
    // Valid until it binds: another process has the address.
    let taken = std::net::TcpListener::bind((pooled.stand.server.block().ip(100), 15433)).unwrap();
    let second = format!(
        "\n[[listener]]\nname = \"second\"\nbind = \"{}\"\nroute = \"primary\"\nauth = {{ method = \"trust\" }}\n",
        taken.local_addr().unwrap()
    );
    std::fs::write(&file, format!("{good}{second}")).unwrap();
    let answer = gatekeeper.ask("POST", "/v1/restart", "", "").await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    gatekeeper.wait_for_log("the process that took over the sockets has failed; this one goes on").await;
    run_transaction(pooled.listener()).await.unwrap();
    assert_eq!(info(gatekeeper).await["pid"], gatekeeper.pid());
    std::os::unix::net::UnixStream::connect(&local).unwrap();

    // With the mistake mended, the next one takes over, with the file of the socket.
    std::fs::write(&file, &good).unwrap();
    let done = run_command(&["restart", "--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let new = u32::try_from(info(gatekeeper).await["pid"].as_u64().unwrap()).unwrap();
    let _successor = Successor(new);
    assert!(pooled.stand.gatekeeper.ended().await.success());
    std::os::unix::net::UnixStream::connect(&local).unwrap();
    kill_process(Pid::from_raw(new.cast_signed()).unwrap(), Signal::TERM).unwrap();
    until(PATIENCE, async || if local.exists() { Err("the file stays") } else { Ok(()) }).await;
}

#[tokio::test]
async fn a_restart_needs_the_socket() {
    let pooled = Pooled::of(1).await;
    let answer = pooled.stand.gatekeeper.ask("POST", "/v1/restart", "", "").await.unwrap();
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("runtime.handover"), "{}", answer.body);
}

/// Messages to the service manager, in order, until one of them is `last`.
async fn messages_until(socket: &tokio::net::UnixDatagram, last: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            messages.extend(text.lines().map(str::to_owned));
            if messages.iter().any(|message| message.starts_with(last)) {
                return;
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, read).await;
    assert!(done.is_ok(), "no {last} in {messages:?}");
    messages
}

#[tokio::test]
async fn the_service_manager_is_told_the_state() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = stand::config(&server, "", "", "[runtime]\nhandover = \"handover.sock\"\n");
    let path = server.folder().join("notify.sock");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let admin = stand::admin(&server);
    let mut gatekeeper = Gatekeeper::start_with(server.folder(), &config, admin, &environment).await;
    messages_until(&socket, "READY=1").await;
    let running = messages_until(&socket, "WATCHDOG=1").await;
    assert!(
        running.iter().any(|line| line.starts_with("STATUS=0 sessions, 1 listeners, writer: ")),
        "{running:?}"
    );
    gatekeeper.signal(Signal::HUP);
    let reloading = messages_until(&socket, "READY=1").await;
    let at = |what: &str| reloading.iter().position(|line| line.starts_with(what));
    assert!(at("RELOADING=1").is_some() && at("MONOTONIC_USEC=").is_some(), "{reloading:?}");
    assert!(at("RELOADING=1") < at("READY=1"), "{reloading:?}");

    let answer = gatekeeper.ask("POST", "/v1/restart", "", "").await.unwrap();
    let new = serde_json::from_str::<Value>(&answer.body).unwrap()["pid"].as_u64().unwrap();
    let _successor = Successor(u32::try_from(new).unwrap());
    let main = format!("MAINPID={new}");
    let messages = messages_until(&socket, &main).await;
    assert!(!messages.contains(&"STOPPING=1".to_owned()), "{messages:?}");
    assert!(gatekeeper.ended().await.success());
    // The new process is the one that reports.
    messages_until(&socket, "WATCHDOG=1").await;
}
