//! Errors of TLS handshakes and TLS files.

use std::{fmt, io, path::PathBuf};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::verifier::Rejection;
use crate::blame::Blame;

/// Why a handshake failed. On the endpoints' leg the certificate spoken of is the server's, on the clients' leg the
/// client's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain does not end at a trusted CA.
    #[error("the certificate is signed by {issuer}, which is not among the trusted CAs")]
    UnknownCa {
        /// The issuer named in the certificate.
        issuer: String,
    },
    /// A trusted chain with a certificate for another name.
    #[error(
        "the certificate's chain is trusted, but it is for {}, not for {expected}: set `tls.server_name` to a name \
         of the certificate, or `tls.mode = \"verify-ca\"` to check the chain alone",
        Names(presented)
    )]
    NameMismatch {
        /// The name or address that was checked.
        expected: String,
        /// The names and addresses of the certificate.
        presented: Vec<String>,
    },
    /// An expired certificate in the chain.
    #[error("the certificate expired at {not_after}")]
    Expired {
        /// When.
        not_after: Timestamp,
    },
    /// A certificate that is not valid yet; a wrong clock has the same symptom.
    #[error("the certificate is not valid before {not_before}")]
    NotYetValid {
        /// Start of the validity period.
        not_before: Timestamp,
    },
    /// The certificate cannot be used for another reason.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// The peer ended the handshake with an alert.
    #[error("the peer refused the handshake: {}", alert_words(*.0))]
    Refused(AlertDescription),
    /// Direct TLS requires ALPN `postgresql`, and the peer did not agree.
    #[error("the peer did not agree to ALPN `postgresql`, which direct TLS needs")]
    NoAlpn,
    /// The peer closed the connection after a direct ClientHello: a server without direct TLS reads an invalid startup
    /// packet.
    #[error("the peer closed the connection when TLS began at once")]
    NotDirect,
    /// The peer does not support TLS.
    #[error("the peer answered with something that is not TLS")]
    NotTls,
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// No version or cipher suite in common, a broken record, a bad signature.
    #[error("the handshake failed")]
    Protocol(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
}

/// Problem with certificates, keys or names. The previous contents stay in use.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The file could not be read.
    #[error("reading `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no PEM.
    #[error("`{}` is not PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Problem with the file.
        reason: String,
    },
    /// A file without certificate.
    #[error("`{}` holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate of the file cannot be used.
    #[error("a certificate in `{}` cannot be used: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Problem with the file.
        reason: String,
    },
    /// A file without private key.
    #[error("`{}` holds no private key (PKCS#8, PKCS#1 or SEC1)", .0.display())]
    NoKey(PathBuf),
    /// The private key is encrypted.
    #[error("the private key in `{}` is encrypted: store it without a passphrase", .0.display())]
    EncryptedKey(PathBuf),
    /// The private key cannot be used.
    #[error("the private key in `{}` cannot be used: {reason}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Problem with the file.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error("the key in `{}` does not belong to the certificate in `{}`", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// No CA file was given and the system has no roots.
    #[error("no CA file is set and the system's own roots cannot be read: set `ca_file`")]
    NoSystemRoots,
    /// Client certificates are requested, but no CA is configured.
    #[error("clients' certificates cannot be checked without `client_ca_file`")]
    NoClientCa,
    /// No server name to verify: the address is not a valid name, and no name is configured.
    #[error("`{0}` cannot be a certificate name: set `tls.server_name`")]
    ServerName(String),
    /// The TLS library refused the settings.
    #[error("the TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
}

/// Names in a sentence.
struct Names<'a>(&'a [String]);

// === impl TlsError ===

impl TlsError {
    /// Explains an error of a read or write after the handshake, if TLS failed: with TLS 1.3 a server's rejection of
    /// Gatekeeper's certificate arrives with the first read.
    #[must_use]
    pub fn explain(error: &io::Error) -> Option<Self> {
        let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(Self::from_rustls(tls.clone()))
    }

    /// Responsible party on the endpoint side; on the client side the client is always responsible.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied,
            ) => Blame::Credentials,
            Self::UnknownCa { .. } | Self::NameMismatch { .. } => Blame::Policy,
            _ => Blame::Endpoint,
        }
    }

    /// True if the peer's certificate is the problem, and not the handshake.
    #[must_use]
    pub const fn is_about_the_certificate(&self) -> bool {
        matches!(
            self,
            Self::UnknownCa { .. }
                | Self::NameMismatch { .. }
                | Self::Expired { .. }
                | Self::NotYetValid { .. }
                | Self::Certificate(_)
        )
    }

    /// Remedy for an operator, if known.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownCa { .. } => {
                "put the CA that signed the server's certificate into `ca_file`; both CAs during a rotation"
            }
            Self::NameMismatch { .. } => {
                "set `tls.server_name` to a name of the certificate, or `tls.mode = \"verify-ca\"`"
            }
            Self::Expired { .. } => "renew the server's certificate, or check this machine's clock",
            Self::NotYetValid { .. } => "check this machine's clock",
            Self::Refused(AlertDescription::CertificateRequired) => {
                "the server asks for a client certificate: set `tls.cert` and `tls.key`"
            }
            Self::Refused(_) if self.blame() == Blame::Credentials => {
                "the server does not accept our certificate: check `tls.cert`"
            }
            Self::NoAlpn | Self::NotDirect | Self::NotTls => {
                "the server may be older than PostgreSQL 17 or no PostgreSQL at all: try `negotiation = \"postgres\"`"
            }
            _ => return None,
        })
    }

    /// Meaning of an I/O error in a direct handshake.
    pub(super) fn from_direct(error: io::Error) -> Self {
        match Self::from_io(error) {
            Self::Closed => Self::NotDirect,
            Self::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => Self::NotDirect,
            other => other,
        }
    }

    pub(super) fn from_io(error: io::Error) -> Self {
        match Self::explain(&error) {
            Some(explained) => explained,
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error),
        }
    }

    fn from_rustls(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | rustls::Error::NoApplicationProtocol => Self::NoAlpn,
            rustls::Error::AlertReceived(alert) => Self::Refused(alert),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            rustls::Error::InvalidCertificate(certificate) => Self::from_certificate(certificate),
            rustls::Error::NoCertificatesPresented => Self::Certificate("none was presented".into()),
            other => Self::Protocol(other),
        }
    }

    fn from_certificate(error: CertificateError) -> Self {
        match error {
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired { not_after: at(not_after) },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid { not_before: at(not_before) }
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                Self::NameMismatch { expected: expected.to_str().into_owned(), presented }
            }
            CertificateError::UnknownIssuer => Self::UnknownCa { issuer: "an unknown CA".into() },
            CertificateError::Other(other) => match other.0.downcast_ref::<Rejection>() {
                Some(Rejection::UnknownCa { issuer }) => Self::UnknownCa { issuer: issuer.clone() },
                None => Self::Certificate(other.0.to_string()),
            },
            other => Self::Certificate(other.to_string()),
        }
    }
}

/// The words OpenSSL and the RFC use for the alerts that operators meet.
fn alert_words(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::CertificateExpired => "certificate expired",
        AlertDescription::CertificateUnknown => "certificate unknown",
        AlertDescription::CertificateRevoked => "certificate revoked",
        AlertDescription::UnknownCA => "unknown CA",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::HandshakeFailure => "handshake failure (no cipher suite in common)",
        AlertDescription::ProtocolVersion => "protocol version (TLS 1.2 or 1.3 is needed)",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UnrecognisedName => "unrecognized name",
        other => return format!("{other:?}"),
    };
    words.to_owned()
}

fn at(time: rustls_pki_types::UnixTime) -> Timestamp {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|secs| Timestamp::from_second(secs).ok())
        .unwrap_or(Timestamp::MAX)
}

// === impl Names ===

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no name at all"),
            names => f.write_str(&names.join(", ")),
        }
    }
}
