//! The records: one enum with a variant and typed fields for each kind.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::text::QueryText;
use crate::{
    names::{DatabaseName, EndpointName, ListenerName, UserName},
    topology::Endpoint,
};

/// One recorded event. `audit.started`, `audit.stopped`, `audit.rotated` and `audit.lost` are written by the writer and
/// are not listed here.
///
/// Large variants are boxed, which keeps queues and futures that hold a record small.
#[derive(Clone)]
pub enum Record {
    /// A client connected.
    SessionOpened(Arc<Session>),
    /// A client was rejected before its session began.
    SessionRejected(Box<SessionRejected>),
    /// A client authenticated, or was accepted with `trust`.
    SessionAuthenticated(Arc<Session>),
    /// A session ended.
    SessionClosed(Box<SessionClosed>),
    /// A pooled session was pinned to its backend.
    SessionPinned(Box<Pinned>),
    /// A statement was answered.
    StatementExecuted(Box<StatementRecord>),
    /// A COMMIT whose backend was lost has an outcome.
    CommitResolved(Box<CommitResolved>),
    /// Gatekeeper answered a statement with an error of its own.
    StatementRefused(Box<RefusedStatement>),
    /// A client canceled a statement, or a cancel request was forwarded.
    StatementCancelled(Box<Cancelled>),
    /// A backend was opened.
    BackendOpened(Box<BackendRecord>),
    /// A backend was closed.
    BackendClosed(Box<BackendRecord>),
    /// The observed topology changed.
    TopologyChanged(Box<TopologyChange>),
    /// The writer was lost or replaced.
    FailoverBegan(Box<FailoverRecord>),
    /// A writer accepts writes again.
    FailoverEnded(Box<FailoverRecord>),
    /// A token was minted.
    TokenMinted(Box<Mint>),
    /// A token could not be minted.
    TokenFailed(Box<Mint>),
    /// The configuration was reloaded, or a reload failed.
    ConfigReloaded(Box<Reload>),
    /// A request to the admin API.
    AdminRequest(Box<AdminRequest>),
    /// A console command.
    ConsoleCommand(Box<ConsoleCommand>),
    /// A phase of a move of the writer by an operator.
    WriterMoved(Box<WriterMove>),
}

/// Fields that every record of a session repeats. Rebuilt when more becomes known.
#[derive(Clone)]
pub struct Session {
    /// Unique while the process lives.
    pub id: u64,
    /// Where the client connected.
    pub listener: ListenerName,
    /// The client's address; `None` on a Unix-domain socket.
    pub client: Option<SocketAddr>,
    /// The TLS version of the client's connection.
    pub tls: Option<&'static str>,
    /// User name from the startup packet, authenticated or not.
    pub user: Option<UserName>,
    /// Database user that runs the statements; `None` before the first backend.
    pub database_user: Option<UserName>,
    /// The database.
    pub database: Option<DatabaseName>,
    /// Authentication method: `passthrough`, `scram`, `certificate`, `password`, `trust`.
    pub method: Option<&'static str>,
    /// The client's `application_name`.
    pub application: Option<Box<str>>,
}

/// A rejected client.
#[derive(Clone)]
pub struct SessionRejected {
    /// The rejected session.
    pub session: Arc<Session>,
    /// Reason from a closed set.
    pub reason: &'static str,
    /// SQLSTATE of the error sent to the client.
    pub sqlstate: Option<Sqlstate>,
}

/// A session ended.
#[derive(Clone)]
pub struct SessionClosed {
    /// The session.
    pub session: Arc<Session>,
    /// Reason from a closed set; `None` after a regular end.
    pub reason: Option<&'static str>,
    /// Time from the connection to the end of the session.
    pub duration: Duration,
    /// Statements of the session.
    pub statements: u64,
    /// Bytes relayed to the endpoint and to the client.
    pub traffic: (u64, u64),
}

/// A pooled session was pinned to its backend.
#[derive(Clone)]
pub struct Pinned {
    /// The session.
    pub session: Arc<Session>,
    /// The backend.
    pub server: ServerRecord,
    /// Reason from a closed set: the session state that pins.
    pub reason: &'static str,
}

/// A statement was answered.
#[derive(Clone)]
pub struct StatementRecord {
    /// Session of the statement.
    pub session: Arc<Session>,
    /// Server that ran the statement.
    pub server: ServerRecord,
    /// Route of the statement.
    pub route: Option<Route>,
    /// Statement text, from [`super::Audit::text`].
    pub text: Option<QueryText>,
    /// The words of the server's command tag, as `INSERT`.
    pub operation: Option<Box<str>>,
    /// Time from the arrival of the statement to the end of its response.
    pub duration: Duration,
    /// The SQLSTATE of the server's error; `None` when it succeeded.
    pub sqlstate: Option<Sqlstate>,
    /// Rows returned or changed, by the server's command tag.
    pub rows: Option<u64>,
}

/// A COMMIT whose backend was lost has an outcome.
#[derive(Clone)]
pub struct CommitResolved {
    /// Session of the transaction.
    pub session: Arc<Session>,
    /// The lost backend, or the one that was asked.
    pub server: ServerRecord,
    /// Outcome from a closed set: `committed`, `rolled_back`, `unresolved`.
    pub outcome: &'static str,
    /// Id of the transaction.
    pub xid: u64,
}

/// A statement that Gatekeeper answered with an error of its own. No server received it.
#[derive(Clone)]
pub struct RefusedStatement {
    /// Session of the statement.
    pub session: Arc<Session>,
    /// Endpoint that was meant, if any was eligible.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Reason from a closed set.
    pub reason: &'static str,
    /// SQLSTATE of the error sent to the client.
    pub sqlstate: Option<Sqlstate>,
}

/// A forwarded cancel request.
#[derive(Clone)]
pub struct Cancelled {
    /// Session whose statement was to be canceled.
    pub session: Arc<Session>,
    /// Server that ran the statement.
    pub server: Option<ServerRecord>,
    /// True if the server accepted the request.
    pub delivered: bool,
    /// Address of the requester.
    pub client: Option<SocketAddr>,
}

/// A server connection.
#[derive(Clone)]
pub struct BackendRecord {
    /// Server of the connection.
    pub server: ServerRecord,
    /// Session served, if the backend serves only one.
    pub session: Option<Arc<Session>>,
    /// Database user of the login.
    pub user: UserName,
    /// Opened: time to connect and log in. Closed: lifetime.
    pub duration: Duration,
    /// Closed: reason from a closed set.
    pub reason: Option<&'static str>,
}

/// The observed topology changed.
#[derive(Clone)]
pub struct TopologyChange {
    /// Endpoint concerned; `None` for all.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Kind of change from a closed set: `health`, `role`, `writer`, ….
    pub what: &'static str,
    /// Value before.
    pub from: Option<Box<str>>,
    /// Value after.
    pub to: Option<Box<str>>,
}

/// Beginning or end of a failover.
#[derive(Clone)]
pub struct FailoverRecord {
    /// The lost writer at the beginning, the new one at the end.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Time between the beginning and the end; `None` at the beginning.
    pub duration: Option<Duration>,
    /// Lost transactions that were rolled back.
    pub rolled_back: u64,
    /// Lost transactions that may have taken effect.
    pub unknown: u64,
    /// Lost transactions that took effect.
    pub committed: u64,
    /// Reads that ran again.
    pub not_started: u64,
    /// Reads whose rows had arrived in part.
    pub reads_interrupted: u64,
    /// Sessions that ended with their backend.
    pub sessions_lost: u64,
}

/// An attempt to mint a token.
#[derive(Clone)]
pub struct Mint {
    /// Endpoint of the login.
    pub endpoint: Arc<Endpoint>,
    /// Database user of the login.
    pub user: Option<UserName>,
    /// Duration of the attempt.
    pub duration: Duration,
    /// Error without secrets; `None` on success.
    pub error: Option<Box<str>>,
}

/// An attempt to reload the configuration.
#[derive(Clone)]
pub struct Reload {
    /// Trigger: `signal`, `admin`, `file`.
    pub trigger: &'static str,
    /// Reason of the failure; `None` on success.
    pub error: Option<Box<str>>,
    /// The settings with new values.
    pub settings: Vec<ChangedSetting>,
}

/// A setting with a new value. Values are never secrets.
#[derive(Clone, serde::Serialize)]
pub struct ChangedSetting {
    /// Path of the key.
    pub key: String,
    /// Value before; `None` if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Value after, equal to `from` if only a secret differs; `None` if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// True if the value takes effect at the next start.
    pub needs_restart: bool,
}

/// A request to the admin API.
#[derive(Clone)]
pub struct AdminRequest {
    /// Address of the requester.
    pub client: Option<SocketAddr>,
    /// True if the request carried a valid key.
    pub authenticated: bool,
    /// The HTTP method.
    pub method: Box<str>,
    /// The path, without its query.
    pub path: Box<str>,
    /// The HTTP status of the response.
    pub status: u16,
}

/// A command of the console.
#[derive(Clone)]
pub struct ConsoleCommand {
    /// Session of the console client.
    pub session: Arc<Session>,
    /// The command in canonical form, such as `PAUSE orders`.
    pub command: Box<str>,
    /// SQLSTATE of the error; `None` on success.
    pub sqlstate: Option<Sqlstate>,
}

/// A phase of a move of the writer by an operator.
#[derive(Clone)]
pub struct WriterMove {
    /// Phase from a closed set: `hold`, `quiet`, `moved`, `failed`.
    pub phase: &'static str,
    /// The previous writer, if known.
    pub from: Option<EndpointName>,
    /// The new writer.
    pub to: EndpointName,
    /// Interface of the operator: `admin`, `console`.
    pub through: &'static str,
    /// Address of the operator.
    pub client: Option<SocketAddr>,
    /// Console user.
    pub user: Option<UserName>,
    /// Reason of the failure; `None` on success.
    pub error: Option<Box<str>>,
}

/// The server of a connection.
#[derive(Clone)]
pub struct ServerRecord {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Process id of the server's backend, as in the server's log; `None` if not reported.
    pub backend_pid: Option<i32>,
}

/// A route decision.
#[derive(Clone, Copy)]
pub struct Route {
    /// The decision, such as `primary`.
    pub decision: &'static str,
    /// The reason.
    pub reason: &'static str,
}

/// A SQLSTATE: five digits or upper-case letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sqlstate([u8; 5]);

// === impl Sqlstate ===

impl Sqlstate {
    /// Checks `text`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bytes: [u8; 5] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(Self(bytes))
    }

    /// The SQLSTATE as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII passes the check")
    }
}

// === impl Record ===

impl Record {
    /// `event.action`
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::SessionOpened(_) => "session.opened",
            Self::SessionRejected(_) => "session.rejected",
            Self::SessionAuthenticated(_) => "session.authenticated",
            Self::SessionClosed(_) => "session.closed",
            Self::SessionPinned(_) => "session.pinned",
            Self::StatementExecuted(_) => "statement.executed",
            Self::CommitResolved(_) => "commit.resolved",
            Self::StatementRefused(_) => "statement.refused",
            Self::StatementCancelled(_) => "statement.cancelled",
            Self::BackendOpened(_) => "backend.opened",
            Self::BackendClosed(_) => "backend.closed",
            Self::TopologyChanged(_) => "topology.changed",
            Self::FailoverBegan(_) => "failover.began",
            Self::FailoverEnded(_) => "failover.ended",
            Self::TokenMinted(_) => "token.minted",
            Self::TokenFailed(_) => "token.failed",
            Self::ConfigReloaded(_) => "config.reloaded",
            Self::AdminRequest(_) => "admin.request",
            Self::ConsoleCommand(_) => "admin.command",
            Self::WriterMoved(_) => "writer.move",
        }
    }

    /// True for records that are written from level `writes` on.
    pub(super) const fn is_statement(&self) -> bool {
        matches!(self, Self::StatementExecuted(_) | Self::StatementRefused(_))
    }

    /// True for records that only report the arrival of a client.
    pub(super) const fn is_arrival(&self) -> bool {
        matches!(self, Self::SessionOpened(_))
    }

    /// Bytes of statement text in the record.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::StatementExecuted(statement) => statement.text.as_ref().map_or(0, QueryText::weight),
            _ => 0,
        }
    }
}
