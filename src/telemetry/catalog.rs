//! The catalog of metrics: name, kind, labels and help, as data.
//!
//! Metrics are created from the catalog only. Contract tests check dashboards, alerts and documentation against the
//! catalog. The unit is the last word of the name (before `_total`): `seconds` or `bytes`; counts have no unit. A metric
//! that ends in `_timestamp_seconds` is a time on the system's clock, and `NaN` if unset.

/// One metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name.
    pub name: &'static str,
    /// Kind of the metric.
    pub kind: MetricKind,
    /// Labels, in order.
    pub labels: &'static [Label],
    /// One noun phrase for readers of dashboards.
    pub help: &'static str,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Never decreases.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Durations, counted in buckets.
    Histogram(Buckets),
}

/// The upper bounds of a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// Statements: 0.5 ms to 10 s.
    Statements,
    /// Time spent in Gatekeeper: 10 µs to 50 ms.
    Overhead,
    /// Phases of opening a backend connection: 0.25 ms to 10 s. Wide steps, because each phase has a histogram.
    Connect,
    /// Waiting for a backend: 0.1 ms to 30 s.
    Wait,
    /// Holds and absences of the writer: 0.5 s to 120 s.
    Hold,
}

/// A label. Values are configured names or variants of [`super::labels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the label of that name")]
pub enum Label {
    BackendRole,
    Cause,
    Certificate,
    Cluster,
    Direction,
    Endpoint,
    Fate,
    Kind,
    Listener,
    Outcome,
    Phase,
    Reason,
    Region,
    Role,
    SqlstateClass,
    State,
    Version,
}

impl Metric {
    /// Upper bounds of the buckets of a histogram, in nanoseconds; empty for other kinds.
    #[must_use]
    pub fn bounds(&self) -> &'static [u64] {
        match self.kind {
            MetricKind::Histogram(buckets) => buckets.bounds(),
            MetricKind::Counter | MetricKind::Gauge => &[],
        }
    }
}

impl Label {
    /// The name of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackendRole => "backend_role",
            Self::Cause => "cause",
            Self::Certificate => "certificate",
            Self::Cluster => "cluster",
            Self::Direction => "direction",
            Self::Endpoint => "endpoint",
            Self::Fate => "fate",
            Self::Kind => "kind",
            Self::Listener => "listener",
            Self::Outcome => "outcome",
            Self::Phase => "phase",
            Self::Reason => "reason",
            Self::Region => "region",
            Self::Role => "role",
            Self::SqlstateClass => "sqlstate_class",
            Self::State => "state",
            Self::Version => "version",
        }
    }
}

impl Buckets {
    /// Upper bounds in nanoseconds, ascending and inclusive. One more bucket counts durations above the last bound.
    #[must_use]
    pub const fn bounds(self) -> &'static [u64] {
        const US: u64 = 1_000;
        const MS: u64 = 1_000 * US;
        const S: u64 = 1_000 * MS;
        match self {
            Self::Statements => &[
                500 * US,
                MS,
                2 * MS,
                5 * MS,
                10 * MS,
                25 * MS,
                50 * MS,
                100 * MS,
                250 * MS,
                500 * MS,
                S,
                2_500 * MS,
                5 * S,
                10 * S,
            ],
            Self::Overhead => &[
                10 * US,
                20 * US,
                50 * US,
                100 * US,
                200 * US,
                500 * US,
                MS,
                2 * MS,
                5 * MS,
                10 * MS,
                20 * MS,
                50 * MS,
            ],
            Self::Connect => {
                &[250 * US, MS, 2_500 * US, 5 * MS, 10 * MS, 25 * MS, 100 * MS, 500 * MS, 2 * S, 10 * S]
            }
            Self::Wait => &[
                100 * US,
                500 * US,
                MS,
                2_500 * US,
                5 * MS,
                10 * MS,
                25 * MS,
                50 * MS,
                100 * MS,
                250 * MS,
                500 * MS,
                S,
                2_500 * MS,
                5 * S,
                10 * S,
                30 * S,
            ],
            Self::Hold => &[500 * MS, 2 * S, 5 * S, 10 * S, 30 * S, 60 * S, 90 * S, 120 * S],
        }
    }
}

/// A bound in seconds, as Prometheus expects.
#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53 nanoseconds")]
pub(super) fn bound_seconds(bound: u64) -> f64 {
    bound as f64 / 1e9
}

macro_rules! catalog {
    ($($id:ident = $kind:expr, $name:literal, [$($label:ident),*], $help:literal;)+) => {
        $(#[doc = $help] pub static $id: Metric =
            Metric { name: $name, kind: $kind, labels: &[$(Label::$label),*], help: $help };)+

        /// Every metric, grouped by subject.
        pub static CATALOG: &[&Metric] = &[$(&$id),+];
    };
}

const COUNTER: MetricKind = MetricKind::Counter;
const GAUGE: MetricKind = MetricKind::Gauge;

catalog! {
    // A listener's traffic to an endpoint.
    STATEMENTS = COUNTER, "gatekeeper_statements_total", [Listener, Endpoint, BackendRole, Outcome],
        "Statements answered by an endpoint, or refused by Gatekeeper for want of one of its backends, by outcome.";
    STATEMENT_ERRORS = COUNTER, "gatekeeper_statement_errors_total", [Listener, Endpoint, BackendRole, SqlstateClass],
        "Errors that clients received, from an endpoint or from Gatekeeper, by SQLSTATE class.";
    STATEMENT_DURATION = MetricKind::Histogram(Buckets::Statements), "gatekeeper_statement_duration_seconds",
        [Listener, Endpoint, BackendRole],
        "Time from the arrival of a statement to the end of its response.";
    PROXY_OVERHEAD = MetricKind::Histogram(Buckets::Overhead), "gatekeeper_proxy_overhead_seconds",
        [Listener, Endpoint, BackendRole],
        "Part of a statement's time spent in Gatekeeper.";
    TRANSACTIONS = COUNTER, "gatekeeper_transactions_total", [Listener, Endpoint, BackendRole],
        "Transactions ended, including implicit transactions.";
    OLDEST_TRANSACTION = GAUGE, "gatekeeper_oldest_transaction_seconds", [Listener, Endpoint, BackendRole],
        "Age of the oldest open transaction, including implicit transactions; 0 without one.";
    IDLE_TRANSACTION = GAUGE, "gatekeeper_longest_idle_in_transaction_seconds", [Listener, Endpoint, BackendRole],
        "Longest time that a session has been idle in an open transaction; 0 without one.";
    STATE_CHECKS = COUNTER, "gatekeeper_state_checks_total", [Listener, Endpoint, BackendRole],
        "State checks after transactions that may have left session state on a backend.";
    TRAFFIC = COUNTER, "gatekeeper_traffic_bytes_total", [Listener, Endpoint, BackendRole, Direction],
        "Bytes of the PostgreSQL protocol relayed, before encryption.";

    // A listener's pools of backends of an endpoint.
    POOL_BACKENDS = GAUGE, "gatekeeper_pool_backends", [Listener, Endpoint, BackendRole, State],
        "Backends in the pools of a listener, by state.";
    POOL_BACKENDS_LIMIT = GAUGE, "gatekeeper_pool_backends_limit", [Listener, Endpoint, BackendRole],
        "Sum of the sizes of a listener's pools.";
    POOL_WAITING = GAUGE, "gatekeeper_pool_waiting_clients", [Listener, Endpoint, BackendRole],
        "Clients waiting for a backend connection.";
    POOL_OLDEST_WAIT = GAUGE, "gatekeeper_pool_oldest_wait_seconds", [Listener, Endpoint, BackendRole],
        "Time that the client now waiting longest has waited for a backend connection; 0 if none waits.";
    POOL_WAIT_DURATION = MetricKind::Histogram(Buckets::Wait), "gatekeeper_pool_wait_duration_seconds",
        [Listener, Endpoint, BackendRole],
        "Time that clients waited for a backend connection; 0 if one was idle.";
    POOL_WAIT_TIMEOUTS = COUNTER, "gatekeeper_pool_wait_timeouts_total", [Listener, Endpoint, BackendRole],
        "Clients that timed out waiting for a backend connection, or were refused because they would have.";
    POOL_CLOSED = COUNTER, "gatekeeper_pool_backends_closed_total", [Listener, Endpoint, BackendRole, Reason],
        "Pooled backends closed, by reason.";
    PINS = COUNTER, "gatekeeper_pins_total", [Listener, Endpoint, BackendRole, Reason],
        "Backends pinned to their session, by the session state that pins them.";

    // Routing of a listener's statements.
    ROUTE_DECISIONS = COUNTER, "gatekeeper_route_decisions_total", [Listener, Reason],
        "Route decisions for sessions and statements, by reason.";
    READ_FALLBACKS = COUNTER, "gatekeeper_read_fallbacks_total", [Listener, Reason],
        "Reads sent to the primary instead of a read pool, by reason.";

    // A listener's clients.
    CLIENTS = GAUGE, "gatekeeper_clients", [Listener, State],
        "Connected clients, by state.";
    CLIENTS_LIMIT = GAUGE, "gatekeeper_clients_limit", [Listener],
        "Maximum number of concurrent clients of a listener.";
    HELD_CLIENTS = GAUGE, "gatekeeper_held_clients", [Listener],
        "Clients waiting for a writer now.";
    HOLD_DURATION = MetricKind::Histogram(Buckets::Hold), "gatekeeper_hold_duration_seconds", [Listener],
        "Time that clients waited for a writer.";
    HOLDS = COUNTER, "gatekeeper_holds_total", [Listener, Outcome],
        "Finished waits of clients for a writer, by outcome.";
    INTERRUPTED_TRANSACTIONS = COUNTER, "gatekeeper_interrupted_transactions_total", [Listener, Fate],
        "Transactions whose backend was lost, by fate.";
    COMMITS_IN_DOUBT = COUNTER, "gatekeeper_commits_in_doubt_total", [Listener, Outcome],
        "COMMITs whose backend was lost and whose outcome a server was asked for, by outcome.";
    CLIENT_CONNECTIONS = COUNTER, "gatekeeper_client_connections_total", [Listener],
        "Client connections accepted.";
    CLIENT_REFUSALS = COUNTER, "gatekeeper_client_refusals_total", [Listener, Reason],
        "Clients rejected before their session began, by reason.";
    AUTHENTICATION_FAILURES = COUNTER, "gatekeeper_authentication_failures_total", [Listener, Reason],
        "Failed client authentications, by reason.";
    SESSIONS = COUNTER, "gatekeeper_sessions_total", [Listener, Outcome],
        "Sessions ended, by outcome: in order, or the party responsible for the failure.";
    CANCEL_REQUESTS = COUNTER, "gatekeeper_cancel_requests_total", [Listener, Outcome],
        "Cancel requests from clients; requests with an unknown key count as errors.";
    ACCEPT_ERRORS = COUNTER, "gatekeeper_accept_errors_total", [Listener],
        "Failed calls of accept() that the listener retried after a pause.";
    LISTENER_CERTIFICATE_EXPIRY = GAUGE, "gatekeeper_listener_certificate_expiry_timestamp_seconds", [Listener],
        "Expiry time of the certificate presented to clients.";

    // An endpoint's connections and credentials.
    ENDPOINT_INFO = GAUGE, "gatekeeper_endpoint_info", [Endpoint, BackendRole, Cluster, Region],
        "1 for an endpoint in use, 0 for a removed endpoint; cluster and region as labels.";
    CONNECTS = COUNTER, "gatekeeper_connects_total", [Endpoint, BackendRole, Outcome],
        "Attempts to open and log in a backend connection, by outcome.";
    CONNECT_FAILURES = COUNTER, "gatekeeper_connect_failures_total", [Endpoint, BackendRole, Phase],
        "Failed attempts to open a backend connection, by the phase that failed.";
    CONNECT_DURATION = MetricKind::Histogram(Buckets::Connect), "gatekeeper_connect_duration_seconds",
        [Endpoint, BackendRole, Phase],
        "Time spent in each phase of opening a backend connection.";
    BACKENDS = GAUGE, "gatekeeper_backends", [Endpoint, BackendRole],
        "Open backend connections.";
    BACKENDS_LIMIT = GAUGE, "gatekeeper_backends_limit", [Endpoint, BackendRole],
        "Maximum number of backends of all pools of an endpoint; NaN without a limit.";
    CANCELS = COUNTER, "gatekeeper_cancels_total", [Endpoint, BackendRole, Outcome],
        "Cancel requests sent to an endpoint, by outcome of the delivery.";
    TOKEN_MINTS = COUNTER, "gatekeeper_token_mints_total", [Endpoint, BackendRole, Outcome],
        "Tokens minted, by outcome.";
    TOKEN_MINT_DURATION = MetricKind::Histogram(Buckets::Connect), "gatekeeper_token_mint_duration_seconds",
        [Endpoint, BackendRole],
        "Time to mint a token.";
    TOKEN_EXPIRY = GAUGE, "gatekeeper_token_expiry_timestamp_seconds", [Endpoint, BackendRole],
        "Time after which the current token is no longer used; NaN without a token.";
    TOKEN_MINT_SUCCESS = GAUGE, "gatekeeper_token_mint_success_timestamp_seconds", [Endpoint, BackendRole],
        "Time of the last successful mint of a token; NaN before the first.";
    TOKEN_MINT_FAILURE = GAUGE, "gatekeeper_token_mint_failure_timestamp_seconds", [Endpoint, BackendRole],
        "Time of the last failed mint of a token; NaN before the first.";
    CERTIFICATE_EXPIRY = GAUGE, "gatekeeper_certificate_expiry_timestamp_seconds", [Endpoint, BackendRole, Certificate],
        "Expiry time of a certificate of an endpoint's TLS; NaN without a certificate.";

    // Observed state of an endpoint.
    ENDPOINT_HEALTH = GAUGE, "gatekeeper_endpoint_health", [Endpoint, BackendRole, State],
        "1 for the health state of an endpoint; `up` if a login succeeds.";
    ENDPOINT_ROLE = GAUGE, "gatekeeper_endpoint_role", [Endpoint, BackendRole, Role],
        "1 for the role last reported by an endpoint's server.";
    ENDPOINT_ROLE_MISMATCH = GAUGE, "gatekeeper_endpoint_role_mismatch", [Endpoint, BackendRole],
        "1 while the observed role contradicts the declared role.";
    ENDPOINT_FENCED = GAUGE, "gatekeeper_endpoint_fenced", [Endpoint, BackendRole],
        "1 while a fence keeps writes from an endpoint.";
    PROBES = COUNTER, "gatekeeper_probes_total", [Endpoint, BackendRole, Outcome],
        "Health probes of an endpoint, by outcome.";
    PROBE_DURATION = MetricKind::Histogram(Buckets::Connect), "gatekeeper_probe_duration_seconds", [Endpoint, BackendRole],
        "Duration of a health probe of an endpoint.";
    PROBE_SUCCESS = GAUGE, "gatekeeper_probe_success_timestamp_seconds", [Endpoint, BackendRole],
        "Time of the last successful health probe of an endpoint.";
    WRITER_SAMPLES = COUNTER, "gatekeeper_writer_samples_total", [Endpoint, BackendRole, Outcome],
        "WAL samples of the writer taken for reads on standbys, by outcome.";
    RERUNS = COUNTER, "gatekeeper_reruns_total", [Endpoint, BackendRole, Cause],
        "Statements that failed on an endpoint and were rerun on another, by cause.";
    BACKENDS_TERMINATED = COUNTER, "gatekeeper_backends_terminated_total", [Endpoint, BackendRole, Reason],
        "Backends in use that were given up although their connection had not ended, by reason.";
    REPLICATION_POSITION = GAUGE, "gatekeeper_replication_position_bytes", [Endpoint, BackendRole],
        "WAL position in bytes: insert position of a primary, replay position of a standby; NaN while unknown.";
    REPLICATION_LAG_BYTES = GAUGE, "gatekeeper_replication_lag_bytes", [Endpoint, BackendRole],
        "WAL not yet replayed by a standby, relative to the writer's position before the probe; NaN while unknown.";
    REPLICATION_LAG = GAUGE, "gatekeeper_replication_lag_seconds", [Endpoint, BackendRole],
        "Time since a standby was last known to be level with its writer, or a lower bound; NaN while unknown.";
    ENDPOINT_REPLAY = GAUGE, "gatekeeper_endpoint_replay", [Endpoint, BackendRole, State],
        "1 for the state of WAL replay on an endpoint's standbys; the worst of several nodes.";
    ENDPOINT_LAGGING = GAUGE, "gatekeeper_endpoint_lagging", [Endpoint, BackendRole],
        "1 while an endpoint that serves reads lags by more than `lagging_after`.";
    WRITER_ABSENCE_DURATION = MetricKind::Histogram(Buckets::Hold), "gatekeeper_writer_absence_duration_seconds", [],
        "Time from the last response of the writer to a probe to the next one, after failed probes.";
    WRITABLE_ENDPOINTS = GAUGE, "gatekeeper_topology_writable_endpoints", [],
        "Endpoints whose server accepts writes: 1 for each healthy cluster.";
    TOPOLOGY_REFRESH = GAUGE, "gatekeeper_topology_refresh_timestamp_seconds", [],
        "Time of the last refresh of the topology snapshot.";
    TOPOLOGY_CHANGES = COUNTER, "gatekeeper_topology_changes_total", [Kind],
        "Topology changes, by kind.";

    // The program.
    BUILD_INFO = GAUGE, "gatekeeper_build_info", [Version],
        "Always 1; version as a label.";
    CONFIG_RELOADS = COUNTER, "gatekeeper_config_reloads_total", [Outcome],
        "Configuration reloads, by outcome.";
    CONFIG_RELOAD_SUCCESS = GAUGE, "gatekeeper_config_reload_success_timestamp_seconds", [],
        "Time of the last successful read of the configuration.";
    CONFIG_RELOAD_FAILED = GAUGE, "gatekeeper_config_reload_failed", [],
        "1 if the last configuration reload failed and changed nothing: the next start reads the rejected configuration.";
    FILE_RELOADS = COUNTER, "gatekeeper_file_reloads_total", [Outcome],
        "Reloads of changed CA, certificate, key and users files, by outcome.";
    TRACE_SPANS = COUNTER, "gatekeeper_trace_spans_total", [Outcome],
        "Trace spans, by outcome: accepted by the collector, or dropped because the queue was full or the collector failed.";
    AUDIT_RECORDS = COUNTER, "gatekeeper_audit_records_total", [],
        "Audit records written.";
    AUDIT_DROPPED = COUNTER, "gatekeeper_audit_dropped_total", [],
        "Audit records dropped because the queue was full.";
    AUDIT_WRITE_ERRORS = COUNTER, "gatekeeper_audit_write_errors_total", [],
        "Failed writes to the audit log.";
    AUDIT_QUEUE = GAUGE, "gatekeeper_audit_queue_records", [],
        "Audit records waiting to be written.";
    AUDIT_QUEUE_LIMIT = GAUGE, "gatekeeper_audit_queue_limit_records", [],
        "Capacity of the queue of audit records.";
    AUDIT_WRITE_SUCCESS = GAUGE, "gatekeeper_audit_write_success_timestamp_seconds", [],
        "Time of the last write of audit records.";
    ADMIN_REQUESTS = COUNTER, "gatekeeper_admin_requests_total", [Outcome],
        "Requests to the admin API, by outcome; requests without a valid key are denied.";
    ADMIN_CERTIFICATE_EXPIRY = GAUGE, "gatekeeper_admin_certificate_expiry_timestamp_seconds", [],
        "Expiry time of the certificate of the admin API; NaN without TLS.";
    PANICS = COUNTER, "gatekeeper_panics_total", [],
        "Panics; each is a bug and ended one task.";
    PROCESS_CPU = COUNTER, "process_cpu_seconds_total", [],
        "Processor time used by the process, in user and system mode.";
    PROCESS_MEMORY = GAUGE, "process_resident_memory_bytes", [],
        "Resident memory of the process.";
    PROCESS_FDS = GAUGE, "process_open_fds", [],
        "Open file descriptors.";
    PROCESS_MAX_FDS = GAUGE, "process_max_fds", [],
        "Maximum number of open file descriptors.";
    PROCESS_THREADS = GAUGE, "process_threads", [],
        "Threads of the process.";
    PROCESS_START = GAUGE, "process_start_time_seconds", [],
        "Start time of the process.";
}
