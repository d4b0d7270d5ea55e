//! The console: access, responses over both protocols, and the effects of commands.

use std::{fs, path::Path, time::Duration};

use gatekeeper::testing::sandbox::{ALICE, DATABASE, SandboxOptions, Single};
use rustix::process::Signal;
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::harness::{
    Gatekeeper, Stand,
    audit::audited,
    connect,
    pki::Pki,
    psql, refused,
    stand::{config, token_login},
    until,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Listeners of these tests trust all clients: the console has a list of its own.
const TRUST: &str = "auth = { method = \"trust\" }";
const CONSOLE: &str =
    "[console]\nadmin_users = [\"root\"]\nstats_users = [\"exporter\"]\ninsecure_trust = true\n";

/// A listener with the console, in front of one server.
async fn stand(rest: &str) -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = config(&server, &token_login(&server), TRUST, &format!("{CONSOLE}\n{rest}"));
    Stand::start(server, &config).await
}

/// `psql` as `user`; returns rows and standard error.
async fn ask(stand: &Stand, user: &str, text: &str) -> (String, String) {
    let (host, port) = (stand.listener.ip(), stand.listener.port());
    let connection = format!("host={host} port={port} user={user} dbname=gatekeeper sslmode=disable");
    let psql = psql(&connection, text).await;
    (psql.rows, psql.stderr)
}

/// The rows of a table, by column.
async fn table(client: &Client, text: &str) -> Vec<Vec<(String, Option<String>)>> {
    let messages = client.simple_query(text).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        let names = row.columns().iter().map(|column| column.name().to_owned());
        names.enumerate().map(|(at, name)| (name, row.get(at).map(str::to_owned))).collect()
    })
    .collect()
}

fn value<'a>(row: &'a [(String, Option<String>)], column: &str) -> &'a str {
    let found = row.iter().find(|(name, _)| name == column);
    found.and_then(|(_, value)| value.as_deref()).unwrap_or_else(|| panic!("no {column} in {row:?}"))
}

#[tokio::test]
async fn a_trust_listener_has_no_console_unless_configured() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let console = CONSOLE.replace("insecure_trust = true", "");
    let config = config(&server, &token_login(&server), TRUST, &console);
    let stand = Stand::start(server, &config).await;
    let (rows, reply) = ask(&stand, "root", "SHOW VERSION").await;
    assert_eq!(rows, "");
    assert!(reply.contains("asks its clients for no proof") && reply.contains("insecure_trust"), "{reply}");
    stand.gatekeeper.wait_for_log("the console is unreachable").await;
}

#[tokio::test]
async fn psql_gets_results_and_errors_for_forbidden_commands() {
    let stand = stand("").await;
    assert_eq!(
        ask(&stand, "root", "show Version; -- which").await.0,
        concat!("Gatekeeper ", env!("CARGO_PKG_VERSION"))
    );
    let (_, help) = ask(&stand, "exporter", "SHOW HELP").await;
    assert!(
        help.contains("NOTICE:  Console usage") && help.contains("SHOW ACTIVE_SOCKETS|CLIENTS|"),
        "{help}"
    );
    let (_, reply) = ask(&stand, "root", "SELECT 1").await;
    assert!(
        reply.contains("\"SELECT\" is not a console command") && reply.contains("HINT:  SHOW HELP"),
        "{reply}"
    );
    let (_, reply) = ask(&stand, "exporter", "RELOAD").await;
    assert!(reply.contains("permission denied for RELOAD"), "{reply}");
    let (_, reply) = ask(&stand, ALICE, "SHOW VERSION").await;
    assert!(
        reply.contains("may not use the console") && reply.contains("admin_users or stats_users"),
        "{reply}"
    );
    let series = "gatekeeper_admin_requests_total{outcome=\"denied\"}";
    assert_eq!(stand.gatekeeper.metric(series).await, Some(1.0));
}

#[tokio::test]
async fn without_listed_users_gatekeeper_is_an_ordinary_database_name() {
    let stand = Stand::tokens().await;
    let refused = refused(stand.connect(&format!("user={ALICE} dbname=gatekeeper")).await);
    assert_eq!(refused.sqlstate, "3D000", "{refused:?}");
}

#[tokio::test]
async fn a_passthrough_listener_has_no_console() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = config(&server, "login = \"passthrough\"", "auth = { method = \"passthrough\" }", CONSOLE);
    let stand = Stand::start(server, &config).await;
    let refused = refused(stand.connect("user=root dbname=gatekeeper").await);
    assert_eq!(refused.sqlstate, "28000", "{refused:?}");
}

#[tokio::test]
async fn sessions_are_shown_and_killed() {
    let stand = stand("").await;
    let parameters = format!("user={ALICE} dbname={DATABASE} application_name=billing");
    let client = stand.connect(&parameters).await.unwrap();
    let console = stand.connect("user=root dbname=gatekeeper application_name=ops").await.unwrap();
    let clients = table(&console, "SHOW CLIENTS").await;
    let [visitor, session] = clients.as_slice() else { panic!("{clients:?}") };
    for (row, user, database, application) in
        [(visitor, "root", "gatekeeper", "ops"), (session, ALICE, DATABASE, "billing")]
    {
        assert_eq!(value(row, "type"), "C");
        assert_eq!(value(row, "user"), user);
        assert_eq!(value(row, "database"), database);
        assert_eq!(value(row, "application_name"), application);
        assert_eq!(value(row, "local_port"), stand.listener.port().to_string());
        assert_eq!(value(row, "listener"), "app");
    }
    console.simple_query(&format!("KILL {}", value(session, "id"))).await.unwrap();
    until(PATIENCE, async || if client.is_closed() { Ok(()) } else { Err("the session lives") }).await;
    let error = console.simple_query("KILL 999999").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704");
}

#[tokio::test]
async fn drivers_may_prepare_and_request_binary_results() {
    let stand = stand("").await;
    let console = stand.connect("user=exporter dbname=gatekeeper").await.unwrap();
    let statement = console.prepare("SHOW ENDPOINTS").await.unwrap();
    assert_eq!(statement.columns()[0].name(), "name");
    let row = console.query_one(&statement, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>("name"), row.get::<_, &str>("declared_role")), ("primary", "primary"));
    assert_eq!(row.get::<_, i32>("sessions"), 0);
    let error = console.prepare("SHOW TABLES").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42601");
    assert_eq!(console.query("SHOW VERSION", &[]).await.unwrap().len(), 1, "the conversation goes on");
}

#[tokio::test]
async fn a_reload_reports_its_changes_or_its_mistakes() {
    let stand = stand("").await;
    let file = stand.gatekeeper.config_file();
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("[\"root\"]", "[\"root\", \"eve\"]")).unwrap();
    let notice = "NOTICE:  console.admin_users: root → root, eve";
    assert_eq!(ask(&stand, "root", "RELOAD").await.1, notice);
    assert!(
        ask(&stand, "eve", "SHOW CONFIG").await.0.contains("console.admin_users|root, eve|"),
        "eve may now"
    );
    fs::write(file, text.replace("[console]", "[consoel]")).unwrap();
    let (_, reply) = ask(&stand, "eve", "RELOAD").await;
    assert!(reply.contains("nothing changed") && reply.contains("did you mean `console`?"), "{reply}");
}

#[tokio::test]
async fn the_console_ends_when_the_program_drains_and_is_audited() {
    let mut stand = stand("[audit]\nfile = \"audit.jsonl\"\n").await;
    let console = stand.connect("user=root dbname=gatekeeper").await.unwrap();
    console.simple_query("SHOW LISTS").await.unwrap();
    stand.gatekeeper.signal(Signal::TERM);
    stand.gatekeeper.ended().await;
    until(PATIENCE, async || if console.is_closed() { Ok(()) } else { Err("the console lives") }).await;
    let records = audited(&stand.server.folder().join("audit.jsonl"));
    let actions: Vec<_> = records.iter().map(|record| record.action()).collect();
    let ours = ["session.opened", "session.authenticated", "admin.command", "session.closed"];
    assert!(ours.iter().all(|ours| actions.iter().any(|action| action == ours)), "{actions:?}");
    let command = records.iter().find(|record| record.action() == "admin.command").unwrap();
    assert_eq!(
        (command.text("admin.command"), command.text("user.name")),
        ("SHOW LISTS".into(), "root".into())
    );
}

#[tokio::test]
async fn every_table_can_be_shown() {
    let stand = stand("").await;
    let _client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    let console = stand.connect("user=exporter dbname=gatekeeper").await.unwrap();
    for name in [
        "ACTIVE_SOCKETS",
        "CLIENTS",
        "CONFIG",
        "DATABASES",
        "ENDPOINTS",
        "LISTS",
        "POOLS",
        "SERVERS",
        "SOCKETS",
        "STATE",
        "STATS",
        "STATS_AVERAGES",
        "STATS_TOTALS",
        "TOTALS",
        "USERS",
        "VERSION",
    ] {
        assert!(!table(&console, &format!("SHOW {name}")).await.is_empty(), "{name}");
    }
    assert!(table(&console, "SHOW PINS").await.is_empty());
    let pools = table(&console, "SHOW POOLS").await;
    let place = format!("{DATABASE}@primary");
    let pool =
        pools.iter().find(|row| value(row, "database") == place).unwrap_or_else(|| panic!("{pools:?}"));
    assert_eq!((value(pool, "user"), value(pool, "cl_active"), value(pool, "sv_active")), (ALICE, "1", "1"));
    assert_eq!((value(pool, "pool_mode"), value(pool, "listener")), ("session", "app"));
    let databases = table(&console, "SHOW DATABASES").await;
    let database = databases.iter().find(|row| value(row, "name") == place).unwrap();
    assert_eq!(value(database, "host"), stand.server.address().ip().to_string());
    assert_eq!((value(database, "database"), value(database, "current_connections")), (DATABASE, "1"));
    let lists = table(&console, "SHOW LISTS").await;
    let count =
        |name| value(lists.iter().find(|row| value(row, "list") == name).unwrap(), "items").to_owned();
    assert_eq!(
        (count("used_clients"), count("login_clients"), count("used_servers")),
        ("2".into(), "0".into(), "1".into())
    );
}

#[tokio::test]
async fn statistics_count_queries() {
    let stand = stand("").await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    for _ in 0..3 {
        client.simple_query("SELECT pg_sleep(0.01)").await.unwrap();
    }
    let console = stand.connect("user=exporter dbname=gatekeeper").await.unwrap();
    let rows = until(PATIENCE, async || {
        let rows = table(&console, "SHOW STATS").await;
        let counted = rows.first().is_some_and(|row| value(row, "total_query_count") == "3");
        if counted { Ok(rows) } else { Err(rows) }
    })
    .await;
    assert_eq!((value(&rows[0], "database"), value(&rows[0], "total_xact_count")), ("@primary", "3"));
    assert!(value(&rows[0], "total_query_time").parse::<u64>().unwrap() >= 30_000, "{rows:?}");
    assert!(value(&rows[0], "total_received").parse::<u64>().unwrap() > 60, "{rows:?}");
}

/// Keys of TLS with a certificate that ends in three days.
fn expiring_tls(folder: &Path, name: &str) -> String {
    let identity = Pki::new(folder, name).issue_for(name, Duration::from_secs(3 * 86_400));
    format!("tls = {{ cert = {:?}, key = {:?} }}", identity.cert, identity.key)
}

#[tokio::test]
async fn faults_are_those_of_the_verdict() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let listener = format!("{TRUST}\n{}", expiring_tls(server.folder(), "clients"));
    let config = config(&server, &token_login(&server), &listener, CONSOLE);
    let stand = Stand::start(server, &config).await;
    let console = stand.connect("user=exporter dbname=gatekeeper").await.unwrap();
    let row = until(PATIENCE, async || {
        let mut rows = table(&console, "SHOW FAULTS").await;
        if rows.len() == 1 { Ok(rows.remove(0)) } else { Err(rows) }
    })
    .await;
    let verdict = stand.gatekeeper.get("/v1/verdict").await.unwrap().body;
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    let fault = &verdict["faults"][0];
    for (column, key) in
        [("severity", "severity"), ("kind", "kind"), ("listener", "listener"), ("remedy", "remedy")]
    {
        assert_eq!(value(&row, column), fault[key], "{column}");
    }
    assert_eq!(value(&row, "kind"), "certificate_ends");
    assert!(value(&row, "fault").starts_with("The certificate of listener app ("), "{row:?}");
    // The fault began four days ago, seven days before the end.
    let seconds: u64 = value(&row, "seconds").parse().unwrap();
    assert!((345_600..346_600).contains(&seconds), "{row:?}");
    let since = fault["since"]["at"].as_str().unwrap().replace('T', " ");
    assert!(
        value(&row, "since").starts_with(&since[..19]) && value(&row, "since").ends_with(" UTC"),
        "{row:?}"
    );
    assert_eq!(row.iter().find(|(name, _)| name == "endpoint").unwrap().1, None);
}

#[tokio::test]
async fn the_admin_apis_certificate_has_faults() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let admin = format!("[admin]\n{}\n", expiring_tls(server.folder(), "operators"));
    let text = config(&server, &token_login(&server), TRUST, CONSOLE).replace("[admin]\n", &admin);
    let admin = crate::harness::stand::admin(&server);
    let gatekeeper = Gatekeeper::launch(server.folder(), &text, admin, &[]);
    gatekeeper.wait_for_log("gatekeeper is ready").await;
    let listener = crate::harness::stand::listener(&server);
    let console = connect(listener, "user=exporter dbname=gatekeeper").await.unwrap();
    let rows = until(PATIENCE, async || {
        let rows = table(&console, "SHOW FAULTS").await;
        if rows.len() == 1 { Ok(rows) } else { Err(rows) }
    })
    .await;
    assert_eq!(value(&rows[0], "kind"), "certificate_ends");
    assert!(value(&rows[0], "fault").starts_with("The certificate of the admin API ("), "{rows:?}");
    gatekeeper.wait_for_log("The certificate of the admin API (").await;
    // The test knows no CA of the operators.
    let mut curl = tokio::process::Command::new("curl");
    let page = curl.args(["-sk", &format!("https://{admin}/metrics")]).output().await.unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    let metric = "gatekeeper_admin_certificate_expiry_timestamp_seconds ";
    let end = page.lines().find_map(|line| line.strip_prefix(metric)).expect("the metric");
    let left = end.parse::<f64>().unwrap() - std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((2.9..3.1).contains(&(left / 86_400.0)), "{end}");
}

#[tokio::test]
async fn databases_and_endpoints_are_paused_and_resumed() {
    let stand = stand("").await;
    assert_eq!(
        ask(&stand, "root", &format!("PAUSE {DATABASE}@primary")).await.1,
        format!("NOTICE:  {DATABASE}@primary has no pools now")
    );
    assert_eq!(ask(&stand, "root", "RESUME").await.1, "");
    let (_, reply) = ask(&stand, "root", "PAUSE @nowhere").await;
    assert!(reply.contains("endpoint \"nowhere\" does not exist"), "{reply}");
    assert_eq!(ask(&stand, "root", "RECONNECT").await.1, "");
    assert_eq!(ask(&stand, "root", "WAIT_CLOSE").await.1, "");
}

#[tokio::test]
async fn users_authenticated_by_a_server_are_admitted() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let console = "[console]\nstats_users = [\"app\"]\n";
    let config = config(&server, "login = \"passthrough\"", "auth = { method = \"password\" }", console);
    let stand = Stand::start(server, &config).await;
    let client = stand.connect("user=app password=app-password dbname=gatekeeper").await.unwrap();
    assert_eq!(table(&client, "SHOW VERSION").await.len(), 1);
    let refused = refused(stand.connect("user=app password=wrong dbname=gatekeeper").await);
    assert_eq!(refused.sqlstate, "28P01", "{refused:?}");
}

#[tokio::test]
async fn kill_ends_the_sessions_of_a_database_or_endpoint() {
    let stand = stand("").await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    let console = stand.connect("user=root dbname=gatekeeper").await.unwrap();
    console.simple_query("KILL elsewhere@primary").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    console.simple_query(&format!("KILL {DATABASE}@primary")).await.unwrap();
    until(PATIENCE, async || if client.is_closed() { Ok(()) } else { Err("the session lives") }).await;
    console.simple_query("RESUME").await.unwrap();
    stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
}

/// A listener that shares backends between transactions.
async fn shared() -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let keys = format!("{TRUST}\npool = {{ mode = \"transaction\", size = 2 }}");
    let config = config(&server, &token_login(&server), &keys, CONSOLE);
    Stand::start(server, &config).await
}

async fn backend_of(client: &Client) -> String {
    value(&table(client, "SELECT pg_backend_pid() AS pid").await[0], "pid").to_owned()
}

#[tokio::test]
async fn pause_waits_for_transactions_and_queues_all_others() {
    let stand = shared().await;
    let parameters = format!("user={ALICE} dbname={DATABASE}");
    let (busy, other) =
        (stand.connect(&parameters).await.unwrap(), stand.connect(&parameters).await.unwrap());
    let (pauser, watcher) = (
        stand.connect("user=root dbname=gatekeeper").await.unwrap(),
        stand.connect("user=exporter dbname=gatekeeper").await.unwrap(),
    );
    // A BEGIN alone takes no backend.
    busy.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let pool = async |column: &str| {
        let pools = table(&watcher, "SHOW POOLS").await;
        let pool = pools.iter().find(|row| value(row, "database") == format!("{DATABASE}@primary"));
        value(pool.unwrap_or_else(|| panic!("{pools:?}")), column).to_owned()
    };
    let seen = async |column: &str, wanted: &str| {
        until(PATIENCE, async || {
            let seen = pool(column).await;
            if seen == wanted { Ok(()) } else { Err(format!("{column} is {seen}")) }
        })
        .await;
    };
    let commit = async {
        seen("cl_waiting", "1").await;
        assert_eq!((pool("sv_active").await, pool("cl_active").await), ("1".into(), "1".into()));
        until(PATIENCE, async || {
            let clients = table(&watcher, "SHOW CLIENTS").await;
            let waits = |row: &&Vec<_>| value(row, "state") == "waiting" && value(row, "wait") != "0";
            if clients.iter().filter(waits).count() == 1 { Ok(()) } else { Err(clients) }
        })
        .await;
        busy.batch_execute("COMMIT").await.unwrap();
    };
    let operator = async {
        let (paused, ()) = tokio::join!(pauser.simple_query("PAUSE"), commit);
        paused.unwrap();
        assert_eq!(pool("cl_waiting").await, "1", "whoever waits goes on waiting");
        pauser.simple_query("RESUME").await.unwrap();
    };
    let client = async {
        seen("state", "paused").await;
        other.simple_query("SELECT 1").await.unwrap();
    };
    tokio::join!(operator, client);
}

#[tokio::test]
async fn sigusr2_resumes_paused_pools() {
    let stand = shared().await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let pauser = stand.connect("user=root dbname=gatekeeper").await.unwrap();
    pauser.simple_query("PAUSE").await.unwrap();
    let states = async || {
        let pools = table(&pauser, "SHOW POOLS").await;
        pools.iter().map(|row| value(row, "state").to_owned()).collect::<Vec<_>>()
    };
    assert!(states().await.contains(&"paused".to_owned()));
    stand.gatekeeper.signal(Signal::USR2);
    client.simple_query("SELECT 1").await.unwrap();
    assert!(!states().await.contains(&"paused".to_owned()));
}

#[tokio::test]
async fn a_canceled_pause_has_no_effect() {
    let stand = shared().await;
    let parameters = format!("user={ALICE} dbname={DATABASE}");
    let (busy, other) =
        (stand.connect(&parameters).await.unwrap(), stand.connect(&parameters).await.unwrap());
    // A BEGIN alone takes no backend.
    busy.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let pauser = stand.connect("user=root dbname=gatekeeper").await.unwrap();
    let token = pauser.cancel_token();
    let cancel = async {
        until(PATIENCE, async || {
            let pools = stand.gatekeeper.get("/v1/pools").await.unwrap().body;
            if pools.contains("\"paused\"") { Ok(()) } else { Err(pools) }
        })
        .await;
        let stream = tokio::net::TcpStream::connect(stand.listener).await.unwrap();
        token.cancel_query_raw(stream, tokio_postgres::NoTls).await.unwrap();
    };
    let (paused, ()) = tokio::join!(pauser.simple_query("PAUSE"), cancel);
    assert_eq!(paused.unwrap_err().code().unwrap().code(), "57014");
    other.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn backends_and_pins_are_shown_and_backends_renewed() {
    let stand = shared().await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    let before = backend_of(&client).await;
    let console = stand.connect("user=root dbname=gatekeeper").await.unwrap();
    let servers = table(&console, "SHOW SERVERS").await;
    let [server] = servers.as_slice() else { panic!("{servers:?}") };
    assert_eq!((value(server, "state"), value(server, "remote_pid")), ("idle", before.as_str()));
    assert_eq!((value(server, "tls"), value(server, "database")), ("TLSv1.3", DATABASE));
    console.simple_query("RECONNECT @primary").await.unwrap();
    let after = backend_of(&client).await;
    assert_ne!(before, after);

    client.batch_execute("LISTEN news").await.unwrap();
    // The state check runs after the client's response.
    let pins = async |count: usize| {
        until(PATIENCE, async || {
            let pins = table(&console, "SHOW PINS").await;
            if pins.len() == count { Ok(pins) } else { Err(pins) }
        })
        .await
    };
    let pin = &pins(1).await[0];
    assert_eq!(
        (value(pin, "pin"), value(pin, "remote_pid"), value(pin, "user")),
        ("listen", after.as_str(), ALICE)
    );
    let sessions = stand.gatekeeper.get("/v1/sessions").await.unwrap().body;
    assert!(sessions.contains("\"pins\":[\"listen\"]"), "{sessions}");
    client.batch_execute("UNLISTEN *").await.unwrap();
    pins(0).await;
}
