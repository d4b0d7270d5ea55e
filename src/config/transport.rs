//! TLS for an endpoint's connections, and the data allowed on them.

use super::{
    cluster::ClusterDefaults,
    files::{self, Named},
    problem::Origin,
    reader::{Section, Spot},
    tree::Item,
};
use crate::{
    credentials::Login,
    tls::{EndpointTls, IdentityFiles, Negotiation, TlsMode},
    topology::Address,
};

const TLS_MODES: [(&str, TlsMode); 5] = [
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];
const NEGOTIATIONS: [(&str, Negotiation); 2] =
    [("postgres", Negotiation::Postgres), ("direct", Negotiation::Direct)];

/// TLS settings of an endpoint, with the position of the mode.
pub(super) struct Tls<'c> {
    pub(super) settings: EndpointTls,
    section: Section<'c>,
    mode: Origin,
}

/// Reads `tls` of an endpoint, with its cluster's settings as defaults.
pub(super) fn read_tls<'c>(endpoint: &Section<'c>, shared: &ClusterDefaults<'c>) -> Tls<'c> {
    let own = endpoint.table_or_empty("tls", "cluster.endpoint.tls");
    // The cluster's setting is the default.
    let of = |key: &str| if own.has_key(key) { &own } else { &shared.tls };
    let inherited = |key: &str, shown: &str| {
        if !own.has_key(key) && shared.tls.has_key(key) {
            own.record(key, shown, &shared.tls.place(key));
        }
    };
    let mode = match of("mode").word("mode", &TLS_MODES) {
        Some(mode) => mode,
        None => {
            own.record("mode", TlsMode::Prefer.as_str(), &Origin::Default);
            Spot { value: TlsMode::Prefer, origin: Origin::Default }
        }
    };
    inherited("mode", mode.value.as_str());
    let negotiation = of("negotiation").word("negotiation", &NEGOTIATIONS).map(|spot| spot.value);
    match &negotiation {
        Some(_) => inherited(
            "negotiation",
            shared.tls.raw("negotiation").and_then(Item::as_text).unwrap_or_default(),
        ),
        None => own.record("negotiation", "postgres", &Origin::Default),
    }
    if negotiation == Some(Negotiation::Direct) && matches!(mode.value, TlsMode::Disable | TlsMode::Prefer) {
        let what = format!("\"direct\" needs TLS, and the mode is \"{}\"", mode.value.as_str());
        of("negotiation").problem("negotiation", what, "write the mode \"verify-ca\" or \"verify-full\"");
    }
    let ca_file = own.path("ca_file");
    let ca_file = ca_file.map(|spot| spot.value).or_else(|| shared.ca_file.clone());
    let server_name = read_server_name(&own);
    let identity_of = if own.has_key("cert") || own.has_key("key") { &own } else { &shared.tls };
    let identity = read_identity(identity_of);
    if ca_file.is_some() && !mode.value.verifies() {
        let what = format!(
            "a CA file is given, but the mode \"{}\" does not verify the server",
            mode.value.as_str()
        );
        own.warning(
            "mode",
            what,
            format!("write \"verify-ca\" or \"verify-full\" in {}", own.remedy_name("mode")),
        );
    }
    let settings = EndpointTls {
        mode: mode.value,
        negotiation: negotiation.unwrap_or_default(),
        ca_file,
        server_name,
        identity,
    };
    Tls { settings, section: own, mode: mode.origin }
}

fn read_server_name(section: &Section<'_>) -> Option<String> {
    let name = section.text("server_name")?.value;
    if rustls_pki_types::ServerName::try_from(name.as_str()).is_err() {
        let what = format!("\"{name}\" is not a DNS name or address");
        section.problem("server_name", what, "write a name as in the server's certificate");
    }
    Some(name)
}

/// Reads a certificate with its key: both or neither.
pub(super) fn read_identity(section: &Section<'_>) -> Option<IdentityFiles> {
    let cert = section.path("cert");
    let key = section.path("key");
    match (cert, key) {
        (Some(cert), Some(key)) => Some(IdentityFiles { cert: cert.value, key: key.value }),
        (Some(_), None) if !section.has_key("key") => {
            section.problem(
                "cert",
                "a certificate needs its key",
                format!("write {}", section.remedy_name("key")),
            );
            None
        }
        (None, Some(_)) if !section.has_key("cert") => {
            section.problem(
                "key",
                "a key needs its certificate",
                format!("write {}", section.remedy_name("cert")),
            );
            None
        }
        _ => None,
    }
}

/// Loads the files, as a connection does.
pub(super) fn check_files(tls: &Tls<'_>, shared: &ClusterDefaults<'_>, address: Option<&Address>) {
    let settings = &tls.settings;
    let (own, cluster) = (&tls.section, &shared.tls);
    let ca_of = if own.has_key("ca_file") { own } else { shared.section };
    let identity_of = if own.has_key("cert") || own.has_key("key") { own } else { cluster };
    let identity = settings.identity.as_ref();
    files::endpoint_tls(
        own,
        settings,
        address,
        &[
            Named::new(ca_of, "ca_file", settings.ca_file.as_deref()),
            Named::new(identity_of, "cert", identity.map(|files| files.cert.as_path())),
            Named::new(identity_of, "key", identity.map(|files| files.key.as_path())),
        ],
    );
}

/// Checks plaintext and verification against the login: no token or password to an unverified server.
pub(super) fn check_transport(
    endpoint: &Section<'_>,
    address: &Address,
    tls: &Tls<'_>,
    login: Option<&Spot<Login>>,
    insecure_plaintext: bool,
) {
    let check = TransportCheck { endpoint, address, tls };
    let mode = tls.settings.mode;
    if matches!(address, Address::Unix(_)) && !matches!(mode, TlsMode::Disable | TlsMode::Prefer) {
        let what = format!("Unix-domain sockets have no TLS, but the mode is \"{}\"", mode.as_str());
        check.problem(what, format!("write \"disable\" in {}", check.mode_key()));
    }
    if mode == TlsMode::Disable && !address.is_loopback() {
        check.plaintext(insecure_plaintext);
    }
    match login.map(|spot| &spot.value) {
        Some(Login::Token(token)) if !mode.verifies() => {
            check.unverified_token(token.insecure_without_verification);
        }
        _ if mode == TlsMode::Prefer && !address.is_loopback() => {
            let what = "\"prefer\" falls back to plaintext and verifies no certificate";
            check.warning(what, check.verifying_mode());
        }
        _ => {}
    }
    if matches!(login, Some(Spot { value: Login::Password(_), .. }))
        && !mode.verifies()
        && !address.is_loopback()
    {
        let what = format!(
            "a password is sent to a server whose certificate is not verified (mode \"{}\")",
            mode.as_str()
        );
        check.warning(what, check.verifying_mode());
    }
}

/// Reports what is wrong with an endpoint's TLS mode, at the mode or, by default, at the endpoint.
struct TransportCheck<'c> {
    endpoint: &'c Section<'c>,
    address: &'c Address,
    tls: &'c Tls<'c>,
}

impl TransportCheck<'_> {
    /// Nothing protects the connection: a problem unless the operator insists.
    fn plaintext(&self, insists: bool) {
        let address = self.address;
        if insists {
            let what = format!("everything sent to {address} is plaintext");
            self.warning(what, "write \"verify-ca\" as soon as the server has TLS");
        } else {
            let what = format!("plaintext to {address}, which is not on this machine");
            let flag = self.endpoint.remedy_name("insecure_plaintext");
            let remedy = format!("write \"verify-ca\" in {}, or insist with {flag} = true", self.mode_key());
            self.problem(what, remedy);
        }
    }

    /// A token goes to a server that nobody verifies: a problem unless the operator insists.
    fn unverified_token(&self, insists: bool) {
        let mode = self.tls.settings.mode.as_str();
        if insists {
            let what =
                format!("tokens are sent to a server whose certificate is not verified (mode \"{mode}\")");
            self.warning(what, self.verifying_mode());
        } else {
            let what =
                format!("a token would be sent over a connection that is not verified (mode \"{mode}\")");
            let flag = self.endpoint.remedy_name("insecure_token_without_verification");
            self.problem(what, format!("{}, or insist with {flag} = true", self.verifying_mode()));
        }
    }

    /// Remedy: a mode that verifies the server.
    fn verifying_mode(&self) -> String {
        format!("write \"verify-ca\" or \"verify-full\" in {}", self.mode_key())
    }

    fn mode_key(&self) -> String {
        self.tls.section.remedy_name("mode")
    }

    fn problem(&self, what: impl Into<String>, remedy: impl Into<String>) {
        let (place, subject) = self.position();
        self.endpoint.context.report.problem(place, subject, what, remedy);
    }

    fn warning(&self, what: impl Into<String>, remedy: impl Into<String>) {
        let (place, subject) = self.position();
        self.endpoint.context.report.warning(place, subject, what, remedy);
    }

    fn position(&self) -> (&Origin, String) {
        let place = if self.tls.mode == Origin::Default { &self.endpoint.origin } else { &self.tls.mode };
        (place, self.tls.section.named("mode"))
    }
}
