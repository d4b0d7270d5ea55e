//! CAs, certificates and their files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

use super::super::*;
use crate::topology::Address;

/// A CA for tests.
pub(super) struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A folder of PEM files.
pub(super) struct Folder(TempDir);

// === impl Ca ===

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An intermediate CA, signed by the CA.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for `params` and the key, both PEM.
    pub(super) fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A leaf with a common name and alternative names.
pub(super) fn named(common_name: &str, alternative: &[&str]) -> CertificateParams {
    let names: Vec<_> = alternative.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// A leaf as on AlloyDB's direct path: a DNS name and no address.
pub(super) fn leaf() -> CertificateParams {
    named("orders", &["db.internal", "*.pool.internal"])
}

pub(super) fn expired() -> CertificateParams {
    valid_in(2019, 2020)
}

pub(super) fn not_yet_valid() -> CertificateParams {
    valid_in(2999, 3000)
}

fn valid_in(from: i32, until: i32) -> CertificateParams {
    let mut params = leaf();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}

pub(super) fn says_it_is_a_ca() -> CertificateParams {
    let mut params = leaf();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn for_clients_only(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A self-signed certificate with the key.
pub(super) fn self_signed(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

// === impl Folder ===

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn write_identity(&self, (cert, key): &(String, String)) -> IdentityFiles {
        IdentityFiles { cert: self.write("tls.crt", cert), key: self.write("tls.key", key) }
    }

    /// A listener that shows `identity`.
    pub(super) fn server(&self, identity: &(String, String)) -> ServerTls {
        ServerTls::new(&listener(self.write_identity(identity))).unwrap()
    }
}

/// A listener without client certificates.
pub(super) fn listener(identity: IdentityFiles) -> ListenerTls {
    ListenerTls {
        identity,
        required: true,
        client_certificates: ClientCertificates::None,
        client_ca_file: None,
    }
}

/// An endpoint with trust in `ca_file`.
pub(super) fn endpoint(mode: TlsMode, ca_file: &Path) -> EndpointTls {
    EndpointTls {
        mode,
        negotiation: Negotiation::Postgres,
        ca_file: Some(ca_file.to_owned()),
        server_name: None,
        identity: None,
    }
}

/// TLS towards `host`.
pub(super) fn towards(host: &str, settings: &EndpointTls) -> ClientTls {
    ClientTls::new(settings, &Address::Tcp { host: host.into(), port: 5432 }).unwrap()
}
