//! Every metric there is: name, kind, labels and help, as data.
//!
//! Nothing else can be made into a metric. Dashboards, alerts and the README are checked against this list. The unit is
//! the last word of the name (before `_total`): `seconds`, `bytes`, or nothing for a count. A metric that ends in
//! `_timestamp_seconds` is a moment on the system's clock, `NaN` while there is none.

/// One metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [Label],
    /// One sentence for people.
    pub help: &'static str,
}

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, counted into buckets.
    Histogram(Buckets),
}

/// The upper bounds of a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// Statements: 0.5 ms to 10 s.
    Statements,
    /// The proxy's own share: 10 µs to 50 ms.
    Overhead,
    /// Reaching a server: 0.25 ms to 10 s. There is one for each phase, so the steps are wide.
    Connect,
    /// Waiting for a backend: 0.1 ms to 30 s.
    Wait,
}

/// A label. Its values are configured names or come from [`super::labels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the label of that name")]
pub enum Label {
    BackendRole,
    Cause,
    Certificate,
    Cluster,
    Direction,
    Endpoint,
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
    /// Upper bounds of its buckets in nanoseconds; none unless it is a histogram.
    pub(super) fn bounds(&self) -> &'static [u64] {
        match self.kind {
            Kind::Histogram(buckets) => buckets.bounds(),
            Kind::Counter | Kind::Gauge => &[],
        }
    }
}

impl Label {
    /// The label's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackendRole => "backend_role",
            Self::Cause => "cause",
            Self::Certificate => "certificate",
            Self::Cluster => "cluster",
            Self::Direction => "direction",
            Self::Endpoint => "endpoint",
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
    /// Upper bounds in nanoseconds, ascending and inclusive; what is above the last is counted without a bound.
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
        }
    }
}

/// A bound as Prometheus wants it: the number of seconds that is nearest to it.
#[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53 nanoseconds")]
pub(super) fn seconds(bound: u64) -> f64 {
    bound as f64 / 1e9
}

macro_rules! catalog {
    ($($id:ident = $kind:expr, $name:literal, [$($label:ident),*], $help:literal;)+) => {
        $(#[doc = $help] pub static $id: Metric =
            Metric { name: $name, kind: $kind, labels: &[$(Label::$label),*], help: $help };)+

        /// Every metric, by what it is about.
        pub static CATALOG: &[&Metric] = &[$(&$id),+];
    };
}

const COUNTER: Kind = Kind::Counter;
const GAUGE: Kind = Kind::Gauge;

catalog! {
    // A listener's traffic to an endpoint.
    STATEMENTS = COUNTER, "gatekeeper_statements_total", [Listener, Endpoint, BackendRole, Outcome],
        "Statements answered by an endpoint, by outcome.";
    STATEMENT_ERRORS = COUNTER, "gatekeeper_statement_errors_total", [Listener, Endpoint, BackendRole, SqlstateClass],
        "Errors that endpoints answered, by the class of their SQLSTATE.";
    STATEMENT_DURATION = Kind::Histogram(Buckets::Statements), "gatekeeper_statement_duration_seconds",
        [Listener, Endpoint, BackendRole],
        "From a statement's arrival to the end of its answer.";
    PROXY_OVERHEAD = Kind::Histogram(Buckets::Overhead), "gatekeeper_proxy_overhead_seconds",
        [Listener, Endpoint, BackendRole],
        "The part of a statement's time that was spent in Gatekeeper itself.";
    TRANSACTIONS = COUNTER, "gatekeeper_transactions_total", [Listener, Endpoint, BackendRole],
        "Transactions that ended, implicit ones included.";
    STATE_CHECKS = COUNTER, "gatekeeper_state_checks_total", [Listener, Endpoint, BackendRole],
        "State checks of backends behind transactions that may have left session state.";
    TRAFFIC = COUNTER, "gatekeeper_traffic_bytes_total", [Listener, Endpoint, BackendRole, Direction],
        "Bytes of the PostgreSQL protocol relayed, before encryption.";

    // A listener's pools of backends of an endpoint.
    POOL_BACKENDS = GAUGE, "gatekeeper_pool_backends", [Listener, Endpoint, BackendRole, State],
        "Backends in the pools of a listener, by what they are doing.";
    POOL_BACKENDS_LIMIT = GAUGE, "gatekeeper_pool_backends_limit", [Listener, Endpoint, BackendRole],
        "Backends that the pools of a listener may hold together: their sizes added up.";
    POOL_WAITING = GAUGE, "gatekeeper_pool_waiting_clients", [Listener, Endpoint, BackendRole],
        "Clients waiting for a backend now.";
    POOL_WAIT_DURATION = Kind::Histogram(Buckets::Wait), "gatekeeper_pool_wait_duration_seconds",
        [Listener, Endpoint, BackendRole],
        "Time clients waited for a backend; nothing when there was an idle one.";
    POOL_WAIT_TIMEOUTS = COUNTER, "gatekeeper_pool_wait_timeouts_total", [Listener, Endpoint, BackendRole],
        "Clients that waited for a backend in vain.";
    POOL_CLOSED = COUNTER, "gatekeeper_pool_backends_closed_total", [Listener, Endpoint, BackendRole, Reason],
        "Pooled backends that were closed, by reason.";
    PINS = COUNTER, "gatekeeper_pins_total", [Listener, Endpoint, BackendRole, Reason],
        "Backends pinned to their session, by what the session left on them.";

    // Where a listener's statements go.
    ROUTE_DECISIONS = COUNTER, "gatekeeper_route_decisions_total", [Listener, Reason],
        "Decisions where a session or statement goes, by reason.";
    READ_FALLBACKS = COUNTER, "gatekeeper_read_fallbacks_total", [Listener, Reason],
        "Reads that went to the primary instead of a read pool, by reason.";

    // A listener's clients.
    CLIENTS = GAUGE, "gatekeeper_clients", [Listener, State],
        "Clients connected now, by what they are doing.";
    CLIENTS_LIMIT = GAUGE, "gatekeeper_clients_limit", [Listener],
        "Clients a listener accepts at one time.";
    CLIENT_CONNECTIONS = COUNTER, "gatekeeper_client_connections_total", [Listener],
        "Connections accepted from clients.";
    CLIENT_REFUSALS = COUNTER, "gatekeeper_client_refusals_total", [Listener, Reason],
        "Clients turned away before their session began, by reason.";
    AUTHENTICATION_FAILURES = COUNTER, "gatekeeper_authentication_failures_total", [Listener, Reason],
        "Clients that did not get past authentication, by reason.";
    SESSIONS = COUNTER, "gatekeeper_sessions_total", [Listener, Outcome],
        "Sessions that ended: well, or by whose fault.";
    CANCEL_REQUESTS = COUNTER, "gatekeeper_cancel_requests_total", [Listener, Outcome],
        "Cancel requests from clients; those with an unknown key are errors.";
    ACCEPT_ERRORS = COUNTER, "gatekeeper_accept_errors_total", [Listener],
        "Failures of accept() that the listener waited out.";
    LISTENER_CERTIFICATE_EXPIRY = GAUGE, "gatekeeper_listener_certificate_expiry_timestamp_seconds", [Listener],
        "When the certificate shown to clients ends.";

    // An endpoint's connections and credentials.
    ENDPOINT_INFO = GAUGE, "gatekeeper_endpoint_info", [Endpoint, BackendRole, Cluster, Region],
        "1 for each endpoint in use, 0 for one that was; its cluster and region as labels.";
    CONNECTS = COUNTER, "gatekeeper_connects_total", [Endpoint, BackendRole, Outcome],
        "Attempts to open and log in a backend, by outcome.";
    CONNECT_FAILURES = COUNTER, "gatekeeper_connect_failures_total", [Endpoint, BackendRole, Phase],
        "Attempts to open a backend that failed, by the phase they failed in.";
    CONNECT_DURATION = Kind::Histogram(Buckets::Connect), "gatekeeper_connect_duration_seconds",
        [Endpoint, BackendRole, Phase],
        "Time spent in each phase of opening a backend.";
    BACKENDS = GAUGE, "gatekeeper_backends", [Endpoint, BackendRole],
        "Backends open now.";
    BACKENDS_LIMIT = GAUGE, "gatekeeper_backends_limit", [Endpoint, BackendRole],
        "Backends that all pools of an endpoint may hold together; NaN without a limit.";
    CANCELS = COUNTER, "gatekeeper_cancels_total", [Endpoint, BackendRole, Outcome],
        "Cancel requests sent to an endpoint, by whether they could be delivered.";
    TOKEN_MINTS = COUNTER, "gatekeeper_token_mints_total", [Endpoint, BackendRole, Outcome],
        "Tokens minted, by outcome.";
    TOKEN_MINT_DURATION = Kind::Histogram(Buckets::Connect), "gatekeeper_token_mint_duration_seconds",
        [Endpoint, BackendRole],
        "Time a token took to mint.";
    TOKEN_EXPIRY = GAUGE, "gatekeeper_token_expiry_timestamp_seconds", [Endpoint, BackendRole],
        "When the token in use is no longer used; NaN without one.";
    CERTIFICATE_EXPIRY = GAUGE, "gatekeeper_certificate_expiry_timestamp_seconds", [Endpoint, BackendRole, Certificate],
        "When a certificate of an endpoint's TLS ends; NaN where there is none.";

    // What is known of an endpoint.
    ENDPOINT_HEALTH = GAUGE, "gatekeeper_endpoint_health", [Endpoint, BackendRole, State],
        "1 for the state an endpoint is in: up when a login works.";
    ENDPOINT_ROLE = GAUGE, "gatekeeper_endpoint_role", [Endpoint, BackendRole, Role],
        "1 for the role that an endpoint's server last said it has.";
    ENDPOINT_ROLE_MISMATCH = GAUGE, "gatekeeper_endpoint_role_mismatch", [Endpoint, BackendRole],
        "1 while the observed role contradicts the declared one.";
    PROBES = COUNTER, "gatekeeper_probes_total", [Endpoint, BackendRole, Outcome],
        "Looks at an endpoint, by outcome.";
    PROBE_DURATION = Kind::Histogram(Buckets::Connect), "gatekeeper_probe_duration_seconds", [Endpoint, BackendRole],
        "Time a look at an endpoint took.";
    PROBE_SUCCESS = GAUGE, "gatekeeper_probe_success_timestamp_seconds", [Endpoint, BackendRole],
        "When an endpoint was last looked at with success: the age of what is known of it.";
    WRITER_SAMPLES = COUNTER, "gatekeeper_writer_samples_total", [Endpoint, BackendRole, Outcome],
        "Times the writer was asked where it stands since sessions wanted to read elsewhere, by outcome.";
    RERUNS = COUNTER, "gatekeeper_reruns_total", [Endpoint, BackendRole, Cause],
        "Statements that failed on an endpoint and ran again elsewhere, by cause.";
    REPLICATION_POSITION = GAUGE, "gatekeeper_replication_position_bytes", [Endpoint, BackendRole],
        "WAL position: inserted on a primary, replayed on a standby; NaN while unknown.";
    REPLICATION_LAG_BYTES = GAUGE, "gatekeeper_replication_lag_bytes", [Endpoint, BackendRole],
        "WAL that a standby has not replayed, against the writer's last position; NaN while unknown.";
    REPLICATION_LAG = GAUGE, "gatekeeper_replication_lag_seconds", [Endpoint, BackendRole],
        "How long ago a standby was level with its writer, as far as is known; NaN while unknown.";
    WRITABLE_ENDPOINTS = GAUGE, "gatekeeper_topology_writable_endpoints", [],
        "Endpoints whose server says that it takes writes: 1 is right for one cluster.";
    TOPOLOGY_REFRESH = GAUGE, "gatekeeper_topology_refresh_timestamp_seconds", [],
        "When the picture of the topology was last refreshed.";
    TOPOLOGY_CHANGES = COUNTER, "gatekeeper_topology_changes_total", [Kind],
        "Changes of the topology, by kind.";

    // The program.
    BUILD_INFO = GAUGE, "gatekeeper_build_info", [Version],
        "1; the version as a label.";
    CONFIG_RELOADS = COUNTER, "gatekeeper_config_reloads_total", [Outcome],
        "Reloads of the configuration, by outcome.";
    CONFIG_RELOAD_SUCCESS = GAUGE, "gatekeeper_config_reload_success_timestamp_seconds", [],
        "When the configuration was last read with success.";
    CONFIG_RELOAD_FAILED = GAUGE, "gatekeeper_config_reload_failed", [],
        "1 while the last reload of the configuration changed nothing: the next start will read what was refused.";
    FILE_RELOADS = COUNTER, "gatekeeper_file_reloads_total", [Outcome],
        "Changed CA, certificate, key and users files that were read again, by outcome.";
    TRACE_SPANS = COUNTER, "gatekeeper_trace_spans_total", [Outcome],
        "Spans that the collector took, and those that were dropped for want of room or of a collector, by outcome.";
    AUDIT_RECORDS = COUNTER, "gatekeeper_audit_records_total", [],
        "Audit records written.";
    AUDIT_DROPPED = COUNTER, "gatekeeper_audit_dropped_total", [],
        "Audit records dropped since the queue was full.";
    AUDIT_WRITE_ERRORS = COUNTER, "gatekeeper_audit_write_errors_total", [],
        "Failed writes to the audit log.";
    AUDIT_QUEUE = GAUGE, "gatekeeper_audit_queue_records", [],
        "Audit records waiting to be written.";
    AUDIT_QUEUE_LIMIT = GAUGE, "gatekeeper_audit_queue_limit_records", [],
        "Audit records that may wait.";
    AUDIT_WRITE_SUCCESS = GAUGE, "gatekeeper_audit_write_success_timestamp_seconds", [],
        "When audit records were last written.";
    ADMIN_REQUESTS = COUNTER, "gatekeeper_admin_requests_total", [Outcome],
        "Requests to the admin API, by outcome; those without a valid key are denied.";
    PANICS = COUNTER, "gatekeeper_panics_total", [],
        "Panics: bugs, each of which ended one task.";
    PROCESS_CPU = COUNTER, "process_cpu_seconds_total", [],
        "Processor time used by the process, in user and system mode.";
    PROCESS_MEMORY = GAUGE, "process_resident_memory_bytes", [],
        "Resident memory of the process.";
    PROCESS_FDS = GAUGE, "process_open_fds", [],
        "Open file descriptors.";
    PROCESS_MAX_FDS = GAUGE, "process_max_fds", [],
        "File descriptors the process may open.";
    PROCESS_THREADS = GAUGE, "process_threads", [],
        "Threads of the process.";
    PROCESS_START = GAUGE, "process_start_time_seconds", [],
        "When the process started.";
}
