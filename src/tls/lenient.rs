//! Checks of leaf certificates that webpki rejects as such: leaves with `CA:TRUE`, and version 1 leaves.
//!
//! Performs every check of webpki for a leaf: dates, purpose, unknown critical extensions, signature of the CA. Chains
//! are not built: the issuer must be a trusted CA.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension, x509::X509Version};

use super::certificate;

/// True for a version 1 certificate, which webpki cannot parse.
pub(super) fn is_version_1(leaf: &CertificateDer<'_>) -> bool {
    certificate::parse_certificate(leaf).is_some_and(|facts| facts.version() == X509Version::V1)
}

/// Checks the dates.
pub(super) fn check_validity(facts: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (from, until) = (facts.validity().not_before.timestamp(), facts.validity().not_after.timestamp());
    if seconds < from {
        return Err(CertificateError::NotValidYetContext { time: now, not_before: unix_time(from) }.into());
    }
    if seconds > until {
        return Err(CertificateError::ExpiredContext { time: now, not_after: unix_time(until) }.into());
    }
    Ok(())
}

/// Checks that a CA of `roots` signed `leaf` directly, and that `leaf` is valid for servers now.
pub(super) fn check_signed_directly(
    leaf: &CertificateDer<'_>,
    facts: &X509Certificate<'_>,
    roots: &RootCertStore,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Result<(), Error> {
    check_validity(facts, now)?;
    check_extensions(facts)?;
    let signed = Signed::read(leaf).ok_or(CertificateError::BadEncoding)?;
    let issuer = element_content(facts.issuer().as_raw()).ok_or(CertificateError::BadEncoding)?;
    let mut verdict = CertificateError::UnknownIssuer;
    for anchor in &roots.roots {
        if *anchor.subject != *issuer {
            continue;
        }
        // Only webpki can check name constraints of a CA.
        if anchor.name_constraints.is_some() {
            continue;
        }
        let key =
            PublicKey::read_content(&anchor.subject_public_key_info).ok_or(CertificateError::BadEncoding)?;
        if algorithms.iter().any(|algorithm| {
            *algorithm.signature_alg_id() == *signed.algorithm && key.verifies(*algorithm, &signed)
        }) {
            return Ok(());
        }
        verdict = CertificateError::BadSignature;
    }
    Err(verdict.into())
}

/// Checks the signature of a handshake by the key of `leaf`, without webpki.
pub(super) fn check_handshake(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let facts = certificate::parse_certificate(leaf).ok_or(CertificateError::BadEncoding)?;
    let key = element_content(facts.public_key().raw)
        .and_then(PublicKey::read_content)
        .ok_or(CertificateError::BadEncoding)?;
    let signed_message = Signed { message, algorithm: &[], signature: signed.signature() };
    let good = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signed.scheme)
        .flat_map(|(_, candidates)| *candidates)
        .any(|algorithm| key.verifies(*algorithm, &signed_message));
    if good { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
}

/// Rejects a certificate for another purpose, or with unknown critical extensions.
fn check_extensions(facts: &X509Certificate<'_>) -> Result<(), Error> {
    for extension in facts.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) if !usage.server_auth && !usage.any => {
                return Err(CertificateError::InvalidPurpose.into());
            }
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_) => {}
            _ if extension.critical => return Err(CertificateError::UnhandledCriticalExtension.into()),
            _ => {}
        }
    }
    Ok(())
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Signed data: for a certificate, the part covered by the signature.
struct Signed<'a> {
    message: &'a [u8],
    /// The content of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

/// A SubjectPublicKeyInfo, taken apart.
struct PublicKey<'a> {
    /// The content of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    bits: &'a [u8],
}

// === impl Signed ===

impl<'a> Signed<'a> {
    /// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING }`
    fn read(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        let rest = element_content(certificate)?;
        let (message, rest) = split_element(rest)?;
        let (algorithm, rest) = split_element(rest)?;
        let (signature, _) = split_element(rest)?;
        Some(Self {
            message,
            algorithm: element_content(algorithm)?,
            signature: bit_string_bytes(signature)?,
        })
    }
}

// === impl PublicKey ===

impl<'a> PublicKey<'a> {
    /// `SubjectPublicKeyInfo ::= SEQUENCE { algorithm, subjectPublicKey BIT STRING }`, of which `bytes` is the content.
    fn read_content(bytes: &'a [u8]) -> Option<Self> {
        let (algorithm, rest) = split_element(bytes)?;
        let (key, _) = split_element(rest)?;
        Some(Self { algorithm: element_content(algorithm)?, bits: bit_string_bytes(key)? })
    }

    fn verifies(&self, algorithm: &dyn SignatureVerificationAlgorithm, signed: &Signed<'_>) -> bool {
        *algorithm.public_key_alg_id() == *self.algorithm
            && algorithm.verify_signature(self.bits, signed.message, signed.signature).is_ok()
    }
}

/// Splits off the first DER element, with the header.
fn split_element(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, length) = parse_header(bytes)?;
    bytes.split_at_checked(head.checked_add(length)?)
}

/// Content of a DER element that fills `bytes`.
fn element_content(bytes: &[u8]) -> Option<&[u8]> {
    let (head, length) = parse_header(bytes)?;
    let inside = bytes.get(head..)?;
    (inside.len() == length).then_some(inside)
}

/// Content of a BIT STRING of whole bytes.
fn bit_string_bytes(bytes: &[u8]) -> Option<&[u8]> {
    element_content(bytes)?.strip_prefix(&[0])
}

/// Size of a DER header (tag and length) and the announced length, for tags below 31.
fn parse_header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        short @ 0..=0x7f => Some((2, usize::from(short))),
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let length = bytes.get(2..2 + count)?;
            Some((2 + count, length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))))
        }
        _ => None,
    }
}
