//! Moves of the writer: by the admin API, by the console, and by the election between two endpoints declared primary. What
//! clients notice, and that no write reaches the old server.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, Sandbox, SandboxOptions, Stop},
    wire::tag::backend as b,
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{
    Answer, Frames, Gatekeeper, Successor,
    audit::audited_until,
    connect,
    frames::{query, statement, sync},
    psql, refused, run_command, until,
};

const LIMIT: Duration = Duration::from_secs(60);
const CLIENTS: usize = 6;
const HELD: &str = "gatekeeper_held_clients{listener=\"app\"}";
const COUNT: &str = "SELECT count(*) FROM ledger";

/// Gatekeeper in front of the endpoints `primary` and `dr`. Listeners: `app` with pooling, `plain` with a backend for
/// each session, and `named`, which names the endpoint `primary`.
struct Pair {
    // First field: dropped before the servers.
    gatekeeper: Gatekeeper,
    sandbox: Sandbox,
}

/// Writing clients, until stopped.
struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<u64>,
}

/// How an operator moves the writer.
#[derive(Clone, Copy, PartialEq)]
enum Interface {
    Api,
    Console,
}

// === impl Pair ===

impl Pair {
    /// `roles` are the declared roles of `primary` and `dr`.
    async fn start(roles: [&str; 2]) -> Self {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let config = config(&sandbox, roles);
        let admin = (sandbox.block().ip(100), 8080).into();
        let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, admin).await;
        let pair = Self { gatekeeper, sandbox };
        let create = "CREATE TABLE ledger (client int, row int); GRANT ALL ON ledger TO app";
        pair.node("primary").sql(DATABASE, create).await.unwrap();
        pair.node("dr").catch_up(pair.node("primary")).await.unwrap();
        pair.topology(|topology| {
            let endpoints = topology["endpoints"].as_array().unwrap();
            endpoints.iter().all(|endpoint| endpoint["observed_role"].is_string())
        })
        .await;
        pair
    }

    fn node(&self, name: &str) -> &gatekeeper::testing::sandbox::Node {
        self.sandbox.node(name)
    }

    fn listener(&self, port: u16) -> SocketAddr {
        (self.sandbox.block().ip(100), port).into()
    }

    /// A client of the pooled listener.
    async fn client(&self) -> Frames {
        Frames::log_in(self.listener(15432), APP, &[("database", DATABASE)]).await
    }

    /// A client with a backend of its own.
    async fn plain(&self) -> Frames {
        Frames::log_in(self.listener(15433), APP, &[("database", DATABASE)]).await
    }

    /// Waits until the topology meets `condition`.
    async fn topology(&self, condition: impl Fn(&Value) -> bool) -> Value {
        until(LIMIT, async || {
            let answer = self.gatekeeper.get("/v1/topology").await.map_err(|error| error.to_string())?;
            let topology: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
            if condition(&topology) { Ok(topology) } else { Err(answer.body) }
        })
        .await
    }

    async fn post(&self, body: &str) -> Answer {
        self.gatekeeper.ask("POST", "/v1/topology/writer", "", body).await.unwrap()
    }

    /// Code of the error to a refused move.
    async fn refused_move(&self, body: &str) -> (u16, String) {
        let answer = self.post(body).await;
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, json["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Moves the writer to `dr`, which is promoted once no session uses the writer.
    async fn move_to_promoted(&self, interface: Interface) {
        let moving = async {
            match interface {
                Interface::Api => {
                    let body = "{\"endpoint\": \"dr\", \"wait\": 1, \"promotion_wait\": 60}";
                    let answer = self.post(body).await;
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    eprintln!("writer_move: {}", answer.body);
                }
                Interface::Console => {
                    let address = self.listener(15432);
                    let (host, port) = (address.ip(), address.port());
                    let console =
                        format!("host={host} port={port} user=root dbname=gatekeeper sslmode=disable");
                    let psql = psql(&console, "MOVE WRITER TO dr WAIT 1 PROMOTION_WAIT 60").await;
                    assert!(psql.stderr.contains("the writer is endpoint dr"), "{}", psql.stderr);
                }
            }
        };
        let is_quiet = |topology: &Value| topology["move"]["phase"] == "quiet";
        // A client that arrives during the hold is held, too.
        let arriving = async {
            self.topology(is_quiet).await;
            assert_eq!(self.client().await.ask("SELECT pg_is_in_recovery()").await.unwrap(), "f");
        };
        let promoting = async {
            self.topology(is_quiet).await;
            until(LIMIT, async || match self.gatekeeper.metric(HELD).await {
                Some(held) if held > CLIENTS as f64 => Ok(()),
                seen => Err(seen),
            })
            .await;
            self.node("dr").catch_up(self.node("primary")).await.unwrap();
            self.sandbox.promote_secondary().await.unwrap();
        };
        tokio::join!(moving, arriving, promoting);
    }

    async fn rows(&self, node: &str) -> u64 {
        self.node(node).sql(DATABASE, COUNT).await.unwrap().parse().unwrap()
    }

    /// Waits until `node` has more rows.
    async fn grows(&self, node: &str) {
        let before = self.rows(node).await;
        until(LIMIT, async || match self.rows(node).await {
            now if now > before + 20 => Ok(()),
            now => Err((before, now)),
        })
        .await;
    }

    /// Each of the `rows` acknowledged rows of each client is there once, and no other row.
    async fn has_rows(&self, node: &str, rows: &[u64]) {
        for (client, rows) in rows.iter().enumerate() {
            let sql = format!("SELECT count(*), count(DISTINCT row) FROM ledger WHERE client = {client}");
            let seen = self.node(node).sql(DATABASE, &sql).await.unwrap();
            assert_eq!(seen, format!("{rows}|{rows}"), "client {client}");
        }
    }
}

// === impl Load ===

impl Load {
    fn start(pair: &Pair) -> Self {
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..CLIENTS {
            clients.spawn(write(pair.listener(15432), number, Arc::clone(&stop)));
        }
        Self { stop, clients }
    }

    /// Acknowledged rows of each client.
    async fn end(self) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        let mut rows = self.clients.join_all().await;
        rows.sort_unstable();
        rows
    }
}

/// Inserts rows until `stop`: in and outside of transactions, in both protocols. No statement may fail. Returns the number of
/// rows, in the highest digits the number of the client.
async fn write(listener: SocketAddr, number: usize, stop: Arc<AtomicBool>) -> u64 {
    let mut client = Frames::log_in(listener, APP, &[("database", DATABASE)]).await;
    let mut row = 0;
    while !stop.load(Relaxed) {
        let insert = format!("INSERT INTO ledger VALUES ({number}, {row})");
        let messages = match row % 3 {
            0 => vec![query(&insert)],
            1 => vec![[statement(&insert, &[]), sync()].concat()],
            _ => vec![query("BEGIN"), query(&insert), query("COMMIT")],
        };
        for message in messages {
            client.send(&message).await;
            for answer in client.read_until(b::READY_FOR_QUERY).await {
                assert_ne!(answer.tag, b::ERROR_RESPONSE, "client {number}, row {row}: {answer:?}");
            }
        }
        row += 1;
    }
    number as u64 * 1_000_000 + row
}

fn config(sandbox: &Sandbox, roles: [&str; 2]) -> String {
    let secret = sandbox.folder().join("app-password");
    std::fs::write(&secret, APP.password).unwrap();
    let ip = sandbox.block().ip(100);
    let clusters: String = ["primary", "dr"]
        .into_iter()
        .zip(sandbox.clusters())
        .zip(roles)
        .map(|((name, cluster), role)| {
            format!(
                "[[cluster]]\nname = \"{}\"\nca_file = \"{}\"\n[[cluster.endpoint]]\nname = \"{name}\"\n\
                 role = \"{role}\"\naddress = \"{}\"\ntls = {{ mode = \"verify-ca\" }}\n\
                 login = {{ user = \"{}\", password = {{ file = \"{}\" }} }}\n\n",
                cluster.name(),
                cluster.authority().ca_file().display(),
                sandbox.endpoint(name).address(),
                APP.name,
                secret.display()
            )
        })
        .collect();
    let listener = |name: &str, port: u16, route: &str, mode: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\nbind = \"{ip}:{port}\"\nroute = \"{route}\"\n\
             auth = {{ method = \"trust\" }}\npool = {{ mode = \"{mode}\", size = 4 }}\n\n"
        )
    };
    format!(
        "{clusters}{}{}{}[admin]\nbind = \"{ip}:8080\"\n\n\
         [console]\nadmin_users = [\"root\"]\ninsecure_trust = true\n\n\
         [probe]\ninterval = \"200ms\"\ntimeout = \"1s\"\nfailures = 2\n\n\
         [runtime]\nhandover = \"handover.sock\"\n\n[audit]\nfile = \"{}\"\n",
        listener("app", 15432, "primary", "transaction"),
        listener("plain", 15433, "primary", "session"),
        listener("named", 15434, "endpoint:primary", "session"),
        sandbox.folder().join("audit.jsonl").display()
    )
}

fn fences(topology: &Value) -> Vec<(&str, &str)> {
    let fences = topology["fences"].as_array().unwrap();
    fences
        .iter()
        .map(|fence| (fence["endpoint"].as_str().unwrap(), fence["cause"].as_str().unwrap()))
        .collect()
}

/// SQLSTATE of the FATAL that ends the session.
async fn last_error(client: &mut Frames) -> (String, String) {
    let last = client.read_to_close().await.pop().unwrap();
    (last.field(b'S'), last.field(b'C'))
}

async fn clients_feel_latency_alone(interface: Interface) {
    let pair = Pair::start(["primary", "secondary"]).await;
    let [mut open, mut pinned] = [pair.client().await, pair.client().await];
    let [mut idle, mut busy] = [pair.plain().await, pair.plain().await];
    let load = Load::start(&pair);
    pair.grows("primary").await;
    for client in [&mut open, &mut busy] {
        client.ask("BEGIN").await.unwrap();
        client.ask("INSERT INTO ledger VALUES (99, 0)").await.unwrap();
    }
    pinned.ask("SELECT pg_advisory_lock(1)").await.unwrap();
    pair.move_to_promoted(interface).await;
    let old = pair.rows("primary").await;
    pair.grows("dr").await;
    // Longer than the wait.
    assert_eq!(open.ask("INSERT INTO ledger VALUES (99, 1)").await, Err("40001".to_owned()));
    open.ask("ROLLBACK").await.unwrap();
    open.ask("INSERT INTO ledger VALUES (98, 0)").await.unwrap();
    let fatal = |state: &str| ("FATAL".to_owned(), state.to_owned());
    assert_eq!(last_error(&mut idle).await, fatal("57P01"));
    assert_eq!(last_error(&mut busy).await, fatal("57P01"));
    assert_eq!(last_error(&mut pinned).await, fatal("08006"));
    let login = format!("user={} dbname={DATABASE}", APP.name);
    let named = refused(connect(pair.listener(15434), &login).await);
    assert_eq!(named.sqlstate, "57P03", "{named:?}");
    pair.plain().await.ask("INSERT INTO ledger VALUES (98, 1)").await.unwrap();
    let topology = pair.topology(|topology| topology["two_writers"] == true).await;
    assert_eq!((&topology["writer"], &topology["appointed"]), (&"dr".into(), &"dr".into()));
    assert_eq!(fences(&topology), [("primary", "moved")]);
    assert_eq!(topology["endpoints"][0]["fenced"], "moved");
    assert!(!pair.node("primary").is_standby().await.unwrap(), "it lives and accepts writes");
    let rows: Vec<u64> = load.end().await.iter().map(|rows| rows % 1_000_000).collect();
    assert!(rows.iter().all(|rows| *rows > 0), "{rows:?}");
    pair.has_rows("dr", &rows).await;
    assert_eq!(pair.node("dr").sql(DATABASE, &format!("{COUNT} WHERE client = 99")).await.unwrap(), "0");
    assert_eq!(pair.rows("primary").await, old, "a write has reached the old server");
    let file = pair.sandbox.folder().join("audit.jsonl");
    let records = audited_until(&file, |record| record.text("move.phase") == "moved").await;
    let phases: Vec<_> = records.iter().filter(|it| it.action() == "writer.move").collect();
    let through = if interface == Interface::Api { "admin" } else { "console" };
    assert!(phases.iter().all(|record| record.text("admin.through") == through));
    let phases: Vec<_> = phases.iter().map(|record| record.text("move.phase")).collect();
    assert_eq!(phases, ["hold", "quiet", "moved"]);
    let events = pair.gatekeeper.get("/v1/events").await.unwrap().body;
    assert_eq!(events.matches("\"kind\":\"writer_move\"").count(), 3, "{events}");
    assert!(events.contains("endpoint `primary` is fenced"), "{events}");
}

#[tokio::test]
async fn clients_feel_latency_alone_when_the_api_moves_the_writer() {
    clients_feel_latency_alone(Interface::Api).await;
}

#[tokio::test]
async fn clients_feel_latency_alone_when_the_console_moves_the_writer() {
    clients_feel_latency_alone(Interface::Console).await;
}

#[tokio::test]
async fn a_refused_move_leaves_everything() {
    let pair = Pair::start(["primary", "secondary"]).await;
    let mut idle = pair.plain().await;
    let load = Load::start(&pair);
    pair.grows("primary").await;
    for (body, status, code) in [
        ("{\"endpoint\": \"dr\"}", 409, "in_recovery"),
        ("{\"endpoint\": \"nowhere\"}", 404, "not_found"),
        ("{\"endpoint\": \"dr\", \"wait\": 9999}", 400, "bad_request"),
        ("{\"endpoint\": \"dr\", \"hurry\": true}", 400, "bad_request"),
        ("dr", 400, "bad_request"),
    ] {
        assert_eq!(pair.refused_move(body).await, (status, code.to_owned()), "{body}");
    }
    assert_eq!(pair.post("{\"endpoint\": \"primary\"}").await.status, 200, "the writer already");
    assert_eq!(idle.ask("SELECT 1").await.unwrap(), "1");
    // Not promoted within the wait: held clients are served by the old writer.
    let body = "{\"endpoint\": \"dr\", \"wait\": 1, \"promotion_wait\": 1}";
    assert_eq!(pair.refused_move(body).await, (409, "in_recovery".to_owned()));
    pair.grows("primary").await;
    // Canceled.
    let canceled = async {
        pair.topology(|topology| topology["move"]["phase"] == "quiet").await;
        let body = "{\"endpoint\": \"dr\"}";
        assert_eq!(pair.refused_move(body).await, (409, "move_in_progress".to_owned()));
        let answer = pair.gatekeeper.ask("DELETE", "/v1/topology/writer", "", "").await.unwrap();
        assert_eq!(answer.status, 202);
    };
    let body = "{\"endpoint\": \"dr\", \"wait\": 1, \"promotion_wait\": 600}";
    let (refusal, ()) = tokio::join!(pair.refused_move(body), canceled);
    assert_eq!(refusal, (409, "canceled".to_owned()));
    pair.grows("primary").await;
    let topology = pair.topology(|topology| topology["writer"] == "primary").await;
    assert_eq!(fences(&topology), []);
    assert_eq!((&topology["appointed"], &topology["move"]), (&Value::Null, &Value::Null));
    let none = pair.gatekeeper.ask("DELETE", "/v1/topology/writer", "", "").await.unwrap();
    assert_eq!(none.status, 404);
    let rows: Vec<u64> = load.end().await.iter().map(|rows| rows % 1_000_000).collect();
    pair.has_rows("primary", &rows).await;
}

#[tokio::test]
async fn a_lost_writer_is_replaced_by_its_declared_peer() {
    let pair = Pair::start(["primary", "primary"]).await;
    let mut client = pair.client().await;
    client.ask("INSERT INTO ledger VALUES (0, 0)").await.unwrap();
    let mut open = pair.client().await;
    open.ask("BEGIN").await.unwrap();
    open.ask("INSERT INTO ledger VALUES (0, 1)").await.unwrap();
    pair.node("dr").catch_up(pair.node("primary")).await.unwrap();
    pair.node("primary").crash().await.unwrap();
    // On hold.
    client.send(&query("INSERT INTO ledger VALUES (0, 2)")).await;
    pair.sandbox.promote_secondary().await.unwrap();
    for answer in client.read_until(b::READY_FOR_QUERY).await {
        assert_ne!(answer.tag, b::ERROR_RESPONSE, "{answer:?}");
    }
    assert_eq!(open.ask("SELECT 1").await, Err("40001".to_owned()));
    let topology = pair.topology(|topology| topology["writer"] == "dr").await;
    assert_eq!(fences(&topology), [("primary", "replaced")]);
    let mismatches = |topology: &Value| {
        topology["endpoints"].as_array().unwrap().iter().any(|it| it["role_mismatch"] == true)
    };
    assert!(!mismatches(&topology), "a pair is as declared");
    // The old server returns writable, with rows of its own.
    pair.node("primary").start().await.unwrap();
    pair.node("primary")
        .sql(DATABASE, "INSERT INTO ledger SELECT 7, generate_series(1, 1000)")
        .await
        .unwrap();
    pair.topology(|topology| topology["two_writers"] == true).await;
    let old = pair.rows("primary").await;
    client.ask("INSERT INTO ledger VALUES (0, 3)").await.unwrap();
    pair.client().await.ask("INSERT INTO ledger VALUES (0, 4)").await.unwrap();
    assert_eq!(pair.rows("dr").await, 4);
    // Also if the new writer is lost.
    pair.node("dr").crash().await.unwrap();
    let down = |topology: &Value| topology["endpoints"][1]["health"] == "down";
    assert_eq!(pair.topology(down).await["writer"], "dr");
    pair.node("dr").start().await.unwrap();
    client.ask("INSERT INTO ledger VALUES (0, 5)").await.unwrap();
    assert_eq!((pair.rows("primary").await, pair.rows("dr").await), (old, 5));
    let unfence = async || {
        let path = "/v1/topology/fences/primary";
        pair.gatekeeper.ask("DELETE", path, "", "").await.unwrap().status
    };
    assert_eq!(unfence().await, 409, "it accepts writes");
    pair.node("primary").stop(Stop::Fast).await.unwrap();
    pair.topology(|topology| topology["endpoints"][0]["health"] == "down").await;
    assert_eq!((unfence().await, unfence().await), (204, 404));
    let topology = pair.topology(|topology| topology["fences"].as_array().unwrap().is_empty()).await;
    assert_eq!(topology["writer"], "dr", "the writer stays");
}

#[tokio::test]
async fn a_silent_writer_of_a_pair_loses_its_sessions() {
    let pair = Pair::start(["primary", "primary"]).await;
    let [mut open, mut idle] = [pair.client().await, pair.client().await];
    let mut plain = pair.plain().await;
    for client in [&mut open, &mut plain] {
        client.ask("BEGIN").await.unwrap();
        client.ask("INSERT INTO ledger VALUES (0, 0)").await.unwrap();
    }
    idle.ask("SELECT 1").await.unwrap();
    // Its connections stay open.
    pair.node("primary").freeze();
    pair.sandbox.promote_secondary().await.unwrap();
    pair.topology(|topology| topology["writer"] == "dr").await;
    assert_eq!(last_error(&mut plain).await, ("FATAL".to_owned(), "57P01".to_owned()));
    assert_eq!(open.ask("INSERT INTO ledger VALUES (0, 1)").await, Err("40001".to_owned()));
    open.ask("ROLLBACK").await.unwrap();
    for client in [&mut open, &mut idle] {
        client.ask("INSERT INTO ledger VALUES (0, 2)").await.unwrap();
    }
    pair.node("primary").thaw();
    pair.topology(|topology| topology["two_writers"] == true).await;
    open.ask("INSERT INTO ledger VALUES (0, 3)").await.unwrap();
    assert_eq!((pair.rows("primary").await, pair.rows("dr").await), (0, 3));
    let terminated =
        "gatekeeper_backends_terminated_total{endpoint=\"primary\",backend_role=\"primary\",reason=\"role\"}";
    // The session in a transaction and the dedicated one; the idle one counts if it was in a state check.
    let count = pair.gatekeeper.metric(terminated).await.unwrap();
    assert!((2.0..=3.0).contains(&count), "{count}");
    let fenced = "gatekeeper_endpoint_fenced{endpoint=\"primary\",backend_role=\"primary\"}";
    assert_eq!(pair.gatekeeper.metric(fenced).await, Some(1.0));
}

#[tokio::test]
async fn a_reload_follows_a_moved_writer() {
    let pair = Pair::start(["primary", "secondary"]).await;
    let load = Load::start(&pair);
    pair.grows("primary").await;
    pair.move_to_promoted(Interface::Api).await;
    pair.grows("dr").await;
    let reload = async |roles| {
        std::fs::write(pair.gatekeeper.config_file(), config(&pair.sandbox, roles)).unwrap();
        assert_eq!(pair.gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap().status, 200);
    };
    let old = pair.rows("primary").await;
    // Without the move in the configuration, nothing changes.
    reload(["primary", "secondary"]).await;
    pair.grows("dr").await;
    let topology = pair.topology(|topology| topology["writer"] == "dr").await;
    assert_eq!(
        (&topology["appointed"], topology["endpoints"][1]["role_mismatch"].as_bool()),
        (&"dr".into(), Some(true))
    );
    reload(["secondary", "primary"]).await;
    pair.grows("dr").await;
    let topology = pair.topology(|topology| topology["endpoints"][1]["observed_role"] == "primary").await;
    assert_eq!((&topology["writer"], &topology["appointed"]), (&"dr".into(), &Value::Null));
    assert_eq!(fences(&topology), [("primary", "moved")]);
    let rows: Vec<u64> = load.end().await.iter().map(|rows| rows % 1_000_000).collect();
    pair.has_rows("dr", &rows).await;
    assert_eq!(pair.rows("primary").await, old);
}

#[tokio::test]
async fn a_moved_writer_stays_moved_after_a_handover() {
    let pair = Pair::start(["primary", "secondary"]).await;
    let load = Load::start(&pair);
    pair.grows("primary").await;
    pair.move_to_promoted(Interface::Api).await;
    pair.grows("dr").await;
    load.end().await;
    let before = pair.topology(|topology| topology["writer"] == "dr").await;
    assert_eq!((&before["appointed"], fences(&before)), (&"dr".into(), vec![("primary", "moved")]));
    let file = pair.gatekeeper.config_file().to_str().unwrap();
    let done = run_command(&["restart", "--config", file], &[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let info: Value = serde_json::from_str(&pair.gatekeeper.get("/v1/info").await.unwrap().body).unwrap();
    let _successor = Successor(u32::try_from(info["pid"].as_u64().unwrap()).unwrap());
    assert_ne!(info["pid"], pair.gatekeeper.pid());
    // At once, before any probe: the old writer, which is declared primary, gets no client.
    let ready = pair.gatekeeper.get("/readyz?listener=app").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.body);
    let answer = pair.gatekeeper.get("/v1/topology").await.unwrap();
    let after: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&after["writer"], &after["appointed"]), (&before["writer"], &before["appointed"]));
    assert_eq!(fences(&after), fences(&before));
    let mut client = pair.client().await;
    client.ask("INSERT INTO ledger VALUES (100, 1)").await.unwrap();
    let count = "SELECT count(*) FROM ledger WHERE client = 100";
    assert_eq!(pair.node("dr").sql(DATABASE, count).await.unwrap(), "1");
    assert_eq!(pair.node("primary").sql(DATABASE, count).await.unwrap(), "0");
}
