//! TLS towards a local server with a known certificate file.

use std::{io, path::Path, sync::Arc};

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{TlsFileError, pem::PemFiles, provider, verifier::CertificateVerifier};

/// TLS towards a server with a known certificate. Names and dates are ignored.
pub struct PinnedTls {
    config: Arc<ClientConfig>,
    leaf: CertificateDer<'static>,
}

/// Reasons why there is no TLS with the expected server.
#[derive(Debug, thiserror::Error)]
pub enum PinnedTlsError {
    /// The handshake failed, e.g. with a plaintext server.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    /// A different server, or a certificate renewed within the last few seconds.
    #[error("the server presented another certificate than the first of the configured file")]
    OtherCertificate,
}

// === impl PinnedTls ===

impl PinnedTls {
    /// Expects the first certificate of the file `cert`.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(cert: &Path) -> Result<Self, TlsFileError> {
        let files = PemFiles::read(&[cert.to_owned()])?;
        let leaf = files.certificates(cert)?.into_iter().next();
        let leaf = leaf.ok_or_else(|| TlsFileError::NoCertificate(cert.to_owned()))?;
        let provider = provider::towards_clients();
        // The handshake proves possession of the key; the certificate is compared afterwards.
        let verifier =
            CertificateVerifier { trust: None, algorithms: provider.signature_verification_algorithms };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsFileError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.enable_sni = false;
        Ok(Self { config: Arc::new(config), leaf })
    }

    /// Performs the TLS handshake, without a time limit.
    ///
    /// Cancel safe: the connection is closed.
    ///
    /// # Errors
    /// [`PinnedTlsError`]; only the handshake was sent.
    pub async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, PinnedTlsError> {
        let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(name, tcp).await.map_err(PinnedTlsError::Handshake)?;
        let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if presented != Some(&self.leaf) {
            return Err(PinnedTlsError::OtherCertificate);
        }
        Ok(stream)
    }
}
