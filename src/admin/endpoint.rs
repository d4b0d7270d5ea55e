//! View of one endpoint: configuration, observed state, and certificates.

use serde::Serialize;
use utoipa::ToSchema;

use super::moment::{Clock, Expiry, Moment, round_seconds};
use crate::{
    backend::EndpointHandle,
    blame::Chain,
    credentials::TokenStatus,
    frontend::{OpenTransactions, TransactionAge},
    names::EndpointName,
    tls::{CertificateFacts, Negotiation, TlsMode},
    topology::{
        EndpointStatus, FenceCause, NodeStatus, ObservedRole, ReplicationLag, TopologySnapshot, WalPosition,
    },
};

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndpointView {
    name: String,
    cluster: String,
    region: Option<String>,
    /// Address to connect to.
    address: String,
    /// Role in the configuration: `primary`, `replica`, `read-pool`, `secondary`.
    declared_role: &'static str,
    /// Role last reported by the server: `primary`, `standby`; absent while unknown.
    observed_role: Option<&'static str>,
    /// True if the two roles contradict each other.
    role_mismatch: bool,
    /// True for the current writer.
    writer: bool,
    /// Reason for a fence, which keeps writes from the endpoint until an operator ends the fence: `moved`, `replaced`,
    /// `two_writers`; absent otherwise.
    fenced: Option<&'static str>,
    /// Health, `up` if a login succeeds: `unknown`, `up`, `down`.
    health: &'static str,
    /// Time of the last change of `health`.
    health_since: Option<Moment>,
    /// Time of the last successful probe.
    last_success: Option<Moment>,
    /// Error of the last failed probe.
    last_error: Option<String>,
    /// Failed probes since the last success.
    failures: u32,
    /// True if new transactions are read-only by default.
    read_only: Option<bool>,
    position: Option<PositionView>,
    /// Lag behind the writer, of the server that is furthest behind; absent while unknown.
    lag: Option<LagView>,
    /// True for an endpoint that serves reads and lags by more than `lagging_after`: reads go elsewhere while another read
    /// pool or the primary serves.
    lagging: bool,
    /// WAL replay of the standbys, the worst of several servers: `unknown`, `replaying`, `stalled`, `paused`, `diverged`.
    replay: &'static str,
    /// Time of the last change of `replay`.
    replay_since: Option<Moment>,
    timeline: Option<u32>,
    /// Version of the server, as reported at the last login.
    server_version: Option<String>,
    /// The server that responded last, as in `nodes`.
    node: Option<String>,
    /// Servers seen recently behind the address.
    nodes: Vec<NodeView>,
    tls: TlsView,
    login: LoginView,
    /// Number of current sessions on the endpoint.
    sessions: usize,
    /// The oldest open transaction; absent without one.
    oldest_transaction: Option<TransactionView>,
    /// The open transaction whose client has sent nothing for longest; absent if all are at work.
    longest_idle_transaction: Option<TransactionView>,
}

/// An open transaction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TransactionView {
    /// `id` of the session.
    session: u64,
    /// Age of the transaction, or of the idle time in a transaction, in seconds.
    seconds: f64,
}

/// Use of an endpoint by sessions.
pub(super) struct EndpointUse {
    /// Number of current sessions.
    sessions: usize,
    oldest: Option<TransactionAge>,
    longest_idle: Option<TransactionAge>,
}

/// A position in the write-ahead log: inserted on a primary, replayed on a standby.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PositionView {
    /// In PostgreSQL's `pg_lsn` format.
    lsn: String,
    /// The position in bytes.
    bytes: u64,
    /// Seconds since the server was queried.
    age_seconds: f64,
}

/// Lag of a standby, as of its last probe.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LagView {
    /// WAL that the writer had written and the standby had not replayed; absent while the writer's position is unknown.
    bytes: Option<u64>,
    /// Time since the standby was last known to be level with the writer.
    seconds: f64,
    /// True if the standby was never seen level: the lag is `seconds` at least.
    lower_bound: bool,
}

/// One server behind an endpoint's address.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeView {
    /// Address and start time of the server process.
    id: String,
    observed_role: &'static str,
    position: Option<PositionView>,
    timeline: Option<u32>,
    last_seen: Moment,
    /// True if the server has replayed WAL that the writer never wrote. Split listeners send no reads to such a node.
    strayed: bool,
}

/// TLS towards an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TlsView {
    /// `disable`, `prefer`, `require`, `verify-ca`, `verify-full`.
    mode: &'static str,
    /// TLS negotiation: `postgres` (SSLRequest first), `direct`.
    negotiation: &'static str,
    /// Server name that is sent and, with `verify-full`, verified; absent in plaintext.
    server_name: Option<String>,
    certificates: Vec<CertificateView>,
}

/// A certificate in use.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateView {
    /// `ca`: trusted; `identity`: presented by Gatekeeper; `peer`: last presented by the server.
    usage: &'static str,
    subject: String,
    issuer: String,
    /// Names and addresses in the certificate.
    names: Vec<String>,
    not_before: String,
    expires: Expiry,
}

/// Login to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoginView {
    /// `passthrough`, `token`, `password`.
    kind: &'static str,
    /// Tokens, for `token`.
    tokens: Option<TokensView>,
}

/// The tokens of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokensView {
    /// Successful mints.
    mints: u64,
    /// Failed mints.
    failures: u64,
    /// Error of the last mint; absent after a success.
    last_error: Option<String>,
    /// Cached tokens.
    kept: Vec<TokenView>,
}

/// A cached token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenView {
    /// Database user of the token.
    user: String,
    minted: Moment,
    /// Time after which no login uses the token.
    expires: Expiry,
}

// === impl EndpointView ===

impl EndpointView {
    pub(super) fn new(
        status: &EndpointStatus,
        handle: &EndpointHandle,
        use_of_endpoint: &EndpointUse,
        snapshot: &TopologySnapshot,
        clock: Clock,
    ) -> Self {
        let endpoint = &status.endpoint;
        let writer = snapshot.writer.as_ref() == Some(&endpoint.name);
        let role_mismatch = snapshot.has_mismatch(status);
        let fence = snapshot.control.fence_of(&endpoint.name);
        Self {
            name: endpoint.name.to_string(),
            cluster: endpoint.cluster.to_string(),
            region: endpoint.region.clone(),
            address: endpoint.address.to_string(),
            declared_role: endpoint.role.as_str(),
            observed_role: status.observed.map(ObservedRole::as_str),
            role_mismatch,
            writer,
            fenced: fence.map(FenceCause::as_str),
            health: status.health.as_str(),
            health_since: status.since.map(|at| clock.since(at)),
            last_success: status.last_success.map(|at| clock.since(at)),
            last_error: status.last_error.as_deref().map(str::to_owned),
            failures: status.failures,
            read_only: status.read_only,
            position: status.position.map(|position| PositionView::new(position, clock)),
            lag: status.lag.map(LagView::new),
            lagging: status.is_lagging,
            replay: status.replay.as_str(),
            replay_since: status.replay_since.map(|at| clock.since(at)),
            timeline: status.timeline,
            server_version: handle.server_version().map(String::from),
            node: status.node.map(|node| node.to_string()),
            nodes: status.nodes.iter().map(|node| NodeView::new(node, clock)).collect(),
            tls: TlsView::new(handle, clock),
            login: LoginView {
                kind: handle.settings().login.as_str(),
                tokens: handle.tokens().map(|tokens| TokensView::new(tokens.status(), clock)),
            },
            sessions: use_of_endpoint.sessions,
            oldest_transaction: use_of_endpoint.oldest.map(TransactionView::new),
            longest_idle_transaction: use_of_endpoint.longest_idle.map(TransactionView::new),
        }
    }
}

// === impl EndpointUse ===

impl EndpointUse {
    /// Use of the endpoint `name` by `sessions` sessions, with its transactions among all `open` ones.
    pub(super) fn new(sessions: usize, open: &[OpenTransactions], name: &EndpointName) -> Self {
        let own = || open.iter().filter(|transactions| transactions.endpoint.name == *name);
        Self {
            sessions,
            oldest: own().map(|own| own.oldest).max_by_key(|oldest| oldest.age),
            longest_idle: own().filter_map(|own| own.longest_idle).max_by_key(|idle| idle.age),
        }
    }
}

// === impl TransactionView ===

impl TransactionView {
    fn new(TransactionAge { session, age }: TransactionAge) -> Self {
        Self { session, seconds: age.as_secs_f64() }
    }
}

// === impl PositionView ===

impl PositionView {
    fn new(position: WalPosition, clock: Clock) -> Self {
        let WalPosition { lsn, asked_at } = position;
        Self {
            lsn: format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF),
            bytes: lsn,
            age_seconds: clock.age(asked_at),
        }
    }
}

// === impl LagView ===

impl LagView {
    fn new(lag: ReplicationLag) -> Self {
        let ReplicationLag { bytes, time, is_lower_bound, .. } = lag;
        Self { bytes, seconds: round_seconds(time.as_secs_f64()), lower_bound: is_lower_bound }
    }
}

// === impl NodeView ===

impl NodeView {
    fn new(node: &NodeStatus, clock: Clock) -> Self {
        Self {
            id: node.id.to_string(),
            observed_role: node.role.as_str(),
            position: node.position.map(|position| PositionView::new(position, clock)),
            timeline: node.timeline,
            last_seen: clock.since(node.last_seen),
            strayed: node.strayed,
        }
    }
}

// === impl TlsView ===

impl TlsView {
    fn new(handle: &EndpointHandle, clock: Clock) -> Self {
        let tls = handle.tls();
        Self {
            mode: tls.mode().as_str(),
            negotiation: match tls.negotiation() {
                Negotiation::Postgres => "postgres",
                Negotiation::Direct => "direct",
            },
            server_name: (tls.mode() != TlsMode::Disable).then(|| tls.server_name()),
            certificates: tls
                .certificates()
                .into_iter()
                .map(|facts| CertificateView::new(facts, clock))
                .collect(),
        }
    }
}

// === impl CertificateView ===

impl CertificateView {
    pub(super) fn new(facts: CertificateFacts, clock: Clock) -> Self {
        Self {
            usage: facts.usage.as_str(),
            subject: facts.subject,
            issuer: facts.issuer,
            names: facts.names,
            not_before: facts.not_before.to_string(),
            expires: clock.until(facts.not_after),
        }
    }
}

// === impl TokensView ===

impl TokensView {
    fn new(status: TokenStatus, clock: Clock) -> Self {
        let kept = status.kept.into_iter().map(|token| TokenView {
            user: token.user.to_string(),
            minted: clock.since_time(token.minted_at),
            expires: clock.until(token.expires_at),
        });
        Self {
            mints: status.mints,
            failures: status.failures,
            last_error: status.failing.map(|error| Chain(&error).to_string()),
            kept: kept.collect(),
        }
    }
}
