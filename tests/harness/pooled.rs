//! Gatekeeper in front of one server in transaction pooling, and the visible state of the pool.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single};
use serde_json::Value;

use super::{
    Frames, Stand,
    stand::{config_with_tls, listener, verified},
    until,
};

/// Time limit on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A [`Stand`] with transaction pooling at the listener `app`. Clients are trusted; every backend is logged in as
/// [`APP`].
pub struct Pooled {
    pub stand: Stand,
}

/// Differences between tests.
pub struct Shape<'a> {
    /// Backends of the pool.
    pub size: usize,
    /// Threads that serve sessions.
    pub workers: usize,
    /// Further keys of the pool, separated by commas: `query_wait_timeout = "1s"`.
    pub pool: &'a str,
    /// More keys of the endpoint, a line each.
    pub endpoint: &'a str,
    /// More keys of the listener, a line each.
    pub listener: &'a str,
    /// More tables.
    pub rest: &'a str,
    /// The server.
    pub server: SandboxOptions,
    /// No TLS on either side: handshakes would dominate a test with thousands of connections.
    pub plain: bool,
}

/// Backends of a pool by state, as reported by the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub idle: u64,
    pub leased: u64,
    /// Being dialed, reset, or waiting for a cancel request.
    pub between: u64,
    pub waiting: u64,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            size: 5,
            workers: 2,
            pool: "",
            endpoint: "",
            listener: "",
            rest: "",
            server: SandboxOptions::default(),
            plain: false,
        }
    }
}

impl Shape<'_> {
    /// The configuration for `server`.
    pub fn config(&self, server: &Single) -> String {
        let secret = server.folder().join("app-password");
        std::fs::write(&secret, APP.password).unwrap();
        let login = format!(
            "login = {{ user = \"{}\", password = {{ file = \"{}\" }} }}",
            APP.name,
            secret.display()
        );
        let mut pool = format!("mode = \"transaction\", size = {}", self.size);
        if !self.pool.is_empty() {
            write!(pool, ", {}", self.pool).unwrap();
        }
        let tls = if self.plain { "tls = { mode = \"disable\" }".to_owned() } else { verified(server) };
        config_with_tls(
            server,
            &tls,
            &format!("{login}\n{}", self.endpoint),
            &format!("auth = {{ method = \"trust\" }}\npool = {{ {pool} }}\n{}", self.listener),
            &format!("[runtime]\nworkers = {}\n\n{}", self.workers, self.rest),
        )
    }
}

impl Pooled {
    /// Starts a pool of the given shape.
    pub async fn start(shape: Shape<'_>) -> Self {
        let mut options = shape.server.clone();
        if shape.plain {
            options.tls = ServerTls::Off;
        }
        let server = Single::start(options).await.unwrap();
        let config = shape.config(&server);
        Self { stand: Stand::start(server, &config).await }
    }

    /// A pool of so many backends.
    pub async fn of(size: usize) -> Self {
        Self::start(Shape { size, ..Shape::default() }).await
    }

    /// Where the listener is.
    pub fn listener(&self) -> SocketAddr {
        listener(&self.stand.server)
    }

    /// A new client.
    pub async fn client(&self) -> Frames {
        Frames::log_in(self.listener(), APP, &[("database", DATABASE)]).await
    }

    /// The server's response to a query of a superuser on a direct connection.
    pub async fn server(&self, sql: &str) -> String {
        self.stand.server.node().sql(DATABASE, sql).await.unwrap()
    }

    /// Waits until `sql` answers `wanted` there.
    pub async fn server_says(&self, sql: &str, wanted: &str) {
        until(PATIENCE, async || match self.server(sql).await {
            seen if seen == wanted => Ok(()),
            seen => Err(seen),
        })
        .await;
    }

    /// The pool's backends now.
    pub async fn seen(&self) -> Seen {
        let answer = self.stand.gatekeeper.get("/v1/pools").await.unwrap();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let sum = |path: &str| {
            let pools = body["pools"].as_array().unwrap().iter();
            pools.map(|pool| pool.pointer(path).unwrap().as_u64().unwrap()).sum::<u64>()
        };
        Seen {
            idle: sum("/backends/idle"),
            leased: sum("/backends/leased"),
            between: sum("/backends/dialing") + sum("/backends/resetting") + sum("/backends/settling"),
            waiting: sum("/waiting"),
        }
    }

    /// How many statements the sessions have begun, all together.
    pub async fn statements(&self) -> u64 {
        let answer = self.stand.gatekeeper.get("/v1/sessions").await.unwrap();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let sessions = body["sessions"].as_array().unwrap().iter();
        sessions.map(|session| session["statements"].as_u64().unwrap()).sum()
    }

    /// Waits until the pool looks like that.
    pub async fn looks(&self, like: impl Fn(&Seen) -> bool) {
        until(PATIENCE, async || match self.seen().await {
            seen if like(&seen) => Ok(()),
            seen => Err((seen, self.backends().await)),
        })
        .await;
    }

    /// Waits until no session holds a backend and the server agrees: each backend is idle in the pool, outside of a
    /// transaction.
    pub async fn rests(&self) {
        until(PATIENCE, async || {
            let seen = self.seen().await;
            let backends = self.backends().await;
            let idle = usize::try_from(seen.idle).unwrap();
            let at_rest = seen.leased == 0 && seen.between == 0 && seen.waiting == 0;
            if at_rest && backends.len() == idle && backends.iter().all(|(_, state)| state == "idle") {
                Ok(())
            } else {
                Err((seen, backends))
            }
        })
        .await;
    }

    /// The process id and the state of each backend, as reported by the server.
    pub async fn backends(&self) -> Vec<(i32, String)> {
        let sql = format!(
            "SELECT pid, state FROM pg_stat_activity WHERE usename = '{}' AND datname = '{DATABASE}' ORDER BY pid",
            APP.name
        );
        // Empty if the server is down.
        let rows = self.stand.server.node().sql(DATABASE, &sql).await.unwrap_or_default();
        rows.lines()
            .map(|line| {
                let (pid, state) = line.split_once('|').unwrap();
                (pid.parse().unwrap(), state.to_owned())
            })
            .collect()
    }

    /// Whether every endpoint is said to be fit.
    pub async fn healthy(&self) -> bool {
        self.stand.gatekeeper.get("/readyz").await.unwrap().status == 200
    }
}
