//! What a listener asks of its clients: TLS, and proof of who they are.

use super::{
    files::{self, Named},
    problem::Origin,
    reader::Section,
    transport::read_identity,
    tree::Item,
};
use crate::{
    backend::EndpointSettings,
    credentials::Login,
    frontend::{Auth, Bind},
    tls::{ClientCertificates, ListenerTls},
};

const CLIENT_CERTIFICATES: [(&str, ClientCertificates); 3] = [
    ("none", ClientCertificates::None),
    ("optional", ClientCertificates::Optional),
    ("required", ClientCertificates::Required),
];
const METHODS: [(&str, Method); 3] =
    [("passthrough", Method::Passthrough), ("scram", Method::Scram), ("trust", Method::Trust)];

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Passthrough,
    Scram,
    Trust,
}

/// Reads `tls` of a listener; `None` is plaintext only.
pub(super) fn tls(section: &Section<'_>) -> Option<ListenerTls> {
    if !section.has("tls") {
        section.record("tls", "off", &Origin::Default);
    }
    let section = section.table("tls", "listener.tls")?;
    let identity = read_identity(&section);
    let required = section.flag("required").value;
    let client_certificates =
        section.word_or("client_certificates", &CLIENT_CERTIFICATES, ClientCertificates::None).value;
    let client_ca_file = section.path("client_ca_file");
    let asked = client_certificates != ClientCertificates::None;
    if asked && !section.has("client_ca_file") {
        let remedy = format!("write the CA that signs them in {}", section.spoken("client_ca_file"));
        section.problem(
            "client_certificates",
            "clients' certificates cannot be verified without a CA",
            remedy,
        );
    }
    if !asked && client_ca_file.is_some() {
        let remedy =
            format!("write \"optional\" or \"required\" in {}", section.spoken("client_certificates"));
        section.problem("client_ca_file", "clients are not asked for certificates", remedy);
    }
    if identity.is_none() && !section.has("cert") && !section.has("key") {
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

/// Loads the files of a listener or of the admin API once, as its start will.
pub(super) fn check_files(section: &Section<'_>, tls: &ListenerTls) {
    let named = [
        Named::new(section, "cert", Some(&tls.identity.cert)),
        Named::new(section, "key", Some(&tls.identity.key)),
        Named::new(section, "client_ca_file", tls.client_ca_file.as_deref()),
    ];
    files::listener_tls(section, tls, &named);
}

/// Reads `auth` of a listener on `bind` that leads to the endpoints in `reached`.
pub(super) fn auth(
    section: &Section<'_>,
    bind: Option<&Bind>,
    reached: &[&EndpointSettings],
) -> Option<Auth> {
    let insecure_trust = section.flag("insecure_trust").value;
    let auth = section.table_or_empty("auth", "listener.auth");
    let (injecting, passing): (Vec<&EndpointSettings>, Vec<_>) =
        reached.iter().copied().partition(|endpoint| !matches!(endpoint.login, Login::Passthrough));
    let names = |endpoints: &[&EndpointSettings]| {
        endpoints
            .iter()
            .map(|endpoint| format!("`{}`", endpoint.endpoint.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let offer = match section.origin {
        Origin::File { .. } => {
            "auth = { method = \"scram\", users_file = \"…\" }, or method = \"trust\"".to_owned()
        }
        _ => format!("{}=scram and {}, or trust", auth.spoken("method"), auth.spoken("users_file")),
    } + " on a loopback address or a Unix-domain socket";
    let item = auth.raw("method").and_then(Item::as_text);
    let method = match item {
        Some(later @ ("certificate" | "password")) => {
            auth.problem("method", format!("\"{later}\" comes in a later version"), format!("write {offer}"));
            return None;
        }
        _ if auth.has("method") => auth.word("method", &METHODS)?.value,
        _ if injecting.is_empty() => {
            auth.record("method", "passthrough", &Origin::Default);
            Method::Passthrough
        }
        _ => {
            let what = format!(
                "clients have to prove who they are: Gatekeeper logs in to {} in their place",
                names(&injecting)
            );
            auth.problem("method", what, format!("write {offer}"));
            return None;
        }
    };
    if method == Method::Passthrough && !injecting.is_empty() {
        let what = format!(
            "\"passthrough\" relays the client's login, but the login of {} is its own",
            names(&injecting)
        );
        auth.problem("method", what, format!("write {offer}, or give the endpoint login = \"passthrough\""));
    }
    if method != Method::Passthrough && !passing.is_empty() {
        let what = format!(
            "Gatekeeper would verify clients itself and then could not log in to {}",
            names(&passing)
        );
        auth.problem(
            "method",
            what,
            "write \"passthrough\", or give the endpoint a token command or a password",
        );
    }
    if method == Method::Trust && bind.is_some_and(|bind| !bind.is_local()) {
        let flag = section.spoken("insecure_trust");
        if insecure_trust {
            auth.warning(
                "method",
                "anybody who reaches this listener may log in as anybody",
                "write \"scram\"",
            );
        } else {
            let what = "\"trust\" is for listeners that only this machine can reach";
            let remedy = format!("listen on 127.0.0.1, write \"scram\", or insist with {flag} = true");
            auth.problem("method", what, remedy);
        }
    }
    match method {
        Method::Scram => {
            let Some(file) = auth.path("users_file") else {
                if !auth.has("users_file") {
                    auth.missing("users_file", "users_file = \"users.toml\"");
                }
                return None;
            };
            files::users(&auth, "users_file", &file.value);
            Some(Auth::Scram { users_file: file.value })
        }
        _ => {
            if auth.has("users_file") {
                auth.problem(
                    "users_file",
                    "goes with method = \"scram\" only",
                    "remove it, or write \"scram\"",
                );
            }
            Some(if method == Method::Trust { Auth::Trust } else { Auth::Passthrough })
        }
    }
}
