//! Why there is no connection to an endpoint, in the words that operators search for.

use std::{borrow::Cow, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use super::{Refused, failure_point::FailurePoint};
use crate::{
    blame::Blame,
    credentials::{Token, TokenError},
    handshake::LoginError,
    names::UserName,
    telemetry::labels::ConnectPhase,
    tls::TlsError,
    topology::{Address, Endpoint},
};

/// No connection to an endpoint.
///
/// `Display` and the chain of sources are for the log: addresses and names, but no secrets. A client gets the message
/// in [`ConnectError::refused`] unchanged, or a client error of Gatekeeper.
#[derive(Debug)]
pub struct ConnectError {
    endpoint: Arc<Endpoint>,
    failure: ConnectFailure,
}

/// Kinds of failures, as far as the difference matters.
#[derive(Debug)]
pub enum ConnectFailure {
    /// The database user is not on the list of users for tokens.
    UnlistedUser {
        /// The user.
        user: UserName,
    },
    /// A token would have travelled over a connection that was not verified.
    Unverified,
    /// The name has no address.
    Resolve {
        /// The name.
        host: String,
        /// The resolver's words.
        source: io::Error,
    },
    /// No address took the connection.
    Unreachable {
        /// All that were tried, and why not; never empty.
        tried: Vec<(SocketAddr, io::Error)>,
    },
    /// The Unix-domain socket did not take the connection.
    Unix(io::Error),
    /// The server does not offer TLS, and the settings require TLS.
    TlsRefused,
    /// The server answered the SSLRequest with an error, unauthenticated: the text is for the log only.
    RefusedBeforeTls {
        /// Text of the error, truncated and without control characters.
        words: String,
    },
    /// Bytes between the server's consent to TLS and the handshake, injected by an attacker.
    Injected,
    /// An invalid response to the SSLRequest.
    NotPostgres {
        /// First byte of the response.
        byte: u8,
    },
    /// The TLS handshake failed.
    Tls(TlsError),
    /// There is no token.
    Token(TokenError),
    /// The server lets the user in without a password, and so cannot judge a client's.
    NeverAsked,
    /// The server accepts writes where a standby for reads was required, after an accidental promotion.
    NoStandby,
    /// The server is in recovery where the writer was required, after a failover that the probe has not seen yet.
    InRecovery,
    /// The server refused the login.
    Refused(Box<Refused>),
    /// The dialog of the login failed otherwise.
    Login(LoginError),
    /// The connection broke.
    Broken {
        /// In which stage.
        phase: ConnectPhase,
        /// How.
        source: io::Error,
    },
    /// The time limit was exceeded.
    Timeout {
        /// Phase at the time; `None` while waiting for other logins.
        phase: Option<ConnectPhase>,
        /// The time allowed.
        limit: Duration,
    },
}

// === impl ConnectError ===

impl ConnectError {
    /// A failed connect to `endpoint`.
    pub(crate) const fn new(endpoint: Arc<Endpoint>, failure: ConnectFailure) -> Self {
        Self { endpoint, failure }
    }

    /// A rejection by the server with the given SQLSTATE.
    #[cfg(test)]
    pub(crate) fn scripted_refusal(endpoint: Arc<Endpoint>, sqlstate: [u8; 5]) -> Self {
        let response = crate::handshake::Refused::scripted(sqlstate);
        let refused = Refused { response, shown: super::CredentialKind::Nothing, token: None };
        Self::new(endpoint, ConnectFailure::Refused(Box::new(refused)))
    }

    /// The endpoint that was meant.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Kind of failure.
    #[must_use]
    pub const fn failure(&self) -> &ConnectFailure {
        &self.failure
    }

    /// The server's rejection, which a client gets unchanged.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        match &self.failure {
            ConnectFailure::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// The token that the server rejected for the principal (SQLSTATE class 28).
    pub(super) fn refused_token(&self) -> Option<&Token> {
        self.refused().filter(|refused| refused.is_authorization())?.token.as_ref()
    }

    /// The stage that failed.
    #[must_use]
    pub const fn phase(&self) -> ConnectPhase {
        match &self.failure {
            ConnectFailure::Resolve { .. } => ConnectPhase::Resolve,
            ConnectFailure::Unreachable { .. } | ConnectFailure::Unix(_) => ConnectPhase::Tcp,
            ConnectFailure::TlsRefused
            | ConnectFailure::RefusedBeforeTls { .. }
            | ConnectFailure::Injected
            | ConnectFailure::NotPostgres { .. }
            | ConnectFailure::Tls(_) => ConnectPhase::Tls,
            ConnectFailure::UnlistedUser { .. } | ConnectFailure::Unverified | ConnectFailure::Token(_) => {
                ConnectPhase::Token
            }
            ConnectFailure::NeverAsked
            | ConnectFailure::NoStandby
            | ConnectFailure::InRecovery
            | ConnectFailure::Refused(_)
            | ConnectFailure::Login(_) => ConnectPhase::Login,
            ConnectFailure::Broken { phase, .. } | ConnectFailure::Timeout { phase: Some(phase), .. } => {
                *phase
            }
            ConnectFailure::Timeout { phase: None, .. } => ConnectPhase::Login,
        }
    }

    /// Party responsible for the failure.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match &self.failure {
            ConnectFailure::UnlistedUser { .. } | ConnectFailure::Unverified | ConnectFailure::NeverAsked => {
                Blame::Policy
            }
            ConnectFailure::Tls(error) => error.blame(),
            ConnectFailure::Token(error) => error.blame(),
            ConnectFailure::Login(LoginError::NoCredential(_) | LoginError::Scram(_)) => Blame::Credentials,
            ConnectFailure::Refused(refused) => refused.blame(),
            ConnectFailure::Unreachable { tried } if tried.iter().any(|(_, error)| is_ours(error)) => {
                Blame::Us
            }
            ConnectFailure::Unix(error) if is_ours(error) => Blame::Us,
            _ => Blame::Endpoint,
        }
    }

    /// True if another endpoint, or the same endpoint a little later, may accept the login: the network failed, or the
    /// server is starting, stopping or full. Wrong passwords and missing databases are wrong everywhere.
    #[must_use]
    pub fn is_retryable_elsewhere(&self) -> bool {
        match self.refused() {
            Some(refused) => refused.sqlstate().is_some_and(|state| matches!(state.class(), "53" | "57")),
            None => self.blame() == Blame::Endpoint,
        }
    }

    /// True if the failure is evidence about the endpoint or the path to the endpoint, and justifies a probe. A full
    /// server, a missing token and a refused user are not.
    #[must_use]
    pub fn is_evidence(&self) -> bool {
        match &self.failure {
            ConnectFailure::Refused(refused) => refused.sqlstate().is_some_and(|state| state.class() == "57"),
            ConnectFailure::Tls(_) => true,
            _ => self.blame() == Blame::Endpoint,
        }
    }

    /// True if the server is absent: the network failed, or the server starts, shuts down or is in recovery.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match &self.failure {
            ConnectFailure::Refused(refused) => refused.sqlstate().is_some_and(|state| state.class() == "57"),
            _ if self.blame() == Blame::Us => false,
            ConnectFailure::Resolve { .. }
            | ConnectFailure::Unreachable { .. }
            | ConnectFailure::Unix(_)
            | ConnectFailure::InRecovery
            | ConnectFailure::Broken { .. }
            | ConnectFailure::Timeout { .. } => true,
            _ => false,
        }
    }

    /// Remedy for an operator, if known.
    #[must_use]
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        let port = match &self.endpoint.address {
            Address::Tcp { port, .. } => *port,
            Address::Unix(_) => 0,
        };
        Some(match &self.failure {
            ConnectFailure::UnlistedUser { user } => {
                format!("add `{user}` to the endpoint's `users` if it may be logged in with a token").into()
            }
            ConnectFailure::Unverified => {
                "set the endpoint's `tls.mode` to `verify-ca` or `verify-full`, and its `ca_file`".into()
            }
            ConnectFailure::Resolve { .. } => "check the name and this machine's resolver; a Private Service Connect \
                 name needs a DNS record in this network"
                .into(),
            ConnectFailure::Unreachable { tried } => FailurePoint::of_all(tried).remedy(port).into(),
            ConnectFailure::Timeout { phase, .. } => timeout_remedy(*phase, port)?,
            ConnectFailure::Unix(_) => "check the path and its permissions, and that the server runs".into(),
            ConnectFailure::NeverAsked => {
                "have the server ask this user for a password (see its `pg_hba.conf`), or verify clients by \"scram\" or \
                 \"certificate\""
                    .into()
            }
            ConnectFailure::NoStandby => {
                "a server of a read pool left recovery: make it a standby again, or declare the endpoint's `role` as it is"
                    .into()
            }
            ConnectFailure::TlsRefused => "turn TLS on at the server, or set the endpoint's `tls.mode`".into(),
            ConnectFailure::Injected => "either this is no PostgreSQL server (check address and port), or somebody on the way \
                 tampers with the connection"
                .into(),
            ConnectFailure::NotPostgres { .. } | ConnectFailure::Login(LoginError::Violation(_)) => NOT_POSTGRES.into(),
            ConnectFailure::Broken { phase: ConnectPhase::Tls, .. } => {
                "who answers there hangs up when asked for TLS: check that it is a PostgreSQL server, and that a \
                 balancer in front of it has a server that lives"
                    .into()
            }
            ConnectFailure::Tls(error) => error.remedy()?.into(),
            ConnectFailure::Refused(refused) => refused.remedy()?,
            ConnectFailure::Token(error) => error.remedy().into(),
            ConnectFailure::Login(LoginError::NoCredential(_)) => {
                "the server wants a password: set the endpoint's `login`".into()
            }
            ConnectFailure::Login(LoginError::Unanswerable(method)) => format!(
                "have the server ask this user for a password instead of {method}: see its `pg_hba.conf`"
            )
            .into(),
            ConnectFailure::RefusedBeforeTls { .. }
            | ConnectFailure::InRecovery
            | ConnectFailure::Login(_)
            | ConnectFailure::Broken { .. } => return None,
        })
    }
}

/// Remedy for a timeout in `phase`, or before the first phase.
fn timeout_remedy(phase: Option<ConnectPhase>, port: u16) -> Option<Cow<'static, str>> {
    Some(match phase {
        None => "the endpoint is slow to log in, and others wait in front: look at what holds it up, or raise \
             `connect_concurrency`"
            .into(),
        Some(ConnectPhase::Resolve) => {
            "this machine's resolver does not answer: check it, or write the address instead of the name".into()
        }
        Some(ConnectPhase::Tcp) => FailurePoint::Silence.remedy(port).into(),
        Some(ConnectPhase::Tls) => {
            "who answers there takes the connection and says nothing: check that it is a PostgreSQL server, and \
             that the server does not hang"
                .into()
        }
        Some(ConnectPhase::Token) => return None,
        Some(ConnectPhase::Login) => {
            "the server takes the login and does not finish it: look at its load, or raise `connect_timeout`".into()
        }
    })
}

const NOT_POSTGRES: &str = "check that the address and port are those of a PostgreSQL server";

/// True if the process lacks a resource: no endpoint is responsible.
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase() {
            ConnectPhase::Resolve | ConnectPhase::Tcp => "backend dial failed",
            ConnectPhase::Tls => "backend TLS negotiation failed",
            ConnectPhase::Token | ConnectPhase::Login => match &self.failure {
                ConnectFailure::Token(error) => error.headline(),
                _ => "backend login failed",
            },
        })?;
        write!(f, ": endpoint `{}` at {}", self.endpoint.name, self.endpoint.address)?;
        match &self.failure {
            ConnectFailure::UnlistedUser { user } => {
                write!(f, ": user `{user}` is not among those that may be logged in with a token")
            }
            ConnectFailure::Unverified => {
                f.write_str(": a token is only sent over a connection whose certificate was verified")
            }
            ConnectFailure::Resolve { host, .. } => write!(f, ": `{host}` does not resolve"),
            // The last address's error is the source; a single address was named already.
            ConnectFailure::Unreachable { tried } => match tried.split_last() {
                Some(((last, _), others)) if !others.is_empty() => {
                    for (address, error) in others {
                        write!(f, ": {address}: {error}")?;
                    }
                    write!(f, ": {last}")
                }
                _ => Ok(()),
            },
            ConnectFailure::NeverAsked => {
                f.write_str(": the server asks this user for no password, and so cannot judge a client's")
            }
            ConnectFailure::NoStandby => {
                f.write_str(": the server is no standby any more: its data may differ from the writer's")
            }
            ConnectFailure::InRecovery => f.write_str(": the server is in recovery and takes no writes"),
            ConnectFailure::TlsRefused => f.write_str(": the server does not offer TLS"),
            ConnectFailure::RefusedBeforeTls { words } => write!(f, ": the server reports: {words}"),
            ConnectFailure::Injected => f.write_str(": unencrypted bytes after the server's consent to TLS"),
            ConnectFailure::NotPostgres { byte } => {
                write!(f, ": the server answered `{}` to the SSLRequest", byte.escape_ascii())
            }
            ConnectFailure::Refused(refused) => write!(f, ": {refused}"),
            ConnectFailure::Broken { phase, .. } => write!(f, ": the connection broke ({})", phase.as_str()),
            ConnectFailure::Timeout { phase, limit } => {
                write!(
                    f,
                    ": not done within {limit:?} ({})",
                    phase.map_or("waiting for its turn", |phase| phase.as_str())
                )
            }
            ConnectFailure::Unix(_)
            | ConnectFailure::Tls(_)
            | ConnectFailure::Token(_)
            | ConnectFailure::Login(_) => Ok(()),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.failure {
            ConnectFailure::Resolve { source, .. }
            | ConnectFailure::Unix(source)
            | ConnectFailure::Broken { source, .. } => Some(source),
            ConnectFailure::Unreachable { tried } => tried.last().map(|(_, error)| error as _),
            ConnectFailure::Tls(error) => Some(error),
            ConnectFailure::Token(error) => Some(error),
            ConnectFailure::Login(error) => Some(error),
            ConnectFailure::UnlistedUser { .. }
            | ConnectFailure::Unverified
            | ConnectFailure::NeverAsked
            | ConnectFailure::NoStandby
            | ConnectFailure::InRecovery
            | ConnectFailure::TlsRefused
            | ConnectFailure::RefusedBeforeTls { .. }
            | ConnectFailure::Injected
            | ConnectFailure::NotPostgres { .. }
            | ConnectFailure::Refused(_)
            | ConnectFailure::Timeout { .. } => None,
        }
    }
}
