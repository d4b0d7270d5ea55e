//! Gatekeeper in front of a primary and a read pool of two nodes, with a listener that sends reads to the pool.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{APP, DATABASE, Sandbox, SandboxOptions};
use serde_json::Value;

use super::{Frames, Gatekeeper, until};

/// Time limit on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A primary, a read pool of two nodes behind one address, and Gatekeeper with the listener `app`, which splits.
/// Clients are trusted; every backend is logged in as [`APP`].
pub struct Split {
    // First field: dropped before the servers.
    pub gatekeeper: Gatekeeper,
    pub sandbox: Sandbox,
}

/// Differences between tests.
pub struct SplitShape<'a> {
    /// Backends of each pool.
    pub size: usize,
    /// More keys of the pools, each behind a comma.
    pub pool: &'a str,
    /// More keys of the listener, a line each.
    pub listener: &'a str,
    /// More tables.
    pub rest: &'a str,
    /// Between two looks of the probe.
    pub interval: &'a str,
    /// Lag beyond which a read pool gets no reads. `0`: the position alone decides.
    pub lagging_after: &'a str,
    /// The servers.
    pub servers: SandboxOptions,
}

impl Default for SplitShape<'_> {
    fn default() -> Self {
        Self {
            size: 5,
            pool: "",
            listener: "",
            rest: "",
            interval: "300ms",
            lagging_after: "0",
            servers: SandboxOptions::default(),
        }
    }
}

impl Split {
    /// Starts with further keys of the listener besides `route`.
    pub async fn with(listener: &str) -> Self {
        Self::start(SplitShape { listener, ..SplitShape::default() }).await
    }

    /// With all that may be different.
    pub async fn start(shape: SplitShape<'_>) -> Self {
        let sandbox = Sandbox::start(shape.servers.clone()).await.unwrap();
        let config = config(&sandbox, &shape);
        let admin = (sandbox.block().ip(100), 8080).into();
        let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, admin).await;
        let split = Self { gatekeeper, sandbox };
        split.knows_its_nodes().await;
        split
    }

    /// Waits until the probe has met the writer and a reader.
    async fn knows_its_nodes(&self) {
        until(PATIENCE, async || {
            let answer = self.gatekeeper.get("/v1/topology").await.map_err(|error| error.to_string())?;
            let body: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
            let up = body["endpoints"].as_array().into_iter().flatten().filter(|it| it["health"] == "up");
            if up.count() == 2 { Ok(()) } else { Err(answer.body) }
        })
        .await;
    }

    /// Where the listener is.
    pub fn listener(&self) -> SocketAddr {
        (self.sandbox.block().ip(100), 15432).into()
    }

    /// Address of the primary, without a proxy in between.
    pub fn direct(&self) -> SocketAddr {
        self.sandbox.endpoint("primary").address()
    }

    /// A new client.
    pub async fn client(&self) -> Frames {
        self.client_with(&[]).await
    }

    /// A new client with the given startup parameters.
    pub async fn client_with(&self, parameters: &[(&str, &str)]) -> Frames {
        let parameters = [&[("database", DATABASE)], parameters].concat();
        Frames::log_in(self.listener(), APP, &parameters).await
    }

    /// A client of the primary alone, with a dedicated backend: receives PostgreSQL's own responses.
    pub async fn plain(&self) -> Frames {
        Frames::log_in((self.sandbox.block().ip(100), 15433).into(), APP, &[("database", DATABASE)]).await
    }

    /// A new client of the given database.
    pub async fn client_of(&self, database: &str) -> Frames {
        Frames::log_in(self.listener(), APP, &[("database", database)]).await
    }

    /// The primary's response to a query of a superuser on a direct connection.
    pub async fn primary(&self, sql: &str) -> String {
        self.sandbox.node("primary").sql(DATABASE, sql).await.unwrap()
    }

    /// Waits until both nodes of the read pool show all that the primary has written.
    pub async fn settles(&self) {
        for node in ["reads-1", "reads-2"] {
            self.sandbox.node(node).catch_up(self.sandbox.node("primary")).await.unwrap();
        }
    }
}

/// Where the last statement of `client` went, and why: `reads (read)`.
pub async fn last_route(client: &mut Frames) -> String {
    client.ask("SHOW gatekeeper.last_route").await.unwrap()
}

fn config(sandbox: &Sandbox, shape: &SplitShape<'_>) -> String {
    let secret = sandbox.folder().join("app-password");
    std::fs::write(&secret, APP.password).unwrap();
    let mut toml = format!(
        "[[cluster]]\nname = \"orders\"\nca_file = \"{}\"\n\n",
        sandbox.primary_cluster().authority().ca_file().display()
    );
    for (name, role) in [("primary", "primary"), ("reads", "read-pool")] {
        writeln!(
            toml,
            "[[cluster.endpoint]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{}\"\n\
             tls = {{ mode = \"verify-ca\" }}\n\
             login = {{ user = \"{}\", password = {{ file = \"{}\" }} }}\n",
            sandbox.endpoint(name).address(),
            APP.name,
            secret.display()
        )
        .unwrap();
    }
    let ip = sandbox.block().ip(100);
    writeln!(
        toml,
        "[[listener]]\nname = \"app\"\nbind = \"{ip}:15432\"\nroute = \"split\"\nauth = {{ method = \"trust\" }}\n\
         pool = {{ mode = \"transaction\", size = {}{} }}\n{}\n",
        shape.size, shape.pool, shape.listener
    )
    .unwrap();
    writeln!(
        toml,
        "[[listener]]\nname = \"plain\"\nbind = \"{ip}:15433\"\nroute = \"primary\"\nauth = {{ method = \"trust\" }}\n"
    )
    .unwrap();
    writeln!(
        toml,
        "[admin]\nbind = \"{ip}:8080\"\n\n[probe]\ninterval = \"{}\"\ntimeout = \"2s\"\nfailures = 2\nlagging_after = \"{}\"\n\n{}",
        shape.interval, shape.lagging_after, shape.rest
    )
    .unwrap();
    toml
}
