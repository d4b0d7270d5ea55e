//! What an operator may say about TLS.

use crate::closed_set::closed_set;
use std::{path::PathBuf, str::FromStr};

closed_set! {
    /// How much TLS towards an endpoint, in libpq's words.
    ///
    /// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>
    pub enum TlsMode(
        /// True if the server's chain is verified: the condition for sending a token.
        verifies: bool,
    ) {
        /// Plaintext.
        Disable = "disable" { verifies: false },
        /// TLS when the server offers it, unverified.
        Prefer = "prefer" { verifies: false },
        /// TLS or nothing, unverified.
        Require = "require" { verifies: false },
        /// TLS with a chain that ends at a trusted CA; the name is not looked at.
        VerifyCa = "verify-ca" { verifies: true },
        /// TLS with a trusted chain and a certificate for the dialed name or address.
        VerifyFull = "verify-full" { verifies: true },
    }
}

/// Who speaks first about TLS.
///
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-SSLNEGOTIATION>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Negotiation {
    /// An SSLRequest in plaintext, then TLS.
    #[default]
    Postgres,
    /// TLS at once, with ALPN `postgresql`.
    Direct,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key, unencrypted: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// TLS towards one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointTls {
    /// How much.
    pub mode: TlsMode,
    /// Who speaks first.
    pub negotiation: Negotiation,
    /// Trusted CAs as a PEM bundle; the system's roots when absent.
    pub ca_file: Option<PathBuf>,
    /// The name to send (SNI) and to check; derived from the address when absent.
    pub server_name: Option<String>,
    /// Our own certificate, for servers that ask for one.
    pub identity: Option<IdentityFiles>,
}

/// TLS towards the clients of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// What we show.
    pub identity: IdentityFiles,
    /// Whether a client that stays in plaintext is refused.
    pub required: bool,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// The CAs that sign clients' certificates, as a PEM bundle; needed unless `client_certificates` is `None`.
    pub client_ca_file: Option<PathBuf>,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    None,
    /// Asked for and verified when shown.
    Optional,
    /// A client without one is refused in the handshake.
    Required,
}

// === impl TlsMode ===

impl FromStr for TlsMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}
