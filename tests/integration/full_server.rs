//! A server with fewer connections than the pools want.

use gatekeeper::testing::sandbox::{APP, DATABASE, SandboxOptions};

use crate::harness::{Frames, Pooled, Shape};

/// Connection limit of the server; three connections are reserved for superusers.
const CONNECTIONS: u32 = 12;

async fn small(endpoint: &str) -> Pooled {
    let server = SandboxOptions { max_connections: CONNECTIONS, ..SandboxOptions::default() };
    Pooled::start(Shape { server, endpoint, plain: true, ..Shape::default() }).await
}

/// Clients in sequence, each with different start-up options, including an option settable only at login.
async fn serve_tenants(pooled: &Pooled) {
    for tenant in 0..2 * CONNECTIONS {
        let options = format!("-c ignore_system_indexes=off -c search_path=tenant{tenant}");
        let mut client =
            Frames::log_in(pooled.listener(), APP, &[("database", DATABASE), ("options", &options)]).await;
        assert_eq!(client.ask("SHOW search_path").await.unwrap(), format!("tenant{tenant}"));
        drop(client);
    }
}

#[tokio::test]
async fn startup_options_of_tenants_never_fill_the_server() {
    let pooled = small("").await;
    serve_tenants(&pooled).await;
    let metrics = pooled.stand.gatekeeper.get("/metrics").await.unwrap().body;
    let derived = "gatekeeper_backends_limit{endpoint=\"primary\",backend_role=\"primary\"} 6";
    assert!(metrics.contains(derived), "9 less 3 for probes and cancel requests:\n{metrics}");
    assert!(!pooled.stand.server.node().log().contains("too many clients"));
}

#[tokio::test]
async fn tenants_share_a_server_that_others_fill() {
    // More than the server's limit: only the server's refusals reveal the limit.
    let pooled = small("max_backends = 1000").await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Frames::log_in(pooled.stand.server.address(), APP, &[("database", DATABASE)]).await);
    }
    serve_tenants(&pooled).await;
    assert!(pooled.stand.server.node().log().contains("FATAL"), "it was full");
}
