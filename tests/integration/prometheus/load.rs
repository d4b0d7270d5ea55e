//! Clients of all kinds: those that read, write, err, wait, pin, cancel, come and go, and those that are not let in.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{ALICE_AT_LISTENERS, Sandbox};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};
use tokio_postgres::{Client, Error, NoTls};

use crate::harness::connect;

/// Clients that go on until this is dropped.
pub(super) struct Load {
    _clients: JoinSet<()>,
}

/// Between two statements of a client.
const BREATH: Duration = Duration::from_millis(15);
/// Before a client that lost its connection comes again.
const PAUSE: Duration = Duration::from_millis(200);

/// What a client of the writer says, over and over.
const WRITER: [&str; 6] = [
    "INSERT INTO load VALUES (1)",
    "SELECT pg_sleep(0.01)",
    "SELECT count(*) FROM load",
    "SELECT 1/0",
    "CREATE TEMPORARY TABLE IF NOT EXISTS mine (id int)",
    "DISCARD ALL",
];
/// What a client of a standby says.
const READER: [&str; 3] =
    ["SELECT pg_sleep(0.002)", "SELECT count(*) FROM pg_class", "SELECT generate_series(1, 200)"];

impl Load {
    pub(super) async fn start(sandbox: &Sandbox) -> Self {
        let mut clients = JoinSet::new();
        for (listener, count, statements) in [
            ("app", 8, WRITER.as_slice()),
            ("reads", 3, &READER),
            ("dr", 1, &READER),
            ("dr-reads", 1, &READER),
        ] {
            let address = address(sandbox, listener);
            for _ in 0..count {
                clients.spawn(talk(address, statements));
            }
        }
        let app = address(sandbox, "app");
        clients.spawn(come_and_go(app));
        clients.spawn(cancel(app));
        clients.spawn(knock(app));
        Self { _clients: clients }
    }
}

fn address(sandbox: &Sandbox, name: &str) -> SocketAddr {
    let listeners = sandbox.listeners();
    listeners.iter().find(|listener| listener.name == name).expect("one of the four").address
}

async fn alice(address: SocketAddr) -> Result<Client, Error> {
    let (user, password) = (ALICE_AT_LISTENERS.name, ALICE_AT_LISTENERS.password);
    connect(address, &format!("user={user} password={password} dbname=app")).await
}

/// Says one thing after the other, and comes again when the connection is gone.
async fn talk(address: SocketAddr, statements: &'static [&'static str]) {
    loop {
        if let Ok(client) = alice(address).await {
            for statement in statements.iter().cycle() {
                // An error may be the statement's own.
                let _ = client.simple_query(statement).await;
                if client.is_closed() {
                    break;
                }
                tokio::time::sleep(BREATH).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Logs in for a single statement.
async fn come_and_go(address: SocketAddr) {
    loop {
        if let Ok(client) = alice(address).await {
            let _ = client.simple_query("SELECT 1").await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts what takes long, and cancels it.
async fn cancel(address: SocketAddr) {
    loop {
        if let Ok(client) = alice(address).await {
            let token = client.cancel_token();
            let cancel = async {
                tokio::time::sleep(PAUSE).await;
                if let Ok(stream) = TcpStream::connect(address).await {
                    let _ = token.cancel_query_raw(stream, NoTls).await;
                }
            };
            let _ = tokio::join!(client.simple_query("SELECT pg_sleep(2)"), cancel);
        }
        tokio::time::sleep(4 * PAUSE).await;
    }
}

/// Tries what is refused.
async fn knock(address: SocketAddr) {
    loop {
        for whom in ["user=alice@example.com password=wrong", "user=mallory password=guess"] {
            let _ = connect(address, &format!("{whom} dbname=app")).await;
            tokio::time::sleep(2 * PAUSE).await;
        }
        // No PostgreSQL at all.
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        }
        tokio::time::sleep(2 * PAUSE).await;
    }
}
