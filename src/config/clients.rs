//! TLS for the clients of a listener.

use super::{
    files::{self, Named},
    problem::Origin,
    reader::Section,
    transport::read_identity,
};
use crate::tls::{ClientCertificates, ListenerTls};

const CLIENT_CERTIFICATES: [(&str, ClientCertificates); 3] = [
    ("none", ClientCertificates::None),
    ("optional", ClientCertificates::Optional),
    ("required", ClientCertificates::Required),
];

/// Reads `tls` of a listener; `None` means plaintext only.
pub(super) fn read_client_tls(section: &Section<'_>) -> Option<ListenerTls> {
    if !section.has_key("tls") {
        section.record("tls", "off", &Origin::Default);
    }
    let section = section.table("tls", "listener.tls")?;
    let identity = read_identity(&section);
    let required = section.flag("required").value;
    let client_certificates =
        section.word_or("client_certificates", &CLIENT_CERTIFICATES, ClientCertificates::None).value;
    let client_ca_file = section.path("client_ca_file");
    let asked = client_certificates != ClientCertificates::None;
    if asked && !section.has_key("client_ca_file") {
        let remedy = format!("write the CA that signs them in {}", section.remedy_name("client_ca_file"));
        section.problem(
            "client_certificates",
            "clients' certificates cannot be verified without a CA",
            remedy,
        );
    }
    if !asked && client_ca_file.is_some() {
        let remedy =
            format!("write \"optional\" or \"required\" in {}", section.remedy_name("client_certificates"));
        section.problem("client_ca_file", "client certificates are not requested", remedy);
    }
    if identity.is_none() && !section.has_key("cert") && !section.has_key("key") {
        section.missing("cert", "tls = { cert = \"tls.crt\", key = \"tls.key\" }");
    }
    let tls = ListenerTls {
        identity: identity?,
        required,
        client_certificates,
        client_ca_file: client_ca_file.map(|spot| spot.value),
    };
    if !asked || tls.client_ca_file.is_some() {
        check_files(&section, &tls);
    }
    Some(tls)
}

/// Loads the files of a listener or of the admin API, as the start does.
pub(super) fn check_files(section: &Section<'_>, tls: &ListenerTls) {
    let named = [
        Named::new(section, "cert", Some(&tls.identity.cert)),
        Named::new(section, "key", Some(&tls.identity.key)),
        Named::new(section, "client_ca_file", tls.client_ca_file.as_deref()),
    ];
    files::listener_tls(section, tls, &named);
}
