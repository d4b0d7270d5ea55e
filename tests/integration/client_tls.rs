//! TLS from clients: off, optional, required; certificates; SNI; direct TLS.

use std::{fs, sync::Arc};

use gatekeeper::testing::{
    sandbox::{SandboxOptions, Single},
    wire::tag,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::harness::{
    Stand, client_tls,
    pki::{Identity, Pki},
    psql,
    raw::{Message, Raw},
    refused,
    stand::config,
};

/// Name in the listener's certificate.
const NAME: &str = "gatekeeper.example";
const APP: &str = "user=app password=app-password dbname=app";
/// The endpoint's password comes from Gatekeeper: TLS of the client side is independent.
const OURS: &str = "login = { user = \"app\", password = { file = \"app-password\" } }";

struct Tls {
    stand: Stand,
    pki: Pki,
}

impl Tls {
    /// A listener with a certificate; `keys` are further keys of the table `tls`.
    async fn start(keys: &str) -> Self {
        Self::start_with(keys, "", "").await
    }

    async fn start_with(keys: &str, endpoint: &str, rest: &str) -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        fs::write(server.folder().join("app-password"), "app-password").unwrap();
        let pki = Pki::new(server.folder(), "clients");
        let Identity { cert, key } = pki.issue(NAME);
        let keys = keys.replace("CA_FILE", &pki.ca_file.display().to_string());
        let method = if endpoint.is_empty() { "passthrough" } else { "trust" };
        let listener =
            format!("auth = {{ method = \"{method}\" }}\ntls = {{ cert = {cert:?}, key = {key:?}{keys} }}");
        let config = config(&server, endpoint, &listener, rest);
        Self { stand: Stand::start(server, &config).await, pki }
    }

    /// A connection string for psql.
    fn to(&self, more: &str) -> String {
        let (address, ca) = (self.stand.listener, self.pki.ca_file.display());
        format!(
            "host={NAME} hostaddr={} port={} {APP} sslrootcert={ca} channel_binding=disable {more}",
            address.ip(),
            address.port()
        )
    }
}

const ENCRYPTED: &str = "SELECT 'hello'";

#[tokio::test]
async fn without_a_certificate_of_its_own_a_listener_declines_tls() {
    let stand = Stand::passthrough().await;
    let mut raw = Raw::connect(stand.listener).await;
    raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await;
    // A bare `N`, then the startup continues.
    let mut answer = [0];
    tokio::io::AsyncReadExt::read_exact(&mut raw.stream, &mut answer).await.unwrap();
    assert_eq!(answer, *b"N");
    raw.startup("app", "app").await;
    assert_eq!(raw.read().await.unwrap().tag, tag::backend::AUTHENTICATION);
}

#[tokio::test]
async fn optional_tls_serves_both_and_required_tls_rejects_plaintext() {
    let optional = Tls::start("").await;
    for mode in ["disable", "require", "verify-full"] {
        let answer = psql(&optional.to(&format!("sslmode={mode}")), ENCRYPTED).await;
        assert_eq!(answer.rows, "hello", "sslmode={mode}: {}", answer.stderr);
    }
    drop(optional);

    let required = Tls::start(", required = true").await;
    let answer = psql(&required.to("sslmode=verify-full"), ENCRYPTED).await;
    assert_eq!(answer.rows, "hello", "{}", answer.stderr);
    let client_error = refused(required.stand.connect(APP).await);
    assert_eq!(client_error.sqlstate, "28000");
    assert_eq!(client_error.message, "this listener accepts TLS connections only");
    assert_eq!(client_error.hint.as_deref(), Some("Connect with sslmode=require or stronger."));
    let series = "gatekeeper_client_refusals_total{listener=\"app\",reason=\"tls_required\"}";
    assert_eq!(required.stand.gatekeeper.metric(series).await, Some(1.0));
}

#[tokio::test]
async fn the_requested_server_name_is_logged_and_ignored() {
    let tls = Tls::start_with("", "", "[log]\nlevel = \"debug\"\n").await;
    let other = tls.to("sslmode=require").replace(NAME, "somebody.else.example");
    let answer = psql(&other, ENCRYPTED).await;
    assert_eq!(answer.rows, "hello", "{}", answer.stderr);
    tls.stand.gatekeeper.wait_for_log("somebody.else.example").await;
}

#[tokio::test]
async fn client_certificates_are_verified_and_may_be_required() {
    for (word, without) in [("optional", true), ("required", false)] {
        let keys = format!(", client_certificates = \"{word}\", client_ca_file = \"CA_FILE\"");
        let tls = Tls::start(&keys).await;
        let show = |identity: &Identity| {
            let (cert, key) = (identity.cert.display(), identity.key.display());
            tls.to(&format!("sslmode=verify-full sslcert={cert} sslkey={key}"))
        };
        let good = psql(&show(&tls.pki.issue("app.example")), ENCRYPTED).await;
        assert_eq!(good.rows, "hello", "{word}: {}", good.stderr);

        let none = psql(&tls.to("sslmode=verify-full"), ENCRYPTED).await;
        assert_eq!(none.success, without, "{word}: {}", none.stderr);
        if !without {
            assert!(none.stderr.contains("certificate required"), "{}", none.stderr);
        }
        let stranger = Pki::new(tls.stand.server.folder(), "strangers").issue("stranger.example");
        let stranger = psql(&show(&stranger), ENCRYPTED).await;
        assert!(!stranger.success && stranger.stderr.contains("unknown ca"), "{word}: {}", stranger.stderr);
        tls.stand.gatekeeper.wait_for_log("client TLS handshake failed").await;
        tls.stand.gatekeeper.wait_for_log("signed by").await;
        let series = "gatekeeper_client_refusals_total{listener=\"app\",reason=\"tls\"}";
        let refusals = if without { 1.0 } else { 2.0 };
        assert_eq!(tls.stand.gatekeeper.metric(series).await, Some(refusals));
    }
}

#[tokio::test]
async fn direct_tls_needs_alpn_and_skips_the_request() {
    let tls = Tls::start_with(", required = true", OURS, "").await;
    let mut raw = Raw::over(direct(&tls, &[b"postgresql"]).await.unwrap());
    raw.startup("app", "app").await;
    let messages = raw.until_settled().await;
    assert_eq!(
        messages.last().map(|message| message.tag),
        Some(tag::backend::READY_FOR_QUERY),
        "{messages:?}"
    );
    raw.say(tag::frontend::QUERY, b"SELECT 'hello'\0").await;
    let rows = raw.until_settled().await;
    assert!(rows.iter().any(|Message { body, .. }| body.ends_with(b"hello")), "{rows:?}");

    for offer in [Vec::new(), vec![b"h2".as_slice()]] {
        let ended = match direct(&tls, &offer).await {
            Err(_) => true,
            Ok(stream) => Raw::over(stream).read().await.is_none(),
        };
        assert!(ended, "without ALPN `postgresql`: {offer:?}");
    }
    tls.stand.gatekeeper.wait_for_log("ALPN `postgresql`").await;
}

/// TLS at once, offering `protocols`.
async fn direct(tls: &Tls, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::clone(&client_tls(&tls.pki.ca_file));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let tcp = TcpStream::connect(tls.stand.listener).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), tcp).await
}
