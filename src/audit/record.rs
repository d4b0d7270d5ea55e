//! What can be written: one enum, a variant for each kind of record, with typed fields.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::text::QueryText;
use crate::{
    names::{DatabaseName, ListenerName, UserName},
    topology::Endpoint,
};

/// One thing that happened. `audit.started`, `audit.stopped`, `audit.rotated` and `audit.lost` are the
/// writer's own and not here.
///
/// It is small: what is large stands behind a pointer, so that a queue of them, and a future that holds one, stay small.
#[derive(Clone)]
pub enum Record {
    /// A client connected.
    SessionOpened(Arc<Session>),
    /// A client was turned away before its session began.
    SessionRejected(Box<SessionRejected>),
    /// A client proved who it is (or, with `trust`, was believed).
    SessionAuthenticated(Arc<Session>),
    /// A session ended.
    SessionClosed(Box<SessionClosed>),
    /// A session that shares backends is held to the one it has.
    SessionPinned(Box<Pinned>),
    /// A statement was answered.
    StatementExecuted(Box<StatementRecord>),
    /// A statement was cancelled by its client, or a cancel request was sent on.
    StatementCancelled(Box<Cancelled>),
    /// A backend was opened.
    BackendOpened(Box<BackendRecord>),
    /// A backend was closed.
    BackendClosed(Box<BackendRecord>),
    /// What is known of the topology changed.
    TopologyChanged(Box<TopologyChange>),
    /// A token was minted.
    TokenMinted(Box<Mint>),
    /// A token could not be minted.
    TokenFailed(Box<Mint>),
    /// The configuration was read again, or the attempt changed nothing.
    ConfigReloaded(Box<Reload>),
    /// Somebody used the admin API.
    AdminRequest(Box<AdminRequest>),
    /// Somebody used the console.
    ConsoleCommand(Box<ConsoleCommand>),
}

/// What every record of a session repeats. Made at the connection, and made anew when more is known.
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
    /// Whom the client says, or has proved, to be.
    pub user: Option<UserName>,
    /// The database user its statements run as; `None` until it has a backend.
    pub database_user: Option<UserName>,
    /// The database.
    pub database: Option<DatabaseName>,
    /// How it proved who it is: `passthrough`, `scram`, `certificate`, `password`, `trust`.
    pub method: Option<&'static str>,
    /// The client's `application_name`.
    pub application: Option<Box<str>>,
}

/// A client was turned away.
#[derive(Clone)]
pub struct SessionRejected {
    /// The session that never was.
    pub session: Arc<Session>,
    /// A word of a closed set: why.
    pub reason: &'static str,
    /// The SQLSTATE that the client was told.
    pub sqlstate: Option<Sqlstate>,
}

/// A session ended.
#[derive(Clone)]
pub struct SessionClosed {
    /// The session.
    pub session: Arc<Session>,
    /// `None`: it ended as it should; else a word of a closed set.
    pub reason: Option<&'static str>,
    /// From its connection to its end.
    pub duration: Duration,
    /// Statements it ran.
    pub statements: u64,
    /// Bytes relayed to the endpoint and to the client.
    pub traffic: (u64, u64),
}

/// A session that shares backends is held to the one it has.
#[derive(Clone)]
pub struct Pinned {
    /// The session.
    pub session: Arc<Session>,
    /// The backend.
    pub server: ServerRecord,
    /// A word of a closed set: what it left on the backend.
    pub reason: &'static str,
}

/// A statement was answered.
#[derive(Clone)]
pub struct StatementRecord {
    /// Whose it was.
    pub session: Arc<Session>,
    /// Where it ran.
    pub server: ServerRecord,
    /// Where its route sent it.
    pub route: Option<Route>,
    /// Its text, from [`super::Audit::text`].
    pub text: Option<QueryText>,
    /// The words of the server's command tag, as `INSERT`.
    pub operation: Option<Box<str>>,
    /// From its arrival to the end of its answer.
    pub duration: Duration,
    /// The SQLSTATE of the server's error; `None` when it succeeded.
    pub sqlstate: Option<Sqlstate>,
    /// Rows returned or changed, by the server's command tag.
    pub rows: Option<u64>,
}

/// A cancel request was sent on.
#[derive(Clone)]
pub struct Cancelled {
    /// Whose statement it was to cancel.
    pub session: Arc<Session>,
    /// Where that ran.
    pub server: Option<ServerRecord>,
    /// Whether it could be delivered.
    pub delivered: bool,
    /// The address that asked.
    pub client: Option<SocketAddr>,
}

/// A server connection.
#[derive(Clone)]
pub struct BackendRecord {
    /// Where.
    pub server: ServerRecord,
    /// Whom it serves, if it serves one session alone.
    pub session: Option<Arc<Session>>,
    /// The database user it is logged in as.
    pub user: UserName,
    /// Opened: the time that took. Closed: the time it lived.
    pub duration: Duration,
    /// Closed: why, a word of a closed set.
    pub reason: Option<&'static str>,
}

/// What is known of the topology changed.
#[derive(Clone)]
pub struct TopologyChange {
    /// Of which endpoint; `None` when it concerns all.
    pub endpoint: Option<Arc<Endpoint>>,
    /// What changed, a word of a closed set: `health`, `role`, `writer`, ….
    pub what: &'static str,
    /// What it was.
    pub from: Option<Box<str>>,
    /// What it is.
    pub to: Option<Box<str>>,
}

/// An attempt to mint a token.
#[derive(Clone)]
pub struct Mint {
    /// For a login to this endpoint.
    pub endpoint: Arc<Endpoint>,
    /// As this database user.
    pub user: Option<UserName>,
    /// The time it took.
    pub duration: Duration,
    /// Why it failed, without any secret.
    pub error: Option<Box<str>>,
}

/// An attempt to read the configuration again.
#[derive(Clone)]
pub struct Reload {
    /// Who asked: `signal`, `admin`, `file`.
    pub trigger: &'static str,
    /// Why nothing changed; `None` when it succeeded.
    pub error: Option<Box<str>>,
}

/// A request to the admin API.
#[derive(Clone)]
pub struct AdminRequest {
    /// Who asked.
    pub client: Option<SocketAddr>,
    /// Whether a valid key was shown.
    pub authenticated: bool,
    /// The HTTP method.
    pub method: Box<str>,
    /// The path, without its query.
    pub path: Box<str>,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// A command of the console.
#[derive(Clone)]
pub struct ConsoleCommand {
    /// Who said it.
    pub session: Arc<Session>,
    /// The command in its usual form, as `PAUSE orders`.
    pub command: Box<str>,
    /// The SQLSTATE of the answer; `None` when it was done.
    pub sqlstate: Option<Sqlstate>,
}

/// A server connection's place.
#[derive(Clone)]
pub struct ServerRecord {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The server's process, by which its own log can be joined; `None` where it did not say.
    pub backend_pid: Option<i32>,
}

/// Where a route sent something, and why.
#[derive(Clone, Copy)]
pub struct Route {
    /// The decision's word, as `primary`.
    pub decision: &'static str,
    /// The reason's word.
    pub reason: &'static str,
}

/// A SQLSTATE: five bytes of digits and upper-case letters.
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
            Self::StatementCancelled(_) => "statement.cancelled",
            Self::BackendOpened(_) => "backend.opened",
            Self::BackendClosed(_) => "backend.closed",
            Self::TopologyChanged(_) => "topology.changed",
            Self::TokenMinted(_) => "token.minted",
            Self::TokenFailed(_) => "token.failed",
            Self::ConfigReloaded(_) => "config.reloaded",
            Self::AdminRequest(_) => "admin.request",
            Self::ConsoleCommand(_) => "admin.command",
        }
    }

    /// Whether it is only written from level `writes` on.
    pub(super) const fn is_statement(&self) -> bool {
        matches!(self, Self::StatementExecuted(_))
    }

    /// Whether it tells only that somebody came.
    pub(super) const fn is_arrival(&self) -> bool {
        matches!(self, Self::SessionOpened(_))
    }

    /// Bytes of statement text that it holds.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::StatementExecuted(statement) => statement.text.as_ref().map_or(0, QueryText::weight),
            _ => 0,
        }
    }
}
