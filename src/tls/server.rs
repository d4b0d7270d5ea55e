//! TLS towards the clients of a listener.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{
    CertificateFacts, CertificateUse, ClientCertificates, ListenerTls, Negotiation, PROTOCOL, Stream,
    TlsError, TlsFileError,
    certificate::end_point,
    pem::{self, PemFiles},
    provider,
    stream::ServerSide,
};
use crate::{
    files::{Files, Reload, ReloadError, Reloadable},
    live::{Live, Publisher, live},
};

/// TLS towards the clients of a listener: Gatekeeper's identity, and accepted client certificates. Cheap to clone; a
/// reload affects all clones.
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<SharedServerTls>,
}

struct SharedServerTls {
    settings: ListenerTls,
    /// The protocol to agree upon with clients that offer any.
    alpn: &'static [u8],
    loaded: Live<LoadedServerTls>,
    publisher: Mutex<Publisher<LoadedServerTls>>,
}

/// Contents of the files, replaced as a whole.
struct LoadedServerTls {
    config: Arc<ServerConfig>,
    digest: [u8; 32],
    end_point: Option<Vec<u8>>,
    certificates: Vec<CertificateFacts>,
}

/// HTTP/1.1's name in ALPN.
///
/// <https://www.rfc-editor.org/rfc/rfc7301#section-6>
const HTTP: &[u8] = b"http/1.1";

// === impl ServerTls ===

impl ServerTls {
    /// Reads the files of `settings`.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn new(settings: &ListenerTls) -> Result<Self, TlsFileError> {
        Self::with_alpn(PROTOCOL, settings)
    }

    /// Like [`ServerTls::new`], for HTTP/1.1 clients.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn https(settings: &ListenerTls) -> Result<Self, TlsFileError> {
        Self::with_alpn(HTTP, settings)
    }

    fn with_alpn(alpn: &'static [u8], settings: &ListenerTls) -> Result<Self, TlsFileError> {
        let (publisher, loaded) =
            live(LoadedServerTls::read(alpn, settings, &PemFiles::read(&files_of(settings))?)?);
        let shared =
            SharedServerTls { settings: settings.clone(), alpn, loaded, publisher: Mutex::new(publisher) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// True if plaintext clients are rejected.
    #[must_use]
    pub fn required(&self) -> bool {
        self.shared.settings.required
    }

    /// Performs the TLS handshake on a connection whose next byte begins a ClientHello: behind Gatekeeper's `S`, or at
    /// once with direct TLS (detected by peeking). No time limit.
    ///
    /// Cancel safe in that the connection is closed.
    ///
    /// # Errors
    /// [`TlsError`]; with direct TLS also for a client without ALPN `postgresql`, as in PostgreSQL.
    pub async fn accept(&self, tcp: TcpStream, negotiation: Negotiation) -> Result<Stream, TlsError> {
        let side = self.handshake(tcp).await?;
        if negotiation == Negotiation::Direct && side.tls.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(TlsError::NoAlpn);
        }
        Ok(Stream::Server(side))
    }

    /// Like [`ServerTls::accept`], for an HTTP client: TLS comes first, and ALPN is optional.
    ///
    /// Cancel safe in that the connection is closed.
    ///
    /// # Errors
    /// [`TlsError`]
    pub async fn accept_http(&self, tcp: TcpStream) -> Result<Stream, TlsError> {
        self.handshake(tcp).await.map(Stream::Server)
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<Box<ServerSide>, TlsError> {
        let loaded = self.shared.loaded.load();
        let acceptor = TlsAcceptor::from(Arc::clone(&loaded.config));
        let tls = acceptor.accept(tcp).await.map_err(TlsError::from_io)?;
        Ok(Box::new(ServerSide { tls, end_point: loaded.end_point.clone() }))
    }

    /// Reads the files again; [`Files`] calls the method on change.
    #[cfg(test)]
    pub(super) fn reload(&self) -> Result<Reload, TlsFileError> {
        self.shared.reload_files()
    }

    /// Registers the files of the listener with `files`.
    pub fn watch(&self, files: &Files) {
        files.watch(&self.shared);
    }

    /// Certificates in use: CAs of clients, and the first certificate of Gatekeeper's chain.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.shared.loaded.load().certificates.clone()
    }
}

// === impl SharedServerTls ===

impl SharedServerTls {
    fn reload_files(&self) -> Result<Reload, TlsFileError> {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let files = PemFiles::read(&files_of(&self.settings))?;
        if files.digest() == self.loaded.load().digest {
            return Ok(Reload::Unchanged);
        }
        publisher.publish(LoadedServerTls::read(self.alpn, &self.settings, &files)?);
        Ok(Reload::Swapped)
    }
}

impl Reloadable for SharedServerTls {
    fn describe(&self) -> String {
        format!("TLS towards clients from `{}`", self.settings.identity.cert.display())
    }

    fn files(&self) -> Vec<PathBuf> {
        files_of(&self.settings)
    }

    fn reload(&self) -> Result<Reload, ReloadError> {
        Ok(self.reload_files()?)
    }
}

// === impl LoadedServerTls ===

impl LoadedServerTls {
    fn read(alpn: &'static [u8], settings: &ListenerTls, files: &PemFiles) -> Result<Self, TlsFileError> {
        let provider = provider::towards_clients();
        let identity = files.identity(&settings.identity, &provider)?;
        let leaf = identity.cert.first().cloned();
        let mut certificates: Vec<_> =
            leaf.iter().filter_map(|der| CertificateFacts::read(CertificateUse::Identity, der)).collect();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsFileError::Settings)?;
        let builder = if settings.client_certificates == ClientCertificates::None {
            builder.with_no_client_auth()
        } else {
            let path = settings.client_ca_file.as_ref().ok_or(TlsFileError::NoClientCa)?;
            let bundle = files.certificates(path)?;
            certificates
                .extend(bundle.iter().filter_map(|der| CertificateFacts::read(CertificateUse::Ca, der)));
            let verifier =
                WebPkiClientVerifier::builder_with_provider(pem::roots(&bundle, path)?.into(), provider);
            let verifier = match settings.client_certificates {
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier: Arc<dyn ClientCertVerifier> = verifier.build().map_err(|error| {
                TlsFileError::BadCertificate { path: path.clone(), reason: error.to_string() }
            })?;
            builder.with_client_cert_verifier(verifier)
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![alpn.to_vec()];
        // Tickets make resumption stateless on the server; libpq does not resume sessions, other drivers do.
        config.ticketer = Ticketer::new().map_err(TlsFileError::Settings)?;
        config.send_tls13_tickets = 1;
        let end_point = leaf.as_ref().and_then(end_point);
        Ok(Self { config: Arc::new(config), digest: files.digest(), end_point, certificates })
    }
}

fn files_of(settings: &ListenerTls) -> Vec<PathBuf> {
    let ca =
        settings.client_ca_file.iter().filter(|_| settings.client_certificates != ClientCertificates::None);
    [&settings.identity.cert, &settings.identity.key].into_iter().chain(ca).cloned().collect()
}
