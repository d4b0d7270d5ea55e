//! What an operator may say about a listener.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{AccessList, IdentityMap};
pub use crate::session::BackendLossPolicy;
use crate::{
    names::ListenerName,
    pool::PoolSettings,
    route::RoutePolicy,
    tls::{CertificateName, ListenerTls},
};

/// One client-facing socket and the route it serves.
#[derive(Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The name in logs, metrics and audit.
    pub name: ListenerName,
    /// Where it listens.
    pub bind: Bind,
    /// Permissions of a Unix-domain socket. Default 0660: user and group of the Gatekeeper process.
    pub socket_mode: u32,
    /// Where its statements go.
    pub route: RoutePolicy,
    /// TLS towards its clients; plaintext only when absent.
    pub tls: Option<ListenerTls>,
    /// How its clients prove who they are.
    pub auth: Auth,
    /// Users and databases that the listener admits.
    pub access: AccessList,
    /// What it puts up with.
    pub limits: ListenerLimits,
    /// True if `application_name` has the session's id behind the client's name. Default false.
    pub tags_sessions: bool,
    /// Its pools of backends. Clients that log in by their own dialog have no part in them.
    pub pool: Arc<PoolSettings>,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix-domain socket at this path.
    Unix(PathBuf),
}

/// How clients prove who they are, and what the endpoints behind are logged in to with then.
///
/// | clients \\ endpoint | `passthrough` | a password of ours | a token |
/// | --- | --- | --- | --- |
/// | `passthrough` | the client's own dialog; a backend for each client, never pooled | refused: the dialog would prove nothing about our login | refused, as for a password |
/// | `trust` | refused: there would be nothing to log in with | our login; this machine only | our login, listed users; this machine only |
/// | `scram`, `certificate` | refused: neither a verifier nor a certificate can log in | our login | our login, listed users |
/// | `password` | the client's password, kept in memory until the server refuses it: a pool opens further backends with it | the client's password is put to the server as that user, and kept as a verifier; then our login | as for a password, listed users |
///
/// `gatekeeper check` refuses what this table refuses, and says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// By their own dialog with the server, which is relayed.
    Passthrough,
    /// Not at all: loopback and Unix-domain sockets only, unless somebody insisted.
    Trust,
    /// SCRAM-SHA-256 against the verifiers of this file.
    Scram {
        /// TOML: a `[users]` table of names and verifiers.
        users_file: PathBuf,
    },
    /// By the certificate of its TLS connection, which the listener's CA has signed.
    Certificate {
        /// Which of its names counts.
        name: CertificateName,
        /// Whom its holder may be.
        map: IdentityMap,
    },
    /// By its password in the clear, over TLS or on this machine, which an endpoint judges: it is logged in to with it the
    /// first time, and the password is remembered.
    Password {
        /// For how long a client comes in with a remembered password without the endpoint being asked. Default 10 min.
        remember: Duration,
    },
}

/// What a listener puts up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Clients at one time. Default 10 000.
    pub max_clients: usize,
    /// Clients at one time from one source address; 0 is no limit. Default 0.
    pub max_clients_per_address: usize,
    /// Clients at one time that are logged in as one user; 0 is no limit. Default 0.
    pub max_clients_per_user: usize,
    /// Clients at one time that are logged in to one database; 0 is no limit. Default 0.
    pub max_clients_per_database: usize,
    /// From accept to authenticated; a relayed login counts whole. Default 10 s.
    pub login_timeout: Duration,
    /// Time limits of a logged-in session. Default: none.
    pub timeouts: SessionTimeouts,
    /// Longest wait of a transaction or a new client for a writer that is absent, as in a failover. Default 90 s.
    pub hold: Duration,
    /// Treatment of clients of a pool when the writer's connection is lost. Default: an error.
    pub on_backend_loss: BackendLossPolicy,
}

/// Time limits of a logged-in session; zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionTimeouts {
    /// From the statement at the server to the end of the response. The statement is canceled, and the session ends.
    pub query: Duration,
    /// Between two statements of a transaction.
    pub idle_transaction: Duration,
    /// Between two transactions.
    pub idle: Duration,
    /// Without progress, while the client has not read all of a response.
    pub write: Duration,
}

impl Auth {
    /// The word used in configuration, audit and the admin API.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Trust => "trust",
            Self::Scram { .. } => "scram",
            Self::Certificate { .. } => "certificate",
            Self::Password { .. } => "password",
        }
    }
}

impl Bind {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            max_clients_per_address: 0,
            max_clients_per_user: 0,
            max_clients_per_database: 0,
            login_timeout: Duration::from_secs(10),
            timeouts: SessionTimeouts::default(),
            hold: Duration::from_secs(90),
            on_backend_loss: BackendLossPolicy::Error,
        }
    }
}
