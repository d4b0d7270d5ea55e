//! Listeners: addresses, routes, and access.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    auth, catalog, clients,
    cluster::{Clusters, table_title},
    pool,
    problem::{Origin, nearest_word},
    reader::{Section, Spot},
    split,
    tree::Item,
};
use crate::{
    backend::EndpointSettings,
    frontend::{Auth, BackendLossPolicy, Bind, ListenerLimits, ListenerSettings, SessionTimeouts},
    names::{EndpointName, ListenerName},
    pool::{PoolMode, PoolSettings},
    route::{RoutePolicy, WhenNoReader},
    topology::DeclaredRole,
};

pub(super) const WHEN_NO_READER: [(&str, WhenNoReader); 2] =
    [("primary", WhenNoReader::Primary), ("refuse", WhenNoReader::Refuse)];
const ON_BACKEND_LOSS: [(&str, BackendLossPolicy); 2] =
    [("error", BackendLossPolicy::Error), ("disconnect", BackendLossPolicy::Disconnect)];
/// Remedy for a bind address.
const BIND_FORM: &str =
    "write an IP address and a port, as in \"127.0.0.1:15432\" or \"[::]:15432\", or the path of a socket";

/// Reads every `[[listener]]`.
pub(super) fn read_listeners(root: &Section<'_>, clusters: &Clusters) -> Vec<Spot<ListenerSettings>> {
    let mut all: Vec<Spot<ListenerSettings>> = Vec::new();
    let mut open = OpenToThisMachine::default();
    for section in root.tables("listener", "listener", |table| table_title("listener", table)) {
        all.extend(read_listener(&section, clusters, &all, &mut open));
    }
    open.warn(root);
    all
}

/// Reads one listener, behind those in `others`; `None` after a mistake.
fn read_listener(
    section: &Section<'_>,
    clusters: &Clusters,
    others: &[Spot<ListenerSettings>],
    open: &mut OpenToThisMachine,
) -> Option<Spot<ListenerSettings>> {
    let name = read_name(section, others);
    let bind = read_bind(section, others);
    let socket_mode = read_socket_mode(section, bind.as_ref());
    let route = read_route(section, clusters).map(|route| route.value);
    let reached =
        route.as_ref().map(|route| reachable_endpoints(route, &clusters.endpoints)).unwrap_or_default();
    if let Some(route) = &route {
        check_route(section, route, &reached, clusters);
    }
    let tls = clients::read_client_tls(section);
    let (auth, access) = auth::read_auth(section, bind.as_ref(), tls.as_ref(), &reached);
    open.note(section, auth.as_ref(), &reached);
    let limits = read_limits(section);
    let splits = matches!(route, Some(RoutePolicy::Split(_)));
    let pool = PoolSettings {
        splits,
        resolves_commits: limits.on_backend_loss == BackendLossPolicy::ResolveCommits,
        ..pool::read_pool(section, auth.as_ref(), limits.max_clients)
    };
    if pool.resolves_commits && pool.mode != PoolMode::Transaction {
        section.problem(
            "resolve_commits",
            "a session with a backend for life ends with its backend, and gets no outcome of its COMMIT",
            "write pool = { mode = \"transaction\", … }, or remove the key",
        );
    }
    if splits {
        split::check_split(section, auth.as_ref(), pool.mode, &reached);
    }
    if let Some(bind) = &bind
        && tls.is_none()
    {
        warn_of_plaintext(section, bind);
    }
    let settings = ListenerSettings {
        name: name?,
        bind: bind?,
        socket_mode,
        route: route?,
        tls,
        auth: auth?,
        access,
        limits,
        tags_sessions: section.flag("application_name_add_session").value,
        pool: Arc::new(pool),
    };
    Some(Spot { value: settings, origin: section.origin.clone() })
}

fn read_name(section: &Section<'_>, others: &[Spot<ListenerSettings>]) -> Option<ListenerName> {
    let name = section.parsed(
        "name",
        |text| ListenerName::new(text).map_err(|error| error.to_string()),
        "write a name as in \"app\"",
    );
    match &name {
        None if !section.has_key("name") => section.missing("name", "name = \"app\""),
        Some(name) if others.iter().any(|other| other.value.name == name.value) => {
            section.problem("name", "another listener has this name", "give each listener a name of its own");
        }
        _ => {}
    }
    name.map(|spot| spot.value)
}

// === open to the local machine ===

/// Listeners left open by the environment to every user on the local machine: one warning covers all.
#[derive(Default)]
struct OpenToThisMachine {
    listeners: Vec<String>,
    /// Unset variables that close the listeners.
    variables: BTreeSet<String>,
}

impl OpenToThisMachine {
    fn note(&mut self, listener: &Section<'_>, auth: Option<&Auth>, reached: &[&EndpointSettings]) {
        let method_is_default =
            listener.raw("auth").and_then(Item::as_table).is_none_or(|auth| auth.get("method").is_none());
        if *auth.unwrap_or(&Auth::Passthrough) != Auth::Trust {
            return;
        }
        let any_user = reached.iter().any(|endpoint| auth::mints_for_any_user(endpoint));
        if method_is_default {
            self.variables.insert(catalog::name_in_remedy("listener.auth", "method", None));
        }
        if any_user {
            self.variables.insert(catalog::name_in_remedy("cluster.endpoint.login", "users", None));
        }
        if method_is_default || any_user {
            let name = listener.title.split('.').nth(1).unwrap_or_default();
            self.listeners.push(format!("`{name}`"));
        }
    }

    fn warn(self, root: &Section<'_>) {
        if self.listeners.is_empty() {
            return;
        }
        let what = format!(
            "everybody on this machine may log in at {} as any user that a token is minted for",
            self.listeners.join(", ")
        );
        let variables: Vec<String> = self.variables.into_iter().collect();
        let remedy = format!("set {}", variables.join(" and "));
        root.context.report.warning(&Origin::Default, "listener.auth.method", what, remedy);
    }
}

// === bind ===

pub(super) fn parse_socket(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        let port = text.strip_prefix("localhost:")?;
        Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)))
    })
}

fn read_bind(section: &Section<'_>, others: &[Spot<ListenerSettings>]) -> Option<Bind> {
    let bind = section.parsed("bind", parse_bind, BIND_FORM).map(|spot| spot.value);
    match &bind {
        None if !section.has_key("bind") => section.missing("bind", "bind = \"127.0.0.1:15432\""),
        Some(bind) => {
            if let Some(other) = others.iter().find(|other| are_exclusive(bind, &other.value.bind)) {
                let what = format!("listener `{}` listens on {} already", other.value.name, other.value.bind);
                let remedy = format!("write another port in {}", section.remedy_name("bind"));
                section.problem("bind", what, remedy);
            }
        }
        None => {}
    }
    bind
}

/// Warns if clients of other machines may speak plaintext. A `tls` with mistakes is not reported again.
fn warn_of_plaintext(section: &Section<'_>, bind: &Bind) {
    if bind.is_local() || section.has_key("tls") {
        return;
    }
    let what = format!("clients may come from other machines ({bind}) and speak plaintext");
    let remedy = match section.origin {
        Origin::File { .. } => "give it a certificate: tls = { cert = \"…\", key = \"…\" }",
        _ => "give it a certificate: GATEKEEPER_PROXY_TLS_CERT, GATEKEEPER_PROXY_TLS_KEY",
    };
    section.warning("bind", what, remedy);
}

fn parse_bind(text: &str) -> Result<Bind, String> {
    if text.starts_with('/') {
        return Ok(Bind::Unix(text.into()));
    }
    parse_socket(text).map(Bind::Tcp).ok_or_else(|| format!("cannot listen on \"{text}\""))
}

/// Default permissions of a Unix-domain socket.
const DEFAULT_SOCKET_MODE: u32 = 0o660;

/// Permissions of a listener's socket file.
fn read_socket_mode(section: &Section<'_>, bind: Option<&Bind>) -> u32 {
    let form = "write an octal number up to \"0777\", as in \"0660\"";
    let read = |text: &str| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| format!("cannot be \"{text}\""))
    };
    let mode = section.parsed("mode", read, form);
    // Variables may apply to all listeners.
    let is_written = section.has_key("mode") && matches!(section.place("mode"), Origin::File { .. });
    if is_written && matches!(bind, Some(Bind::Tcp(_))) {
        section.problem("mode", "goes with a Unix-domain socket only", "remove it");
    }
    mode.map_or(DEFAULT_SOCKET_MODE, |spot| spot.value)
}

/// True if two sockets cannot be open at the same time; port 0 is a new port each time.
pub(super) fn are_exclusive(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Tcp(one), Bind::Tcp(other)) => {
            let (a, b) = (one.ip(), other.ip());
            let same = a == b || a.is_unspecified() || b.is_unspecified();
            one.port() == other.port() && one.port() != 0 && same
        }
        (one, other) => one == other,
    }
}

// === route ===

fn read_route(section: &Section<'_>, clusters: &Clusters) -> Option<Spot<RoutePolicy>> {
    const FORM: &str = "write one of \"primary\", \"read-pool\", \"secondary\", \"split\", \"endpoint:NAME\"";
    if !section.has_key("route") {
        section.missing("route", "route = \"primary\"");
        return None;
    }
    let mut route = section.parsed(
        "route",
        |text| match text {
            "primary" => Ok(RoutePolicy::Primary),
            "read-pool" => Ok(RoutePolicy::ReadPool { when_no_reader: WhenNoReader::default() }),
            "secondary" => Ok(RoutePolicy::Secondary),
            "split" => Ok(RoutePolicy::Split(Arc::default())),
            _ => match text.strip_prefix("endpoint:") {
                Some(name) => EndpointName::new(name)
                    .map(RoutePolicy::Endpoint)
                    .map_err(|error| format!("\"{name}\": {error}")),
                None => Err(format!("cannot be \"{text}\"")),
            },
        },
        FORM,
    )?;
    match &mut route.value {
        RoutePolicy::ReadPool { when_no_reader } => {
            *when_no_reader =
                section.word_or("when_no_reader", &WHEN_NO_READER, WhenNoReader::default()).value;
        }
        RoutePolicy::Split(settings) => *settings = Arc::new(split::read_split(section)),
        _ if section.has_key("when_no_reader") => {
            let what = "goes with route = \"read-pool\" or \"split\" only";
            section.problem("when_no_reader", what, "remove it");
        }
        _ => {}
    }
    if !matches!(route.value, RoutePolicy::Split(_)) {
        split::refuse_split_keys(section);
    }
    match &route.value {
        RoutePolicy::Endpoint(name) if !clusters.named.iter().any(|known| known == name.as_str()) => {
            let known = clusters.named.iter().map(String::as_str);
            let remedy = match nearest_word(name.as_str(), known) {
                Some(near) => format!("did you mean \"endpoint:{near}\"?"),
                None => format!("name one of: {}", clusters.named.join(", ")),
            };
            section.problem("route", format!("unknown endpoint `{name}`"), remedy);
            return None;
        }
        _ => {}
    }
    Some(route)
}

/// Endpoints to which a route may lead.
fn reachable_endpoints<'e>(
    route: &RoutePolicy,
    endpoints: &'e [Spot<EndpointSettings>],
) -> Vec<&'e EndpointSettings> {
    endpoints.iter().map(|spot| &spot.value).filter(|settings| route.may_reach(&settings.endpoint)).collect()
}

fn check_route(
    section: &Section<'_>,
    route: &RoutePolicy,
    reached: &[&EndpointSettings],
    clusters: &Clusters,
) {
    // An endpoint with mistakes may be the one that is missing.
    let all_read = clusters.named.len() == clusters.endpoints.len();
    let (served, role) = match route {
        RoutePolicy::Primary => (!reached.is_empty(), "\"primary\""),
        RoutePolicy::ReadPool { .. } | RoutePolicy::Split(_) => (
            reached.iter().any(|endpoint| endpoint.endpoint.role.serves_reads()),
            "\"read-pool\" or \"replica\"",
        ),
        RoutePolicy::Secondary => (!reached.is_empty(), "\"secondary\""),
        RoutePolicy::Endpoint(_) => return,
    };
    if !served && all_read {
        let what = format!("leads nowhere: no endpoint has the role {role}");
        section.problem("route", what, "add such an endpoint, or write \"endpoint:NAME\"");
    }
    check_election(section, reached);
}

/// Among several endpoints with the role `primary`, the writer is the one that reports that it accepts writes: each of
/// them must have a login for the probe.
fn check_election(section: &Section<'_>, reached: &[&EndpointSettings]) {
    let primaries: Vec<_> =
        reached.iter().filter(|endpoint| endpoint.endpoint.role == DeclaredRole::Primary).collect();
    let silent = primaries.iter().find(|endpoint| endpoint.probe_login.is_none());
    if let Some(silent) = silent
        && primaries.len() > 1
    {
        let what = format!(
            "leads to several endpoints with the role \"primary\", and the role of `{}` cannot be read without a login",
            silent.endpoint.name
        );
        let remedy = "give each of them a login, leave that role to one of them, or write \"endpoint:NAME\"";
        section.problem("route", what, remedy);
    }
}

// === limits ===

fn read_timeouts(section: &Section<'_>) -> SessionTimeouts {
    let limit = |key| section.duration(key, Duration::ZERO).value;
    SessionTimeouts {
        query: limit("query_timeout"),
        idle_transaction: limit("idle_transaction_timeout"),
        idle: limit("client_idle_timeout"),
        write: limit("client_write_timeout"),
    }
}

/// Reads `on_backend_loss` and `resolve_commits`.
fn read_backend_loss(section: &Section<'_>) -> BackendLossPolicy {
    let policy = section.word_or("on_backend_loss", &ON_BACKEND_LOSS, BackendLossPolicy::Error).value;
    match (policy, section.flag("resolve_commits").value) {
        (BackendLossPolicy::Disconnect, true) => {
            section.problem(
                "resolve_commits",
                "a client that is disconnected gets no outcome of its COMMIT",
                "write on_backend_loss = \"error\"",
            );
            policy
        }
        (_, true) => BackendLossPolicy::ResolveCommits,
        (policy, false) => policy,
    }
}

fn read_limits(section: &Section<'_>) -> ListenerLimits {
    let default = ListenerLimits::default();
    ListenerLimits {
        max_clients: section.count("max_clients", 1, default.max_clients),
        max_clients_per_address: section.count("max_clients_per_address", 0, default.max_clients_per_address),
        max_clients_per_user: section.count("max_clients_per_user", 0, default.max_clients_per_user),
        max_clients_per_database: section.count(
            "max_clients_per_database",
            0,
            default.max_clients_per_database,
        ),
        login_timeout: section.positive_duration("login_timeout", default.login_timeout),
        timeouts: read_timeouts(section),
        hold: section.duration("hold", default.hold).value,
        on_backend_loss: read_backend_loss(section),
    }
}
