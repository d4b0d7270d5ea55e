//! One endpoint as it is shown: what the configuration says, what is known of it, and what we show to it.

use serde::Serialize;
use utoipa::ToSchema;

use super::moment::{Clock, Expiry, Moment};
use crate::{
    backend::EndpointHandle,
    blame::Chain,
    credentials::TokenStatus,
    tls::{CertificateFacts, Negotiation, TlsMode},
    topology::{EndpointStatus, NodeStatus, ObservedRole, WalPosition},
};

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndpointView {
    name: String,
    cluster: String,
    region: Option<String>,
    /// Where it is dialed.
    address: String,
    /// What the configuration says it is: `primary`, `replica`, `read-pool`, `secondary`.
    declared_role: &'static str,
    /// What its server last said it is: `primary`, `standby`; absent while it has not said.
    observed_role: Option<&'static str>,
    /// The two contradict each other.
    role_mismatch: bool,
    /// It is the writer now.
    writer: bool,
    /// Whether a login works: `unknown`, `up`, `down`.
    health: &'static str,
    /// Since when `health` is what it is.
    health_since: Option<Moment>,
    /// When it was last looked at with success: the age of what is known of it.
    last_success: Option<Moment>,
    /// Why the last look failed.
    last_error: Option<String>,
    /// Looks that failed since the last success.
    failures: u32,
    /// New transactions are read-only by default.
    read_only: Option<bool>,
    position: Option<PositionView>,
    timeline: Option<u32>,
    /// The server that answered last, as in `nodes`.
    node: Option<String>,
    /// Every server seen lately behind the address.
    nodes: Vec<NodeView>,
    tls: TlsView,
    login: LoginView,
    /// Sessions that it serves now.
    sessions: usize,
}

/// A position in the write-ahead log: inserted on a primary, replayed on a standby.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PositionView {
    /// As PostgreSQL writes a `pg_lsn`.
    lsn: String,
    /// The same in bytes.
    bytes: u64,
    /// Seconds since the server was asked.
    age_seconds: f64,
}

/// One server behind an endpoint's address.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeView {
    /// Its address, and when its server process started.
    id: String,
    observed_role: &'static str,
    position: Option<PositionView>,
    timeline: Option<u32>,
    last_seen: Moment,
    /// It has replayed what the writer never wrote, and serves no reads where a listener splits.
    strayed: bool,
}

/// TLS towards an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TlsView {
    /// `disable`, `prefer`, `require`, `verify-ca`, `verify-full`.
    mode: &'static str,
    /// Who speaks first about it: `postgres`, `direct`.
    negotiation: &'static str,
    /// The name that is sent and, with `verify-full`, checked; absent in plaintext.
    server_name: Option<String>,
    certificates: Vec<CertificateView>,
}

/// A certificate in use.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateView {
    /// `ca`: trusted; `identity`: shown by us; `peer`: shown by the server last.
    usage: &'static str,
    subject: String,
    issuer: String,
    /// The names and addresses it is good for.
    names: Vec<String>,
    not_before: String,
    expires: Expiry,
}

/// How an endpoint is logged in to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoginView {
    /// `passthrough`, `token`, `password`.
    kind: &'static str,
    /// With `token`.
    tokens: Option<TokensView>,
}

/// The tokens of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokensView {
    /// Mints that succeeded.
    mints: u64,
    /// Mints that failed.
    failures: u64,
    /// Why the last mint failed; absent once one succeeds.
    last_error: Option<String>,
    /// The tokens that are kept for logins to come.
    kept: Vec<TokenView>,
}

/// A token that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenView {
    /// The database user it logs in.
    user: String,
    minted: Moment,
    /// When it is no longer given to logins.
    expires: Expiry,
}

// === impl EndpointView ===

impl EndpointView {
    pub(super) fn new(
        status: &EndpointStatus,
        handle: &EndpointHandle,
        sessions: usize,
        writer: bool,
        clock: Clock,
    ) -> Self {
        let endpoint = &status.endpoint;
        Self {
            name: endpoint.name.to_string(),
            cluster: endpoint.cluster.to_string(),
            region: endpoint.region.clone(),
            address: endpoint.address.to_string(),
            declared_role: endpoint.role.as_str(),
            observed_role: status.observed.map(ObservedRole::as_str),
            role_mismatch: status.has_mismatch(),
            writer,
            health: status.health.as_str(),
            health_since: status.since.map(|at| clock.since(at)),
            last_success: status.last_success.map(|at| clock.since(at)),
            last_error: status.last_error.as_deref().map(str::to_owned),
            failures: status.failures,
            read_only: status.read_only,
            position: status.position.map(|position| PositionView::new(position, clock)),
            timeline: status.timeline,
            node: status.node.map(|node| node.to_string()),
            nodes: status.nodes.iter().map(|node| NodeView::new(node, clock)).collect(),
            tls: TlsView::new(handle, clock),
            login: LoginView {
                kind: handle.settings().login.as_str(),
                tokens: handle.tokens().map(|tokens| TokensView::new(tokens.status(), clock)),
            },
            sessions,
        }
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
