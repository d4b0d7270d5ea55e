//! Every configuration key, with the environment variables that set the key.
//!
//! The only list of keys: other keys are unknown, in the file and in the environment. Contract tests require each row
//! in `config/example.toml` and each variable in `config/compose.env`.

/// One key of the file.
pub struct ConfigKey {
    /// The table of the key, such as `cluster.endpoint.tls`; empty for the top level.
    pub table: &'static str,
    /// Name in the table.
    pub name: &'static str,
    /// Variables that set the key, without `GATEKEEPER_` (see [`Scope`]); an address has two.
    pub variables: &'static [&'static str],
}

/// The object that a variable describes, which determines whether a name may precede the variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The process: no name.
    Process,
    /// An endpoint: `GATEKEEPER_<NAME>_…` for one, `GATEKEEPER_…` for all.
    Endpoint,
    /// A listener: `GATEKEEPER_<NAME>_…` for one, `GATEKEEPER_…` for all.
    Listener,
}

/// Prefix of every variable except [`ADMIN_API_KEY`].
pub(super) const PREFIX: &str = "GATEKEEPER_";
/// The bearer key of the admin API: full variable name.
pub(super) const ADMIN_API_KEY: &str = "ADMIN_API_KEY";
/// Names of the endpoints described by the environment, separated by commas.
pub(super) const ENDPOINTS: &str = "ENDPOINTS";
/// The configuration file, if not given on the command line.
pub(super) const CONFIG: &str = "CONFIG";
/// Directory of the sandbox's servers: not a setting, and not reported as unknown.
pub(super) const PG_BIN: &str = "PG_BIN";
/// Cluster of an endpoint described by the environment; in a file, endpoints stand in their cluster.
pub(super) const BACKEND_CLUSTER: &str = "BACKEND_CLUSTER";
/// Region of an endpoint's cluster.
pub(super) const BACKEND_REGION: &str = "BACKEND_REGION";
/// Cluster from which the endpoint's cluster replicates.
pub(super) const BACKEND_REPLICA_OF: &str = "BACKEND_REPLICA_OF";

/// Every key.
pub const KEYS: &[ConfigKey] = &[
    key("cluster", "name", &[BACKEND_CLUSTER]),
    key("cluster", "region", &[BACKEND_REGION]),
    key("cluster", "replica_of", &[BACKEND_REPLICA_OF]),
    key("cluster", "ca_file", &[]),
    key("cluster", "login", &[]),
    key("cluster.tls", "mode", &[]),
    key("cluster.tls", "negotiation", &[]),
    key("cluster.tls", "cert", &[]),
    key("cluster.tls", "key", &[]),
    key("cluster.endpoint", "name", &[]),
    key("cluster.endpoint", "role", &["BACKEND_ROLE"]),
    key("cluster.endpoint", "address", &["BACKEND_HOST", "BACKEND_PORT"]),
    key("cluster.endpoint", "connect_timeout", &["BACKEND_CONNECT_TIMEOUT"]),
    key("cluster.endpoint", "connect_concurrency", &["BACKEND_CONNECT_CONCURRENCY"]),
    key("cluster.endpoint", "max_backends", &["BACKEND_MAX_BACKENDS"]),
    key("cluster.endpoint", "reserve", &["BACKEND_RESERVE"]),
    key("cluster.endpoint", "insecure_plaintext", &["BACKEND_INSECURE_PLAINTEXT"]),
    key(
        "cluster.endpoint",
        "insecure_token_without_verification",
        &["BACKEND_INSECURE_TOKEN_WITHOUT_VERIFICATION"],
    ),
    key("cluster.endpoint.tls", "mode", &["BACKEND_TLS_MODE"]),
    key("cluster.endpoint.tls", "ca_file", &["BACKEND_TLS_CA_FILE"]),
    key("cluster.endpoint.tls", "server_name", &["BACKEND_TLS_SERVER_NAME"]),
    key("cluster.endpoint.tls", "negotiation", &["BACKEND_TLS_NEGOTIATION"]),
    key("cluster.endpoint.tls", "cert", &["BACKEND_TLS_CERT"]),
    key("cluster.endpoint.tls", "key", &["BACKEND_TLS_KEY"]),
    key("cluster.endpoint.login", "iam", &["BACKEND_IAM", "BACKEND_IAM_FILE"]),
    key("cluster.endpoint.login", "impersonate", &["BACKEND_IAM_IMPERSONATE"]),
    key("cluster.endpoint.login", "delegates", &["BACKEND_IAM_DELEGATES"]),
    key("cluster.endpoint.login", "token_command", &["BACKEND_TOKEN_CMD"]),
    key("cluster.endpoint.login", "token_ttl", &["BACKEND_TOKEN_TTL"]),
    key("cluster.endpoint.login", "token_timeout", &["BACKEND_TOKEN_TIMEOUT"]),
    key("cluster.endpoint.login", "users", &["BACKEND_TOKEN_USERS"]),
    key("cluster.endpoint.login", "user", &["BACKEND_USER"]),
    key("cluster.endpoint.login", "password", &["BACKEND_PASSWORD", "BACKEND_PASSWORD_FILE"]),
    key("cluster.endpoint.probe", "user", &["BACKEND_PROBE_USER"]),
    key("cluster.endpoint.probe", "database", &["BACKEND_PROBE_DATABASE"]),
    key("listener", "name", &[]),
    key("listener", "bind", &["LISTEN_HOST", "LISTEN_PORT"]),
    key("listener", "mode", &["LISTEN_MODE"]),
    key("listener", "route", &["LISTEN_ROUTE"]),
    key("listener", "when_no_reader", &["LISTEN_WHEN_NO_READER"]),
    key("listener", "consistency", &["LISTEN_CONSISTENCY"]),
    key("listener", "max_lag", &["LISTEN_MAX_LAG"]),
    key("listener", "freshness_wait", &["LISTEN_FRESHNESS_WAIT"]),
    key("listener", "read_deadline", &["LISTEN_READ_DEADLINE"]),
    key("listener", "hints", &["LISTEN_HINTS"]),
    key("listener", "primary_only", &["LISTEN_PRIMARY_ONLY"]),
    key("listener", "secondary_read_pools", &["LISTEN_SECONDARY_READ_POOLS"]),
    key("listener", "insecure_trust", &["LISTEN_INSECURE_TRUST"]),
    key("listener", "max_clients", &["LISTEN_MAX_CLIENTS"]),
    key("listener", "max_clients_per_address", &["LISTEN_MAX_CLIENTS_PER_ADDRESS"]),
    key("listener", "max_clients_per_user", &["LISTEN_MAX_CLIENTS_PER_USER"]),
    key("listener", "max_clients_per_database", &["LISTEN_MAX_CLIENTS_PER_DATABASE"]),
    key("listener", "login_timeout", &["LISTEN_LOGIN_TIMEOUT"]),
    key("listener", "query_timeout", &["LISTEN_QUERY_TIMEOUT"]),
    key("listener", "idle_transaction_timeout", &["LISTEN_IDLE_TRANSACTION_TIMEOUT"]),
    key("listener", "client_idle_timeout", &["LISTEN_CLIENT_IDLE_TIMEOUT"]),
    key("listener", "client_write_timeout", &["LISTEN_CLIENT_WRITE_TIMEOUT"]),
    key("listener", "hold", &["LISTEN_HOLD"]),
    key("listener", "on_backend_loss", &["LISTEN_ON_BACKEND_LOSS"]),
    key("listener", "resolve_commits", &["LISTEN_RESOLVE_COMMITS"]),
    key("listener", "application_name_add_session", &["LISTEN_APPLICATION_NAME_ADD_SESSION"]),
    key("listener.auth", "method", &["LISTEN_AUTH"]),
    key("listener.auth", "users_file", &["LISTEN_USERS_FILE"]),
    key("listener.auth", "name", &["LISTEN_CERTIFICATE_NAME"]),
    key("listener.auth", "map", &["LISTEN_CERTIFICATE_MAP"]),
    key("listener.auth", "remember", &["LISTEN_PASSWORD_REMEMBER"]),
    key("listener.auth", "users", &["LISTEN_USERS"]),
    key("listener.auth", "databases", &["LISTEN_DATABASES"]),
    key("listener.tls", "cert", &["PROXY_TLS_CERT"]),
    key("listener.tls", "key", &["PROXY_TLS_KEY"]),
    key("listener.tls", "required", &["PROXY_TLS_REQUIRED"]),
    key("listener.tls", "client_certificates", &["PROXY_TLS_CLIENT_CERTIFICATES"]),
    key("listener.tls", "client_ca_file", &["PROXY_TLS_CLIENT_CA_FILE"]),
    key("listener.pool", "mode", &["POOL_MODE"]),
    key("listener.pool", "size", &["POOL_SIZE"]),
    key("listener.pool", "min_idle", &["POOL_MIN_IDLE"]),
    key("listener.pool", "max_lifetime", &["POOL_MAX_LIFETIME"]),
    key("listener.pool", "idle_timeout", &["POOL_IDLE_TIMEOUT"]),
    key("listener.pool", "query_wait_timeout", &["POOL_QUERY_WAIT_TIMEOUT"]),
    key("listener.pool", "wait_notice", &["POOL_WAIT_NOTICE"]),
    key("listener.pool", "pin_on_functions", &["POOL_PIN_ON_FUNCTIONS"]),
    key("listener.pool", "isolation", &["POOL_ISOLATION"]),
    key("admin", "enabled", &["API_ENABLED"]),
    key("admin", "bind", &["API_HOST", "API_PORT"]),
    key("admin", "api_key", &[ADMIN_API_KEY]),
    key("admin", "viewer_key", &["API_VIEWER_KEY"]),
    key("admin", "open_health", &["API_OPEN_HEALTH"]),
    key("admin", "metrics_prefix", &["API_METRICS_PREFIX"]),
    key("admin.tls", "cert", &["API_TLS_CERT"]),
    key("admin.tls", "key", &["API_TLS_KEY"]),
    key("console", "database", &["CONSOLE_DATABASE"]),
    key("console", "admin_users", &["CONSOLE_ADMIN_USERS"]),
    key("console", "stats_users", &["CONSOLE_STATS_USERS"]),
    key("console", "insecure_trust", &["CONSOLE_INSECURE_TRUST"]),
    key("audit", "file", &["AUDIT_FILE"]),
    key("audit", "level", &["AUDIT_LEVEL"]),
    key("audit", "statements", &["AUDIT_STATEMENTS"]),
    key("audit", "on_full", &["AUDIT_ON_FULL"]),
    key("audit", "queue", &["AUDIT_QUEUE"]),
    key("audit", "block_timeout", &["AUDIT_BLOCK_TIMEOUT"]),
    key("audit", "rotate_size", &["AUDIT_ROTATE_SIZE"]),
    key("audit", "max_text", &["AUDIT_MAX_TEXT"]),
    key("audit", "sync", &["AUDIT_SYNC"]),
    key("audit", "sync_interval", &["AUDIT_SYNC_INTERVAL"]),
    key("audit", "hash_chain", &["AUDIT_HASH_CHAIN"]),
    key("traces", "endpoint", &["TRACES_ENDPOINT"]),
    key("traces", "ratio", &["TRACES_RATIO"]),
    key("traces", "queue", &["TRACES_QUEUE"]),
    key("traces", "timeout", &["TRACES_TIMEOUT"]),
    key("traces", "ca_file", &["TRACES_CA_FILE"]),
    key("traces", "headers", &["TRACES_HEADERS"]),
    key("traces", "service_name", &["TRACES_SERVICE_NAME"]),
    key("traces", "resource_attributes", &["TRACES_RESOURCE_ATTRIBUTES"]),
    key("metrics", "endpoint", &["METRICS_ENDPOINT"]),
    key("metrics", "interval", &["METRICS_INTERVAL"]),
    key("metrics", "timeout", &["METRICS_TIMEOUT"]),
    key("metrics", "ca_file", &["METRICS_CA_FILE"]),
    key("metrics", "headers", &["METRICS_HEADERS"]),
    key("metrics", "service_name", &["METRICS_SERVICE_NAME"]),
    key("metrics", "resource_attributes", &["METRICS_RESOURCE_ATTRIBUTES"]),
    key("log", "level", &["LOG_LEVEL"]),
    key("log", "format", &["LOG_FORMAT"]),
    key("log", "connections", &["LOG_CONNECTIONS"]),
    key("probe", "interval", &["PROBE_INTERVAL"]),
    key("probe", "timeout", &["PROBE_TIMEOUT"]),
    key("probe", "failures", &["PROBE_FAILURES"]),
    key("probe", "lagging_after", &["PROBE_LAGGING_AFTER"]),
    key("runtime", "workers", &["WORKERS"]),
    key("runtime", "drain_delay", &["DRAIN_DELAY"]),
    key("runtime", "drain_timeout", &["DRAIN_TIMEOUT"]),
    key("runtime", "handover", &["HANDOVER"]),
    key("runtime", "handover_wait", &["HANDOVER_WAIT"]),
    key("runtime", "local_region", &["LOCAL_REGION"]),
];

const fn key(table: &'static str, name: &'static str, variables: &'static [&'static str]) -> ConfigKey {
    ConfigKey { table, name, variables }
}

// === impl ConfigKey ===

impl ConfigKey {
    /// The object that the variables describe.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.table.split('.').next() {
            Some("cluster") => Scope::Endpoint,
            Some("listener") => Scope::Listener,
            _ => Scope::Process,
        }
    }

    /// Full names of the variables, without an endpoint or listener name.
    pub fn full_variables(&self) -> impl Iterator<Item = String> {
        self.variables.iter().map(|variable| full_variable(variable))
    }
}

/// Every known variable, without an endpoint or listener name.
pub fn variables() -> impl Iterator<Item = String> {
    [ENDPOINTS, CONFIG].into_iter().map(full_variable).chain(KEYS.iter().flat_map(ConfigKey::full_variables))
}

/// The keys and tables allowed in `table`.
pub(super) fn names_in(table: &str) -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let name = if key.table == table {
            key.name
        } else {
            let below = match table {
                "" => key.table,
                _ => key.table.strip_prefix(table)?.strip_prefix('.')?,
            };
            below.split('.').next()?
        };
        (std::mem::replace(&mut last, name) != name).then_some(name)
    })
}

/// Name of an environment key in remedies: its variables, with the name of the endpoint or listener `owner` if
/// required. A
/// key without variables has its own name.
pub(super) fn name_in_remedy(table: &str, name: &str, owner: Option<&str>) -> String {
    let variables: Vec<String> = KEYS
        .iter()
        .filter(|key| key.table == table && key.name == name)
        .flat_map(|key| key.variables)
        .map(|variable| match owner {
            Some(owner) => own_variable(owner, variable),
            None => full_variable(variable),
        })
        .collect();
    match variables.as_slice() {
        [] => format!("`{name}`"),
        some => some.join(", "),
    }
}

/// Full name of a variable for one endpoint or listener: upper-case name, `-` replaced by `_`.
pub(super) fn own_variable(name: &str, variable: &str) -> String {
    format!("{PREFIX}{}_{variable}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Full name of a variable.
pub(super) fn full_variable(variable: &str) -> String {
    match variable {
        ADMIN_API_KEY => variable.to_owned(),
        _ => format!("{PREFIX}{variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_sets_one_key_and_no_name_in_front_can_turn_it_into_another() {
        let all: Vec<&str> = KEYS.iter().flat_map(|key| key.variables).copied().collect();
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert!(at == other_at || one != other, "{one} stands twice");
                assert!(!other.ends_with(&format!("_{one}")), "{other} could be {one} of an endpoint");
            }
        }
    }

    #[test]
    fn a_table_knows_its_keys_and_the_tables_in_it() {
        assert_eq!(
            names_in("runtime").collect::<Vec<_>>(),
            ["workers", "drain_delay", "drain_timeout", "handover", "handover_wait", "local_region"]
        );
        let top: Vec<_> = names_in("").collect();
        assert_eq!(
            top,
            [
                "cluster", "listener", "admin", "console", "audit", "traces", "metrics", "log", "probe",
                "runtime"
            ]
        );
        assert!(names_in("cluster").any(|name| name == "tls"));
    }
}
