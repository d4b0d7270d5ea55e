//! Token logins as seen by clients: access, the cost of a mint, and errors without a token.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatekeeper::testing::sandbox::{ALICE, SERVICE_ACCOUNT, SandboxOptions, Single};
use tokio::task::JoinSet;

use crate::harness::{Stand, connect, refused, stand::config, until};

const PATIENCE: Duration = Duration::from_secs(20);
const TRUST: &str = "auth = { method = \"trust\" }";

/// Keys of an endpoint whose tokens come from `command` for `users`; `more` are further keys of the login.
fn login(command: &[String], users: &[&str], more: &str) -> String {
    format!("login = {{ token_command = {command:?}, users = {users:?}{more} }}")
}

async fn server() -> Single {
    Single::start(SandboxOptions::default()).await.unwrap()
}

/// The users that tokens were minted for so far.
fn mints(server: &Single) -> Vec<String> {
    let mints = fs::read_to_string(server.folder().join("tokens/mints")).unwrap();
    mints.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn users_and_service_accounts_log_in_with_hidden_tokens() {
    let stand = Stand::tokens().await;
    for user in [ALICE, SERVICE_ACCOUNT] {
        let client = stand.connect(&format!("user={user} dbname=app")).await.unwrap();
        let name: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
        assert_eq!(name, user);
    }
}

#[tokio::test]
async fn fifty_logins_at_once_cost_one_mint() {
    let stand = Stand::tokens().await;
    let mut logins = JoinSet::new();
    for _ in 0..50 {
        logins.spawn(connect_alice(stand.listener));
    }
    let clients = logins.join_all().await;
    assert_eq!(clients.len(), 50);
    // The probe uses the same source: one source per endpoint.
    assert_eq!(mints(&stand.server), [ALICE]);
}

async fn connect_alice(listener: std::net::SocketAddr) -> tokio_postgres::Client {
    connect(listener, &format!("user={ALICE} dbname=app")).await.unwrap()
}

#[tokio::test]
async fn an_unlisted_user_is_rejected_without_a_token() {
    let stand = Stand::tokens().await;
    let bob = "bob@example.com";
    let client_error = refused(stand.connect(&format!("user={bob} dbname=app")).await);
    client_error.gives_nothing_away(stand.server.folder());
    assert_eq!(client_error.sqlstate, "28000");
    assert_eq!(client_error.message, format!("user \"{bob}\" may not be logged in with a token here"));
    assert!(client_error.hint.unwrap().contains("list of token users"));
    stand.gatekeeper.wait_for_log("add `bob@example.com` to the endpoint's `users`").await;
    assert!(!mints(&stand.server).contains(&bob.to_owned()), "{:?}", mints(&stand.server));
    let series = "gatekeeper_authentication_failures_total{listener=\"app\",reason=\"user_not_listed\"}";
    assert_eq!(stand.gatekeeper.metric(series).await, Some(1.0));
}

#[tokio::test]
async fn failing_missing_and_hanging_token_commands_differ() {
    let server = server().await;
    let missing = vec!["/nonexistent/mint-token".to_owned()];
    let config = config(&server, &login(&missing, &[ALICE], ""), TRUST, "");
    let stand = Stand::start(server, &config).await;
    let alice = format!("user={ALICE} dbname=app");
    let assert_rejected = async || {
        let client_error = refused(stand.connect(&alice).await);
        client_error.gives_nothing_away(stand.server.folder());
        assert_eq!(client_error.sqlstate, "08001");
        assert_eq!(client_error.message, "endpoint \"primary\" could not be logged in to: no token");
    };
    assert_rejected().await;
    stand.gatekeeper.wait_for_log("command not found: /nonexistent/mint-token").await;
    stand.gatekeeper.wait_for_log("write its full path in `token_command`").await;

    let tokens = stand.server.tokens();
    tokens.fail("ERROR: (gcloud.auth) no active account").unwrap();
    let works = login(&tokens.command_words(), &[ALICE], ", token_timeout = \"1s\"");
    let text = fs::read_to_string(stand.gatekeeper.config_file()).unwrap();
    fs::write(stand.gatekeeper.config_file(), text.replace(&login(&missing, &[ALICE], ""), &works)).unwrap();
    stand.gatekeeper.signal(rustix::process::Signal::HUP);
    stand.gatekeeper.wait_for_log("endpoint `primary` changed").await;
    // On a busy machine the command may hit its time limit before its own failure.
    until(PATIENCE, async || {
        assert_rejected().await;
        let log = stand.gatekeeper.stderr();
        let why = "exited with status 1: ERROR: (gcloud.auth) no active account";
        if log.contains(why) { Ok(()) } else { Err(log) }
    })
    .await;
    stand.gatekeeper.wait_for_log("backend token command failed: endpoint `primary` at ").await;

    tokens.hang().unwrap();
    until(PATIENCE, async || {
        assert_rejected().await;
        let log = stand.gatekeeper.stderr();
        if log.contains("not finished within 1 s") { Ok(()) } else { Err(log) }
    })
    .await;

    tokens.heal().unwrap();
    until(PATIENCE, async || stand.connect(&alice).await.map_err(|error| error.to_string())).await;
}

/// Endpoint `primary` in the admin API.
async fn primary(stand: &Stand) -> serde_json::Value {
    let body = stand.gatekeeper.get("/v1/topology").await.unwrap().body;
    let topology: serde_json::Value = serde_json::from_str(&body).unwrap();
    topology["endpoints"][0].clone()
}

#[tokio::test]
async fn no_statement_fails_during_a_token_command_outage() {
    let server = server().await;
    let listener = "auth = { method = \"trust\" }\npool = { mode = \"transaction\", size = 2 }";
    let probe = "[probe]\ninterval = \"300ms\"\n";
    let config = config(&server, &login(&server.tokens().command_words(), &[ALICE], ""), listener, probe);
    let stand = Stand::start(server, &config).await;
    // Two backends: two transactions at a time.
    let (one, two) = (connect_alice(stand.listener).await, connect_alice(stand.listener).await);
    for client in [&one, &two] {
        client.simple_query("BEGIN").await.unwrap();
        client.simple_query("SELECT 1").await.unwrap();
    }
    one.simple_query("COMMIT").await.unwrap();

    let tokens = stand.server.tokens();
    tokens.fail("ERROR: (gcloud.auth) no active account").unwrap();
    tokens.expire_all(stand.server.node()).await.unwrap();
    // The failure of a backend in a transaction makes the probe log in at once.
    let others =
        "FROM pg_stat_activity WHERE usename = 'alice@example.com' AND state = 'idle in transaction'";
    let kill = format!("SELECT count(pg_terminate_backend(pid)) {others}");
    assert_eq!(stand.server.node().sql("postgres", &kill).await.unwrap(), "1");
    assert!(two.simple_query("SELECT 1").await.is_err());
    serves_without_tokens(&stand, &one).await;
    // Without a connection the probe has but the server's greeting to go by.
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'gatekeeper probe'";
    stand.server.node().sql("postgres", kill).await.unwrap();
    let failures = stand.gatekeeper.metric(FAILED_MINTS).await.unwrap();
    until(PATIENCE, async || {
        serves_without_tokens(&stand, &one).await;
        let now = stand.gatekeeper.metric(FAILED_MINTS).await.unwrap();
        if now > failures + 3.0 { Ok(()) } else { Err(now) }
    })
    .await;

    tokens.heal().unwrap();
    until(PATIENCE, async || {
        let primary = primary(&stand).await;
        if primary["last_error"].is_null() { Ok(()) } else { Err(primary) }
    })
    .await;
    connect_alice(stand.listener).await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_program_without_tokens_and_backends_is_not_ready() {
    let server = server().await;
    server.tokens().fail("ERROR: (gcloud.auth) no active account").unwrap();
    let listener = "auth = { method = \"trust\" }\npool = { mode = \"transaction\", size = 2 }";
    let probe = "[probe]\ninterval = \"300ms\"\n";
    let config = config(&server, &login(&server.tokens().command_words(), &[ALICE], ""), listener, probe);
    let stand = Stand::start(server, &config).await;
    until(PATIENCE, async || {
        let ready = stand.gatekeeper.get("/readyz").await.unwrap();
        let says = ready.body.contains("no active account") && ready.body.contains("gatekeeper doctor");
        if ready.status == 503 && says { Ok(()) } else { Err((ready.status, ready.body)) }
    })
    .await;
    stand.server.tokens().heal().unwrap();
    until(PATIENCE, async || {
        let ready = stand.gatekeeper.get("/readyz").await.unwrap();
        if ready.status == 200 { Ok(()) } else { Err((ready.status, ready.body)) }
    })
    .await;
}

const FAILED_MINTS: &str =
    "gatekeeper_token_mints_total{endpoint=\"primary\",backend_role=\"primary\",outcome=\"error\"}";

/// Waits until the probe reports a missing token; `client` is served meanwhile.
async fn serves_without_tokens(stand: &Stand, client: &tokio_postgres::Client) {
    until(PATIENCE, async || {
        client.simple_query("SELECT 1").await.unwrap();
        let primary = primary(stand).await;
        assert_eq!(primary["health"], "up", "{primary}");
        let why = primary["last_error"].as_str().unwrap_or_default();
        if why.contains("no active account") { Ok(()) } else { Err(primary) }
    })
    .await;
    let ready = stand.gatekeeper.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.body);
}

#[tokio::test]
async fn an_expired_cached_token_serves_while_the_command_fails() {
    let server = server().await;
    let listener = "auth = { method = \"trust\" }\npool = { max_lifetime = \"1ms\" }";
    let endpoint = login(&server.tokens().command_words(), &[ALICE], ", token_ttl = \"1s\"");
    let config = config(&server, &endpoint, listener, "");
    let stand = Stand::start(server, &config).await;
    connect_alice(stand.listener).await;
    stand.server.tokens().fail("ERROR: (gcloud.auth) no active account").unwrap();
    let began = std::time::Instant::now();
    until(PATIENCE, async || {
        let failures = stand.gatekeeper.metric(FAILED_MINTS).await.unwrap();
        connect_alice(stand.listener).await.simple_query("SELECT 1").await.unwrap();
        if failures >= 2.0 && began.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err(failures) }
    })
    .await;
}

#[tokio::test]
async fn a_reload_keeps_tokens() {
    let server = server().await;
    let listener = "auth = { method = \"trust\" }\npool = { max_lifetime = \"1ms\" }";
    let endpoint = login(&server.tokens().command_words(), &[ALICE], "");
    let config = config(&server, &endpoint, listener, "");
    let stand = Stand::start(server, &config).await;
    connect_alice(stand.listener).await;
    stand.server.tokens().fail("ERROR: (gcloud.auth) no active account").unwrap();
    let file = stand.gatekeeper.config_file();
    // Another path to the same CA, and another user on the list.
    let copy = stand.server.folder().join("ca-copy.pem");
    fs::copy(stand.server.authority().ca_file(), &copy).unwrap();
    let text = fs::read_to_string(file).unwrap();
    let ca = stand.server.authority().ca_file().display().to_string();
    let text = text.replace(&ca, &copy.display().to_string());
    fs::write(file, text.replace("[\"alice@example.com\"]", "[\"alice@example.com\", \"bob@example.com\"]"))
        .unwrap();
    stand.gatekeeper.signal(rustix::process::Signal::HUP);
    stand.gatekeeper.wait_for_log("endpoint `primary` changed").await;
    connect_alice(stand.listener).await.simple_query("SELECT 1").await.unwrap();
    let minted = mints(&stand.server).len();
    connect_alice(stand.listener).await;
    assert_eq!(mints(&stand.server).len(), minted);

    // A different command prints different tokens.
    let text = fs::read_to_string(file).unwrap().replace("\"/bin/sh\"", "\"/usr/bin/env\", \"sh\"");
    fs::write(file, text).unwrap();
    stand.gatekeeper.signal(rustix::process::Signal::HUP);
    until(PATIENCE, async || match stand.connect(&format!("user={ALICE} dbname=app")).await {
        Ok(_) => Err("it has the old token"),
        Err(_) => Ok(()),
    })
    .await;
}

/// Gatekeeper before a server, three clients with continuous queries, and a token command blocked by a gate file.
struct Gated {
    stand: Stand,
    gate: std::path::PathBuf,
    over: Arc<AtomicBool>,
    /// Number of answered statements.
    answered: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

/// Two files for the same authority.
const CA_FILES: [&str; 2] = ["ca-one.pem", "ca-two.pem"];

impl Gated {
    async fn start() -> Self {
        let server = server().await;
        let folder = server.folder().to_owned();
        let gate = folder.join("gate");
        for name in CA_FILES {
            fs::copy(server.authority().ca_file(), folder.join(name)).unwrap();
        }
        let wait = format!("while [ -e '{}' ]; do sleep 0.05; done; exec \"$@\"", gate.display());
        let command = [
            vec!["/bin/sh".to_owned(), "-c".to_owned(), wait, "mint".to_owned()],
            server.tokens().command_words(),
        ];
        let endpoint = login(&command.concat(), &[ALICE], ", token_ttl = \"0\", token_timeout = \"1m\"");
        let listener = "auth = { method = \"trust\" }\npool = { mode = \"transaction\", size = 2 }";
        let text = config(&server, &endpoint, listener, "");
        let ca = server.authority().ca_file().display().to_string();
        let text = text.replace(&ca, &folder.join(CA_FILES[0]).display().to_string());
        let stand = Stand::start(server, &text).await;
        let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..3 {
            let client = connect_alice(stand.listener).await;
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    client.simple_query("SELECT 1").await.expect("no statement fails");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let gated = Self { stand, gate, over, answered, clients };
        until(PATIENCE, async || match gated.backends().await {
            both if both.len() == 2 => Ok(()),
            fewer => Err(fewer),
        })
        .await;
        gated
    }

    /// Waits for answers to statements sent after the call.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until(PATIENCE, async || {
            let since = self.answered.load(Ordering::Relaxed) - before;
            if since >= 20 { Ok(()) } else { Err((since, self.stand.gatekeeper.stderr())) }
        })
        .await;
    }

    /// Processes of the pool's backends, as listed by the server.
    async fn backends(&self) -> Vec<String> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'alice@example.com' AND datname = 'app' \
                   AND application_name <> 'gatekeeper probe' ORDER BY pid";
        let rows = self.stand.server.node().sql("postgres", sql).await.unwrap();
        rows.lines().map(str::to_owned).collect()
    }

    /// Another path to the authority, in the configuration.
    fn change_path(&self, times: usize) {
        let file = self.stand.gatekeeper.config_file();
        let (from, to) = (CA_FILES[times % 2], CA_FILES[(times + 1) % 2]);
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(from));
        fs::write(file, text.replace(from, to)).unwrap();
    }

    /// The authority, written down more or less often in both files.
    fn change_content(&self, times: usize) {
        let ca = fs::read_to_string(self.stand.server.authority().ca_file()).unwrap();
        for name in CA_FILES {
            fs::write(self.stand.server.folder().join(name), ca.repeat(2 + times % 2)).unwrap();
        }
    }

    /// Reads the configuration and all files again, and waits for the end of the reload.
    async fn reload(&self) {
        let answer = self.stand.gatekeeper.ask("POST", "/v1/reload", "", "").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Allows token minting, and waits until the backends `before` are gone and new backends serve.
    async fn opens(mut self, before: &[String]) {
        fs::remove_file(&self.gate).unwrap();
        until(PATIENCE, async || {
            let now = self.backends().await;
            let all_new = !now.is_empty() && now.iter().all(|pid| !before.contains(pid));
            if all_new { Ok(()) } else { Err((now, self.stand.gatekeeper.stderr())) }
        })
        .await;
        self.goes_on().await;
        self.over.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
    }
}

#[tokio::test]
async fn no_statement_waits_for_tokens_after_changed_authorities() {
    for changes_path in [false, true] {
        let gated = Gated::start().await;
        gated.goes_on().await;
        let before = gated.backends().await;
        fs::write(&gated.gate, "").unwrap();
        if changes_path {
            gated.change_path(0)
        } else {
            gated.change_content(0)
        }
        gated.reload().await;
        for _ in 0..5 {
            gated.goes_on().await;
            assert_eq!(gated.backends().await, before, "there are no others yet");
        }
        gated.opens(&before).await;
    }
}

#[tokio::test]
async fn fifty_reloads_under_load_stop_no_statement() {
    let gated = Gated::start().await;
    gated.goes_on().await;
    let before = gated.backends().await;
    fs::write(&gated.gate, "").unwrap();
    for times in 0..50 {
        if times % 3 > 0 {
            gated.change_content(times);
        }
        if times % 3 < 2 {
            gated.change_path(times - times / 3);
        }
        gated.reload().await;
        gated.goes_on().await;
    }
    assert_eq!(gated.backends().await, before, "there are no others yet");
    gated.opens(&before).await;
}

#[tokio::test]
async fn a_rejected_cached_token_is_replaced_within_the_login() {
    let stand = Stand::tokens().await;
    // Held open, or its backend might serve the next session, too.
    let _held = connect_alice(stand.listener).await;
    let before = mints(&stand.server).len();
    stand.server.tokens().expire_all(stand.server.node()).await.unwrap();
    connect_alice(stand.listener).await;
    assert_eq!(mints(&stand.server).len(), before + 1);
}

#[tokio::test]
async fn tokens_that_expire_under_load_fail_no_login_and_no_session() {
    let stand = Stand::tokens().await;
    let old = connect_alice(stand.listener).await;
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (over, done, listener) = (Arc::clone(&over), Arc::clone(&done), stand.listener);
        load.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let client = connect_alice(listener).await;
                client.simple_query("SELECT 1").await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until(PATIENCE, async || enough(done.load(Ordering::Relaxed), 8)).await;
    let minted = mints(&stand.server).len();
    stand.server.tokens().expire_all(stand.server.node()).await.unwrap();
    let before = done.load(Ordering::Relaxed);
    until(PATIENCE, async || enough(done.load(Ordering::Relaxed) - before, 16)).await;
    // An existing backend may serve some sessions.
    until(PATIENCE, async || enough(mints(&stand.server).len(), minted + 1)).await;
    assert_eq!(mints(&stand.server).len(), minted + 1);
    over.store(true, Ordering::Relaxed);
    // A login that failed would have panicked.
    load.join_all().await;
    old.simple_query("SELECT 1").await.unwrap();
}

fn enough(seen: usize, wanted: usize) -> Result<(), usize> {
    if seen >= wanted { Ok(()) } else { Err(seen) }
}

#[tokio::test]
async fn a_native_user_with_a_token_gets_the_servers_error() {
    let server = server().await;
    let command = server.tokens().command_words();
    let config = config(&server, &login(&command, &[ALICE, "app"], ""), TRUST, "");
    let stand = Stand::start(server, &config).await;
    let client_error = refused(stand.connect("user=app dbname=app").await);
    assert_eq!(client_error.sqlstate, "28P01");
    assert_eq!(client_error.message, "password authentication failed for user \"app\"");
    stand
        .gatekeeper
        .wait_for_log("the server asked for SCRAM-SHA-256-PLUS, which a token cannot answer")
        .await;
    stand.gatekeeper.wait_for_log("alloydb.iam_authentication=on").await;
}

#[tokio::test]
async fn no_token_is_written_or_sent_to_a_client() {
    let server = server().await;
    let minted = server.folder().join("minted");
    // Standard error repeats the token, as in a careless command.
    let script = format!(
        "token=$({}) || exit; echo \"$token\" >> {}; echo \"minted $token\" >&2; echo \"$token\"; [ ! -e {} ]",
        server.tokens().command(),
        minted.display(),
        server.folder().join("fail").display(),
    );
    let command = ["/bin/sh".to_owned(), "-c".to_owned(), script];
    let audit = server.folder().join("audit.jsonl");
    let rest = format!(
        "[log]\nlevel = \"trace\"\n\n[audit]\nfile = {audit:?}\nlevel = \"statements\"\nstatements = \"full\"\n"
    );
    let endpoint = login(&command, &[ALICE, "app"], ", token_ttl = \"0\"");
    let config = config(&server, &endpoint, TRUST, &rest);
    let stand = Stand::start(server, &config).await;
    let mut written_text = String::new();
    let alice = connect_alice(stand.listener).await;
    alice.simple_query("SELECT 1").await.unwrap();
    written_text += &format!("{:?}", refused(connect(stand.listener, "user=app dbname=app").await));
    for path in ["/metrics", "/v1/topology", "/v1/sessions"] {
        written_text += &stand.gatekeeper.get(path).await.unwrap().body;
    }
    fs::write(stand.server.folder().join("fail"), "").unwrap();
    written_text +=
        &format!("{:?}", refused(connect(stand.listener, &format!("user={ALICE} dbname=app")).await));
    stand.gatekeeper.wait_for_log("exited with status 1: minted [redacted]").await;
    drop(alice);
    let written = until(PATIENCE, async || {
        let written = fs::read_to_string(&audit).unwrap();
        let whole = ["token.minted", "token.failed", "statement.executed", "session.closed"];
        if whole.iter().all(|action| written.contains(action)) { Ok(written) } else { Err(written) }
    })
    .await;
    written_text += &written;
    written_text += &stand.gatekeeper.stderr();
    let tokens = fs::read_to_string(minted).unwrap();
    assert!(tokens.lines().count() >= 3, "{tokens}");
    for token in tokens.lines() {
        // Even a piece of the token would be too much.
        for at in (0..token.len() - 16).step_by(16) {
            let piece = &token[at..at + 16];
            assert!(!written_text.contains(piece), "{piece} in:\n{written_text}");
        }
    }
}
