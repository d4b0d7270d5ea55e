//! TLS towards endpoints: modes that let a session through, and errors of the others.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use gatekeeper::testing::sandbox::{Certificate, SandboxOptions, ServerTls, Single};
use tokio_postgres::Client;

use crate::harness::{
    Checked, Gatekeeper, Refused, check, connect, refused,
    stand::{Stand, admin, config_with_tls},
    until,
};

/// One server, with an endpoint and a listener for each TLS mode.
struct Fan {
    gatekeeper: Gatekeeper,
    server: Single,
    ways: Vec<(&'static str, String)>,
}

const APP: &str = "user=app password=app-password dbname=app";
const PATIENCE: Duration = Duration::from_secs(15);

impl Fan {
    /// `ways` are names and the words of `tls = { … }`.
    async fn start(server: Single, ways: &[(&'static str, String)]) -> Self {
        let ca = server.authority().ca_file().display();
        let mut text = format!("[[cluster]]\nname = \"orders\"\nca_file = \"{ca}\"\n\n");
        for (name, tls) in ways {
            let role = "primary";
            write!(text, "[[cluster.endpoint]]\nname = \"{name}\"\nrole = \"{role}\"\n").unwrap();
            write!(text, "address = \"{}\"\ntls = {{ {tls} }}\n\n", server.address()).unwrap();
        }
        for (place, (name, _)) in ways.iter().enumerate() {
            let bind = bind(&server, place);
            write!(
                text,
                "[[listener]]\nname = \"{name}\"\nbind = \"{bind}\"\nroute = \"endpoint:{name}\"\n\n"
            )
            .unwrap();
        }
        write!(text, "[admin]\nbind = \"{}\"\n", admin(&server)).unwrap();
        let gatekeeper = Gatekeeper::start(server.folder(), &text, admin(&server)).await;
        Self { gatekeeper, server, ways: ways.to_vec() }
    }

    async fn connect(&self, name: &str) -> Result<Client, tokio_postgres::Error> {
        let place = self.ways.iter().position(|(way, _)| *way == name).unwrap();
        connect(bind(&self.server, place), APP).await
    }

    /// The client's error, which must be free of internal details.
    async fn refusal(&self, name: &str) -> Refused {
        let refused = refused(self.connect(name).await);
        refused.gives_nothing_away(self.server.folder());
        refused
    }
}

fn bind(server: &Single, place: usize) -> SocketAddr {
    (server.block().ip(100), 15432 + u16::try_from(place).unwrap()).into()
}

async fn server(tls: ServerTls) -> Single {
    Single::start(SandboxOptions { tls, ..SandboxOptions::default() }).await.unwrap()
}

/// True if the server side of a session is encrypted, as reported by the server.
async fn encrypted(client: &Client) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_session_is_encrypted_in_every_mode_but_disable() {
    let server = server(ServerTls::Optional).await;
    let name = server.dns_name();
    let ways = [
        ("full", format!("mode = \"verify-full\", server_name = \"{name}\"")),
        ("ca", "mode = \"verify-ca\"".to_owned()),
        ("require", "mode = \"require\"".to_owned()),
        ("prefer", "mode = \"prefer\"".to_owned()),
        ("plain", "mode = \"disable\"".to_owned()),
    ];
    let fan = Fan::start(server, &ways).await;
    for (way, _) in &ways {
        let client = fan.connect(way).await.unwrap();
        assert_eq!(encrypted(&client).await, *way != "plain", "mode of `{way}`");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_unless_the_mode_only_prefers_it() {
    let server = server(ServerTls::Off).await;
    let ways = [
        ("prefer", "mode = \"prefer\"".to_owned()),
        ("require", "mode = \"require\"".to_owned()),
        ("ca", "mode = \"verify-ca\"".to_owned()),
    ];
    let fan = Fan::start(server, &ways).await;
    assert!(!encrypted(&fan.connect("prefer").await.unwrap()).await);
    for way in ["require", "ca"] {
        let client_error = fan.refusal(way).await;
        assert_eq!(client_error.sqlstate, "08001");
        assert_eq!(client_error.message, format!("endpoint \"{way}\" does not offer TLS"));
        fan.gatekeeper.wait_for_log(&format!("backend TLS negotiation failed: endpoint `{way}` at ")).await;
    }
    fan.gatekeeper.wait_for_log("the server does not offer TLS").await;
    fan.gatekeeper.wait_for_log("turn TLS on at the server").await;
}

#[tokio::test]
async fn an_unverifiable_server_is_refused_and_the_log_has_the_remedy() {
    let server = server(ServerTls::Required).await;
    let foreign = server.authority().foreign_ca_file().display().to_string();
    let ways = [
        ("foreign", format!("mode = \"verify-ca\", ca_file = \"{foreign}\"")),
        ("address", "mode = \"verify-full\"".to_owned()),
        ("other", "mode = \"verify-full\", server_name = \"replica.orders.example\"".to_owned()),
    ];
    let fan = Fan::start(server, &ways).await;
    for (way, _) in &ways {
        let client_error = fan.refusal(way).await;
        assert_eq!(client_error.sqlstate, "08001");
        assert_eq!(client_error.message, format!("endpoint \"{way}\" could not be verified"));
        assert!(client_error.hint.is_some_and(|hint| hint.contains("log")), "what to do is said");
    }
    for (way, _) in &ways {
        fan.gatekeeper.wait_for_log(&format!("no backend connection for a client listener={way} ")).await;
    }
    let log = fan.gatekeeper.stderr();
    let line = |way: &str| {
        let place = format!("backend TLS negotiation failed: endpoint `{way}`");
        log.lines()
            .find(|line| line.contains("no backend connection for a client") && line.contains(&place))
            .unwrap()
    };
    assert!(line("foreign").contains("signed by"), "{}", line("foreign"));
    assert!(line("foreign").contains("orders CA 1"), "the issuer is named: {}", line("foreign"));
    assert!(line("foreign").contains("ca_file"), "{}", line("foreign"));
    for (way, expected) in
        [("address", fan.server.address().ip().to_string()), ("other", "replica.orders.example".to_owned())]
    {
        let line = line(way);
        assert!(line.contains(fan.server.dns_name()), "the certificate's name: {line}");
        assert!(line.contains(&expected), "the name that was checked: {line}");
        assert!(line.contains("tls.server_name") && line.contains("verify-ca"), "what to set: {line}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_until_renewed() {
    let server = server(ServerTls::Required).await;
    let fan = Fan::start(server, &[("ca", "mode = \"verify-ca\"".to_owned())]).await;
    for (kind, words) in [
        (Certificate::Expired, "the certificate expired at"),
        (Certificate::NotYetValid, "the certificate is not valid before"),
        (Certificate::UnknownAuthority, "orders foreign CA"),
    ] {
        fan.server.node().present(kind).unwrap();
        // The server applies the change after a moment.
        let client_error = until(PATIENCE, async || match fan.connect("ca").await {
            Ok(_) => Err("still let in"),
            Err(error) => Ok(refused(Err(error))),
        })
        .await;
        assert_eq!(client_error.gives_nothing_away(fan.server.folder()).sqlstate, "08001");
        fan.gatekeeper.wait_for_log(words).await;
    }
    fan.server.node().present(Certificate::Named).unwrap();
    until(PATIENCE, async || fan.connect("ca").await.map_err(|error| error.to_string())).await;
}

#[tokio::test]
async fn plaintext_to_another_machine_needs_an_explicit_setting() {
    let server = server(ServerTls::Off).await;
    let text = config_with_tls(&server, "tls = { mode = \"disable\" }", "", "", "");
    let text = text.replace(&server.address().to_string(), "10.20.30.40:5432");
    let file = server.folder().join("checked.toml");
    std::fs::write(&file, &text).unwrap();
    let Checked { code, stderr, .. } = check(Some(&file), &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("plaintext to 10.20.30.40:5432, which is not on this machine"), "{stderr}");
    assert!(stderr.contains("insist with `insecure_plaintext` = true"), "{stderr}");
    std::fs::write(&file, text.replace("address = \"10", "insecure_plaintext = true\naddress = \"10"))
        .unwrap();
    let Checked { code, stderr, .. } = check(Some(&file), &[]);
    assert_eq!(code, Some(0));
    assert!(stderr.contains("warning: ") && stderr.contains("is plaintext"), "{stderr}");
}

#[tokio::test]
async fn a_changed_authority_renews_the_backends_of_a_pool_and_ends_no_session() {
    let server = server(ServerTls::Required).await;
    let login = "login = { password = \"app-password\" }";
    let keys = "auth = { method = \"trust\" }\npool = { mode = \"transaction\", size = 1 }";
    let text = config_with_tls(&server, "tls = { mode = \"verify-ca\" }", login, keys, "");
    let stand = Stand::start(server, &text).await;
    let client = stand.connect(APP).await.unwrap();
    let pid = async || {
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
        row.get::<_, i32>(0)
    };
    let before = pid().await;
    assert_eq!(pid().await, before, "one backend serves them all");
    let ca = stand.server.authority().ca_file();
    let twice = std::fs::read_to_string(ca).unwrap().repeat(2);
    std::fs::write(ca, twice).unwrap();
    until(PATIENCE, async || if pid().await == before { Err("the old backend") } else { Ok(()) }).await;
}
