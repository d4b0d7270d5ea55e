use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{record::*, *};
use crate::{
    names::{ClusterName, DatabaseName, EndpointName, ListenerName, UserName},
    telemetry::Metrics,
    topology::{DeclaredRole, Endpoint},
};

mod full;
mod records;
#[expect(unreachable_pub, reason = "the integration tests use it too")]
mod schema;
mod volume;

struct Scene {
    folder: tempfile::TempDir,
    metrics: Metrics,
    settings: AuditSettings,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = AuditSettings {
            output: AuditOutput::File(folder.path().join("audit.jsonl")),
            level: AuditLevel::Statements,
            statements: StatementText::Normalized,
            on_full: OnFull::Block,
            queue: 1024,
            block_timeout: Duration::from_secs(30),
            rotate_bytes: None,
            max_text: 8 << 10,
            sync: SyncPolicy::Never,
            hash_chain: false,
        };
        Self { folder, metrics: Metrics::new(), settings }
    }

    fn open(&self) -> Audit {
        Audit::open(self.settings.clone(), self.metrics.audit()).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// Every line of every file, in order of `seq`.
    fn lines(&self) -> Vec<Value> {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut lines: Vec<Value> = files.flat_map(|path| read(&path)).collect();
        lines.sort_by_key(|line| line["seq"].as_u64());
        lines
    }

    fn counted(&self, metric: &str) -> u64 {
        let page = self.metrics.render();
        let line =
            page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ').map(str::to_owned));
        line.expect("the series exists").parse().expect("a whole number")
    }

    /// Makes writes fail (`/dev/full`) until [`Scene::free_the_disk`].
    async fn fill_the_disk(&self, audit: &Audit) {
        until(|| self.counted("gatekeeper_audit_queue_records") == 0).await;
        std::fs::rename(self.path(), self.folder.path().join("before")).unwrap();
        std::os::unix::fs::symlink("/dev/full", self.path()).unwrap();
        let errors = || self.counted("gatekeeper_audit_write_errors_total");
        let before = errors();
        audit.reopen().await.unwrap();
        until(|| errors() > before).await;
    }

    async fn free_the_disk(&self, audit: &Audit) {
        std::fs::remove_file(self.path()).unwrap();
        audit.reopen().await.unwrap();
    }
}

async fn until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it did not come about in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line in {}", path.display());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn actions(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event.action"].as_str().unwrap()).collect()
}

fn assert_gap_free(lines: &[Value]) {
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<_>>());
    let boots: BTreeSet<_> = lines.iter().map(|line| line["boot_id"].as_str().unwrap()).collect();
    assert_eq!(boots.len(), 1);
}

fn session() -> Arc<Session> {
    Arc::new(Session {
        id: 7,
        listener: ListenerName::new("app").unwrap(),
        client: Some("[::1]:4711".parse().unwrap()),
        tls: Some("1.3"),
        user: Some(UserName::new("alice").unwrap()),
        database_user: Some(UserName::new("alice@example.com").unwrap()),
        database: Some(DatabaseName::new("orders \"x\"").unwrap()),
        method: Some("scram"),
        application: Some("psql".into()),
    })
}

fn opened() -> Record {
    Record::SessionOpened(Arc::new(Session {
        user: None,
        database_user: None,
        database: None,
        method: None,
        tls: None,
        application: None,
        client: None,
        ..(*session()).clone()
    }))
}

fn endpoint() -> Arc<Endpoint> {
    Arc::new(Endpoint {
        name: EndpointName::new("reads").unwrap(),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role: DeclaredRole::ReadPool,
        address: "10.0.0.1".parse().unwrap(),
    })
}

fn server() -> ServerRecord {
    ServerRecord { endpoint: endpoint(), backend_pid: Some(4242) }
}

fn statement(audit: &Audit, text: &str, sqlstate: Option<&str>) -> Record {
    Record::StatementExecuted(Box::new(StatementRecord {
        session: session(),
        server: server(),
        route: Some(Route { decision: "read-pool", reason: "listener" }),
        text: audit.text(text.as_bytes(), false),
        operation: Some("SELECT".into()),
        duration: Duration::from_nanos(1_234_567),
        sqlstate: sqlstate.and_then(Sqlstate::new),
        rows: Some(3),
    }))
}

fn changed_settings() -> Vec<ChangedSetting> {
    let (key, to) = ("listener.app.max_clients".into(), Some("200".into()));
    let limit = ChangedSetting { key, from: Some("100".into()), to, needs_restart: false };
    let format =
        ChangedSetting { key: "log.format".into(), from: None, to: Some("json".into()), needs_restart: true };
    vec![limit, format]
}

fn one_of_each(audit: &Audit) -> Vec<Record> {
    let mint = |error: Option<&str>| {
        Box::new(Mint {
            endpoint: endpoint(),
            user: Some(UserName::new("alice@example.com").unwrap()),
            duration: Duration::from_millis(80),
            error: error.map(Into::into),
        })
    };
    let backend = |reason, session| {
        let user = UserName::new("alice@example.com").unwrap();
        Box::new(BackendRecord {
            server: server(),
            session,
            user,
            duration: Duration::from_millis(9),
            reason,
        })
    };
    vec![
        opened(),
        Record::SessionRejected(Box::new(SessionRejected {
            session: session(),
            reason: "max_clients",
            sqlstate: Sqlstate::new("53300"),
        })),
        Record::SessionAuthenticated(session()),
        statement(audit, "SELECT 'x' /* why */", None),
        statement(audit, "SELECT 1/0", Some("22012")),
        statement(audit, "SELECT 'unterminated", Some("42601")),
        Record::StatementRefused(Box::new(RefusedStatement {
            session: session(),
            endpoint: Some(endpoint()),
            reason: "pool_timeout",
            sqlstate: Sqlstate::new("53300"),
        })),
        Record::StatementCancelled(Box::new(Cancelled {
            session: session(),
            server: Some(server()),
            delivered: true,
            client: Some("127.0.0.1:1".parse().unwrap()),
        })),
        Record::SessionClosed(Box::new(SessionClosed {
            session: session(),
            reason: Some("client"),
            duration: Duration::from_secs(3),
            statements: 2,
            traffic: (100, 2000),
        })),
        Record::SessionPinned(Box::new(Pinned { session: session(), server: server(), reason: "listen" })),
        Record::CommitResolved(Box::new(CommitResolved {
            session: session(),
            server: server(),
            outcome: "committed",
            xid: 4_294_967_300,
        })),
        Record::BackendOpened(backend(None, None)),
        Record::BackendClosed(backend(Some("session_end"), Some(session()))),
        Record::TopologyChanged(Box::new(TopologyChange {
            endpoint: Some(endpoint()),
            what: "health",
            from: Some("up".into()),
            to: Some("down".into()),
        })),
        Record::FailoverBegan(Box::new(FailoverRecord {
            endpoint: Some(endpoint()),
            duration: None,
            rolled_back: 1,
            unknown: 0,
            committed: 0,
            not_started: 0,
            reads_interrupted: 0,
            sessions_lost: 0,
        })),
        Record::FailoverEnded(Box::new(FailoverRecord {
            endpoint: None,
            duration: Some(Duration::from_secs(4)),
            rolled_back: 2,
            unknown: 1,
            committed: 3,
            not_started: 5,
            reads_interrupted: 4,
            sessions_lost: 1,
        })),
        Record::TokenMinted(mint(None)),
        Record::TokenFailed(mint(Some("exit status 1: no credentials"))),
        Record::ConfigReloaded(Box::new(Reload {
            trigger: "signal",
            error: None,
            settings: changed_settings(),
        })),
        Record::ConfigReloaded(Box::new(Reload {
            trigger: "admin",
            error: Some("two mistakes".into()),
            settings: Vec::new(),
        })),
        Record::AdminRequest(Box::new(AdminRequest {
            client: Some("127.0.0.1:9".parse().unwrap()),
            authenticated: false,
            method: "POST".into(),
            path: "/v1/reload".into(),
            status: 401,
        })),
        Record::ConsoleCommand(Box::new(ConsoleCommand {
            session: session(),
            command: "PAUSE orders".into(),
            sqlstate: Sqlstate::new("42501"),
        })),
        Record::WriterMoved(Box::new(WriterMove {
            phase: "failed",
            from: Some(EndpointName::new("primary").unwrap()),
            to: EndpointName::new("dr").unwrap(),
            through: "console",
            client: Some("127.0.0.1:9".parse().unwrap()),
            user: Some(UserName::new("alice").unwrap()),
            error: Some("the move was canceled".into()),
        })),
    ]
}
