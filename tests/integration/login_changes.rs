//! Changes of roles and databases reach later client logins.

use std::{net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single};
use tokio_postgres::SimpleQueryMessage;

use crate::harness::{Stand, connect, stand, until};

/// A server counts a change at session end, or 10 s later. The counters are read every 5 s, and backends are closed
/// because of changes at most every 30 s.
const BOUND: Duration = Duration::from_secs(60);

/// A server with a listener in each pool mode, and backends logged in as a superuser or as `app`.
struct Modes {
    stand: Stand,
    session: SocketAddr,
    transaction: SocketAddr,
}

impl Modes {
    async fn start() -> Self {
        let options = SandboxOptions { tls: ServerTls::Off, ..SandboxOptions::default() };
        let server = Single::start(options).await.unwrap();
        server.node().sql(DATABASE, "ALTER ROLE app SUPERUSER").await.unwrap();
        std::fs::write(server.folder().join("password"), APP.password).unwrap();
        server
            .node()
            .sql(DATABASE, &format!("CREATE ROLE bob LOGIN PASSWORD '{}'", APP.password))
            .await
            .unwrap();
        let transaction = stand::listener(&server);
        let session = SocketAddr::new(transaction.ip(), transaction.port() + 1);
        let pool =
            |mode| format!("auth = {{ method = \"trust\" }}\npool = {{ mode = \"{mode}\", size = 4 }}");
        let more = format!(
            "[[listener]]\nname = \"session\"\nbind = \"{session}\"\nroute = \"primary\"\n{}",
            pool("session")
        );
        let login = "login = { password = { file = \"password\" } }";
        let config = stand::config_with_tls(
            &server,
            "tls = { mode = \"disable\" }",
            login,
            &pool("transaction"),
            &more,
        );
        Self { stand: Stand::start(server, &config).await, session, transaction }
    }

    fn listeners(&self) -> [SocketAddr; 2] {
        [self.session, self.transaction]
    }

    async fn server(&self, sql: &str) {
        self.stand.server.node().sql(DATABASE, sql).await.unwrap();
    }
}

/// Answer to a new client, or the SQLSTATE of a refusal or error.
async fn ask(at: SocketAddr, user: &str, database: &str, sql: &str) -> Result<String, String> {
    let code = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(db_error) => db_error.code().code().to_owned(),
        None => error.to_string(),
    };
    let client = connect(at, &format!("user={user} dbname={database}")).await.map_err(code)?;
    let rows = client.simple_query(sql).await.map_err(code)?;
    let row = rows.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    Ok(row.unwrap_or_default())
}

#[tokio::test]
async fn databases_are_dropped_and_copied_beside_idle_backends() {
    let modes = Modes::start().await;
    for listener in modes.listeners() {
        for used in modes.listeners() {
            ask(listener, "app", DATABASE, "CREATE DATABASE copied").await.unwrap();
            ask(used, "app", "copied", "SELECT 1").await.unwrap();
            ask(listener, "app", DATABASE, "CREATE DATABASE copy TEMPLATE copied").await.unwrap();
            ask(used, "app", "copied", "SELECT 1").await.unwrap();
            ask(listener, "app", DATABASE, "ALTER DATABASE copied RENAME TO renamed").await.unwrap();
            ask(used, "app", "copy", "SELECT 1").await.unwrap();
            ask(listener, "app", DATABASE, "DROP DATABASE copy").await.unwrap();
            ask(used, "app", "renamed", "SELECT 1").await.unwrap();
            ask(listener, "app", DATABASE, "DROP DATABASE renamed").await.unwrap();
        }
    }
}

#[tokio::test]
async fn new_clients_use_the_current_definition_of_roles() {
    let modes = Modes::start().await;
    let path = "SHOW search_path";
    for listener in modes.listeners() {
        for used in modes.listeners() {
            let run = async |sql| ask(listener, "app", DATABASE, sql).await.unwrap();
            let bob = async |sql| ask(used, "bob", DATABASE, sql).await;
            let before = bob(path).await.unwrap();
            run("ALTER ROLE bob SET search_path = 'pg_catalog'").await;
            assert_eq!(bob(path).await.unwrap(), "pg_catalog");
            run("BEGIN; ALTER ROLE bob IN DATABASE app SET search_path = 'mine'; COMMIT").await;
            assert_eq!(bob(path).await.unwrap(), "mine");
            run("ALTER ROLE bob RESET ALL; ALTER ROLE bob IN DATABASE app RESET ALL").await;
            assert_eq!(bob(path).await.unwrap(), before);
            run("ALTER USER bob NOLOGIN").await;
            assert_eq!(bob(path).await.unwrap_err(), "28000");
            run("ALTER USER bob LOGIN").await;
            assert_eq!(bob(path).await.unwrap(), before);
            run("REVOKE CONNECT ON DATABASE app FROM PUBLIC").await;
            assert_eq!(bob(path).await.unwrap_err(), "42501");
            run("GRANT CONNECT ON DATABASE app TO bob").await;
            assert_eq!(bob(path).await.unwrap(), before);
            run("GRANT CONNECT ON DATABASE app TO PUBLIC; REVOKE CONNECT ON DATABASE app FROM bob").await;
            run("ALTER DATABASE app SET search_path = 'theirs'").await;
            assert_eq!(bob(path).await.unwrap(), "theirs");
            run("ALTER DATABASE app RESET ALL").await;
        }
    }
}

#[tokio::test]
async fn roles_changed_elsewhere_reach_new_clients() {
    let modes = Modes::start().await;
    for at in modes.listeners() {
        ask(at, "bob", DATABASE, "SELECT 1").await.unwrap();
    }
    modes.server("ALTER ROLE bob SET search_path = 'elsewhere'").await;
    for at in modes.listeners() {
        until(BOUND, async || match ask(at, "bob", DATABASE, "SHOW search_path").await {
            Ok(path) if path == "elsewhere" => Ok(()),
            other => Err(other),
        })
        .await;
    }
}
