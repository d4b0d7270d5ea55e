//! Another read pool, or the primary, replaces a read pool without a backend for the session.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{APP, DATABASE, Sandbox, SandboxOptions};
use serde_json::Value;

use crate::harness::{Frames, Gatekeeper, Split, frames::query, split::SplitShape, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A primary, and read pools with the given name, address and login keys. The listeners `split`, `reads` (by
/// transaction), `sessions` and `alone` follow each other from port 15432 on. `refused` is a `split` without the
/// primary as a fallback.
struct Stand {
    // First, to end before the servers.
    gatekeeper: Gatekeeper,
    sandbox: Sandbox,
}

const ROUTES: [(&str, &str); 5] = [
    ("split", "route = \"split\"\npool = { mode = \"transaction\" }"),
    ("reads", "route = \"read-pool\"\npool = { mode = \"transaction\" }"),
    ("sessions", "route = \"read-pool\"\npool = { mode = \"session\" }"),
    ("alone", "route = \"read-pool\""),
    ("refused", "route = \"split\"\nwhen_no_reader = \"refuse\"\npool = { mode = \"transaction\" }"),
];

impl Stand {
    async fn start(sandbox: Sandbox, readers: &[(&str, SocketAddr, String)]) -> Self {
        let ip = sandbox.block().ip(100);
        let mut toml = format!(
            "[[cluster]]\nname = \"orders\"\nca_file = \"{}\"\n\n",
            sandbox.primary_cluster().authority().ca_file().display()
        );
        let primary = ("primary", sandbox.endpoint("primary").address(), good(&sandbox));
        for (at, (name, address, keys)) in std::iter::once(&primary).chain(readers).enumerate() {
            let role = if at == 0 { "primary" } else { "read-pool" };
            writeln!(
                toml,
                "[[cluster.endpoint]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{address}\"\n{keys}\n"
            )
            .unwrap();
        }
        for ((name, keys), port) in ROUTES.iter().zip(15432..) {
            writeln!(
                toml,
                "[[listener]]\nname = \"{name}\"\nbind = \"{ip}:{port}\"\nauth = {{ method = \"trust\" }}\n{keys}\n"
            )
            .unwrap();
        }
        // The probe runs once, and then after reports of session traffic.
        writeln!(
            toml,
            "[admin]\nbind = \"{ip}:8080\"\n\n[probe]\ninterval = \"1h\"\ntimeout = \"2s\"\nfailures = 2\n"
        )
        .unwrap();
        let gatekeeper = Gatekeeper::start(sandbox.folder(), &toml, (ip, 8080).into()).await;
        let stand = Self { gatekeeper, sandbox };
        until(PATIENCE, async || match stand.health("primary").await.as_str() {
            "up" => Ok(()),
            health => Err(health.to_owned()),
        })
        .await;
        stand
    }

    async fn client(&self, listener: &str) -> Frames {
        let at = ROUTES.iter().position(|(name, _)| *name == listener).unwrap();
        let address = (self.sandbox.block().ip(100), 15432 + u16::try_from(at).unwrap()).into();
        Frames::log_in(address, APP, &[("database", DATABASE)]).await
    }

    async fn health(&self, endpoint: &str) -> String {
        let answer = self.gatekeeper.get("/v1/topology").await.unwrap();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let mut endpoints = body["endpoints"].as_array().into_iter().flatten();
        let found = endpoints.find(|it| it["name"] == endpoint).map(|it| it["health"].clone());
        found.and_then(|health| health.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Valid login keys of an endpoint.
fn good(sandbox: &Sandbox) -> String {
    login(sandbox, APP.name, APP.password)
}

fn login(sandbox: &Sandbox, user: &str, password: &str) -> String {
    let secret = sandbox.folder().join(format!("password-{user}-{}", password.len()));
    std::fs::write(&secret, password).unwrap();
    format!(
        "tls = {{ mode = \"verify-ca\" }}\nlogin = {{ user = \"{user}\", password = {{ file = \"{}\" }} }}",
        secret.display()
    )
}

/// 617 of a fleet's reads failed within half a minute, because a read pool's certificate was of another CA.
#[tokio::test]
async fn a_read_without_a_backend_is_served_elsewhere() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    sandbox
        .node("primary")
        .sql(DATABASE, &format!("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD '{}'", APP.password))
        .await
        .unwrap();
    for node in ["reads-1", "reads-2"] {
        sandbox.node(node).catch_up(sandbox.node("primary")).await.unwrap();
    }
    let reads = sandbox.endpoint("reads").address();
    let nobody = (sandbox.block().ip(99), 5432).into();
    let foreign = format!(
        "login = {{ user = \"{}\", password = {{ file = \"{}\" }} }}\ntls = {{ mode = \"verify-ca\", ca_file = \"{}\" }}",
        APP.name,
        sandbox.folder().join(format!("password-{}-{}", APP.name, APP.password.len())).display(),
        sandbox.primary_cluster().authority().foreign_ca_file().display()
    );
    let token = format!(
        "tls = {{ mode = \"verify-ca\" }}\nlogin = {{ token_command = \"exit 1\", users = [\"{}\"] }}",
        APP.name
    );
    let faults = [
        ("another CA", reads, foreign),
        ("no token", reads, token),
        ("no room", reads, login(&sandbox, "crowded", APP.password)),
        ("no such password", reads, login(&sandbox, APP.name, "wrong")),
        ("nobody there", nobody, good(&sandbox)),
    ];
    let mut sandbox = sandbox;
    for (fault, address, keys) in faults {
        let stand = Stand::start(sandbox, &[("broken", address, keys)]).await;
        for listener in ["split", "reads", "sessions", "alone"] {
            if fault == "no such password" && listener != "split" {
                // A password refused by a server is not tried on the next server.
                continue;
            }
            for _ in 0..3 {
                let mut client = stand.client(listener).await;
                for _ in 0..5 {
                    assert_eq!(client.ask("SELECT 7").await.as_deref(), Ok("7"), "{fault}: {listener}");
                }
            }
        }
        if fault == "another CA" {
            let mut client = stand.client("refused").await;
            let refused = client.ask("SELECT 7").await.unwrap_err();
            assert!(refused.starts_with("08") || refused.starts_with("57"), "{refused}");
        }
        if matches!(fault, "another CA" | "nobody there") {
            // Session failures trigger a probe.
            until(PATIENCE, async || {
                let mut client = stand.client("split").await;
                assert_eq!(client.ask("SELECT 7").await.as_deref(), Ok("7"), "{fault}");
                match stand.health("broken").await.as_str() {
                    "down" => Ok(()),
                    health => Err(health.to_owned()),
                }
            })
            .await;
        }
        let Stand { gatekeeper, sandbox: servers } = stand;
        drop(gatekeeper);
        sandbox = servers;
    }
}

/// The probe is let in, and sessions are not.
#[tokio::test]
async fn a_read_pool_without_room_leaves_its_reads_to_the_other() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let create = format!("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD '{}'", APP.password);
    sandbox.node("primary").sql(DATABASE, &create).await.unwrap();
    for node in ["reads-1", "reads-2"] {
        sandbox.node(node).catch_up(sandbox.node("primary")).await.unwrap();
    }
    let reads = sandbox.endpoint("reads").address();
    let full = login(&sandbox, "crowded", APP.password);
    let readers = [("full", reads, full), ("reads", reads, good(&sandbox))];
    let stand = Stand::start(sandbox, &readers).await;
    for listener in ["split", "reads", "sessions", "alone"] {
        for _ in 0..10 {
            let mut client = stand.client(listener).await;
            for _ in 0..5 {
                assert_eq!(client.ask("SELECT pg_is_in_recovery() OR true").await.as_deref(), Ok("t"));
                assert_eq!(client.ask("SELECT 7").await.as_deref(), Ok("7"), "{listener}");
            }
            if listener == "split" {
                let route = client.ask("SHOW gatekeeper.last_route").await.unwrap();
                assert_eq!(route, "reads (read)");
            }
        }
    }
}

#[tokio::test]
async fn a_read_that_waits_too_long_goes_to_the_primary() {
    let pool = ", query_wait_timeout = \"500ms\"";
    let listener = "consistency = \"eventual\"";
    let split = Split::start(SplitShape { size: 1, pool, listener, ..SplitShape::default() }).await;
    split
        .primary("CREATE TABLE stock (n int); GRANT ALL ON stock TO PUBLIC; INSERT INTO stock VALUES (1)")
        .await;
    split.settles().await;
    let mut holder = split.client().await;
    let mut client = split.client().await;
    until(PATIENCE, async || {
        client.ask("SELECT n FROM stock").await?;
        let route = client.ask("SHOW gatekeeper.last_route").await?;
        if route == "reads (read)" { Ok(()) } else { Err(route) }
    })
    .await;
    holder.send(&query("SELECT count(*) FROM stock WHERE pg_sleep(5) IS NOT NULL")).await;
    until(PATIENCE, async || {
        assert_eq!(client.ask("SELECT n FROM stock").await.as_deref(), Ok("1"));
        let route = client.ask("SHOW gatekeeper.last_route").await?;
        if route == "primary (no-reader)" { Ok(()) } else { Err(route) }
    })
    .await;
}
