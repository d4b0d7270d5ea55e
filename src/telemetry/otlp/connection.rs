//! Connections to the collector: plain or TLS.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::Collector;

/// A connection.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

/// Opens connections.
pub(super) struct Connector {
    /// CAs of the collector; `None` for those of the system.
    ca_file: Option<PathBuf>,
    /// Built for the first request: reading the system's roots takes milliseconds.
    tls: Option<TlsConnector>,
}

// === impl Connector ===

impl Connector {
    pub(super) const fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, tls: None }
    }

    /// A new connection to `collector`.
    ///
    /// Cancel safe: the connection is closed.
    pub(super) async fn connect(&mut self, collector: &Collector) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect(collector.authority.as_str()).await?;
        if !collector.is_https {
            return Ok(Box::new(stream));
        }
        let tls = match &self.tls {
            Some(tls) => tls,
            None => self.tls.insert(self.build()?),
        };
        let name = ServerName::try_from(collector.host().to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    fn build(&self) -> io::Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(file) => {
                for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
            }
            // Old entries of a system's bundle may be beyond webpki; the rest is good.
            None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        }
        if roots.is_empty() {
            return Err(io::Error::other("no CA certificates"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
