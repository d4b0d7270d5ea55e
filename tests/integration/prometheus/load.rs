//! Clients of all kinds: they read, write, fail, wait, pin, cancel, reconnect, or are rejected.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{ALICE_AT_LISTENERS, Sandbox};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};
use tokio_postgres::{Client, Error, NoTls};

use crate::harness::connect;

/// Clients that run until the value is dropped.
pub(super) struct Load {
    _clients: JoinSet<()>,
}

/// Between two statements of a client.
const BREATH: Duration = Duration::from_millis(15);
/// Pause of a client before a reconnect.
const PAUSE: Duration = Duration::from_millis(200);

/// Statements of a client of the writer, in a loop.
const WRITER: [&str; 6] = [
    "INSERT INTO load VALUES (1)",
    "SELECT pg_sleep(0.01)",
    "SELECT count(*) FROM load",
    "SELECT 1/0",
    "CREATE TEMPORARY TABLE IF NOT EXISTS mine (id int)",
    "DISCARD ALL",
];
/// Statements of a client of a standby.
const READER: [&str; 3] =
    ["SELECT pg_sleep(0.002)", "SELECT count(*) FROM pg_class", "SELECT generate_series(1, 200)"];

/// Table of [`usual_load`].
pub(super) const ACCOUNTS: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL); \
     INSERT INTO accounts SELECT generate_series(1, 100), 0; GRANT ALL ON accounts TO PUBLIC";
/// Statements of an application that writes, with an error of its own.
const INSERTS: [&str; 6] = [
    "UPDATE accounts SET balance = balance + 1 WHERE id = 7",
    "UPDATE accounts SET balance = balance - 1 WHERE id = 8",
    "INSERT INTO accounts VALUES (1, 0)",
    "SELECT balance FROM accounts WHERE id = 7",
    "DELETE FROM accounts WHERE id = 101",
    "INSERT INTO accounts VALUES (101, 0)",
];
const TRANSACTIONS: [&str; 10] = [
    "BEGIN",
    "UPDATE accounts SET balance = balance - 1 WHERE id = 9",
    "SELECT balance FROM accounts WHERE id = 9",
    "COMMIT",
    "BEGIN",
    "INSERT INTO accounts VALUES (1, 0)",
    "ROLLBACK",
    "BEGIN READ ONLY",
    "SELECT sum(balance) FROM accounts",
    "COMMIT",
];
const READS: [&str; 3] =
    ["SELECT sum(balance) FROM accounts", "SELECT count(*) FROM pg_class", "SELECT pg_sleep(0.005)"];
/// A statement that the server cancels.
const TIMEOUT: [&str; 4] =
    ["BEGIN", "SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)", "ROLLBACK"];

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

/// Two clients of the writer that insert, and one of the read pool.
pub(super) fn quiet_load(sandbox: &Sandbox) -> Load {
    let mut clients = JoinSet::new();
    for (listener, statements) in [("app", &WRITER[..1]), ("app", &WRITER[..1]), ("reads", &READER[..1])] {
        clients.spawn(talk(address(sandbox, listener), statements));
    }
    Load { _clients: clients }
}

/// Clients of a usual application, with a few errors of its own: half of them at the split listener `app`, and the
/// sessions of `dedicated` end after a while.
pub(super) fn usual_load(sandbox: &Sandbox, dedicated: SocketAddr) -> Load {
    let mut clients = JoinSet::new();
    let app = address(sandbox, "app");
    for statements in [&INSERTS[..], &TRANSACTIONS, &TRANSACTIONS, &READS, &READS] {
        clients.spawn(talk_slowly(app, statements));
    }
    for listener in ["reads", "dr", "dr-reads"] {
        clients.spawn(talk_slowly(address(sandbox, listener), &READS));
    }
    for (address, statements, pause) in [
        (app, &TRANSACTIONS[..], PAUSE),
        (app, &TIMEOUT, 25 * PAUSE),
        (dedicated, &TRANSACTIONS, PAUSE),
        (dedicated, &INSERTS, PAUSE),
    ] {
        clients.spawn(visit(address, statements, pause));
    }
    clients.spawn(async move {
        loop {
            let _ = connect(app, "user=alice@example.com password=wrong dbname=app").await;
            tokio::time::sleep(100 * PAUSE).await;
        }
    });
    Load { _clients: clients }
}

pub(super) fn address(sandbox: &Sandbox, name: &str) -> SocketAddr {
    let listeners = sandbox.listeners();
    listeners.iter().find(|listener| listener.name == name).expect("one of the four").address
}

pub(super) async fn alice(address: SocketAddr) -> Result<Client, Error> {
    let (user, password) = (ALICE_AT_LISTENERS.name, ALICE_AT_LISTENERS.password);
    connect(address, &format!("user={user} password={password} dbname=app")).await
}

/// Runs the statements in a loop, and reconnects after a lost connection.
async fn talk(address: SocketAddr, statements: &'static [&'static str]) {
    repeat(address, statements, BREATH).await;
}

/// Runs the statements in a loop as [`talk`] does, with longer pauses.
async fn talk_slowly(address: SocketAddr, statements: &'static [&'static str]) {
    repeat(address, statements, PAUSE / 2).await;
}

async fn repeat(address: SocketAddr, statements: &'static [&'static str], breath: Duration) {
    loop {
        if let Ok(client) = alice(address).await {
            for statement in statements.iter().cycle() {
                // An error may be the statement's own.
                let _ = client.simple_query(statement).await;
                if client.is_closed() {
                    break;
                }
                tokio::time::sleep(breath).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Logs in and runs the statements once, in a loop.
async fn visit(address: SocketAddr, statements: &'static [&'static str], pause: Duration) {
    loop {
        if let Ok(client) = alice(address).await {
            for statement in statements {
                // An error may be the statement's own.
                let _ = client.simple_query(statement).await;
            }
        }
        tokio::time::sleep(pause).await;
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

/// Starts a long statement, and cancels the statement.
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

/// Tries logins that are rejected.
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
