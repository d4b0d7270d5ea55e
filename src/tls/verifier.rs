//! Verification of a server certificate, by the endpoint's mode.
//!
//! webpki decides first. Three kinds of certificates on real servers fail in webpki but not in OpenSSL, and are checked
//! here: a self-signed certificate as its own root (libpq users copy `server.crt` to `root.crt`), a leaf with `CA:TRUE`
//! (test server of AlloyDB's connectors), and a version 1 leaf (recipe of PostgreSQL's manual with OpenSSL before 3.2).
//! The last two must be signed by a trusted CA directly.

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

/// Verifies the certificates of an endpoint.
pub(super) struct CertificateVerifier {
    /// Trusted CAs; `None` in the modes `prefer` and `require`, which only encrypt. Handshake signatures are checked in
    /// any case.
    pub(super) trust: Option<Trust>,
    /// Accepted signature algorithms.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Trust of the modes `verify-ca` and `verify-full`.
pub(super) struct Trust {
    /// The trusted CAs, ready for webpki.
    pub(super) roots: RootCertStore,
    /// The CAs as read from the file; empty for the system's roots.
    pub(super) bundle: Vec<CertificateDer<'static>>,
    /// True if the name must match.
    pub(super) full: bool,
}

/// Rejections without a rustls variant, carried in a rustls error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error("signed by {issuer}, which is not trusted")]
    UnknownCa { issuer: String },
}

// === impl CertificateVerifier ===

impl ServerCertVerifier for CertificateVerifier {
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

impl fmt::Debug for CertificateVerifier {
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
        let facts = certificate::parse_certificate(leaf).ok_or(CertificateError::BadEncoding)?;
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
            // A CA was recreated under the same name, and is not the trusted CA.
            Error::InvalidCertificate(CertificateError::BadSignature) => unknown_ca(format!(
                "{}, with another key than the trusted CA of that name",
                last_issuer(&facts, intermediates)
            )),
            other => other,
        })
    }
}

/// Checks the name or address as libpq does: alternative names, or the common name without alternative names.
///
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES>
fn check_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let facts = certificate::parse_certificate(leaf).ok_or(CertificateError::BadEncoding)?;
    let presented = certificate::alternative_names(&facts);
    let good = if presented.is_empty() {
        certificate::common_name(&facts).is_some_and(|common| matches_common_name(common, name))
    } else {
        ParsedCertificate::try_from(leaf).and_then(|parsed| verify_server_name(&parsed, name)).is_ok()
    };
    if good {
        return Ok(());
    }
    let presented = certificate::names_to_check(&facts);
    Err(CertificateError::NotValidForNameContext { expected: name.to_owned(), presented }.into())
}

/// True if a common name matches `name`; `*.` stands for a single label.
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
    let parsed: Vec<_> = intermediates.iter().filter_map(certificate::parse_certificate).collect();
    let mut last = leaf;
    // Each step consumes a certificate of the chain, so a loop ends.
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
