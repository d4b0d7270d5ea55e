//! Certificates that end, and tokens that are not renewed.

use jiff::{SignedDuration, Timestamp};

use super::{
    fault::{Fault, FaultKind},
    words::describe_duration,
};
use crate::{
    admin::moment::Clock,
    blame::Chain,
    credentials::TokenStatus,
    tls::{CertificateFacts, CertificateUse},
};

/// Time before the end of a certificate that counts as soon, as in the alert.
const CERTIFICATE_NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The first certificate of each use that ends soon, or has ended. `owner` is part of a sentence: `listener app`.
pub(super) fn diagnose_certificates(
    owner: &str,
    certificates: &[CertificateFacts],
    now: Timestamp,
    clock: Clock,
) -> Vec<Fault> {
    let first_of = |usage: CertificateUse| {
        let of_use = certificates.iter().filter(|facts| facts.usage == usage);
        of_use.min_by_key(|facts| facts.not_after)
    };
    let fault = |usage: CertificateUse| {
        let facts = first_of(usage)?;
        let left = facts.not_after.duration_since(now);
        if left > CERTIFICATE_NOTICE {
            return None;
        }
        let (what, remedy) = match usage {
            CertificateUse::Ca => (
                format!("A CA certificate that {owner} trusts ({})", facts.subject),
                "Replace the CA file by one with the successor; it is read again without a reload.",
            ),
            CertificateUse::Identity => (
                format!("The certificate of {owner} ({})", facts.subject),
                "Replace certificate and key; the files are read again without a reload.",
            ),
            CertificateUse::Peer => (
                format!("The server's certificate of {owner} ({})", facts.subject),
                "Renew the certificate of the server.",
            ),
        };
        let end = format!("{:.0}", facts.not_after);
        let (kind, text, since) = if left.is_negative() {
            let ago = describe_duration(left.unsigned_abs());
            (FaultKind::CertificateEnded, format!("{what} ended {ago} ago, at {end}."), facts.not_after)
        } else {
            let rest = describe_duration(left.unsigned_abs());
            let since = facts.not_after.checked_sub(CERTIFICATE_NOTICE).unwrap_or(now);
            (FaultKind::CertificateEnds, format!("{what} ends in {rest}, at {end}."), since)
        };
        Some(Fault::new(kind, text, remedy.to_owned(), Some(clock.since_time(since))))
    };
    CertificateUse::ALL.into_iter().filter_map(fault).collect()
}

/// The fault of an endpoint whose tokens cannot be minted.
pub(super) fn diagnose_tokens(
    endpoint: &str,
    status: &TokenStatus,
    now: Timestamp,
    clock: Clock,
) -> Option<Fault> {
    let error = status.failing.as_ref()?;
    let why = Chain(error);
    let last = status.kept.iter().max_by_key(|token| token.expires_at);
    let (kind, text) = match last {
        None => (
            FaultKind::TokenMissing,
            format!("Endpoint {endpoint} has no token, and none can be minted: {why}."),
        ),
        Some(token) => {
            let left = token.expires_at.duration_since(now);
            let rest = describe_duration(left.unsigned_abs());
            let end = if left.is_negative() {
                format!("ended {rest} ago and is still tried")
            } else {
                format!("ends in {rest}")
            };
            let text = format!("The token of endpoint {endpoint} is not renewed, the last one {end}: {why}.");
            (FaultKind::TokenNotRenewed, text)
        }
    };
    let mut remedy = error.remedy().to_owned();
    if let Some(first) = remedy.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let since = status.failing_since.map(|since| clock.since_time(since));
    Some(Fault::new(kind, text, format!("{remedy}."), since).of_endpoint(endpoint))
}
