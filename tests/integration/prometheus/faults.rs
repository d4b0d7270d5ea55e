//! Induced faults, and the time until the status page, an alert of a real Prometheus, and the log tell the fault: `make faults`
//! prints the table in `grafana/README.md`.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
};

use gatekeeper::testing::sandbox::{ALICE_AT_LISTENERS, Sandbox, SandboxOptions, Stop};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};
use tokio_postgres::Client;

use super::load::{Load, address, alice, quiet_load};
use crate::harness::{
    Gatekeeper, connect,
    grafana::{self, tool},
    pki::Pki,
    prometheus::Prometheus,
    until,
};

/// A fault, with the words for it on the page, in the alerts and in the log.
struct Fault {
    name: &'static str,
    /// Kind in the verdict of the status page.
    kind: &'static str,
    /// The alert, pending or firing.
    alert: &'static str,
    /// A part of a line of the log.
    log: &'static str,
}

/// Seconds until the fault was told.
struct Told {
    page: Option<f64>,
    alert: Option<f64>,
    log: Option<f64>,
}

/// The sandbox with Gatekeeper, clients and Prometheus.
struct Scene {
    // Fields in the order of their end.
    _load: Load,
    prometheus: Prometheus,
    gatekeeper: Gatekeeper,
    sandbox: Sandbox,
    pki: Pki,
}

type Action<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Longest wait for a fault to be told, and to be mended.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(200);
/// Certificate of the listener for clients.
const CERTIFICATE: &str = "gatekeeper";
const READS: [&str; 2] = ["reads-1", "reads-2"];

const PRIMARY_CRASHED: Fault = down("primary crashed", "endpoint `primary` is down");
const PRIMARY_FROZEN: Fault = down("primary frozen", "endpoint `primary` is down");
const READS_CRASHED: Fault = down("read pool crashed", "endpoint `reads` is down");
const READS_FROZEN: Fault = down("read pool frozen", "endpoint `reads` is down");

const fn down(name: &'static str, log: &'static str) -> Fault {
    Fault { name, kind: "endpoint_down", alert: "GatekeeperEndpointDown", log }
}

impl Scene {
    /// `None`: there is no Prometheus.
    async fn open() -> Option<Self> {
        tool("prometheus")?;
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let pki = Pki::new(sandbox.folder(), "clients");
        let identity = pki.issue(CERTIFICATE);
        let listener = format!(
            "[[listener]]\ntls = {{ cert = {:?}, key = {:?} }}\n\
             pool = {{ mode = \"transaction\", size = 4, query_wait_timeout = \"5s\" }}\n",
            identity.cert, identity.key
        );
        let config = sandbox.config_toml().unwrap().replace("[[listener]]\n", &listener);
        let config = config.replace("token_command = [", "token_ttl = \"20s\", token_command = [");
        let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, sandbox.admin_address()).await;
        let table = "CREATE TABLE load (id int); GRANT ALL ON load TO PUBLIC";
        sandbox.node("primary").sql("app", table).await.unwrap();
        let ip = (sandbox.block().ip(101), 9090).into();
        let rules = grafana::file("alerts/rules.yml");
        let prometheus = Prometheus::start(sandbox.folder(), ip, sandbox.admin_address(), &rules).await?;
        let load = quiet_load(&sandbox);
        let scene = Self { _load: load, prometheus, gatekeeper, sandbox, pki };
        scene.prometheus.sees("sum(gatekeeper_endpoint_health{state=\"up\"}) == 4").await;
        scene.rests().await;
        Some(scene)
    }

    fn app(&self) -> SocketAddr {
        address(&self.sandbox, "app")
    }

    /// Kinds of the faults on the page.
    async fn page(&self) -> Vec<String> {
        let body = self.gatekeeper.get("/v1/verdict").await.unwrap().body;
        let body: Value = serde_json::from_str(&body).unwrap();
        let kinds = body["faults"].as_array().unwrap().iter();
        kinds.map(|fault| fault["kind"].as_str().unwrap().to_owned()).collect()
    }

    async fn is_alerted(&self, alert: &str) -> bool {
        let alerts = self.prometheus.ask("alerts", &[]).await.unwrap();
        alerts["alerts"].as_array().unwrap().iter().any(|it| it["labels"]["alertname"] == alert)
    }

    /// Waits until the page shows no fault.
    async fn rests(&self) {
        until(PATIENCE, async || {
            let page = self.page().await;
            if page.is_empty() { Ok(()) } else { Err(page) }
        })
        .await;
    }

    /// Induces a fault, waits until all have told the fault, and mends the cause.
    async fn induce(&self, fault: &Fault, strike: Action<'_>, mend: Action<'_>) -> String {
        let told = self.strike(fault, strike).await;
        mend.await;
        self.rests().await;
        told.row(fault)
    }

    /// Induces a fault, and waits until all have told the fault. The alert must be gone before.
    async fn strike(&self, fault: &Fault, strike: Action<'_>) -> Told {
        until(PATIENCE, async || if self.is_alerted(fault.alert).await { Err(fault.alert) } else { Ok(()) })
            .await;
        let (before, began) = (self.gatekeeper.stderr().len(), Instant::now());
        strike.await;
        let mut told = Told { page: None, alert: None, log: None };
        while !told.is_complete() && began.elapsed() < PATIENCE {
            let seconds = || Some(began.elapsed().as_secs_f64());
            if told.page.is_none() && self.page().await.iter().any(|kind| kind == fault.kind) {
                told.page = seconds();
            }
            if told.alert.is_none() && self.is_alerted(fault.alert).await {
                told.alert = seconds();
            }
            if told.log.is_none() && self.gatekeeper.stderr()[before..].contains(fault.log) {
                told.log = seconds();
            }
            sleep(LOOK).await;
        }
        eprintln!("{}", told.row(fault));
        assert!(told.is_complete(), "not told: {}", told.row(fault));
        told
    }

    async fn each_read_node(&self, sql: &str) {
        for name in READS {
            for statement in sql.split("; ") {
                self.sandbox.node(name).sql("postgres", statement).await.unwrap();
            }
        }
    }

    /// Faults of servers.
    async fn induce_lost_servers(&self, rows: &mut Vec<String>) {
        let nodes = |names: &'static [&'static str]| names.iter().map(|name| self.sandbox.node(name));
        for (crash, freeze, names) in [
            (&PRIMARY_CRASHED, &PRIMARY_FROZEN, &["primary"][..]),
            (&READS_CRASHED, &READS_FROZEN, &READS[..]),
        ] {
            let strike = async {
                for node in nodes(names) {
                    node.stop(Stop::Immediate).await.unwrap();
                }
            };
            let mend = async {
                for node in nodes(names) {
                    node.start().await.unwrap();
                }
            };
            rows.push(self.induce(crash, Box::pin(strike), Box::pin(mend)).await);
            let strike = async { nodes(names).for_each(|node| node.freeze()) };
            let mend = async { nodes(names).for_each(|node| node.thaw()) };
            rows.push(self.induce(freeze, Box::pin(strike), Box::pin(mend)).await);
        }
    }

    /// Faults of WAL replay.
    async fn induce_lag(&self, rows: &mut Vec<String>) {
        let fault = Fault {
            name: "read pool lagging",
            kind: "replication_lag",
            alert: "GatekeeperReadPoolLagging",
            log: "behind its writer",
        };
        let delay = |time: &str| {
            format!("ALTER SYSTEM SET recovery_min_apply_delay = '{time}'; SELECT pg_reload_conf()")
        };
        let (strike, mend) = (delay("25s"), delay("0"));
        let told =
            self.induce(&fault, Box::pin(self.each_read_node(&strike)), Box::pin(self.each_read_node(&mend)));
        rows.push(told.await);
        let fault = Fault {
            name: "read pool stuck",
            kind: "replay_stopped",
            alert: "GatekeeperReplayStopped",
            log: "replay of endpoint `reads`",
        };
        let told = self.induce(
            &fault,
            Box::pin(self.each_read_node("SELECT pg_wal_replay_pause()")),
            Box::pin(self.each_read_node("SELECT pg_wal_replay_resume()")),
        );
        rows.push(told.await);
    }

    async fn open_transaction(&self) -> Client {
        let client = alice(self.app()).await.unwrap();
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        client
    }

    /// Faults of clients.
    async fn induce_client_faults(&self, rows: &mut Vec<String>) {
        let held = tokio::sync::Mutex::new(Vec::new());
        let release = async || held.lock().await.clear();
        let fault = Fault {
            name: "pool exhausted",
            kind: "pool_waits",
            alert: "GatekeeperPoolSaturated",
            log: "statement refused",
        };
        let strike = async {
            for _ in 0..4 {
                held.lock().await.push(self.open_transaction().await);
            }
        };
        let told = self.induce(&fault, Box::pin(strike), Box::pin(release()));
        rows.push(told.await);
        let fault = Fault {
            name: "stuck transaction",
            kind: "stuck_transaction",
            alert: "GatekeeperTransactionStuck",
            log: "1 transaction stuck",
        };
        let strike = async { held.lock().await.push(self.open_transaction().await) };
        let told = self.induce(&fault, Box::pin(strike), Box::pin(release()));
        rows.push(told.await);
        let storm = tokio::sync::Mutex::new(JoinSet::new());
        let fault = Fault {
            name: "wrong password storm",
            kind: "clients_refused",
            alert: "GatekeeperLoginsFail",
            log: "client rejected",
        };
        let app = self.app();
        let strike = async {
            for _ in 0..5 {
                storm.lock().await.spawn(fail_to_log_in(app));
            }
        };
        let calm = async { storm.lock().await.abort_all() };
        let told = self.induce(&fault, Box::pin(strike), Box::pin(calm));
        rows.push(told.await);
    }

    /// Faults of credentials.
    async fn induce_credential_faults(&self, rows: &mut Vec<String>) {
        let fault = Fault {
            name: "token command failing",
            kind: "token_not_renewed",
            alert: "GatekeeperTokenNotRenewed",
            log: "token",
        };
        let strike = async { self.sandbox.tokens().fail("no access").unwrap() };
        let mend = async { self.sandbox.tokens().heal().unwrap() };
        rows.push(self.induce(&fault, Box::pin(strike), Box::pin(mend)).await);
        let fault = Fault {
            name: "certificate soon over",
            kind: "certificate_ends",
            alert: "GatekeeperCertificateExpiring",
            log: "ends in",
        };
        let days = Duration::from_secs(3 * 86_400);
        let strike = async { drop(self.pki.issue_for(CERTIFICATE, days)) };
        let mend = async { drop(self.pki.issue(CERTIFICATE)) };
        rows.push(self.induce(&fault, Box::pin(strike), Box::pin(mend)).await);
    }
}

// === impl Told ===

impl Told {
    const fn is_complete(&self) -> bool {
        self.page.is_some() && self.alert.is_some() && self.log.is_some()
    }

    /// A row of the table.
    fn row(&self, fault: &Fault) -> String {
        let shown = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), |time| format!("{time:.0} s"));
        let (page, alert, log) = (shown(self.page), shown(self.alert), shown(self.log));
        format!("| {} | {page} | `{}` {alert} | {log} |", fault.name, fault.alert)
    }
}

/// Logs in with a wrong password, again and again.
async fn fail_to_log_in(app: SocketAddr) {
    let parameters = format!("user={} password=wrong dbname=app", ALICE_AT_LISTENERS.name);
    loop {
        assert!(connect(app, &parameters).await.is_err());
        sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand: `make faults`"]
async fn each_fault_is_told() {
    let Some(scene) = Scene::open().await else { return };
    let mut rows = Vec::new();
    scene.induce_lost_servers(&mut rows).await;
    scene.induce_lag(&mut rows).await;
    scene.induce_credential_faults(&mut rows).await;
    scene.induce_client_faults(&mut rows).await;
    let fault = Fault {
        name: "role mismatch",
        kind: "role_mismatch",
        alert: "GatekeeperRoleMismatch",
        log: "is declared secondary",
    };
    let strike = async { scene.sandbox.promote_secondary().await.unwrap() };
    // The last one: the promotion cannot be taken back.
    rows.push(scene.strike(&fault, Box::pin(strike)).await.row(&fault));
    eprintln!("| fault | page | alert pending | log |\n| --- | --- | --- | --- |\n{}", rows.join("\n"));
}
