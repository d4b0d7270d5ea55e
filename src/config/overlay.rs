//! Lays the environment over the file.
//!
//! `GATEKEEPER_<NAME>_X` sets X for the endpoint or listener NAME, and `GATEKEEPER_X` for all without a variable of
//! their own; both override the file. An endpoint that only the environment describes gets a listener with its name and
//! a route to it; so does every endpoint if no listener is described.

use std::net::Ipv6Addr;

use super::{
    catalog::{self, ConfigKey, KEYS, Scope, own_variable},
    environment::Environment,
    open_telemetry,
    problem::{Origin, ProblemReport},
    tree::{Item, Table},
};
use crate::{
    names::EndpointName,
    topology::{Address, DeclaredRole},
};

/// Default port of the first listener.
const FIRST_LISTENER_PORT: u16 = 15432;
/// Default cluster of endpoints that only the environment describes.
const DEFAULT_CLUSTER: &str = "default";
/// Default cluster of endpoints with the role `secondary`, if only the environment describes the endpoints.
const SECONDARY_CLUSTER: &str = "secondary";

/// Lays `environment` over `root`.
pub(super) fn apply_environment(root: &mut Table, environment: &Environment, report: &ProblemReport) {
    for known in [catalog::CONFIG, catalog::PG_BIN] {
        environment.shared(known);
    }
    for variable in KEYS.iter().flat_map(|key| key.variables) {
        environment.shared(variable);
    }
    refuse_shared_host(root, environment, report);
    let described = root.tables("listener").next().is_some();
    let added = add_endpoints(root, environment, report);
    let implied = if described { added } else { endpoint_names(root) };
    add_listeners(root, environment, &implied, report);

    for cluster in root.tables_mut("cluster") {
        set_from_endpoints(cluster, "region", catalog::BACKEND_REGION, environment);
        set_from_endpoints(cluster, "replica_of", catalog::BACKEND_REPLICA_OF, environment);
        let shared_login = cluster.get("login").cloned();
        for endpoint in cluster.tables_mut("endpoint") {
            let name = name_of(endpoint);
            if let (None, Some(login)) = (endpoint.get("login"), &shared_login)
                && login_is_changed(environment, &name)
            {
                endpoint.set("login", login.clone());
            }
            for key in KEYS.iter().filter(|key| key.table.starts_with("cluster.endpoint")) {
                set_key(endpoint, "cluster.endpoint", key, |variable| {
                    environment.own_or_shared(&name, variable)
                });
            }
        }
    }
    for listener in root.tables_mut("listener") {
        let name = name_of(listener);
        let implied = implied.contains(&name);
        for key in KEYS.iter().filter(|key| key.scope() == Scope::Listener) {
            set_key(listener, "listener", key, |variable| match variable {
                // The ports of implied listeners count up from the shared port.
                "LISTEN_PORT" if implied => environment.own(&name, variable),
                _ => environment.own_or_shared(&name, variable),
            });
        }
    }
    for key in KEYS.iter().filter(|key| key.scope() == Scope::Process) {
        set_key(root, "", key, |variable| environment.shared(variable));
    }
    open_telemetry::apply_variables(root, environment, report);
}

/// Names of all endpoints, in configuration order.
pub(super) fn endpoint_names(root: &Table) -> Vec<String> {
    root.tables("cluster").flat_map(|cluster| cluster.tables("endpoint").map(name_of)).collect()
}

/// Names of all listeners, in configuration order.
pub(super) fn listener_names(root: &Table) -> Vec<String> {
    root.tables("listener").map(name_of).collect()
}

fn name_of(table: &Table) -> String {
    table.get("name").and_then(Item::as_text).unwrap_or_default().to_owned()
}

// === endpoints ===

/// Adds the endpoints that the file does not contain, and returns their names.
fn add_endpoints(root: &mut Table, environment: &Environment, report: &ProblemReport) -> Vec<String> {
    let known = endpoint_names(root);
    let mut added = Vec::new();
    for (name, origin) in wanted_endpoints(&known, environment, report) {
        if known.contains(&name) || added.contains(&name) {
            continue;
        }
        let twin =
            known.iter().chain(&added).find(|other| own_variable(other, "") == own_variable(&name, ""));
        if let Some(twin) = twin {
            let what = format!("`{name}` and `{twin}` would be described by the same variables");
            report.problem(&origin, "", what, "rename one of them");
            continue;
        }
        let mut endpoint = Table::new();
        endpoint.set("name", Item::text(&name, &origin));
        endpoint.set("role", Item::text(DeclaredRole::Primary.as_str(), &Origin::Default));
        if let Some(cluster) = cluster_for(root, environment, &name, &origin) {
            cluster.push_table("endpoint", endpoint, &origin);
            added.push(name);
        }
    }
    added
}

/// The endpoints named by the environment, each with its variable.
fn wanted_endpoints(
    known: &[String],
    environment: &Environment,
    report: &ProblemReport,
) -> Vec<(String, Origin)> {
    let role = environment.shared("BACKEND_ROLE");
    let host = environment.shared("BACKEND_HOST");
    let Some((list, origin)) = environment.shared(catalog::ENDPOINTS) else {
        // A single endpoint without a name is named after its role.
        let Some((_, origin)) = host.filter(|_| known.is_empty()) else { return Vec::new() };
        let role = role.and_then(|(role, _)| role.parse().ok()).unwrap_or(DeclaredRole::Primary);
        return vec![(role.as_str().to_owned(), origin)];
    };
    let mut wanted: Vec<(String, Origin)> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if let Err(error) = EndpointName::new(name) {
            report.problem(&origin, "", format!("\"{name}\": {error}"), "write names as in primary,reads,dr");
        } else if wanted.iter().any(|(other, _)| other == name) {
            report.problem(&origin, "", format!("`{name}` stands twice"), "name each endpoint once");
        } else {
            wanted.push((name.to_owned(), origin.clone()));
        }
    }
    if wanted.is_empty() {
        report.problem(&origin, "", "contains no endpoint name", "write names as in primary,reads,dr");
    }
    wanted
}

/// Cluster of a new endpoint: from its variable, else the only cluster, else the default.
fn cluster_for<'r>(
    root: &'r mut Table,
    environment: &Environment,
    name: &str,
    origin: &Origin,
) -> Option<&'r mut Table> {
    let clusters: Vec<String> = root.tables("cluster").map(name_of).collect();
    // The default cluster of secondary endpoints is not a candidate for primary endpoints.
    let primary: Vec<&str> =
        clusters.iter().map(String::as_str).filter(|it| *it != SECONDARY_CLUSTER).collect();
    let primary = if let [only] = primary.as_slice() { *only } else { DEFAULT_CLUSTER };
    let role = environment.own_or_shared(name, "BACKEND_ROLE").and_then(|(role, _)| role.parse().ok());
    let is_secondary = role == Some(DeclaredRole::Secondary);
    let (cluster, place) = environment.own_or_shared(name, catalog::BACKEND_CLUSTER).unwrap_or_else(|| {
        let cluster = if is_secondary { SECONDARY_CLUSTER } else { primary };
        (cluster.to_owned(), Origin::Default)
    });
    if !clusters.contains(&cluster) {
        let mut table = Table::new();
        table.set("name", Item::text(&cluster, &place));
        if is_secondary && place == Origin::Default && clusters.iter().any(|it| it == primary) {
            table.set("replica_of", Item::text(primary, &Origin::Default));
        }
        root.push_table("cluster", table, origin);
    }
    root.tables_mut("cluster").find(|table| name_of(table) == cluster)
}

/// Sets `key` of a cluster from its first endpoint with `variable` set.
fn set_from_endpoints(cluster: &mut Table, key: &str, variable: &str, environment: &Environment) {
    let names: Vec<String> = cluster.tables("endpoint").map(name_of).collect();
    let found: Vec<_> = names.iter().map(|name| environment.own_or_shared(name, variable)).collect();
    let cluster_name = name_of(cluster);
    // A variable for all endpoints may name the replication source of all clusters: one cluster is the source.
    let is_source = |text: &str| key == "replica_of" && text == cluster_name;
    if let Some((text, origin)) = found.into_iter().flatten().find(|(text, _)| !is_source(text)) {
        cluster.set(key, Item::text(text, &origin));
    }
}

/// Refuses a host for all endpoints if a file gives several endpoints an address: all would become one server.
fn refuse_shared_host(root: &Table, environment: &Environment, report: &ProblemReport) {
    let Some((host, origin)) = environment.shared("BACKEND_HOST") else { return };
    let moved: Vec<String> = root
        .tables("cluster")
        .flat_map(|cluster| cluster.tables("endpoint"))
        .filter(|endpoint| endpoint.get("address").is_some())
        .map(name_of)
        .filter(|name| environment.own(name, "BACKEND_HOST").is_none())
        .collect();
    if moved.len() < 2 {
        return;
    }
    let names: Vec<String> = moved.iter().map(|name| format!("`{name}`")).collect();
    let what = format!("\"{host}\" would be the host of several endpoints of the file: {}", names.join(", "));
    let variables: Vec<String> = moved.iter().map(|name| own_variable(name, "BACKEND_HOST")).collect();
    let remedy = format!("set {} for the one that is meant", variables.join(" or "));
    report.problem(&origin, "", what, remedy);
}

/// True if a variable affects the login of the endpoint `name`; the cluster may supply the rest.
fn login_is_changed(environment: &Environment, name: &str) -> bool {
    let mut variables =
        KEYS.iter().filter(|key| key.table == "cluster.endpoint.login").flat_map(|key| key.variables);
    variables.any(|variable| environment.own_or_shared(name, variable).is_some())
}

// === listeners ===

/// Adds a listener for each of `endpoints`, with its name, a route to it, and ascending ports.
fn add_listeners(root: &mut Table, environment: &Environment, endpoints: &[String], report: &ProblemReport) {
    let base = environment.shared("LISTEN_PORT");
    let first = base
        .as_ref()
        .map_or(Some(FIRST_LISTENER_PORT), |(text, _)| text.parse().ok().filter(|port| *port > 0));
    if let (None, Some((text, origin))) = (first, &base) {
        report.problem(
            origin,
            "",
            format!("\"{text}\" is not a valid port"),
            "write a number from 1 to 65535",
        );
    }
    let origin = base.map_or(Origin::Default, |(_, origin)| origin);
    for name in endpoints {
        let listeners = listener_names(root);
        if listeners.contains(name) {
            continue;
        }
        let port = usize::from(first.unwrap_or(FIRST_LISTENER_PORT)) + listeners.len();
        let mut listener = Table::new();
        listener.set("name", Item::text(name, &Origin::Default));
        listener.set("route", Item::text(format!("endpoint:{name}"), &Origin::Default));
        listener.set("bind", Item::text(format!("127.0.0.1:{port}"), &origin));
        root.push_table("listener", listener, &Origin::Default);
    }
}

// === keys ===

/// Sets `key` below `table`, whose path is `path`, to the value found by `look_up`.
fn set_key(
    table: &mut Table,
    path: &str,
    key: &ConfigKey,
    look_up: impl Fn(&str) -> Option<(String, Origin)>,
) {
    let found: Vec<_> = key.variables.iter().map(|variable| look_up(variable)).collect();
    let Some((_, place)) = found.iter().flatten().next() else { return };
    let below = key.table.strip_prefix(path).unwrap_or_default().trim_start_matches('.');
    let mut target = table;
    for part in below.split('.').filter(|part| !part.is_empty()) {
        target = target.table_mut(part, place);
    }
    let item = match (key.name, found.as_slice()) {
        ("address" | "bind", [host, port]) => {
            let default = match key.table {
                "admin" => Some("127.0.0.1:8080"),
                "listener" => Some("127.0.0.1:15432"),
                _ => None,
            };
            let old = target.get(key.name).and_then(Item::as_text).or(default);
            match join_address(old, host.as_ref(), port.as_ref()) {
                Some(item) => item,
                None => return,
            }
        }
        ("password" | "iam", [_, Some((path, origin))]) => {
            let mut file = Table::new();
            file.set("file", Item::text(path, origin));
            Item::table(file, origin)
        }
        _ => {
            let Some((text, origin)) = found.iter().flatten().next() else { return };
            Item::text(text, origin)
        }
    };
    // A login from the environment replaces a login of another kind from the file.
    let others: &[&str] = match (key.table, key.name) {
        ("cluster.endpoint.login", "iam") => &["user", "password", "token_command"],
        ("cluster.endpoint.login", "token_command") => {
            &["user", "password", "iam", "impersonate", "delegates"]
        }
        ("cluster.endpoint.login", "password") => {
            &["token_command", "iam", "impersonate", "delegates", "token_ttl", "token_timeout", "users"]
        }
        _ => &[],
    };
    for other in others {
        if target.get(other).is_some_and(|item| matches!(item.origin, Origin::File { .. })) {
            target.remove(other);
        }
    }
    target.set(key.name, item);
}

/// An address with a replaced host, port or both; `None` without a host.
fn join_address(
    old: Option<&str>,
    host: Option<&(String, Origin)>,
    port: Option<&(String, Origin)>,
) -> Option<Item> {
    let wrong_port = port.filter(|(text, _)| text.parse::<u16>().is_err());
    let (_, origin) = wrong_port.or(host).or(port)?;
    let (old_host, old_port) = match old.and_then(|text| text.parse().ok()) {
        Some(Address::Tcp { host, port }) => (Some(host), Some(port.to_string())),
        Some(Address::Unix(path)) => (Some(path.display().to_string()), None),
        None => (None, None),
    };
    let host = host.map(|(text, _)| text.clone()).or(old_host)?;
    let port = port.map(|(text, _)| text.clone()).or(old_port);
    let text = match port {
        _ if host.contains("/.s.PGSQL.") => host,
        // As in libpq: directory and port form the path of a socket.
        port if host.starts_with('/') => {
            format!("{}/.s.PGSQL.{}", host.trim_end_matches('/'), port.as_deref().unwrap_or("5432"))
        }
        Some(port) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host,
    };
    Some(Item::text(text, origin))
}
