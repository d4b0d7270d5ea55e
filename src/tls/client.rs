//! TLS towards an endpoint.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::TlsConnector;

use super::{
    CertificateFacts, CertificateUse, EndpointTls, Negotiation, PROTOCOL, Stream, TlsError, TlsFileError,
    TlsMode,
    pem::{self, PemFiles},
    provider,
    verifier::{CertificateVerifier, Trust},
};
use crate::{
    files::{Files, Reload, ReloadError, Reloadable},
    live::{Live, Publisher, live},
    topology::Address,
};

/// TLS towards an endpoint: trust, name and identity. Cheap to clone; a reload affects all clones.
#[derive(Clone)]
pub struct ClientTls {
    shared: Arc<SharedClientTls>,
}

/// Proof that the server presented a chain to a trusted CA, and in mode `verify-full` a certificate for the name as
/// well. Only a handshake can create the proof.
#[derive(Debug)]
pub struct VerifiedTls {
    _made_by_a_handshake: (),
}

struct SharedClientTls {
    settings: EndpointTls,
    address: Address,
    name: ServerName<'static>,
    loaded: Live<LoadedClientTls>,
    publisher: Mutex<Publisher<LoadedClientTls>>,
    /// The server's certificate in the last handshake.
    peer: Mutex<Option<CertificateFacts>>,
}

/// Contents of the files, replaced as a whole.
struct LoadedClientTls {
    config: Arc<ClientConfig>,
    digest: [u8; 32],
    certificates: Vec<CertificateFacts>,
}

/// TLS sessions kept per endpoint for resumption. Servers behind a read pool's address share the sessions, and
/// PostgreSQL issues none: a few suffice.
const MAX_KEPT_SESSIONS: usize = 16;

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files of `settings`. Mode `disable` reads no files.
    ///
    /// # Errors
    /// A file that cannot be used, or a name that no certificate could carry in mode `verify-full`.
    pub fn new(settings: &EndpointTls, address: &Address) -> Result<Self, TlsFileError> {
        let name = server_name(settings, address)?;
        let (publisher, loaded) =
            live(LoadedClientTls::read(settings, &PemFiles::read(&files_of(settings))?)?);
        Ok(Self {
            shared: Arc::new(SharedClientTls {
                settings: settings.clone(),
                address: address.clone(),
                name,
                loaded,
                publisher: Mutex::new(publisher),
                peer: Mutex::new(None),
            }),
        })
    }

    /// A receiver of changes of certificates or authorities; closes when the last clone is dropped.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.loaded.changes()
    }

    /// How much TLS.
    #[must_use]
    pub fn mode(&self) -> TlsMode {
        self.shared.settings.mode
    }

    /// Start of the TLS negotiation.
    #[must_use]
    pub fn negotiation(&self) -> Negotiation {
        self.shared.settings.negotiation
    }

    /// The name or address that is sent and, in mode `verify-full`, checked.
    #[must_use]
    pub fn server_name(&self) -> String {
        self.shared.name.to_str().into_owned()
    }

    /// Performs the TLS handshake on a connection whose server awaits a ClientHello: behind the server's `S`, or at
    /// once with direct TLS. No time limit. In mode `disable` the connection stays plaintext.
    ///
    /// Cancel safe in that the connection is closed.
    ///
    /// # Errors
    /// [`TlsError`] with the remedy.
    pub async fn handshake(&self, tcp: TcpStream) -> Result<(Stream, Option<VerifiedTls>), TlsError> {
        let mode = self.mode();
        if mode == TlsMode::Disable {
            return Ok((Stream::Tcp(tcp), None));
        }
        let connector = TlsConnector::from(Arc::clone(&self.shared.loaded.load().config));
        let explain = match self.negotiation() {
            Negotiation::Postgres => TlsError::from_io,
            Negotiation::Direct => TlsError::from_direct,
        };
        let tls = connector.connect(self.shared.name.clone(), tcp).await.map_err(explain)?;
        // A handshake without ALPN may come from a server of another protocol.
        if self.negotiation() == Negotiation::Direct && tls.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(TlsError::NoAlpn);
        }
        let stream = Stream::Client(Box::new(tls));
        self.remember_peer(&stream);
        Ok((stream, mode.verifies().then_some(VerifiedTls { _made_by_a_handshake: () })))
    }

    /// Reads the files again, and uses the contents for new handshakes if they are valid.
    ///
    /// # Errors
    /// The problem with the files; the previous contents stay in use.
    pub fn reload(&self) -> Result<Reload, TlsFileError> {
        self.shared.reload_files()
    }

    /// Registers the files of the endpoint with `files`.
    pub fn watch(&self, files: &Files) {
        files.watch(&self.shared);
    }

    /// Certificates in use: trusted CAs (except the system's), the first of Gatekeeper's own chain, the last
    /// certificate of the server.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        let mut certificates = self.shared.loaded.load().certificates.clone();
        certificates.extend(self.shared.peer.lock().unwrap_or_else(PoisonError::into_inner).clone());
        certificates
    }

    fn remember_peer(&self, stream: &Stream) {
        let facts =
            stream.peer_certificate().and_then(|der| CertificateFacts::read(CertificateUse::Peer, der));
        *self.shared.peer.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }
}

// === impl SharedClientTls ===

impl SharedClientTls {
    fn reload_files(&self) -> Result<Reload, TlsFileError> {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let files = PemFiles::read(&files_of(&self.settings))?;
        if files.digest() == self.loaded.load().digest {
            return Ok(Reload::Unchanged);
        }
        publisher.publish(LoadedClientTls::read(&self.settings, &files)?);
        Ok(Reload::Swapped)
    }
}

impl Reloadable for SharedClientTls {
    fn describe(&self) -> String {
        format!("TLS towards {}", self.address)
    }

    fn files(&self) -> Vec<PathBuf> {
        files_of(&self.settings)
    }

    fn reload(&self) -> Result<Reload, ReloadError> {
        Ok(self.reload_files()?)
    }
}

// === impl LoadedClientTls ===

impl LoadedClientTls {
    fn read(settings: &EndpointTls, files: &PemFiles) -> Result<Self, TlsFileError> {
        let provider = provider::towards_endpoints();
        let algorithms = provider.signature_verification_algorithms;
        let trust = if settings.mode.verifies() { Some(read_trust(settings, files)?) } else { None };
        let cas = trust.as_ref().map_or(&[][..], |trust| &trust.bundle);
        let mut certificates: Vec<_> =
            cas.iter().filter_map(|der| CertificateFacts::read(CertificateUse::Ca, der)).collect();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsFileError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(CertificateVerifier { trust, algorithms }));
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let identity = files.identity(identity, &provider)?;
                certificates.extend(
                    identity
                        .cert
                        .first()
                        .and_then(|der| CertificateFacts::read(CertificateUse::Identity, der)),
                );
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)))
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::in_memory_sessions(MAX_KEPT_SESSIONS);
        Ok(Self { config: Arc::new(config), digest: files.digest(), certificates })
    }
}

fn read_trust(settings: &EndpointTls, files: &PemFiles) -> Result<Trust, TlsFileError> {
    let full = settings.mode == TlsMode::VerifyFull;
    if let Some(path) = &settings.ca_file {
        let bundle = files.certificates(path)?;
        return Ok(Trust { roots: pem::roots(&bundle, path)?, bundle, full });
    }
    let mut roots = rustls::RootCertStore::empty();
    // Old entries of a system's bundle may be beyond webpki; the rest is good.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsFileError::NoSystemRoots);
    }
    Ok(Trust { roots, bundle: Vec::new(), full })
}

/// The files of `settings` that matter in the mode.
fn files_of(settings: &EndpointTls) -> Vec<PathBuf> {
    if settings.mode == TlsMode::Disable {
        return Vec::new();
    }
    let ca = settings.ca_file.iter().filter(|_| settings.mode.verifies());
    let identity = settings.identity.iter().flat_map(|identity| [&identity.cert, &identity.key]);
    ca.chain(identity).cloned().collect()
}

/// The name to send and check. A host that cannot be a name is an error where names count, and otherwise replaced by an
/// address, which is never sent.
fn server_name(settings: &EndpointTls, address: &Address) -> Result<ServerName<'static>, TlsFileError> {
    let host = match (&settings.server_name, address) {
        (Some(name), _) => name.as_str(),
        (None, Address::Tcp { host, .. }) => host.as_str(),
        (None, Address::Unix(_)) => "",
    };
    let counts = settings.mode == TlsMode::VerifyFull && !matches!(address, Address::Unix(_));
    // A trailing dot is how DNS writes an absolute name; certificates do without.
    match ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if counts || settings.server_name.is_some() => Err(TlsFileError::ServerName(host.to_owned())),
        Err(_) => Ok(ServerName::from(IpAddr::from([0, 0, 0, 0]))),
    }
}
