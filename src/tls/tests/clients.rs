//! The clients' leg: certificates of clients, versions, ALPN.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;

use super::{
    pki::{Ca, Folder, endpoint, for_clients_only, leaf, listener, named, towards},
    *,
};
use crate::blame::Blame;

/// A TLS server outside of Gatekeeper.
pub(super) fn raw_server(
    identity: &IdentityFiles,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[Vec<u8>],
) -> Arc<rustls::ServerConfig> {
    raw_server_with((*provider::towards_clients()).clone(), identity, versions, alpn)
}

/// A TLS server with another crypto provider.
pub(super) fn raw_server_with(
    provider: rustls::crypto::CryptoProvider,
    identity: &IdentityFiles,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[Vec<u8>],
) -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&identity.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.to_vec();
    Arc::new(config)
}

/// A TLS client outside of Gatekeeper, with trust in `ca`.
fn raw_client(ca: &Ca, version: &'static rustls::SupportedProtocolVersion, alpn: &[Vec<u8>]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider::towards_clients())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.to_vec();
    Arc::new(config).into()
}

fn db_internal() -> ServerName<'static> {
    ServerName::try_from("db.internal").unwrap()
}

#[tokio::test]
async fn clients_of_either_version_are_served_with_or_without_alpn() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let server = folder.server(&ca.sign(&leaf()));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [&[][..], &[PROTOCOL.to_vec()]] {
            let client = raw_client(&ca, version, alpn);
            let (dialed, accepted) = connected().await;
            let (dialed, accepted) = tokio::join!(
                client.connect(db_internal(), dialed),
                server.accept(accepted, Negotiation::Postgres)
            );
            let mut dialed = Stream::Client(Box::new(dialed.unwrap()));
            let mut accepted = accepted.unwrap();
            assert_eq!(accepted.facts().unwrap().alpn, !alpn.is_empty());
            assert!(accepted.peer_certificate().is_none());
            talk(&mut dialed, &mut accepted).await;
        }
    }
}

#[tokio::test]
async fn direct_tls_without_alpn_or_for_another_protocol_is_refused() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let server = folder.server(&ca.sign(&leaf()));
    for alpn in [&[][..], &[b"http/1.1".to_vec()]] {
        let client = raw_client(&ca, &rustls::version::TLS13, alpn);
        let (dialed, accepted) = connected().await;
        let (_, outcome) =
            tokio::join!(client.connect(db_internal(), dialed), server.accept(accepted, Negotiation::Direct));
        assert!(matches!(outcome, Err(TlsError::NoAlpn)), "{outcome:?}");
    }
}

/// Result of a client with `identity` at a listener that requests certificates: end of the handshake or the error.
async fn asked(
    client_certificates: ClientCertificates,
    identity: Option<&(String, String)>,
    clients_ca: &Ca,
) -> (Result<Stream, TlsError>, Result<Stream, TlsError>) {
    let (ca, theirs, ours) = (Ca::new("servers"), Folder::new(), Folder::new());
    let server = ServerTls::new(&ListenerTls {
        client_certificates,
        client_ca_file: Some(theirs.write("clients.pem", &clients_ca.pem())),
        ..listener(theirs.write_identity(&ca.sign(&leaf())))
    })
    .unwrap();
    let identity = identity.map(|identity| ours.write_identity(identity));
    let settings = endpoint(TlsMode::VerifyFull, &ours.write("ca.pem", &ca.pem()));
    let client = towards("db.internal", &EndpointTls { identity, ..settings });
    let (client, server) = shake(&client, &server).await;
    (client.map(|(stream, _)| stream), server)
}

#[tokio::test]
async fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let ca = Ca::new("clients");
    let identity = ca.sign(&for_clients_only(named("gatekeeper", &[])));
    let shown = CertificateDer::from_pem_slice(identity.0.as_bytes()).unwrap();
    for wanted in [ClientCertificates::Optional, ClientCertificates::Required] {
        let (client, server) = asked(wanted, Some(&identity), &ca).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.peer_certificate(), Some(&shown));
        talk(&mut client, &mut server).await;
    }
    let (_, server) = asked(ClientCertificates::Optional, None, &ca).await;
    assert!(server.unwrap().peer_certificate().is_none());
}

#[tokio::test]
async fn a_client_without_a_good_certificate_learns_it_from_its_first_read() {
    let ca = Ca::new("clients");
    let stranger = Ca::new("strangers").sign(&for_clients_only(named("gatekeeper", &[])));
    for (identity, reason) in [(None, "certificate required"), (Some(&stranger), "unknown CA")] {
        let (client, server) = asked(ClientCertificates::Required, identity, &ca).await;
        assert!(server.is_err());
        let error = client.unwrap().read(&mut [0; 1]).await.unwrap_err();
        let error = TlsError::explain(&error).unwrap();
        assert_eq!(error.to_string(), format!("the peer refused the handshake: {reason}"));
        assert_eq!(error.blame(), Blame::Credentials);
        assert!(error.remedy().unwrap().contains("tls.cert"));
    }
}
