//! The sandbox itself: properties used by other tests and by the demo.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use gatekeeper::testing::sandbox::{
    ALICE, APP, APP_MD5, DATABASE, NativeUser, Passage, SERVICE_ACCOUNT, Sandbox, SandboxCluster,
    SandboxEndpoint, SandboxOptions, ServerTls, Single, TokenCheck,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use crate::harness::{Psql, Stand, connect, connect_tls, psql, until};

fn target(single: &Single, user: &str, password: &str, rest: &str) -> String {
    let (address, ca) = (single.address(), single.authority().ca_file().display().to_string());
    format!(
        "host={} hostaddr={} port={} dbname={DATABASE} user={user} password={password} sslrootcert={ca} {rest}",
        single.dns_name(),
        address.ip(),
        address.port()
    )
}

const WHO: &str = "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[tokio::test]
async fn native_users_log_in_with_scram_and_md5_over_verified_tls_only() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    for NativeUser { name, password } in [APP, APP_MD5] {
        let answer = psql(&target(&single, name, password, "sslmode=verify-full"), WHO).await;
        assert_eq!(answer.rows, format!("{name}|t"), "{}", answer.stderr);
    }
    let plain = psql(&target(&single, APP.name, APP.password, "sslmode=disable"), WHO).await;
    assert!(plain.stderr.contains("no pg_hba.conf entry"), "{plain:?}");

    let parameters =
        format!("user={} password={} dbname={DATABASE} channel_binding=require", APP.name, APP.password);
    let ca = single.authority().ca_file();
    let client = connect_tls(single.address(), &parameters, ca, single.dns_name()).await.unwrap();
    let orders: i64 = client.query_one("SELECT count(*) FROM orders", &[]).await.unwrap().get(0);
    assert_eq!(orders, 1000);
}

#[tokio::test]
async fn the_certificate_carries_the_name_and_not_the_address() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    let raw = |mode: &str| {
        let named = target(&single, APP.name, APP.password, &format!("sslmode={mode}"));
        named.replace(&format!("host={}", single.dns_name()), &format!("host={}", single.address().ip()))
    };
    assert!(psql(&raw("verify-ca"), WHO).await.success);
    let refused = psql(&raw("verify-full"), WHO).await;
    assert!(refused.stderr.contains("does not match host name"), "{refused:?}");
    let foreign = single.authority().foreign_ca_file().display().to_string();
    let wrong_ca = raw("verify-ca").replace(&single.authority().ca_file().display().to_string(), &foreign);
    let refused = psql(&wrong_ca, WHO).await;
    assert!(refused.stderr.contains("certificate verify failed"), "{refused:?}");
}

#[tokio::test]
async fn a_token_opens_its_own_user_until_it_expires() {
    token_life(TokenCheck::Best).await;
}

#[tokio::test]
async fn tokens_work_without_pam_too() {
    token_life(TokenCheck::RolePassword).await;
}

async fn token_life(token_check: TokenCheck) {
    let single = Single::start(SandboxOptions { token_check, ..SandboxOptions::default() }).await.unwrap();
    let tokens = single.tokens();
    let token = tokens.mint(ALICE).await.unwrap();
    assert!((900..=2000).contains(&token.len()), "{}", token.len());
    let login = async |user: &str| psql(&target(&single, user, &token, "sslmode=verify-full"), WHO).await;
    let answer = login(ALICE).await;
    assert_eq!(answer.rows, format!("{ALICE}|t"), "{}\n{}", answer.stderr, single.node().log());
    assert!(!login(SERVICE_ACCOUNT).await.success);

    tokens.expire_all(single.node()).await.unwrap();
    let Psql { success, stderr, .. } = login(ALICE).await;
    assert!(!success && stderr.contains("authentication failed"), "{stderr}");

    tokens.fail("no such account").unwrap();
    assert!(tokens.mint(ALICE).await.unwrap_err().to_string().contains("no such account"));
    tokens.heal().unwrap();
    tokens.mint(ALICE).await.unwrap();
    assert_eq!(tokens.mint_count(), 3);
}

#[tokio::test]
async fn a_server_may_run_without_tls() {
    let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
    let single = Single::start(options).await.unwrap();
    let parameters = format!("user={} password={} dbname={DATABASE}", APP.name, APP.password);
    let client = connect(single.address(), &parameters).await.unwrap();
    let ssl: String = client.query_one("SHOW ssl", &[]).await.unwrap().get(0);
    assert_eq!(ssl, "off");
}

fn dial(cluster: &SandboxCluster, endpoint: &SandboxEndpoint, password: &str) -> String {
    let (address, ca) = (endpoint.address(), cluster.authority().ca_file().display());
    format!(
        "host={} hostaddr={} port={} dbname={DATABASE} user={ALICE} password={password} sslmode=verify-full \
         sslrootcert={ca} connect_timeout=5",
        endpoint.dns_name(),
        address.ip(),
        address.port()
    )
}

#[tokio::test]
async fn every_endpoint_takes_the_same_token_and_serves_its_role() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let token = sandbox.tokens().mint(ALICE).await.unwrap();
    let mut seen = Vec::new();
    for cluster in sandbox.clusters() {
        for endpoint in cluster.endpoints() {
            for _ in endpoint.nodes() {
                let sql = "SELECT current_setting('cluster_name'), pg_is_in_recovery()";
                let answer = psql(&dial(cluster, endpoint, &token), sql).await;
                assert!(answer.success, "{}: {}", endpoint.name(), answer.stderr);
                seen.push(format!("{}: {}", endpoint.name(), answer.rows));
            }
        }
    }
    seen.sort();
    let roles =
        ["dr-reads: dr-reads-1|t", "dr: dr|t", "primary: primary|f", "reads: reads-1|t", "reads: reads-2|t"];
    assert_eq!(seen, roles, "a read pool spreads its connections over its nodes");

    // A write on the primary reaches the last node of the other cluster.
    let primary = sandbox.node("primary");
    primary.sql(DATABASE, "INSERT INTO customers (name, country) VALUES ('far', 'NZ')").await.unwrap();
    let far = sandbox.node("dr-reads-1");
    far.catch_up(primary).await.unwrap();
    assert_eq!(far.sql(DATABASE, "SELECT count(*) FROM customers WHERE name = 'far'").await.unwrap(), "1");
}

#[tokio::test]
async fn clusters_exchange_roles_and_exchange_them_back() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let (primary, dr) = (sandbox.node("primary"), sandbox.node("dr"));
    sandbox.switchover().await.unwrap();
    dr.sql(DATABASE, "INSERT INTO customers (name, country) VALUES ('switched', 'NZ')").await.unwrap();
    let far = sandbox.node("reads-2");
    far.catch_up(dr).await.unwrap();
    assert_eq!(
        far.sql(DATABASE, "SELECT count(*) FROM customers WHERE name = 'switched'").await.unwrap(),
        "1"
    );
    assert!(primary.is_standby().await.unwrap());

    sandbox.switchover().await.unwrap();
    assert!(dr.is_standby().await.unwrap());
    sandbox.node("dr-reads-1").catch_up(primary).await.unwrap();
}

#[tokio::test]
async fn faults_happen_to_real_servers_and_connections() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let (primary, reads) = (sandbox.node("primary"), sandbox.node("reads-1"));
    let endpoint = sandbox.endpoint("reads");
    let token = sandbox.tokens().mint(ALICE).await.unwrap();
    let target = dial(sandbox.primary_cluster(), endpoint, &token);
    let ask = async || psql(&target, "SELECT current_setting('cluster_name')").await;

    // A dead node is skipped.
    sandbox.node("reads-2").crash().await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask().await.rows, "reads-1");
    }
    sandbox.node("reads-2").start().await.unwrap();

    // A standby that does not replay lags, and catches up.
    reads.pause_replay().await.unwrap();
    primary.sql(DATABASE, "INSERT INTO customers (name, country) VALUES ('late', 'NZ')").await.unwrap();
    sandbox.node("reads-2").catch_up(primary).await.unwrap();
    assert_eq!(reads.sql(DATABASE, "SELECT count(*) FROM customers WHERE name = 'late'").await.unwrap(), "0");
    reads.resume_replay().await.unwrap();
    reads.catch_up(primary).await.unwrap();

    // A refused address, a silent address, and both repaired.
    endpoint.middleman().set(Passage::Cut);
    until(Duration::from_secs(5), async || {
        let answer = ask().await;
        if answer.stderr.contains("Connection refused") { Ok(()) } else { Err(answer) }
    })
    .await;
    endpoint.middleman().set(Passage::BlackHole);
    let unanswered =
        until(Duration::from_secs(5), async || TcpStream::connect(endpoint.address()).await).await;
    endpoint.middleman().set(Passage::Open);
    drop(unanswered);
    assert!(ask().await.success);

    // A frozen server keeps its connections and responds again after the thaw.
    primary.freeze();
    let stat = format!("/proc/{}/stat", primary.pid().unwrap());
    until(Duration::from_secs(5), async || {
        let stat = fs::read_to_string(&stat).unwrap();
        if stat.contains(") T ") { Ok(()) } else { Err(stat) }
    })
    .await;
    primary.thaw();
    primary.sql(DATABASE, "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_ca_is_replaced_with_an_overlap() {
    let single = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let cluster = single.primary_cluster();
    let token = single.tokens().mint(ALICE).await.unwrap();
    let login = async |ca: &str| {
        let file = cluster.authority().ca_file().display().to_string();
        psql(&dial(cluster, single.endpoint("primary"), &token).replace(&file, ca), "SELECT 1").await.success
    };
    let published = cluster.authority().ca_file();
    let old = single.folder().join("old.pem");
    fs::copy(published, &old).unwrap();
    let (published, old) = (published.display().to_string(), old.display().to_string());

    cluster.begin_ca_rotation().unwrap();
    assert!(login(&published).await && login(&old).await, "servers still show the old CA's certificates");
    cluster.renew_certificates().unwrap();
    until(
        Duration::from_secs(5),
        async || if login(&old).await { Err("the old certificate") } else { Ok(()) },
    )
    .await;
    assert!(login(&published).await);
    cluster.finish_ca_rotation().unwrap();
    assert!(login(&published).await);
}

#[tokio::test]
async fn the_configuration_in_front_has_no_mistake() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let file = sandbox.folder().join("gatekeeper.toml");
    fs::write(&file, sandbox.config_toml().unwrap()).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_gatekeeper"));
    let checked = check.env_clear().args(["check", "--config"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&checked.stderr), "");
    assert!(checked.status.success());
}

#[tokio::test]
async fn the_tour_with_a_metadata_server_succeeds() {
    let mut demo = tokio::process::Command::new(env!("CARGO_BIN_EXE_gatekeeper"));
    let ended = demo.args(["demo", "--once", "--iam"]).kill_on_drop(true).output().await.unwrap();
    let [printed, wrong] =
        [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(ended.status.success(), "{printed}\n{wrong}");
    assert!(printed.contains("Tokens come from a metadata server"), "{printed}");
    assert!(printed.starts_with("Gatekeeper demo. It starts PostgreSQL servers"), "{printed}");
    for shown in [
        "5. Transaction pooling",
        "reason=\"listen\"",
        "6. Read/write splitting",
        "reads (read)",
        "primary (",
        "7. The status page",
        "8. Failover",
        "\"holding\":true",
        "40001",
        "still connected",
    ] {
        assert!(printed.contains(shown), "no `{shown}` in:\n{printed}");
    }
}

#[tokio::test]
async fn the_tour_succeeds_and_ctrl_c_cleans_up() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_gatekeeper"))
        .arg("demo")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = String::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok) {
        seen = seen + &line + "\n";
        if line.contains("until Ctrl-C") {
            break;
        }
    }
    let folder = seen.split("shaped like AlloyDB, in ").nth(1).and_then(|rest| rest.split(',').next());
    let folder = PathBuf::from(folder.unwrap());
    let front = fs::read_to_string(folder.join("gatekeeper.pid")).unwrap_or_default();
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let ended = demo.wait_with_output().unwrap();
    assert!(ended.status.success(), "{seen}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(!folder.exists() && !PathBuf::from("/proc").join(front).exists());
}

#[tokio::test]
async fn gatekeeper_stands_in_front_of_one_server() {
    let passthrough = Stand::passthrough().await;
    let client = passthrough.connect("user=app_md5 password=app-md5-password dbname=app").await.unwrap();
    assert_eq!(client.query("SELECT id FROM orders", &[]).await.unwrap().len(), 1000);
    let tokens = Stand::tokens().await;
    let client = tokens.connect(&format!("user={ALICE} dbname=app")).await.unwrap();
    let user: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    assert_eq!(user, ALICE);
}

/// A process for the next test, which kills the process.
#[tokio::test]
#[ignore = "run by servers_and_files_vanish_when_their_owner_is_killed"]
async fn owner() {
    let single = Single::start(SandboxOptions::default()).await.unwrap();
    println!("\nowner: {} {}", single.node().pid().unwrap(), single.folder().display());
    std::future::pending().await
}

#[tokio::test]
async fn servers_and_files_vanish_when_their_owner_is_killed() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::owner", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.strip_prefix("owner: ").map(str::to_owned)).unwrap();
    let (pid, folder) = line.split_once(' ').unwrap();
    let (process, folder) = (PathBuf::from("/proc").join(pid), PathBuf::from(folder));
    assert!(process.is_dir() && folder.is_dir());

    owner.kill().unwrap();
    owner.wait().unwrap();
    until(Duration::from_secs(20), async || {
        // The server's parent is gone; the process that inherits the server may leave a zombie.
        let state = fs::read_to_string(process.join("stat")).ok().filter(|stat| !stat.contains(") Z "));
        if state.is_none() && !folder.exists() { Ok(()) } else { Err((state, folder.exists())) }
    })
    .await;
}
