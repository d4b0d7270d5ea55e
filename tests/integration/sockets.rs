//! Inherited sockets, and exhausted descriptors.

use std::{net::TcpListener, os::fd::OwnedFd, process::Stdio, time::Duration};

use gatekeeper::testing::sandbox::{SandboxOptions, Single};

use crate::harness::{Gatekeeper, connect, stand, until};

const PASSTHROUGH: (&str, &str) = ("login = \"passthrough\"", "auth = { method = \"passthrough\" }");

#[tokio::test]
async fn an_inherited_socket_is_used() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = stand::config(&server, PASSTHROUGH.0, PASSTHROUGH.1, "");
    let socket = TcpListener::bind(stand::listener(&server)).unwrap();
    let ours: OwnedFd = socket.try_clone().unwrap().into();
    // As passed by systemd: descriptor 3, with its variables.
    let shell = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let admin = stand::admin(&server);
    let _gatekeeper = Gatekeeper::start_by(shell, Stdio::from(ours), server.folder(), &config, admin).await;
    let client = connect(stand::listener(&server), "user=app password=app-password dbname=app").await;
    drop(socket);
    client.unwrap().simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_client_without_descriptors_gets_an_error_and_later_ones_succeed() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = stand::config(&server, PASSTHROUGH.0, PASSTHROUGH.1, "[runtime]\nworkers = 1\n");
    let admin = stand::admin(&server);
    let shell = "ulimit -Sn 40; ulimit -Hn 64; exec \"$@\"";
    let gatekeeper = Gatekeeper::start_by(shell, Stdio::null(), server.folder(), &config, admin).await;
    let connect =
        async || connect(stand::listener(&server), "user=app password=app-password dbname=app").await;
    let (mut clients, mut errors) = (Vec::new(), Vec::new());
    // Twice as many as there are descriptors for.
    for _ in 0..28 {
        match connect().await {
            Ok(client) => clients.push(client),
            Err(error) => errors.push(error.as_db_error().expect("a refusal in words").message().to_owned()),
        }
    }
    assert!(
        !errors.is_empty() && errors.iter().all(|words| words.contains("out of file descriptors")),
        "{errors:?}"
    );
    gatekeeper.wait_for_log("out of file descriptors").await;
    assert!(
        clients.len() > 4,
        "the soft limit was raised to the hard one, so more than {} fit",
        clients.len()
    );
    clients.clear();
    until(Duration::from_secs(20), async || connect().await.map(drop)).await;
}
