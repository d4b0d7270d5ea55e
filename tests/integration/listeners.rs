//! Listeners and routes: the endpoint of each client, and limits on clients.

use std::{
    collections::HashMap, fmt::Write as _, fs, net::SocketAddr, os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use gatekeeper::testing::{
    sandbox::{ALICE, APP, DATABASE, Passage, Sandbox, SandboxOptions, Single, Stop},
    wire::{ProtocolVersion, StartupMessage, tag::backend as b},
};

use crate::harness::{
    Frames, Gatekeeper, Stand, connect,
    frames::query,
    psql,
    raw::Raw,
    refused,
    stand::{config, listener},
    until,
};

const LIMIT: Duration = Duration::from_secs(20);

/// The endpoints of a sandbox by name and address, each with clients' own logins, and listeners by name, port and more
/// keys.
fn passthrough(
    sandbox: &Sandbox,
    endpoints: &[(&str, &str, SocketAddr)],
    listeners: &[(&str, u16, &str)],
) -> String {
    let ca = |secondary: bool| {
        sandbox.clusters()[usize::from(secondary)].authority().ca_file().display().to_string()
    };
    let mut toml = String::new();
    for (cluster, secondary) in [("orders", false), ("orders-dr", true)] {
        if !endpoints.iter().any(|(_, role, _)| (*role == "secondary") == secondary) {
            continue;
        }
        let replica_of = if secondary { "replica_of = \"orders\"\n" } else { "" };
        writeln!(toml, "[[cluster]]\nname = \"{cluster}\"\n{replica_of}ca_file = \"{}\"\n", ca(secondary))
            .unwrap();
        for (name, role, address) in
            endpoints.iter().filter(|(_, role, _)| (*role == "secondary") == secondary)
        {
            writeln!(
                toml,
                "[[cluster.endpoint]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{address}\"\n\
                 tls = {{ mode = \"verify-ca\" }}\n\
                 login = {{ token_command = {:?}, users = [\"{ALICE}\"] }}\n",
                sandbox.tokens().command_words()
            )
            .unwrap();
        }
    }
    for (name, port, keys) in listeners {
        let ip = sandbox.block().ip(100);
        writeln!(toml, "[[listener]]\nname = \"{name}\"\nbind = \"{ip}:{port}\"\nauth = {{ method = \"trust\" }}\nhold = \"0\"\n{keys}\n")
            .unwrap();
    }
    writeln!(
        toml,
        "[admin]\nbind = \"{}\"\n[probe]\ninterval = \"300ms\"\ntimeout = \"1s\"\nfailures = 2\n",
        sandbox.admin_address()
    )
    .unwrap();
    toml
}

/// Which node serves a new session at `port`, and the session.
async fn served(
    sandbox: &Sandbox,
    port: u16,
) -> Result<(String, tokio_postgres::Client), tokio_postgres::Error> {
    let address = (sandbox.block().ip(100), port).into();
    let client = connect(address, &format!("user={ALICE} dbname={DATABASE}")).await?;
    let row = client.query_one("SELECT host(inet_server_addr())", &[]).await?;
    let ip: String = row.get(0);
    let node = sandbox.nodes().find(|node| node.address().ip().to_string() == ip).unwrap();
    Ok((node.name().to_owned(), client))
}

#[tokio::test]
async fn each_route_leads_to_its_endpoints() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let at = |name: &str| sandbox.endpoint(name).address();
    let endpoints = [
        ("primary", "primary", at("primary")),
        ("reads", "read-pool", at("reads")),
        ("dr", "secondary", at("dr")),
        ("dr-reads", "secondary", at("dr-reads")),
    ];
    let listeners = [
        ("app", 1, "route = \"primary\""),
        ("reads", 2, "route = \"read-pool\""),
        ("only-reads", 3, "route = \"read-pool\"\nwhen_no_reader = \"refuse\""),
        ("away", 4, "route = \"secondary\""),
        ("one", 5, "route = \"endpoint:dr-reads\""),
    ]
    .map(|(name, port, keys)| (name, 15000 + port, keys));
    let config = passthrough(&sandbox, &endpoints, &listeners);
    let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, sandbox.admin_address()).await;
    for (port, nodes) in [
        (15001, &["primary"][..]),
        (15002, &["reads-1", "reads-2"]),
        (15003, &["reads-1", "reads-2"]),
        (15004, &["dr", "dr-reads-1"]),
        (15005, &["dr-reads-1"]),
    ] {
        let (node, _client) = served(&sandbox, port).await.unwrap();
        assert!(nodes.contains(&node.as_str()), "{port}: {node}");
    }
    sandbox.endpoint("reads").middleman().set(Passage::Cut);
    // Until the end is noticed, an idle backend may still be leased: the client then gets an error.
    until(LIMIT, async || match served(&sandbox, 15002).await {
        Ok((node, _)) if node == "primary" => Ok(()),
        Ok((node, _)) => Err(format!("{node}, rather than nowhere")),
        Err(error) => Err(error.to_string()),
    })
    .await;
    let client_error = refused(served(&sandbox, 15003).await.map(|(_, client)| client));
    assert!(client_error.sqlstate.starts_with("08") || client_error.sqlstate == "57P03", "{client_error:?}");
    sandbox.endpoint("reads").middleman().set(Passage::Open);
    until(LIMIT, async || match served(&sandbox, 15003).await {
        Ok((node, _)) if node.starts_with("reads") => Ok(()),
        Ok((node, _)) => Err(node),
        Err(error) => Err(error.to_string()),
    })
    .await;
    drop(gatekeeper);
}

#[tokio::test]
async fn read_pools_share_sessions_without_a_failing_one() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let node = |name: &str| sandbox.node(name).address();
    let endpoints = [
        ("primary", "primary", sandbox.endpoint("primary").address()),
        ("reads-a", "read-pool", node("reads-1")),
        ("reads-b", "read-pool", node("reads-2")),
    ];
    let config = passthrough(&sandbox, &endpoints, &[("reads", 15002, "route = \"read-pool\"")]);
    let gatekeeper = Gatekeeper::start(sandbox.folder(), &config, sandbox.admin_address()).await;
    let mut shares: HashMap<String, usize> = HashMap::new();
    let mut sessions = Vec::new();
    for _ in 0..10 {
        let (node, session) = served(&sandbox, 15002).await.unwrap();
        *shares.entry(node).or_default() += 1;
        sessions.push(session);
    }
    assert_eq!((shares.get("reads-1"), shares.get("reads-2")), (Some(&5), Some(&5)), "{shares:?}");

    sandbox.node("reads-2").stop(Stop::Fast).await.unwrap();
    for _ in 0..6 {
        let (node, session) = served(&sandbox, 15002).await.unwrap();
        assert_eq!(node, "reads-1", "no login fails on the way");
        sessions.push(session);
    }
    sandbox.node("reads-2").start().await.unwrap();
    until(LIMIT, async || match served(&sandbox, 15002).await.unwrap().0 {
        node if node == "reads-2" => Ok(()),
        node => Err(node),
    })
    .await;
    drop(gatekeeper);
}

#[tokio::test]
async fn a_unix_domain_socket_is_a_listener_like_any_other() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let socket = server.folder().join(".s.PGSQL.15432");
    let rest =
        format!("[[listener]]\nname = \"local\"\nbind = \"{}\"\nroute = \"primary\"\n", socket.display());
    let config = config(&server, "login = \"passthrough\"", "", &rest);
    let mut stand = Stand::start(server, &config).await;
    let connection = format!(
        "host={} port=15432 user={} password={} dbname={DATABASE}",
        stand.server.folder().display(),
        APP.name,
        APP.password
    );
    let answer = psql(&connection, "SELECT current_user").await;
    assert_eq!((answer.rows.as_str(), answer.stderr.as_str()), ("app", ""));
    let mode = || fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o660, "whoever is not of our group stays out");
    let route = "route = \"primary\"\n";
    let changed = config.replacen(&rest, &rest.replace(route, &format!("{route}mode = \"0666\"\n")), 1);
    fs::write(stand.gatekeeper.config_file(), changed).unwrap();
    stand.gatekeeper.signal(rustix::process::Signal::HUP);
    until(Duration::from_secs(20), async || if mode() == 0o666 { Ok(()) } else { Err(mode()) }).await;
    stand.gatekeeper.signal(rustix::process::Signal::TERM);
    assert!(stand.gatekeeper.ended().await.success());
    assert!(!socket.exists(), "nothing is left of it");
}

#[tokio::test]
async fn connections_beyond_max_clients_are_rejected_without_harm() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let keys = "max_clients = 1000\nlogin_timeout = \"120s\"";
    let config = config(&server, "login = \"passthrough\"", keys, "");
    let stand = Stand::start(server, &config).await;
    let mut first = Vec::new();
    for _ in 0..20 {
        first.push(Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await);
    }
    let mut waiting = Vec::new();
    for _ in 20..1000 {
        waiting.push(Raw::connect(stand.listener).await);
    }
    let clients = |state: &str| format!("gatekeeper_clients{{listener=\"app\",state=\"{state}\"}}");
    until(LIMIT, async || match stand.gatekeeper.metric(&clients("login")).await {
        Some(980.0) => Ok(()),
        seen => Err(seen),
    })
    .await;
    let mut crowd = Vec::new();
    for _ in 0..1000 {
        crowd.push(Raw::connect(listener(&stand.server)).await);
    }
    let mut rejections: HashMap<String, usize> = HashMap::new();
    for mut raw in crowd {
        raw.startup(APP.name, DATABASE).await;
        let state = match raw.read().await {
            Some(message) => message.field(b'C'),
            None => "nothing".to_owned(),
        };
        *rejections.entry(state).or_default() += 1;
    }
    assert_eq!(rejections, HashMap::from([("53300".to_owned(), 1000)]));
    for client in &mut first {
        assert_eq!(client.ask("SELECT 'well'").await.unwrap(), "well");
    }
    let mut one_of_them = waiting.pop().unwrap();
    one_of_them.startup(APP.name, DATABASE).await;
    assert_eq!(one_of_them.read().await.unwrap().tag, b::AUTHENTICATION);
    drop((waiting, one_of_them));
    until(LIMIT, async || match stand.gatekeeper.metric(&clients("login")).await {
        Some(0.0) => Ok(()),
        seen => Err(seen),
    })
    .await;
    Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await;
}

#[tokio::test]
async fn bytes_behind_the_startup_packet_are_kept() {
    let stand = Stand::tokens().await;
    let mut raw = Raw::connect(stand.listener).await;
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", ALICE);
    startup.set("database", DATABASE);
    let mut bytes = Vec::new();
    startup.write(&mut bytes);
    bytes.extend(query(&format!("SELECT length('{}')", "x".repeat(200_000))));
    raw.send(&bytes).await;
    let mut row = None;
    while row.is_none() {
        row = Some(raw.read().await.unwrap()).filter(|message| message.tag == b::DATA_ROW);
    }
    assert!(row.unwrap().body.ends_with(b"200000"));
}

#[tokio::test]
async fn invalid_and_slow_clients_are_disconnected() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = config(&server, "login = \"passthrough\"", "login_timeout = \"500ms\"", "");
    let stand = Stand::start(server, &config).await;
    for (what, bytes, expected) in [
        ("a web browser", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), None),
        ("a startup packet of 10 005 bytes", [&10_005_u32.to_be_bytes()[..], &[0, 3, 0, 0]].concat(), None),
        ("protocol 2", [&8_u32.to_be_bytes()[..], &[0, 2, 0, 0]].concat(), Some("0A000")),
        (
            "a startup packet without a user",
            [&9_u32.to_be_bytes()[..], &[0, 3, 0, 0, 0]].concat(),
            Some("28000"),
        ),
        ("silence", Vec::new(), Some("57014")),
        ("half a startup packet", [&100_u32.to_be_bytes()[..], &[0, 3, 0, 0]].concat(), Some("57014")),
    ] {
        let mut raw = Raw::connect(stand.listener).await;
        raw.send(&bytes).await;
        let sqlstate = raw.read().await.map(|message| message.field(b'C'));
        assert_eq!(sqlstate.as_deref(), expected, "{what}");
        assert_eq!(raw.read().await, None, "{what}: and that is the end");
    }
    // A client that has sent its startup packet and withholds the password.
    let mut raw = Raw::connect(stand.listener).await;
    raw.startup(APP.name, DATABASE).await;
    assert_eq!(raw.read().await.unwrap().tag, b::AUTHENTICATION);
    assert_eq!(raw.read().await.unwrap().field(b'C'), "57014");
    let mut client = Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await;
    assert_eq!(client.ask("SELECT 'well'").await.unwrap(), "well");
}

#[tokio::test]
async fn one_address_stays_below_its_limit() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let config = config(&server, "login = \"passthrough\"", "max_clients_per_address = 2", "");
    let stand = Stand::start(server, &config).await;
    let login = async || {
        let parameters = format!("user={} password={} dbname={DATABASE}", APP.name, APP.password);
        stand.connect(&parameters).await
    };
    let (one, _two) = (login().await.unwrap(), login().await.unwrap());
    let client_error = refused(login().await);
    assert_eq!(
        (client_error.sqlstate.as_str(), client_error.message.as_str()),
        ("53300", "too many connections from your address")
    );
    drop(one);
    until(LIMIT, async || login().await.map(drop).map_err(|error| error.to_string())).await;
}
