//! Errors that Gatekeeper sends to clients: SQLSTATE, message and remedy.

use std::{borrow::Cow, time::Duration};

use super::ClientErrorReason;
use crate::{
    blame::Blame,
    wire::{
        SqlState,
        error_response::{self, Severity},
    },
};

/// Error sent in Gatekeeper's name. Each ends the connection, except errors of the wait for a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    /// SQLSTATE of the ErrorResponse.
    pub sqlstate: SqlState,
    /// Primary message.
    pub message: Cow<'static, str>,
    /// Facts beside the message.
    pub detail: Option<Cow<'static, str>>,
    /// Remedy.
    pub hint: Option<Cow<'static, str>>,
    /// Party responsible; not sent to the client.
    pub blame: Blame,
    /// Reason, for logs and labels.
    pub reason: ClientErrorReason,
}

// === impl ClientError ===

impl ClientError {
    /// The client violated the protocol.
    #[must_use]
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::PROTOCOL_VIOLATION, Blame::Client, ClientErrorReason::Protocol, message)
    }

    /// The login exceeded its time limit.
    #[must_use]
    pub fn login_timeout() -> Self {
        Self::new(
            SqlState::new(*b"57014"),
            Blame::Client,
            ClientErrorReason::LoginTimeout,
            "canceling authentication due to timeout",
        )
    }

    /// The listener has reached `max_clients`.
    #[must_use]
    pub fn too_many_clients() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            ClientErrorReason::MaxClients,
            "sorry, too many clients already on this listener",
        )
        .hint("Close idle connections, or raise the listener's max_clients.")
    }

    /// The process has no descriptor left for the client.
    #[must_use]
    pub fn no_descriptors() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Us,
            ClientErrorReason::NoDescriptors,
            "sorry, the proxy is out of file descriptors",
        )
        .hint("Ask its operator to raise the limit on open files.")
    }

    /// The client's address has reached `max_clients_per_address`.
    #[must_use]
    pub fn too_many_clients_of_address() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            ClientErrorReason::MaxClientsPerAddress,
            "too many connections from your address",
        )
        .hint("Close idle connections, or raise the listener's max_clients_per_address.")
    }

    /// The user has reached `max_clients_per_user`.
    #[must_use]
    pub fn too_many_clients_of_user(user: &str) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            ClientErrorReason::MaxClientsPerUser,
            format!("too many connections for role \"{user}\""),
        )
        .hint("Close idle connections, or raise the listener's max_clients_per_user.")
    }

    /// The database has reached `max_clients_per_database`.
    #[must_use]
    pub fn too_many_clients_of_database(database: &str) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            ClientErrorReason::MaxClientsPerDatabase,
            format!("too many connections for database \"{database}\""),
        )
        .hint("Close idle connections, or raise the listener's max_clients_per_database.")
    }

    /// The listener requires TLS.
    #[must_use]
    pub fn tls_required() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Client,
            ClientErrorReason::TlsRequired,
            "this listener accepts TLS connections only",
        )
        .hint("Connect with sslmode=require or stronger.")
    }

    /// Authentication failed; an unknown user and a wrong password get the same error.
    #[must_use]
    pub fn authentication(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_PASSWORD,
            Blame::Client,
            ClientErrorReason::Authentication,
            format!("password authentication failed for user \"{user}\""),
        )
    }

    /// The client's certificate does not authenticate `user`. PostgreSQL's message, without further detail.
    #[must_use]
    pub fn certificate(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Client,
            ClientErrorReason::Authentication,
            format!("certificate authentication failed for user \"{user}\""),
        )
    }

    /// The client sent no certificate. PostgreSQL's message.
    #[must_use]
    pub fn certificate_required() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Client,
            ClientErrorReason::Authentication,
            "connection requires a valid client certificate",
        )
        .hint("Connect with sslmode=require or stronger, sslcert and sslkey.")
    }

    /// The user is not on the endpoint's list of token users.
    #[must_use]
    pub fn user_not_listed(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            ClientErrorReason::UserNotListed,
            format!("user \"{user}\" may not be logged in with a token here"),
        )
        .hint("Add the user to the endpoint's list of token users, or connect as one that is listed.")
    }

    /// The user is not on the listener's list, and was not authenticated.
    #[must_use]
    pub fn user_not_allowed(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            ClientErrorReason::NotAllowed,
            format!("user \"{user}\" may not log in through this listener"),
        )
        .hint("Add the user to the listener's auth.users, or connect as one that is listed.")
    }

    /// The database is not on the listener's list.
    #[must_use]
    pub fn database_not_allowed(database: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            ClientErrorReason::NotAllowed,
            format!("database \"{database}\" may not be reached through this listener"),
        )
        .hint("Add the database to the listener's auth.databases, or connect to one that is listed.")
    }

    /// The user may not use the console.
    #[must_use]
    pub fn console_denied(user: &str) -> Self {
        Self::new(
            SqlState::new(*b"42501"),
            Blame::Policy,
            ClientErrorReason::UserNotListed,
            format!("user \"{user}\" may not use the console"),
        )
        .hint("Ask the operator of the proxy to list the user in the console's admin_users or stats_users.")
    }

    /// Rejects the console on a listener that leaves authentication to the server.
    #[must_use]
    pub fn console_needs_proof() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            ClientErrorReason::Authentication,
            "the console cannot be reached through a listener that leaves authentication to the server",
        )
        .hint("Connect to a listener that authenticates its clients itself.")
    }

    /// Rejects the console on a listener with `trust` authentication.
    #[must_use]
    pub fn console_refuses_trust() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            ClientErrorReason::Authentication,
            "the console cannot be reached through a listener that asks its clients for no proof",
        )
        .hint(
            "Connect to a listener with another auth.method than trust, or set insecure_trust in [console].",
        )
    }

    /// The client's SCRAM proof is bound to one TLS channel, and a relayed login has two.
    #[must_use]
    pub fn channel_binding(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::INVALID_AUTHORIZATION, Blame::Policy, ClientErrorReason::Authentication, message).hint(
            "Connect with channel_binding=disable, or have the listener ask for passwords: auth = { method = \"password\" }.",
        )
    }

    /// No endpoint of the route can serve.
    #[must_use]
    pub fn no_endpoint(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::CANNOT_CONNECT_NOW, Blame::Endpoint, ClientErrorReason::NoEndpoint, message)
            .hint("Try again shortly.")
    }

    /// No writer was available within `waited`, for the reason `what`.
    #[must_use]
    pub fn hold_expired(waited: Duration, what: &str) -> Self {
        Self::no_endpoint(format!("no writer was available within {} s: {what}", waited.as_secs()))
    }

    /// The login to an endpoint failed; `blame` names the party responsible.
    #[must_use]
    pub fn endpoint(blame: Blame, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::CANNOT_CONNECT, blame, ClientErrorReason::Endpoint, message)
            .hint("Ask the operator of the proxy: its log says why.")
    }

    /// An endpoint rejected a login with this SQLSTATE and message.
    #[must_use]
    pub fn by_server(blame: Blame, state: Option<SqlState>, message: String) -> Self {
        Self::new(state.unwrap_or(SqlState::CANNOT_CONNECT), blame, ClientErrorReason::Endpoint, message)
    }

    /// The server closed the connection without an error message.
    #[must_use]
    pub fn backend_lost(mid_statement: bool) -> Self {
        let client_error = Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Endpoint,
            ClientErrorReason::BackendLost,
            "the connection to the server was lost",
        );
        if mid_statement {
            client_error
                .hint("Whether the statement under way took effect is unknown: look before repeating it.")
        } else {
            client_error.hint("Connect again.")
        }
    }

    /// The server was lost before the transaction could take effect.
    #[must_use]
    pub fn transaction_rolled_back() -> Self {
        Self::new(
            SqlState::SERIALIZATION_FAILURE,
            Blame::Endpoint,
            ClientErrorReason::BackendLost,
            "the connection to the server was lost, and the transaction was rolled back",
        )
        .hint("Run the transaction again.")
    }

    /// The server was lost in the middle of the result of a read.
    #[must_use]
    pub fn read_interrupted() -> Self {
        Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Endpoint,
            ClientErrorReason::BackendLost,
            "the connection to the server was lost in the middle of a result",
        )
        .hint("The statement has only read, and the session continues. Run the statement again.")
    }

    /// The server was lost, and the transaction may have taken effect.
    #[must_use]
    pub fn transaction_unknown() -> Self {
        Self::new(
            SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
            Blame::Endpoint,
            ClientErrorReason::BackendLost,
            "the connection to the server was lost, and the transaction may have taken effect",
        )
        .hint("Find out if it took effect before you run it again.")
    }

    /// The server was lost, and no server can tell if the transaction `xid` has taken effect.
    #[must_use]
    pub fn transaction_unresolved(xid: u64) -> Self {
        Self::transaction_unknown()
            .detail(format!("The id of the transaction is {xid}."))
            .hint("Ask pg_xact_status for the transaction before you run it again.")
    }

    /// The server was lost between two transactions, and with it session state.
    #[must_use]
    pub fn session_state_lost() -> Self {
        Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Endpoint,
            ClientErrorReason::BackendLost,
            "the connection to the server was lost, and with it state of the session",
        )
        .hint("The statement was not executed. Set the session up again, or connect again.")
    }

    /// The server was lost, and with it the session state that `pins` name. `is_unknown`: a statement was running.
    #[must_use]
    pub fn session_lost(pins: &str, is_unknown: bool) -> Self {
        let sqlstate = match is_unknown {
            true => SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
            false => SqlState::CONNECTION_FAILURE,
        };
        let lost = Self::new(
            sqlstate,
            Blame::Endpoint,
            ClientErrorReason::BackendLost,
            format!("the connection to the server was lost, and with it state of the session: {pins}"),
        );
        match is_unknown {
            true => {
                lost.hint("Connect again, and find out if the statement took effect before you run it again.")
            }
            false => lost.hint("Connect again."),
        }
    }

    /// A session's settings could not be applied to another backend.
    #[must_use]
    pub fn settings_lost(state: SqlState) -> Self {
        Self::new(
            state,
            Blame::Endpoint,
            ClientErrorReason::SettingsLost,
            "the session's settings could not be applied to another server connection",
        )
        .hint("Whether the statement under way took effect is unknown. Connect again.")
    }

    /// Session settings are too large to carry from a backend to the next.
    #[must_use]
    pub fn settings_too_large() -> Self {
        Self::new(
            SqlState::new(*b"54000"),
            Blame::Client,
            ClientErrorReason::SettingsLost,
            "the session's settings take more than 1 MiB",
        )
        .hint("Keep long values in a table, or connect by a listener in session mode.")
    }

    /// The server refused a deferred BEGIN.
    #[must_use]
    pub fn transaction_lost() -> Self {
        Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Endpoint,
            ClientErrorReason::SettingsLost,
            "the server refused to begin the transaction",
        )
        .hint("Whether the statement under way took effect is unknown. Connect again.")
    }

    /// No backend became free in time.
    #[must_use]
    pub fn pool_timeout(pool: &str, waited: Duration) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            ClientErrorReason::PoolTimeout,
            format!("no server connection of pool \"{pool}\" came free within {:.1} s", waited.as_secs_f64()),
        )
        .hint("Try again, keep transactions shorter, or raise the pool's size.")
    }

    /// The wait for a backend would exceed `limit`.
    #[must_use]
    pub fn pool_overloaded(pool: &str, position: usize, estimate: Duration, limit: Duration) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            ClientErrorReason::PoolOverloaded,
            format!(
                "pool \"{pool}\" is overloaded: the estimated wait for a server connection is {:.0} s in place \
                 {position}, longer than query_wait_timeout, {limit:?}",
                estimate.as_secs_f64()
            ),
        )
        .hint("Try again in a few seconds: the session keeps its place. Keep transactions shorter, or raise the pool's size.")
    }

    /// The client canceled its own wait for a backend.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(
            SqlState::new(*b"57014"),
            Blame::Client,
            ClientErrorReason::Cancelled,
            "canceling statement due to user request",
        )
    }

    /// A statement ran longer than the listener's `limit`.
    #[must_use]
    pub fn query_timeout(limit: Duration) -> Self {
        Self::new(
            SqlState::QUERY_CANCELED,
            Blame::Policy,
            ClientErrorReason::QueryTimeout,
            format!("terminating connection: a statement ran longer than query_timeout, {limit:?}"),
        )
        .hint("Whether the statement took effect is unknown. Set statement_timeout in the session to stay connected.")
    }

    /// A transaction was idle for too long. PostgreSQL's message.
    #[must_use]
    pub fn idle_transaction_timeout() -> Self {
        Self::new(
            SqlState::new(*b"25P03"),
            Blame::Client,
            ClientErrorReason::IdleTransactionTimeout,
            "terminating connection due to idle-in-transaction timeout",
        )
    }

    /// A client was idle for too long. PostgreSQL's message.
    #[must_use]
    pub fn client_idle_timeout() -> Self {
        Self::new(
            SqlState::new(*b"57P05"),
            Blame::Client,
            ClientErrorReason::ClientIdleTimeout,
            "terminating connection due to idle-session timeout",
        )
    }

    /// A client has not read its response for the listener's `limit`.
    #[must_use]
    pub fn client_write_timeout(limit: Duration) -> Self {
        Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Client,
            ClientErrorReason::ClientWriteTimeout,
            format!(
                "terminating connection: the client has read nothing for client_write_timeout, {limit:?}"
            ),
        )
    }

    /// The program is shutting down.
    #[must_use]
    pub fn shutdown() -> Self {
        Self::new(
            SqlState::ADMIN_SHUTDOWN,
            Blame::Policy,
            ClientErrorReason::Shutdown,
            "terminating connection due to administrator command",
        )
        .hint("The proxy is shutting down. Connect again.")
    }

    /// An operator ended this session.
    #[must_use]
    pub fn killed() -> Self {
        Self::new(
            SqlState::ADMIN_SHUTDOWN,
            Blame::Policy,
            ClientErrorReason::Killed,
            "terminating connection due to administrator command",
        )
    }

    /// The endpoint of a dedicated session is no longer the writer.
    #[must_use]
    pub fn withdrawn() -> Self {
        Self::new(
            SqlState::ADMIN_SHUTDOWN,
            Blame::Endpoint,
            ClientErrorReason::Withdrawn,
            "terminating connection because the server is no longer the writer",
        )
        .hint("Connect again.")
    }

    /// The audit log cannot record a statement that must be audited.
    #[must_use]
    pub fn audit() -> Self {
        Self::new(
            SqlState::new(*b"53400"),
            Blame::Us,
            ClientErrorReason::Audit,
            "the audit log cannot be written, and statements must be audited",
        )
        .hint("Ask the operator of the proxy to look at its audit log.")
    }

    /// Fault of Gatekeeper.
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, Blame::Us, ClientErrorReason::Internal, message)
    }

    fn new(
        sqlstate: SqlState,
        blame: Blame,
        reason: ClientErrorReason,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, blame, reason }
    }

    fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the ErrorResponse, with severity FATAL: the connection ends.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(Severity::Fatal, out);
    }

    /// Appends the ErrorResponse, with severity ERROR: the session continues.
    pub fn write_error(&self, out: &mut Vec<u8>) {
        self.write_with(Severity::Error, out);
    }

    fn write_with(&self, severity: Severity, out: &mut Vec<u8>) {
        error_response::ErrorResponse {
            severity,
            sqlstate: self.sqlstate,
            message: Cow::Borrowed(&self.message),
            detail: self.detail.as_deref().map(Cow::Borrowed),
            hint: self.hint.as_deref().map(Cow::Borrowed),
            routine: None,
        }
        .write(out);
    }
}
