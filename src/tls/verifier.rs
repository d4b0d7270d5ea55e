//! Whether a server's certificate is good enough, by the mode of its endpoint.
//!
//! webpki is asked first. It is stricter than OpenSSL in three ways that real servers run into, and those are judged
//! here: a self-signed certificate that is its own root (libpq users copy `server.crt` to `root.crt`), a leaf that says
//! `CA:TRUE` (as AlloyDB's connectors' own test server does), and a version 1 leaf (what the recipe of PostgreSQL's
//! manual makes with OpenSSL before 3.2). The last two are accepted only if a trusted CA signed them directly.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use x509_parser::{certificate::X509Certificate, x509::X509Version};

use super::{certificate, lenient};

/// Judges the certificates of one endpoint.
pub(super) struct Verifier {
    /// Whom to trust; absent in the modes `prefer` and `require`, which encrypt and nothing more. Signatures of the
    /// handshake are checked all the same.
    pub(super) trust: Option<Trust>,
    /// What signatures may be made with.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Whom modes `verify-ca` and `verify-full` trust.
pub(super) struct Trust {
    /// The trusted CAs, ready for webpki.
    pub(super) roots: RootCertStore,
    /// The same, as they were in the file; empty for the system's roots.
    pub(super) bundle: Vec<CertificateDer<'static>>,
    /// Whether the name counts.
    pub(super) full: bool,
}

/// What rustls has no words for; it travels through its error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error("signed by {issuer}, which is not trusted")]
    UnknownCa { issuer: String },
}

// === impl Verifier ===

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.check_chain(leaf, intermediates, self.algorithms.all, now)?;
            if trust.full {
                check_name(leaf, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if lenient::is_version_1(leaf) {
            return lenient::check_handshake(message, leaf, signed, &self.algorithms);
        }
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if lenient::is_version_1(leaf) {
            return lenient::check_handshake(message, leaf, signed, &self.algorithms);
        }
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.trust {
            None => "unverified",
            Some(trust) if trust.full => "verify-full",
            Some(_) => "verify-ca",
        })
    }
}

// === impl Trust ===

impl Trust {
    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> Result<(), Error> {
        let facts = certificate::parse(leaf).ok_or(CertificateError::BadEncoding)?;
        if self.bundle.iter().any(|trusted| **trusted == **leaf) {
            return lenient::check_validity(&facts, now);
        }
        let checked = if facts.is_ca() || facts.version() == X509Version::V1 {
            lenient::check_signed_directly(leaf, &facts, &self.roots, algorithms, now)
        } else {
            let parsed = ParsedCertificate::try_from(leaf)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
        };
        checked.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                unknown_ca(last_issuer(&facts, intermediates))
            }
            // A CA was made again under its old name: it is not the one that is trusted.
            Error::InvalidCertificate(CertificateError::BadSignature) => unknown_ca(format!(
                "{}, with another key than the trusted CA of that name",
                last_issuer(&facts, intermediates)
            )),
            other => other,
        })
    }
}

/// Checks the name or address as libpq does: the alternative names, and the common name when there are none.
///
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES>
fn check_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let facts = certificate::parse(leaf).ok_or(CertificateError::BadEncoding)?;
    let presented = certificate::alternative_names(&facts);
    let good = if presented.is_empty() {
        certificate::common_name(&facts).is_some_and(|common| matches_common_name(common, name))
    } else {
        ParsedCertificate::try_from(leaf).and_then(|parsed| verify_server_name(&parsed, name)).is_ok()
    };
    if good {
        return Ok(());
    }
    let presented = certificate::names(&facts);
    Err(CertificateError::NotValidForNameContext { expected: name.to_owned(), presented }.into())
}

/// Whether a common name is `name`, with `*.` standing for one label.
fn matches_common_name(common: &str, name: &ServerName<'_>) -> bool {
    match name {
        ServerName::DnsName(name) => {
            let name = name.as_ref();
            match common.strip_prefix("*.") {
                Some(parent) => name.split_once('.').is_some_and(|(label, rest)| {
                    !label.is_empty() && parent.contains('.') && rest.eq_ignore_ascii_case(parent)
                }),
                None => name.eq_ignore_ascii_case(common),
            }
        }
        ServerName::IpAddress(address) => common.parse() == Ok(IpAddr::from(*address)),
        _ => false,
    }
}

/// The issuer where the chain that was shown ends.
fn last_issuer(leaf: &X509Certificate<'_>, intermediates: &[CertificateDer<'_>]) -> String {
    let parsed: Vec<_> = intermediates.iter().filter_map(certificate::parse).collect();
    let mut last = leaf;
    // Each step uses up one certificate of the chain, so that a loop in it ends.
    for _ in 0..parsed.len() {
        match parsed.iter().find(|above| above.subject() == last.issuer()) {
            Some(above) => last = above,
            None => break,
        }
    }
    last.issuer().to_string()
}

fn unknown_ca(issuer: String) -> Error {
    CertificateError::Other(OtherError(Arc::new(Rejection::UnknownCa { issuer }))).into()
}
