//! Facts of a certificate: names, dates, and the hash for channel binding.

use crate::closed_set::closed_set;
use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{self as oid, Oid},
    prelude::FromDer,
    signature_algorithm::RsaSsaPssParams,
    x509::AlgorithmIdentifier,
};

/// Facts of a certificate in use, for metrics, the admin API and the doctor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Use of the certificate.
    pub usage: CertificateUse,
    /// Subject as a distinguished name.
    pub subject: String,
    /// Issuer as a distinguished name.
    pub issuer: String,
    /// Alternative names: DNS names and addresses.
    pub names: Vec<String>,
    /// Start of the validity period.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

closed_set! {
    /// Use of a certificate: a metric label.
    pub enum CertificateUse {
        /// Trusted certificate authority.
        Ca = "ca",
        /// Gatekeeper's own certificate.
        Identity = "identity",
        /// Certificate of the server in the last handshake.
        Peer = "peer",
    }
}

// === impl CertificateFacts ===

impl CertificateFacts {
    /// Reads the facts of `der`; `None` for an invalid certificate.
    pub(super) fn read(usage: CertificateUse, der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = parse_certificate(der)?;
        let validity = certificate.validity();
        Some(Self {
            usage,
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names_to_check(&certificate),
            not_before: at(validity.not_before.timestamp()),
            not_after: at(validity.not_after.timestamp()),
        })
    }
}

/// Parses a certificate; `None` for an invalid certificate or trailing bytes.
pub(super) fn parse_certificate<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

/// The alternative names; without any of the kinds that are checked, the common name, which libpq then checks too.
pub(super) fn names_to_check(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = alternative_names(certificate);
    if names.is_empty() { common_name(certificate).map(str::to_owned).into_iter().collect() } else { names }
}

/// The DNS names and IP addresses among the alternative names.
pub(super) fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match **bytes {
                [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
            },
            _ => None,
        })
        .collect()
}

/// The first common name of the subject.
pub(super) fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate.subject().iter_common_name().next()?.as_str().ok()
}

/// `tls-server-end-point`: hash of the certificate, by the hash function of the signature, with SHA-256 in place of MD5
/// and SHA-1; `None` where the RFC defines no hash.
///
/// <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>
pub(super) fn end_point(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = parse_certificate(der)?;
    let hash = signature_hash(&certificate.signature_algorithm)?;
    Some(digest::digest(hash, der).as_ref().to_vec())
}

fn signature_hash(signature: &AlgorithmIdentifier<'_>) -> Option<&'static digest::Algorithm> {
    if signature.algorithm == oid::OID_PKCS1_RSASSAPSS {
        let parameters = RsaSsaPssParams::try_from(signature.parameters.as_ref()?).ok()?;
        return known_hash(parameters.hash_algorithm_oid());
    }
    known_hash(&signature.algorithm)
}

fn known_hash(oid: &Oid<'_>) -> Option<&'static digest::Algorithm> {
    HASHES.iter().find(|(known, _)| known == oid).map(|(_, hash)| *hash)
}

/// Hash function of the binding for each signature algorithm, and for each hash named by RSASSA-PSS.
static HASHES: [(Oid<'static>, &digest::Algorithm); 12] = [
    (oid::OID_PKCS1_MD5WITHRSAENC, &digest::SHA256),
    (oid::OID_PKCS1_SHA1WITHRSA, &digest::SHA256),
    (oid::OID_HASH_SHA1, &digest::SHA256),
    (oid::OID_PKCS1_SHA256WITHRSA, &digest::SHA256),
    (oid::OID_SIG_ECDSA_WITH_SHA256, &digest::SHA256),
    (oid::OID_NIST_HASH_SHA256, &digest::SHA256),
    (oid::OID_PKCS1_SHA384WITHRSA, &digest::SHA384),
    (oid::OID_SIG_ECDSA_WITH_SHA384, &digest::SHA384),
    (oid::OID_NIST_HASH_SHA384, &digest::SHA384),
    (oid::OID_PKCS1_SHA512WITHRSA, &digest::SHA512),
    (oid::OID_SIG_ECDSA_WITH_SHA512, &digest::SHA512),
    (oid::OID_NIST_HASH_SHA512, &digest::SHA512),
];

pub(super) fn at(unix_seconds: i64) -> Timestamp {
    Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::MAX)
}
