//! Authentication of a listener's clients: method, users and databases.

use std::time::Duration;

use super::{
    catalog, files,
    problem::Origin,
    reader::{Section, Spot},
};
use crate::{
    backend::EndpointSettings,
    credentials::{Login, TokenUsers},
    frontend::{AccessList, Auth, Bind, IdentityMap},
    names::{DatabaseName, NameError, UserName},
    tls::{CertificateName, ClientCertificates, ListenerTls, TlsMode},
};

const METHODS: [(&str, Method); 5] = [
    ("passthrough", Method::Passthrough),
    ("scram", Method::Scram),
    ("certificate", Method::Certificate),
    ("password", Method::Password),
    ("trust", Method::Trust),
];
/// Keys that require a certain method.
const ONLY_WITH: [(&str, Method); 4] = [
    ("users_file", Method::Scram),
    ("name", Method::Certificate),
    ("map", Method::Certificate),
    ("remember", Method::Password),
];
/// Default time to remember a password.
const DEFAULT_PASSWORD_MEMORY: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Passthrough,
    Scram,
    Certificate,
    Password,
    Trust,
}

/// Reads `auth` of a listener on `bind` with `tls`, whose route leads to the endpoints in `reached`. Returns no method
/// after a mistake.
pub(super) fn read_auth(
    section: &Section<'_>,
    bind: Option<&Bind>,
    tls: Option<&ListenerTls>,
    reached: &[&EndpointSettings],
) -> (Option<Auth>, AccessList) {
    let auth = section.table_or_empty("auth", "listener.auth");
    let access = AccessList {
        users: read_names(&auth, "users", UserName::new),
        databases: read_names(&auth, "databases", DatabaseName::new),
    };
    for (key, nobody) in [("users", access.users.is_empty()), ("databases", access.databases.is_empty())] {
        if nobody && auth.has_key(key) {
            auth.problem(key, "is empty, so no client could log in", "leave it out to allow every user");
        }
    }
    (read_method(section, &auth, bind, tls, reached), access)
}

/// The distinct names in the list at `key`.
pub(super) fn read_names<N: PartialEq>(
    section: &Section<'_>,
    key: &str,
    new: fn(&str) -> Result<N, NameError>,
) -> Vec<N> {
    let Some(list) = section.texts(key) else { return Vec::new() };
    let mut names: Vec<N> = Vec::new();
    for Spot { value, origin } in &list.value {
        let mistake = match new(value) {
            Ok(name) if !names.contains(&name) => {
                names.push(name);
                continue;
            }
            Ok(_) => format!("\"{value}\" stands twice"),
            Err(error) => format!("\"{value}\": {error}"),
        };
        section.context.report.problem(origin, section.named(key), mistake, "write each name once");
    }
    names
}

/// Endpoints that a route reaches, by the login that their connections use.
struct ReachedEndpoints<'e> {
    /// Gatekeeper logs in with credentials of its own.
    injecting: Vec<&'e EndpointSettings>,
    /// The client's login is passed through.
    passing: Vec<&'e EndpointSettings>,
}

impl<'e> ReachedEndpoints<'e> {
    fn new(reached: &[&'e EndpointSettings]) -> Self {
        let (injecting, passing) =
            reached.iter().copied().partition(|endpoint| !matches!(endpoint.login, Login::Passthrough));
        Self { injecting, passing }
    }
}

fn read_method(
    section: &Section<'_>,
    auth: &Section<'_>,
    bind: Option<&Bind>,
    tls: Option<&ListenerTls>,
    reached: &[&EndpointSettings],
) -> Option<Auth> {
    let endpoints = ReachedEndpoints::new(reached);
    if bind.is_some_and(|bind| !bind.is_local()) {
        require_token_users(section, &endpoints.injecting);
    }
    let method = choose_method(section, auth, bind, tls, &endpoints)?;
    check_logins(section, auth, method, &endpoints);
    if method == Method::Passthrough
        && auth.has_key("method")
        && tls.is_some()
        && speaks_tls(&endpoints.passing)
    {
        let what = "with TLS on both sides a relayed SCRAM login fails for clients that bind to the channel, as libpq does by \
                    default, and sslmode=prefer then goes on in plaintext";
        auth.warning("method", what, "write \"password\", or have the clients set channel_binding=disable");
    }
    refuse_keys_of_other_methods(auth, method);
    match method {
        Method::Passthrough => Some(Auth::Passthrough),
        Method::Trust => {
            check_trust(section, auth, bind);
            Some(Auth::Trust)
        }
        Method::Scram => read_scram(auth),
        Method::Certificate => {
            check_certificates(section, auth, bind, tls);
            Some(read_certificate(auth))
        }
        Method::Password => {
            check_passwords(section, auth, bind, reached);
            Some(Auth::Password { remember: auth.positive_duration("remember", DEFAULT_PASSWORD_MEMORY) })
        }
    }
}

/// The written method, else the default; `None` after a mistake.
fn choose_method(
    section: &Section<'_>,
    auth: &Section<'_>,
    bind: Option<&Bind>,
    tls: Option<&ListenerTls>,
    endpoints: &ReachedEndpoints<'_>,
) -> Option<Method> {
    let ReachedEndpoints { injecting, passing } = endpoints;
    if auth.has_key("method") {
        return Some(auth.word("method", &METHODS)?.value);
    }
    if injecting.is_empty() {
        let default =
            if tls.is_some() && speaks_tls(passing) { Method::Password } else { Method::Passthrough };
        auth.record("method", method_word(default), &Origin::Default);
        return Some(default);
    }
    let local = bind.is_none_or(Bind::is_local);
    let tokens_alone = injecting.iter().all(|endpoint| matches!(endpoint.login, Login::Token(_)));
    // `listener::read_listeners` warns of `trust`.
    if section.context.environment_alone && tokens_alone && local {
        auth.record("method", "trust", &Origin::Default);
        return Some(Method::Trust);
    }
    let what = format!(
        "clients must authenticate: Gatekeeper logs in to {} on their behalf",
        quoted_names(injecting)
    );
    auth.problem("method", what, format!("write {}", verifying_methods(section, auth)));
    None
}

/// Reports endpoints whose login does not go with `method`.
fn check_logins(section: &Section<'_>, auth: &Section<'_>, method: Method, endpoints: &ReachedEndpoints<'_>) {
    let ReachedEndpoints { injecting, passing } = endpoints;
    if method == Method::Passthrough && !injecting.is_empty() {
        let what = format!(
            "\"passthrough\" relays the client's login, but the login of {} is its own",
            quoted_names(injecting)
        );
        let offer = verifying_methods(section, auth);
        auth.problem("method", what, format!("write {offer}, or give the endpoint login = \"passthrough\""));
    }
    if !matches!(method, Method::Passthrough | Method::Password) && !passing.is_empty() {
        let what = format!(
            "Gatekeeper would verify clients itself and then could not log in to {}",
            quoted_names(passing)
        );
        auth.problem(
            "method",
            what,
            "write \"passthrough\" or \"password\", or give the endpoint a token command or a password",
        );
    }
}

fn refuse_keys_of_other_methods(auth: &Section<'_>, method: Method) {
    for (key, only) in ONLY_WITH {
        if auth.has_key(key) && only != method {
            let word = method_word(only);
            auth.problem(
                key,
                format!("goes with method = \"{word}\" only"),
                format!("remove it, or write \"{word}\""),
            );
        }
    }
}

/// Remedy: methods by which Gatekeeper verifies clients itself, in the form that fits the origin of the listener.
fn verifying_methods(section: &Section<'_>, auth: &Section<'_>) -> String {
    let methods = match section.origin {
        Origin::File { .. } => {
            "auth = { method = \"scram\", users_file = \"…\" }, or method = \"trust\"".to_owned()
        }
        _ => format!("{}=scram and {}, or trust", auth.remedy_name("method"), auth.remedy_name("users_file")),
    };
    methods + " on a loopback address or a Unix-domain socket"
}

fn quoted_names(endpoints: &[&EndpointSettings]) -> String {
    let names = endpoints.iter().map(|endpoint| format!("`{}`", endpoint.endpoint.name));
    names.collect::<Vec<_>>().join(", ")
}

/// True if TLS is possible to one of `endpoints`.
fn speaks_tls(endpoints: &[&EndpointSettings]) -> bool {
    endpoints.iter().any(|endpoint| endpoint.tls.mode != TlsMode::Disable)
}

/// Reports each of `endpoints` that mints tokens for every user, for a listener reachable by remote machines.
fn require_token_users(listener: &Section<'_>, endpoints: &[&EndpointSettings]) {
    for endpoint in endpoints {
        if !mints_for_any_user(endpoint) {
            continue;
        }
        let name = endpoint.endpoint.name.as_str();
        let owner = listener.context.several.then_some(name);
        let variable = catalog::name_in_remedy("cluster.endpoint.login", "users", owner);
        let what = "a token login must list its users if other machines can connect";
        let remedy = format!("list the database users that clients may log in as in {variable}");
        let subject = format!("endpoint.{name}.login.users");
        listener.context.report.problem(&listener.place("bind"), subject, what, remedy);
    }
}

/// True if no list limits the users of the endpoint's tokens.
pub(super) fn mints_for_any_user(endpoint: &EndpointSettings) -> bool {
    matches!(&endpoint.login, Login::Token(token) if token.users == TokenUsers::Any)
}

fn method_word(method: Method) -> &'static str {
    METHODS.iter().find(|(_, other)| *other == method).map_or("", |(word, _)| word)
}

// === trust ===

fn check_trust(section: &Section<'_>, auth: &Section<'_>, bind: Option<&Bind>) {
    if bind.is_none_or(Bind::is_local) {
        return;
    }
    let flag = section.remedy_name("insecure_trust");
    if section.flag("insecure_trust").value {
        auth.warning(
            "method",
            "every client that can reach this listener may log in as any user",
            "write \"scram\"",
        );
    } else {
        let what = "\"trust\" is for listeners that only this machine can reach";
        let remedy = format!("listen on 127.0.0.1, write \"scram\", or insist with {flag} = true");
        auth.problem("method", what, remedy);
    }
}

// === scram ===

fn read_scram(auth: &Section<'_>) -> Option<Auth> {
    let Some(file) = auth.path("users_file") else {
        if !auth.has_key("users_file") {
            auth.missing("users_file", "users_file = \"users.toml\"");
        }
        return None;
    };
    files::check_users_file(auth, "users_file", &file.value);
    Some(Auth::Scram { users_file: file.value })
}

// === certificate ===

fn check_certificates(
    section: &Section<'_>,
    auth: &Section<'_>,
    bind: Option<&Bind>,
    tls: Option<&ListenerTls>,
) {
    let in_file = matches!(section.origin, Origin::File { .. });
    if let Some(Bind::Unix(_)) = bind {
        let what = "Unix-domain sockets have no TLS, so clients have no certificates";
        auth.problem("method", what, "write \"scram\", or listen on an address");
    } else if !section.has_key("tls") {
        let remedy = match in_file {
            true => {
                "give it tls = { cert = \"…\", key = \"…\", client_certificates = \"required\", client_ca_file = \"…\" }"
            }
            false => "set GATEKEEPER_PROXY_TLS_CERT, _KEY, _CLIENT_CERTIFICATES=required and _CLIENT_CA_FILE",
        };
        auth.problem("method", "certificates come with TLS, which this listener does not speak", remedy);
    } else if tls.is_some_and(|tls| tls.client_certificates == ClientCertificates::None) {
        let remedy = match in_file {
            true => {
                "write \"required\" in `tls.client_certificates`, and the CA that signs them in `tls.client_ca_file`"
            }
            false => "set GATEKEEPER_PROXY_TLS_CLIENT_CERTIFICATES=required and _CLIENT_CA_FILE",
        };
        auth.problem("method", "client certificates are not requested", remedy);
    }
}

fn read_certificate(auth: &Section<'_>) -> Auth {
    let words = CertificateName::ALL.map(|name| (name.as_str(), name));
    let name = auth.word_or("name", &words, CertificateName::default()).value;
    let mut map = IdentityMap::default();
    let list = auth.texts("map");
    for Spot { value, origin } in list.iter().flat_map(|list| &list.value) {
        if let Err(error) = map.push(value) {
            let what = format!("\"{value}\" {error}");
            let remedy = "write \"NAME => USER\", with one `*` at most on each side: \"*@example.com => *\"";
            auth.context.report.problem(origin, auth.named("map"), what, remedy);
        }
    }
    if list.is_some_and(|list| list.value.is_empty()) {
        auth.problem("map", "is empty", "leave it out where the certificate's name is the user's own");
    }
    Auth::Certificate { name, map }
}

// === password ===

/// Passwords in the clear never cross the network, and are sent to verified servers only.
fn check_passwords(
    section: &Section<'_>,
    auth: &Section<'_>,
    bind: Option<&Bind>,
    reached: &[&EndpointSettings],
) {
    if bind.is_some_and(|bind| !bind.is_local()) && !section.has_key("tls") {
        let remedy = match section.origin {
            Origin::File { .. } => "give it tls = { cert = \"…\", key = \"…\" }, or listen on 127.0.0.1",
            _ => "set GATEKEEPER_PROXY_TLS_CERT and _KEY, or listen on 127.0.0.1",
        };
        auth.problem("method", "clients would send their passwords over the network in the clear", remedy);
    }
    for endpoint in reached {
        let mode = endpoint.tls.mode;
        if !mode.verifies() && !endpoint.endpoint.address.is_loopback() {
            let what = format!(
                "client passwords are sent to `{}`, whose certificate is not verified (mode \"{}\")",
                endpoint.endpoint.name,
                mode.as_str()
            );
            auth.warning(
                "method",
                what,
                "write \"verify-ca\" or \"verify-full\" in the endpoint's `tls.mode`",
            );
        }
    }
}
