//! Clusters and their endpoints.

use std::{path::PathBuf, sync::Arc};

use super::{
    login,
    problem::Origin,
    reader::{ReadContext, Section, Spot},
    transport,
    tree::{Item, Table},
};
use crate::{
    backend::{EndpointSettings, ProbeLogin},
    credentials::Login,
    names::{ClusterName, DatabaseName, EndpointName, UserName},
    topology::{Address, Cluster, DeclaredRole, Endpoint},
};

/// Default time limit of name resolution, TCP, TLS and login together.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Default number of concurrent logins.
const DEFAULT_CONNECT_CONCURRENCY: usize = 32;
/// Default number of backends reserved for probes and cancel requests.
const DEFAULT_RESERVE_BACKENDS: usize = 3;
/// Default database of the probe.
const PROBE_DATABASE: &str = "postgres";

const ROLES: [(&str, DeclaredRole); 4] = [
    ("primary", DeclaredRole::Primary),
    ("replica", DeclaredRole::Replica),
    ("read-pool", DeclaredRole::ReadPool),
    ("secondary", DeclaredRole::Secondary),
];

/// The clusters, and all endpoints with their positions.
pub(super) struct Clusters {
    pub(super) clusters: Vec<Cluster>,
    pub(super) endpoints: Vec<Spot<EndpointSettings>>,
    /// Names of all endpoints, including endpoints with mistakes: a route to such an endpoint is not another mistake.
    pub(super) named: Vec<String>,
}

/// Reads every `[[cluster]]`.
pub(super) fn read_clusters(context: &ReadContext, root: &Section<'_>) -> Clusters {
    let mut all = Clusters { clusters: Vec::new(), endpoints: Vec::new(), named: Vec::new() };
    let mut replicas = Vec::new();
    for section in root.tables("cluster", "cluster", |table| table_title("cluster", table)) {
        replicas.extend(read_cluster(context, &section, &mut all));
    }
    for replica in replicas {
        check_replication(context, &replica, &all.clusters);
    }
    all
}

/// A cluster with `replica_of`.
struct ReplicaCluster {
    name: ClusterName,
    of: Spot<ClusterName>,
    /// Subject of a problem with `replica_of`.
    subject: String,
}

/// Reads one cluster with its endpoints into `all`.
fn read_cluster(context: &ReadContext, section: &Section<'_>, all: &mut Clusters) -> Option<ReplicaCluster> {
    let name = section.parsed(
        "name",
        |text| ClusterName::new(text).map_err(|error| error.to_string()),
        "write a name as in \"orders\"",
    );
    if name.is_none() && !section.has_key("name") {
        section.missing("name", "name = \"orders\"");
    }
    let region = section.text("region").map(|spot| spot.value);
    let replica_of = section.parsed(
        "replica_of",
        |text| ClusterName::new(text).map_err(|error| error.to_string()),
        "write the name of a cluster",
    );
    let ca_file = section.path("ca_file");
    let shared = ClusterDefaults {
        name: name.as_ref().map(|spot| spot.value.clone()),
        region: region.clone(),
        ca_file: ca_file.map(|spot| spot.value),
        section,
        tls: section.table_or_empty("tls", "cluster.tls"),
        login: section.raw("login"),
    };
    let endpoints = section.tables("endpoint", "cluster.endpoint", |table| table_title("endpoint", table));
    if endpoints.is_empty() && !section.has_key("endpoint") {
        section.context.report.problem(
            &section.origin,
            section.title.clone(),
            "has no endpoint",
            "write [[cluster.endpoint]] below it",
        );
    }
    for endpoint in &endpoints {
        read_endpoint(context, endpoint, &shared, all);
    }
    let name = name?.value;
    if all.clusters.iter().any(|other| other.name == name) {
        section.problem("name", "another cluster has this name", "give each cluster a name of its own");
    }
    all.clusters.push(Cluster {
        name: name.clone(),
        region,
        replica_of: replica_of.as_ref().map(|spot| spot.value.clone()),
    });
    replica_of.map(|of| ReplicaCluster { name, of, subject: section.named("replica_of") })
}

/// Reports a cluster that replicates from itself or from an unknown cluster.
fn check_replication(context: &ReadContext, replica: &ReplicaCluster, clusters: &[Cluster]) {
    let ReplicaCluster { name, of, subject } = replica;
    if of.value == *name {
        context.report.problem(
            &of.origin,
            subject.clone(),
            "a cluster cannot replicate from itself",
            "name the primary cluster",
        );
    } else if !clusters.iter().any(|cluster| cluster.name == of.value) {
        let names: Vec<_> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let what = format!("unknown cluster `{}`", of.value);
        let remedy = format!("name one of: {}", names.join(", "));
        context.report.problem(&of.origin, subject.clone(), what, remedy);
    }
}

/// Settings of a cluster that its endpoints inherit.
pub(super) struct ClusterDefaults<'c> {
    pub(super) name: Option<ClusterName>,
    pub(super) region: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) section: &'c Section<'c>,
    pub(super) tls: Section<'c>,
    pub(super) login: Option<&'c Item>,
}

/// Title of a table of a list in problems.
pub(super) fn table_title(kind: &str, table: &Table) -> String {
    format!("{kind}.{}", table.get("name").and_then(Item::as_text).unwrap_or("?"))
}

fn read_endpoint(
    context: &ReadContext,
    section: &Section<'_>,
    shared: &ClusterDefaults<'_>,
    all: &mut Clusters,
) {
    let name = read_endpoint_name(section, all);
    let role = section.word("role", &ROLES);
    if role.is_none() && !section.has_key("role") {
        section.missing("role", "role = \"primary\"");
    }
    let form = "write a host and a port, as in \"10.20.30.40:5432\", or the path of a socket";
    let address =
        section.parsed("address", |text| text.parse::<Address>().map_err(|error| error.to_string()), form);
    if address.is_none() && !section.has_key("address") {
        section.missing("address", "address = \"10.20.30.40:5432\"");
    }
    let tls = transport::read_tls(section, shared);
    let insecure_plaintext = section.flag("insecure_plaintext");
    let insecure_token = section.flag("insecure_token_without_verification");
    let item = section.raw("login").or(shared.login);
    let login = login::read_login(context, item, &section.title, &section.origin, insecure_token.value);
    let connect_timeout = section.positive_duration("connect_timeout", CONNECT_TIMEOUT);
    let connect_concurrency = section.count("connect_concurrency", 1, DEFAULT_CONNECT_CONCURRENCY);
    let (max_backends, reserve) = read_budget(section);
    let probe_login = login.as_ref().and_then(|login| read_probe(section, &login.value));
    if let Some(address) = &address {
        transport::check_transport(section, &address.value, &tls, login.as_ref(), insecure_plaintext.value);
    }
    transport::check_files(&tls, shared, address.as_ref().map(|spot| &spot.value));
    let (Some(name), Some(role), Some(address), Some(login), Some(cluster)) =
        (name, role, address, login, shared.name.clone())
    else {
        return;
    };
    warn_of_twin(section, &address.value, all);
    let region = shared.region.clone();
    let endpoint = Endpoint { name, cluster, region, role: role.value, address: address.value };
    let settings = EndpointSettings {
        endpoint: Arc::new(endpoint),
        tls: tls.settings,
        login: login.value,
        insecure_plaintext: insecure_plaintext.value,
        connect_timeout,
        connect_concurrency,
        max_backends,
        reserve,
        probe_login,
    };
    all.endpoints.push(Spot { value: settings, origin: section.origin.clone() });
}

/// Reads the name and adds it to the names in use; `None` without a name of its own.
fn read_endpoint_name(section: &Section<'_>, all: &mut Clusters) -> Option<EndpointName> {
    let name = section.parsed(
        "name",
        |text| EndpointName::new(text).map_err(|error| error.to_string()),
        "write a name as in \"primary\"",
    );
    let Some(name) = name else {
        if !section.has_key("name") {
            section.missing("name", "name = \"primary\"");
        }
        return None;
    };
    let repeated = all.named.iter().any(|other| other == name.value.as_str());
    all.named.push(name.value.to_string());
    if repeated {
        section.problem("name", "another endpoint has this name", "give each endpoint a name of its own");
        return None;
    }
    Some(name.value)
}

/// Warns if another endpoint has the same address.
fn warn_of_twin(section: &Section<'_>, address: &Address, all: &Clusters) {
    if let Some(twin) = all.endpoints.iter().find(|other| other.value.endpoint.address == *address) {
        let what = format!("endpoint `{}` has the same address", twin.value.endpoint.name);
        section.warning("address", what, "make sure that this is meant");
    }
}

/// Maximum number of backends, and the number reserved for probes and cancel requests.
fn read_budget(endpoint: &Section<'_>) -> (Option<usize>, usize) {
    let max_backends = endpoint.number("max_backends", 0..=1_000_000_000);
    if max_backends.is_none() && !endpoint.has_key("max_backends") {
        endpoint.record("max_backends", "0", &Origin::Default);
    }
    let max_backends = max_backends.and_then(|spot| usize::try_from(spot.value).ok()).filter(|max| *max > 0);
    let reserve = endpoint.count("reserve", 0, DEFAULT_RESERVE_BACKENDS);
    if let Some(max) = max_backends
        && reserve >= max
    {
        let what = format!("no backend is left: {reserve} of {max} are reserved");
        let remedy = format!("write less than {max}, or a larger {}", endpoint.remedy_name("max_backends"));
        endpoint.problem("reserve", what, remedy);
    }
    (max_backends, reserve)
}

/// User of the probe: the configured one, else the user of a password login, else the first user of a token login.
fn read_probe(endpoint: &Section<'_>, login: &Login) -> Option<ProbeLogin> {
    let section = endpoint.table_or_empty("probe", "cluster.endpoint.probe");
    let configured_user = section.parsed(
        "user",
        |text| UserName::new(text).map_err(|error| error.to_string()),
        "write a database user",
    );
    let database = section
        .parsed(
            "database",
            |text| DatabaseName::new(text).map_err(|error| error.to_string()),
            "write a database",
        )
        .map(|spot| spot.value)
        .or_else(|| DatabaseName::new(PROBE_DATABASE).ok());
    let default = match login {
        Login::Passthrough => {
            if let Some(key) = ["user", "database"].into_iter().find(|key| section.has_key(key)) {
                let remedy = "give the endpoint a token command or a password, or remove it";
                section.problem(
                    key,
                    "a probe cannot log in to an endpoint with login = \"passthrough\"",
                    remedy,
                );
            }
            return None;
        }
        Login::Token(token) => token.users.listed().first().cloned(),
        Login::Password(password) => password.user.clone(),
    };
    let user = match configured_user {
        Some(spot) => spot.value,
        None => {
            let user = default?;
            section.record("user", user.to_string(), &Origin::Default);
            user
        }
    };
    let database = database?;
    if !section.has_key("database") {
        section.record("database", database.to_string(), &Origin::Default);
    }
    Some(ProbeLogin { user, database })
}
