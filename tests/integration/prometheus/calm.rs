//! Usual load with the operations of a usual day: no alert fires, and the verdict stays clean. `make calm` prints the table
//! in `grafana/README.md`.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use gatekeeper::testing::sandbox::{ALICE_AT_LISTENERS, Sandbox, SandboxOptions};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::{sleep, sleep_until};

use super::{
    load::{ACCOUNTS, Load, address, usual_load},
    watch::Watch,
};
use crate::harness::{
    Gatekeeper, Successor, connect,
    grafana::{self, tool},
    pki::Pki,
    prometheus::Prometheus,
    run_command, until,
};

/// The sandbox with Gatekeeper, clients and Prometheus.
struct Scene {
    // Fields in the order of their end.
    _load: Load,
    prometheus: Prometheus,
    gatekeeper: Gatekeeper,
    successor: RefCell<Option<Successor>>,
    sandbox: Sandbox,
    clients: Pki,
}

/// An operation of a usual day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Reload,
    ReloadWithChange,
    RotateServers,
    RotateListeners,
    ReopenLog,
    Pause,
    Restart,
}

use Operation::{Pause, ReloadWithChange, ReopenLog, Restart, RotateListeners, RotateServers};

/// Operations in their order, at equal intervals.
const PLAN: [Operation; 17] = [
    Operation::Reload,
    ReloadWithChange,
    RotateServers,
    RotateListeners,
    ReopenLog,
    Pause,
    ReloadWithChange,
    Restart,
    ReopenLog,
    RotateServers,
    Operation::Reload,
    ReloadWithChange,
    RotateListeners,
    ReopenLog,
    RotateServers,
    ReloadWithChange,
    RotateListeners,
];
/// Time limit of a single step.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds between two scrapes, and between two evaluations of the rules.
const SCRAPE_SECONDS: u32 = 15;
const PAUSE_TIME: Duration = Duration::from_secs(5);
/// Certificate of the listeners.
const CERTIFICATE: &str = "gatekeeper";
/// Alerts that fire and are pending at all times: proof that the watch sees them.
const SELF_CHECK: &str = "groups:\n  - name: self-check\n    rules:\n\
      \x20     - { alert: AlwaysFires, expr: vector(1), for: 30s }\n\
      \x20     - { alert: NeverFires, expr: vector(1), for: 1d }\n";
const CONSOLE: &str = "[console]\nadmin_users = [\"alice@example.com\"]\n\
    [runtime]\nhandover = \"handover.sock\"\n";
const FILES_READ: &str = "gatekeeper_file_reloads_total{outcome=\"ok\"}";
const CHANGED_SIZES: [&str; 2] = ["size = 8,", "size = 9,"];

impl Scene {
    /// `None`: there is no Prometheus.
    async fn open() -> Option<Self> {
        tool("prometheus")?;
        let options = SandboxOptions { token_ttl: Duration::from_secs(120), ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let clients = Pki::new(sandbox.folder(), "clients");
        let config = config(&sandbox, &clients);
        let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, sandbox.admin_address()).await;
        sandbox.node("primary").sql("app", ACCOUNTS).await.unwrap();
        let self_check = sandbox.folder().join("self-check.yml");
        fs::write(&self_check, SELF_CHECK).unwrap();
        let ip = (sandbox.block().ip(101), 9090).into();
        let rules = [grafana::file("alerts/rules.yml"), self_check];
        let rules = rules.each_ref().map(|rules| rules.as_path());
        let (folder, target) = (sandbox.folder(), sandbox.admin_address());
        let prometheus = Prometheus::start_with(folder, ip, target, &rules, SCRAPE_SECONDS).await?;
        let load = usual_load(&sandbox, dedicated(&sandbox));
        let successor = RefCell::default();
        let scene = Self { _load: load, prometheus, gatekeeper, successor, sandbox, clients };
        scene.prometheus.sees("sum(gatekeeper_endpoint_health{state=\"up\"}) == 4").await;
        Some(scene)
    }

    /// Runs all operations, at equal intervals during `time`.
    async fn run_plan(&self, watch: &Watch, time: Duration) {
        let (start, share) = (Instant::now(), time / u32::try_from(PLAN.len() + 1).unwrap());
        for (operation, at) in PLAN.into_iter().zip(1..) {
            sleep_until((start + at * share).into()).await;
            self.run(operation, watch).await;
        }
        sleep_until((start + time).into()).await;
    }

    async fn run(&self, operation: Operation, watch: &Watch) {
        match operation {
            Operation::Reload => {
                watch.begin("reload without a change", &[]);
                let before = self.metric("gatekeeper_config_reloads_total{outcome=\"ok\"}").await;
                self.signal(Signal::HUP);
                self.grows("gatekeeper_config_reloads_total{outcome=\"ok\"}", before).await;
            }
            ReloadWithChange => {
                watch.begin("reload with another size of a pool", &[]);
                let [old, new] = CHANGED_SIZES;
                let change = |text: String| match text.contains(old) {
                    true => text.replace(old, new),
                    false => text.replace(new, old),
                };
                self.gatekeeper.reload_with(change).await;
            }
            RotateServers => {
                watch.begin("rotation of the servers' CAs and certificates", &[]);
                self.rotate_servers().await;
            }
            RotateListeners => {
                watch.begin("rotation of the listeners' certificate", &[]);
                let before = self.metric(FILES_READ).await;
                self.clients.issue(CERTIFICATE);
                self.grows(FILES_READ, before).await;
            }
            ReopenLog => {
                watch.begin("rotation of the audit log", &[]);
                let file = self.sandbox.audit_file();
                let old = file.with_extension("old");
                fs::rename(&file, &old).unwrap();
                self.signal(Signal::USR1);
                until(PATIENCE, async || if file.exists() { Ok(()) } else { Err("no file") }).await;
                fs::remove_file(old).unwrap();
            }
            Pause => {
                watch.begin("PAUSE and RESUME", &["pool_paused"]);
                self.pause().await;
            }
            Restart => {
                watch.begin("gatekeeper restart", &[]);
                self.restart().await;
            }
        }
    }

    /// Sends a signal to the process that serves.
    fn signal(&self, signal: Signal) {
        match &*self.successor.borrow() {
            Some(successor) => successor.signal(signal),
            None => self.gatekeeper.signal(signal),
        }
    }

    async fn metric(&self, series: &str) -> f64 {
        self.gatekeeper.metric(series).await.unwrap()
    }

    async fn grows(&self, series: &str, before: f64) {
        until(PATIENCE, async || match self.metric(series).await {
            now if now > before => Ok(()),
            now => Err((series, now)),
        })
        .await;
    }

    async fn rotate_servers(&self) {
        for cluster in self.sandbox.clusters() {
            let before = self.metric(FILES_READ).await;
            cluster.begin_ca_rotation().unwrap();
            self.grows(FILES_READ, before).await;
            cluster.renew_certificates().unwrap();
            let before = self.metric(FILES_READ).await;
            cluster.finish_ca_rotation().unwrap();
            self.grows(FILES_READ, before).await;
        }
    }

    /// Pauses the pools of the writer. The response comes once all sessions have returned their backends, which sessions
    /// of the dedicated listener do when they end.
    async fn pause(&self) {
        let (user, password) = (ALICE_AT_LISTENERS.name, ALICE_AT_LISTENERS.password);
        let parameters = format!("user={user} password={password} dbname=gatekeeper");
        let console = connect(address(&self.sandbox, "app"), &parameters).await.unwrap();
        console.simple_query("PAUSE app@primary").await.unwrap();
        sleep(PAUSE_TIME).await;
        console.simple_query("RESUME app@primary").await.unwrap();
    }

    async fn restart(&self) {
        let file = self.gatekeeper.config_file().to_str().unwrap();
        let done = run_command(&["restart", "--config", file], &[]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let info: Value = serde_json::from_str(&self.gatekeeper.get("/v1/info").await.unwrap().body).unwrap();
        let pid = u32::try_from(info["pid"].as_u64().unwrap()).unwrap();
        assert_ne!(pid, self.gatekeeper.pid());
        *self.successor.borrow_mut() = Some(Successor(pid));
    }

    /// Time for which each alert must be pending before the alert fires.
    async fn limits(&self) -> BTreeMap<String, Duration> {
        let rules = self.prometheus.ask("rules", &[]).await.unwrap();
        let groups = rules["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let limit = |rule: &Value| {
            let seconds = Duration::from_secs_f64(rule["duration"].as_f64().unwrap());
            (rule["name"].as_str().unwrap().to_owned(), seconds)
        };
        rules.map(limit).collect()
    }

    /// Proof that there was load of each kind until the end, also the errors.
    async fn was_loaded(&self) {
        for listener in ["app", "reads", "dr", "dr-reads", "dedicated"] {
            let rate = format!(
                "sum(rate(gatekeeper_statements_total{{listener=\"{listener}\",outcome=\"ok\"}}[1m])) > 0.5"
            );
            self.prometheus.sees(&rate).await;
        }
        for class in ["23", "57"] {
            let errors = format!("sum(gatekeeper_statement_errors_total{{sqlstate_class=\"{class}\"}}) > 0");
            self.prometheus.sees(&errors).await;
        }
        self.prometheus
            .sees("sum(rate(gatekeeper_statements_total{listener=\"app\",endpoint=\"reads\"}[1m])) > 0")
            .await;
        self.prometheus.sees("sum(gatekeeper_token_mints_total{outcome=\"ok\"}) > 4").await;
    }
}

fn dedicated(sandbox: &Sandbox) -> SocketAddr {
    (sandbox.block().ip(100), 15436).into()
}

/// The sandbox's own configuration: the listener `app` splits, and one more leads each session to the writer. Tokens are
/// renewed each minute.
fn config(sandbox: &Sandbox, clients: &Pki) -> String {
    let identity = clients.issue(CERTIFICATE);
    let tls = format!("tls = {{ cert = {:?}, key = {:?} }}", identity.cert, identity.key);
    let config = sandbox.config_toml().unwrap();
    let (clusters, listeners) = config.split_once("[[listener]]\n").unwrap();
    let clusters = clusters.replace("token_command = [", "token_ttl = \"60s\", token_command = [");
    let auth = listeners.lines().find(|line| line.starts_with("auth = ")).unwrap();
    let pool = format!("{tls}\npool = {{ {} mode = \"transaction\" }}\nroute = \"split\"", CHANGED_SIZES[0]);
    let listeners = listeners.replacen("route = \"primary\"", &pool, 1);
    let listeners = listeners.replace("[[listener]]\n", &format!("[[listener]]\n{tls}\n"));
    let bind = dedicated(sandbox);
    format!(
        "{clusters}[[listener]]\n{listeners}\n[[listener]]\nname = \"dedicated\"\nbind = \"{bind}\"\nroute = \"primary\"\n\
         {auth}\n{CONSOLE}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "by hand: `make calm`"]
async fn no_alert_fires_on_a_usual_day() {
    let seconds = env::var("CALM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3600);
    let Some(scene) = Scene::open().await else { return };
    let watch = Watch::new(scene.sandbox.admin_address());
    watch.begin("begin", &[]);
    tokio::select! {
        () = watch.run(&scene.prometheus) => {}
        () = scene.run_plan(&watch, Duration::from_secs(seconds)) => {}
    }
    eprintln!(
        "{} verdicts, {} tokens\n{}",
        watch.verdicts(),
        scene.sandbox.tokens().mint_count(),
        watch.table(&scene.limits().await)
    );
    eprintln!("explained: {:?}", watch.excused());
    assert_eq!(watch.unexplained(), [""; 0]);
    assert_eq!(watch.fired(), ["AlwaysFires"]);
    // Between two looks, too.
    let query =
        format!("count by (alertname) (count_over_time(ALERTS{{alertstate=\"firing\"}}[{}s]))", seconds + 60);
    let fired = scene.prometheus.ask("query", &[("query", &query)]).await.unwrap();
    let fired: Vec<_> =
        fired["result"].as_array().unwrap().iter().map(|series| &series["metric"]["alertname"]).collect();
    assert_eq!(fired, ["AlwaysFires"]);
    scene.was_loaded().await;
}
