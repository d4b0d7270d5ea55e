//! Replication connections pass straight through: COPY in both directions at once.

use std::{fs, process::Stdio, time::Duration};

use gatekeeper::testing::sandbox::{DATABASE, REPLICATOR, SUPERUSER, SandboxOptions, Single};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::harness::{Stand, psql, stand::config, until};

const LIMIT: Duration = Duration::from_secs(30);

async fn stand() -> Stand {
    let settings = vec![("wal_level".to_owned(), "logical".to_owned())];
    let server = Single::start(SandboxOptions { settings, ..SandboxOptions::default() }).await.unwrap();
    let config = config(&server, "login = \"passthrough\"", "", "");
    Stand::start(server, &config).await
}

/// A program of the server, connected through Gatekeeper.
fn program(stand: &Stand, name: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(stand.server.installation().bin_dir().join(name));
    command.args(["-h", &stand.listener.ip().to_string(), "-p", &stand.listener.port().to_string()]);
    let user = if name == "pg_recvlogical" { SUPERUSER } else { REPLICATOR };
    command.args(["-U", user.name, "-w"]).args(arguments).env("PGPASSWORD", user.password);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

async fn interrupt(child: Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_replication_connection_answers_its_own_commands() {
    let stand = stand().await;
    let to = |host: String, port: u16| {
        let (user, password) = (REPLICATOR.name, REPLICATOR.password);
        format!("host={host} port={port} user={user} password={password} replication=true")
    };
    let ask = "IDENTIFY_SYSTEM";
    let through = psql(&to(stand.listener.ip().to_string(), stand.listener.port()), ask).await;
    let direct = psql(&to(stand.server.address().ip().to_string(), stand.server.address().port()), ask).await;
    assert!(through.success, "{}", through.stderr);
    // System identifier and timeline; the position advances without writes.
    let identity = |rows: &str| rows.split('|').take(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(identity(&through.rows), identity(&direct.rows));
}

#[tokio::test]
async fn wal_is_received_as_it_is_written() {
    let stand = stand().await;
    let node = stand.server.node();
    let folder = stand.server.folder().join("received");
    fs::create_dir(&folder).unwrap();
    let receiver =
        program(&stand, "pg_receivewal", &["-D", folder.to_str().unwrap(), "--no-loop", "--synchronous"]);
    let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    until(LIMIT, async || match node.sql(DATABASE, streaming).await.unwrap() {
        seen if seen == "1" => Ok(()),
        seen => Err(seen),
    })
    .await;
    let segment = node.sql(DATABASE, "SELECT pg_walfile_name(pg_current_wal_lsn())").await.unwrap();
    node.sql(DATABASE, "CREATE TABLE t AS SELECT generate_series(1, 10000)").await.unwrap();
    node.sql(DATABASE, "SELECT pg_switch_wal()").await.unwrap();
    let received = folder.join(&segment);
    until(LIMIT, async || if received.exists() { Ok(()) } else { Err(segment.clone()) }).await;
    assert!(fs::read(&received).unwrap() == fs::read(node.data_dir().join("pg_wal").join(&segment)).unwrap());
    // The flush position returns in the opposite direction.
    let flushed = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_lsn()";
    until(LIMIT, async || match node.sql(DATABASE, flushed).await.unwrap() {
        seen if seen == "1" => Ok(()),
        seen => Err(seen),
    })
    .await;
    interrupt(receiver).await;
    until(LIMIT, async || {
        match stand.gatekeeper.metric("gatekeeper_sessions_total{listener=\"app\",outcome=\"ok\"}").await {
            Some(ended) if ended >= 1.0 => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
}

#[tokio::test]
async fn changes_are_decoded_and_streamed() {
    let stand = stand().await;
    let node = stand.server.node();
    node.sql(DATABASE, "CREATE TABLE t (a int)").await.unwrap();
    let slot = "SELECT pg_create_logical_replication_slot('changes', 'test_decoding')";
    node.sql(DATABASE, slot).await.unwrap();
    let file = stand.server.folder().join("changes");
    let arguments =
        ["-d", DATABASE, "-S", "changes", "--start", "-n", "-F", "0", "-f", file.to_str().unwrap()];
    let receiver = program(&stand, "pg_recvlogical", &arguments);
    node.sql(DATABASE, "INSERT INTO t SELECT generate_series(1, 3)").await.unwrap();
    until(LIMIT, async || {
        let seen = fs::read_to_string(&file).unwrap_or_default();
        if seen.contains("INSERT: a[integer]:3") { Ok(()) } else { Err(seen) }
    })
    .await;
    interrupt(receiver).await;
}

#[tokio::test]
async fn a_base_backup_is_whole() {
    let stand = stand().await;
    let folder = stand.server.folder().join("backup");
    let arguments = ["-D", folder.to_str().unwrap(), "-X", "stream", "--checkpoint=fast", "--no-sync"];
    let output = program(&stand, "pg_basebackup", &arguments).wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut verify = Command::new(stand.server.installation().bin_dir().join("pg_verifybackup"));
    let output = verify.arg(&folder).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
