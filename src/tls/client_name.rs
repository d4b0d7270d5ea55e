//! Name of the holder in a client certificate.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::certificate::{at, parse_certificate};
use crate::closed_set::closed_set;

closed_set! {
    /// Part of a client certificate with the client's name.
    #[derive(Default)]
    pub enum CertificateName {
        /// Common name of the subject, as in PostgreSQL's method `cert`.
        #[default]
        Common = "cn",
        /// The DNS names among the alternative names.
        Dns = "dns",
        /// The e-mail addresses among the alternative names.
        Email = "email",
        /// URIs among the alternative names, as used by SPIFFE.
        Uri = "uri",
    }
}

// === impl CertificateName ===

impl CertificateName {
    /// Names in a verified certificate. A certificate outside the validity period at `now` yields no name: a resumed
    /// TLS session is not verified again. A subject with several common names yields no common name: parties that
    /// choose different names would let strangers in.
    #[must_use]
    pub fn of(self, verified: &CertificateDer<'_>, now: Timestamp) -> Vec<String> {
        let Some(certificate) = parse_certificate(verified) else { return Vec::new() };
        let validity = certificate.validity();
        if !(at(validity.not_before.timestamp())..=at(validity.not_after.timestamp())).contains(&now) {
            return Vec::new();
        }
        match self {
            Self::Common => common_name(&certificate).into_iter().collect(),
            Self::Dns | Self::Email | Self::Uri => self.alternative_names(&certificate),
        }
    }

    fn alternative_names(self, certificate: &X509Certificate<'_>) -> Vec<String> {
        let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
        let text = |name: &GeneralName<'_>| match (self, name) {
            (Self::Dns, GeneralName::DNSName(text))
            | (Self::Email, GeneralName::RFC822Name(text))
            | (Self::Uri, GeneralName::URI(text)) => Some((*text).to_owned()),
            _ => None,
        };
        extension.value.general_names.iter().filter_map(text).collect()
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let only = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn issue(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let now = std::time::SystemTime::now();
        params.not_before = (now - Duration::from_secs(60)).into();
        params.not_after = (now + Duration::from_secs(60)).into();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn each_kind_of_name_is_read_from_its_own_place() {
        let certificate = issue(|params| {
            params.distinguished_name.push(DnType::CommonName, "orders service");
            params.subject_alt_names = vec![
                SanType::DnsName("orders.internal".try_into().unwrap()),
                SanType::Rfc822Name("orders@example.com".try_into().unwrap()),
                SanType::URI("spiffe://prod/orders".try_into().unwrap()),
                SanType::DnsName("orders-2.internal".try_into().unwrap()),
            ];
        });
        let now = Timestamp::now();
        let names = |kind: CertificateName| kind.of(&certificate, now);
        assert_eq!(names(CertificateName::Common), ["orders service"]);
        assert_eq!(names(CertificateName::Dns), ["orders.internal", "orders-2.internal"]);
        assert_eq!(names(CertificateName::Email), ["orders@example.com"]);
        assert_eq!(names(CertificateName::Uri), ["spiffe://prod/orders"]);
    }

    #[test]
    fn a_certificate_that_is_not_in_force_names_nobody() {
        let certificate = issue(|params| params.distinguished_name.push(DnType::CommonName, "alice"));
        let now = Timestamp::now();
        for (seconds, expected) in [(-120, 0), (0, 1), (120, 0)] {
            let names =
                CertificateName::Common.of(&certificate, now + jiff::SignedDuration::from_secs(seconds));
            assert_eq!(names.len(), expected, "{seconds} s from now");
        }
    }

    #[test]
    fn several_common_names_are_none() {
        let certificate = issue(|params| {
            params.distinguished_name.push(DnType::CommonName, "alice");
            // The attribute by number: the certificate generator keeps a single attribute per name.
            let again = DnType::CustomDnType(vec![2, 5, 4, 3]);
            params.distinguished_name.push(again, DnValue::Utf8String("postgres".to_owned()));
        });
        assert!(CertificateName::Common.of(&certificate, Timestamp::now()).is_empty());
    }
}
