//! TLS settings.

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
        /// TLS if the server offers TLS, unverified.
        Prefer = "prefer" { verifies: false },
        /// TLS required, unverified.
        Require = "require" { verifies: false },
        /// TLS with a chain to a trusted CA; the name is ignored.
        VerifyCa = "verify-ca" { verifies: true },
        /// TLS with a trusted chain and a certificate for the dialed name or address.
        VerifyFull = "verify-full" { verifies: true },
    }
}

/// Start of the TLS negotiation.
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

/// PEM files of a certificate chain and the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key, unencrypted: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// TLS towards an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointTls {
    /// How much.
    pub mode: TlsMode,
    /// Start of the TLS negotiation.
    pub negotiation: Negotiation,
    /// Trusted CAs as a PEM bundle; the system's roots when absent.
    pub ca_file: Option<PathBuf>,
    /// The name to send (SNI) and to check; derived from the address when absent.
    pub server_name: Option<String>,
    /// Gatekeeper's certificate, for servers that request a client certificate.
    pub identity: Option<IdentityFiles>,
}

/// TLS towards the clients of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Gatekeeper's certificate.
    pub identity: IdentityFiles,
    /// True to reject plaintext clients.
    pub required: bool,
    /// Request for client certificates.
    pub client_certificates: ClientCertificates,
    /// The CAs that sign clients' certificates, as a PEM bundle; needed unless `client_certificates` is `None`.
    pub client_ca_file: Option<PathBuf>,
}

/// Request for client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    None,
    /// Asked for and verified when shown.
    Optional,
    /// Required: a client without certificate fails in the handshake.
    Required,
}

// === impl TlsMode ===

impl FromStr for TlsMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}
